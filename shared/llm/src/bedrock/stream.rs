//! Answers of Converse, in pieces.

use std::collections::BTreeMap;

use aws_sdk_bedrockruntime::types::{
    ContentBlockDelta, ContentBlockStart, ConverseStreamOutput, ReasoningContentBlockDelta,
    StopReason, TokenUsage as Counts,
};
use aws_smithy_types::base64;
use domain::model::ModelName;
use domain::payload;
use domain::run::{ProviderContent, TokenUsage, ToolCall};
use serde_json::{Value, json};

use crate::failure::{broken_off, unavailable, unreadable};
use crate::{ModelError, ModelResponse, Stop};

/// An answer as far as it has come.
#[derive(Default)]
pub(super) struct StreamAccumulator {
    blocks: BTreeMap<i32, Block>,
    stop: Option<StopReason>,
    usage: TokenUsage,
    size: usize,
}

enum Block {
    Text(String),
    Call {
        id: String,
        tool: String,
        input: String,
    },
    Thought {
        text: String,
        signature: Option<String>,
    },
    /// A thought that is not shown.
    Redacted(Vec<u8>),
}

impl StreamAccumulator {
    /// Takes the next event; gives the text in it.
    pub(super) fn take(&mut self, event: ConverseStreamOutput) -> String {
        match event {
            ConverseStreamOutput::ContentBlockStart(event) => {
                if let Some(ContentBlockStart::ToolUse(call)) = event.start {
                    let block = Block::Call {
                        id: call.tool_use_id,
                        tool: call.name,
                        input: String::new(),
                    };
                    self.blocks.insert(event.content_block_index, block);
                }
            }
            ConverseStreamOutput::ContentBlockDelta(event) => {
                if let Some(delta) = event.delta {
                    return self.go_on(event.content_block_index, delta);
                }
            }
            ConverseStreamOutput::MessageStop(event) => self.stop = Some(event.stop_reason),
            ConverseStreamOutput::Metadata(event) => {
                self.usage = event.usage.map(|usage| counted(&usage)).unwrap_or_default();
            }
            // The beginning, the ends of blocks, and what is still to be invented.
            _ => {}
        }
        String::new()
    }

    fn go_on(&mut self, index: i32, delta: ContentBlockDelta) -> String {
        use ReasoningContentBlockDelta::{RedactedContent, Signature, Text};
        let mut told = String::new();
        match delta {
            ContentBlockDelta::Text(piece) => {
                self.size += piece.len();
                let block = self.blocks.entry(index);
                if let Block::Text(text) = block.or_insert(Block::Text(String::new())) {
                    text.push_str(&piece);
                    told = piece;
                }
            }
            ContentBlockDelta::ToolUse(piece) => {
                self.size += piece.input.len();
                if let Some(Block::Call { input, .. }) = self.blocks.get_mut(&index) {
                    input.push_str(&piece.input);
                }
            }
            ContentBlockDelta::ReasoningContent(RedactedContent(piece)) => {
                self.size += piece.as_ref().len();
                let block = self.blocks.entry(index);
                if let Block::Redacted(data) = block.or_insert(Block::Redacted(Vec::new())) {
                    data.extend_from_slice(piece.as_ref());
                }
            }
            ContentBlockDelta::ReasoningContent(piece) => {
                let block = self.blocks.entry(index).or_insert(Block::Thought {
                    text: String::new(),
                    signature: None,
                });
                if let Block::Thought { text, signature } = block {
                    match piece {
                        Text(piece) => {
                            self.size += piece.len();
                            text.push_str(&piece);
                        }
                        Signature(piece) => {
                            self.size += piece.len();
                            signature.get_or_insert_default().push_str(&piece);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        told
    }

    /// The number of bytes so far.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns `true` if the answer has its end.
    pub(super) fn is_complete(&self) -> bool {
        self.stop.is_some()
    }

    /// The meaning of the end of the stream.
    pub(super) fn broken(&self) -> ModelError {
        if self.blocks.is_empty() {
            unreadable()
        } else {
            broken_off()
        }
    }

    pub(super) fn answer(self, name: &ModelName) -> Result<ModelResponse, ModelError> {
        let stop = match &self.stop {
            None => return Err(self.broken()),
            // It may well do better next time.
            Some(StopReason::MalformedModelOutput | StopReason::MalformedToolUse) => {
                return Err(unavailable("the model's answer has no proper form"));
            }
            Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded) => Stop::Cut,
            Some(StopReason::ContentFiltered | StopReason::GuardrailIntervened) => Stop::Declined,
            Some(reason) if reason.as_str() == "refusal" => Stop::Declined,
            Some(_) => Stop::Finished,
        };
        let (mut text, mut tool_calls, mut says_more) = (String::new(), Vec::new(), false);
        let mut blocks = Vec::new();
        for block in self.blocks.into_values() {
            match &block {
                Block::Text(piece) => text.push_str(piece),
                Block::Call { id, tool, input } => tool_calls.push(ToolCall {
                    id: id.clone(),
                    tool: tool.clone(),
                    arguments: arguments(input),
                }),
                Block::Thought { .. } | Block::Redacted(_) => says_more = true,
            }
            blocks.push(block.kept());
        }
        Ok(ModelResponse {
            text,
            tool_calls,
            usage: self.usage,
            content: says_more.then(|| ProviderContent {
                model: name.clone(),
                content: Value::Array(blocks),
            }),
            stop,
            ..ModelResponse::default()
        })
    }
}

impl Block {
    /// The form in which it waits to go back: Converse's own.
    fn kept(self) -> Value {
        match self {
            Self::Text(text) => json!({ "text": text }),
            Self::Call { id, tool, input } => json!({
                "toolUse": { "toolUseId": id, "name": tool, "input": arguments(&input) },
            }),
            Self::Thought { text, signature } => {
                let mut thought = json!({ "text": text });
                if let Some(signature) = signature {
                    thought["signature"] = json!(signature);
                }
                json!({ "reasoningContent": { "reasoningText": thought } })
            }
            Self::Redacted(data) => {
                json!({ "reasoningContent": { "redactedContent": base64::encode(data) } })
            }
        }
    }
}

fn arguments(input: &str) -> Value {
    if input.trim().is_empty() {
        return json!({});
    }
    payload::read_or_text(input.to_owned())
}

fn counted(counts: &Counts) -> TokenUsage {
    let number = |count: i32| u64::try_from(count).unwrap_or(0);
    TokenUsage {
        input: number(counts.input_tokens)
            + number(counts.cache_read_input_tokens.unwrap_or(0))
            + number(counts.cache_write_input_tokens.unwrap_or(0)),
        output: number(counts.output_tokens),
    }
}
