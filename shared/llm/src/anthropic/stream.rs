//! Messages in pieces.

use std::collections::BTreeMap;

use domain::payload;
use serde_json::{Map, Value, json};

use crate::failure::unreadable;
use crate::redact::RedactingSink;
use crate::stream::{Assembly, Fault, taken};

/// A message as far as it has come.
#[derive(Default)]
pub(crate) struct StreamAccumulator {
    blocks: BTreeMap<u64, Block>,
    stop_reason: Value,
    usage: Map<String, Value>,
    is_complete: bool,
}

struct Block {
    value: Map<String, Value>,
    /// The arguments of a call, as far as they have come.
    input: String,
}

impl Assembly for StreamAccumulator {
    fn take(&mut self, mut event: Value, sink: &mut RedactingSink<'_>) -> Result<(), Fault> {
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => self.count(taken(&mut event, "/message/usage")),
            "content_block_start" => {
                let Value::Object(value) = taken(&mut event, "/content_block") else {
                    return Err(unreadable().into());
                };
                let block = Block {
                    value,
                    input: String::new(),
                };
                if let Some(text) = block.value.get("text").and_then(Value::as_str)
                    && block.is_text()
                {
                    sink.say(text)?;
                }
                self.blocks.insert(index, block);
            }
            "content_block_delta" => {
                if let Some(block) = self.blocks.get_mut(&index) {
                    block.take(taken(&mut event, "/delta"), sink)?;
                }
            }
            "message_delta" => {
                let reason = taken(&mut event, "/delta/stop_reason");
                if !reason.is_null() {
                    self.stop_reason = reason;
                }
                self.count(taken(&mut event, "/usage"));
            }
            "message_stop" => self.is_complete = true,
            "error" => return Err(Fault::Told(taken(&mut event, "/error"))),
            // Pings, the ends of blocks, and what is still to be invented.
            _ => {}
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn body(self) -> Value {
        let blocks: Vec<Value> = self.blocks.into_values().map(Block::finish).collect();
        json!({ "content": blocks, "stop_reason": self.stop_reason, "usage": self.usage })
    }
}

impl StreamAccumulator {
    /// Takes new counts: they are those of the whole answer so far.
    fn count(&mut self, usage: Value) {
        if let Value::Object(usage) = usage {
            let usage = usage.into_iter().filter(|(_, count)| !count.is_null());
            self.usage.extend(usage);
        }
    }
}

impl Block {
    fn is_text(&self) -> bool {
        self.value.get("type").is_some_and(|kind| kind == "text")
    }

    fn take(&mut self, mut delta: Value, sink: &mut RedactingSink<'_>) -> Result<(), Fault> {
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => {
                let text = delta["text"].as_str().unwrap_or_default();
                if self.is_text() {
                    sink.say(text)?;
                }
                self.append("text", text);
            }
            "thinking_delta" => {
                self.append("thinking", delta["thinking"].as_str().unwrap_or_default());
            }
            "signature_delta" => {
                self.append("signature", delta["signature"].as_str().unwrap_or_default());
            }
            "input_json_delta" => {
                let text = delta["partial_json"].as_str().unwrap_or_default();
                self.input.push_str(text);
            }
            "citations_delta" => {
                let citation = taken(&mut delta, "/citation");
                match self.value.get_mut("citations") {
                    Some(Value::Array(citations)) => citations.push(citation),
                    _ => drop(self.value.insert("citations".to_owned(), json!([citation]))),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, name: &str, piece: &str) {
        match self.value.get_mut(name) {
            Some(Value::String(text)) => text.push_str(piece),
            _ => drop(self.value.insert(name.to_owned(), json!(piece))),
        }
    }

    fn finish(mut self) -> Value {
        if !self.input.is_empty() {
            let input = payload::read_or_text(self.input);
            self.value.insert("input".to_owned(), input);
        }
        Value::Object(self.value)
    }
}
