//! Requests of Converse.

use std::collections::HashMap;

use aws_sdk_bedrockruntime::error::BuildError;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ConversationRole, ImageBlock, ImageFormat, ImageSource, InferenceConfiguration,
    Message as Turn, ReasoningContentBlock, ReasoningTextBlock, SystemContentBlock, Tool,
    ToolConfiguration, ToolInputSchema, ToolResultBlock, ToolResultContentBlock, ToolSpecification,
    ToolUseBlock,
};
use aws_smithy_types::{Blob, base64};
use domain::model::ModelName;
use domain::run::{ProviderContent, ToolCall};
use serde_json::{Value, json};

use super::document::document;
use crate::conversation::{NO_INPUT, outcome_text};
use crate::structure::instructions_with_schema;
use crate::{Message, ModelError, ModelRequest, ToolSpec};

/// The parts of a request.
pub(super) struct Conversation {
    pub(super) messages: Vec<Turn>,
    pub(super) system: Option<Vec<SystemContentBlock>>,
    pub(super) inference: InferenceConfiguration,
    pub(super) tools: Option<ToolConfiguration>,
}

pub(super) fn conversation(
    name: &ModelName,
    request: &ModelRequest,
) -> Result<Conversation, ModelError> {
    let limit = i32::try_from(request.max_output_tokens).unwrap_or(i32::MAX);
    Ok(Conversation {
        messages: turns(name, request)?,
        system: system(request),
        inference: InferenceConfiguration::builder().max_tokens(limit).build(),
        tools: tools(&request.tools)?,
    })
}

/// The instructions. A schema is one of them: Converse's own way to ask for one, and a tool that a model must call, are both
/// known to a part of the models alone, and the second keeps a model from calling any other tool.
fn system(request: &ModelRequest) -> Option<Vec<SystemContentBlock>> {
    let text = instructions_with_schema(request);
    (!text.is_empty()).then(|| vec![SystemContentBlock::Text(text)])
}

fn tools(specs: &[ToolSpec]) -> Result<Option<ToolConfiguration>, ModelError> {
    if specs.is_empty() {
        return Ok(None);
    }
    let mut tools = ToolConfiguration::builder();
    for spec in specs {
        let description = Some(&spec.description).filter(|text| !text.trim().is_empty());
        let tool = ToolSpecification::builder()
            .name(&spec.name)
            .set_description(description.cloned())
            .input_schema(ToolInputSchema::Json(document(&spec.input_schema)))
            .build();
        tools = tools.tools(Tool::ToolSpec(tool.map_err(incomplete)?));
    }
    tools.build().map(Some).map_err(incomplete)
}

/// Turns alternate between user and assistant; the results of an answer's calls are one turn of the user.
fn turns(name: &ModelName, request: &ModelRequest) -> Result<Vec<Turn>, ModelError> {
    let mut turns: Vec<(ConversationRole, Vec<ContentBlock>)> = Vec::new();
    // The ids that an answer which goes back verbatim has for our calls.
    let mut theirs: HashMap<&str, String> = HashMap::new();
    for (position, message) in request.messages.iter().enumerate() {
        let (role, blocks) = match message {
            Message::User { text } => {
                let images: &[String] = if position == 0 { &request.images } else { &[] };
                let mut blocks = images.iter().map(|image| picture(image));
                let mut blocks = blocks.by_ref().collect::<Result<Vec<_>, _>>()?;
                let text = if text.trim().is_empty() {
                    NO_INPUT
                } else {
                    text
                };
                blocks.push(ContentBlock::Text(text.to_owned()));
                (ConversationRole::User, blocks)
            }
            Message::Assistant {
                text,
                tool_calls,
                content,
            } => {
                let blocks = match verbatim(name, content.as_ref()) {
                    Some(blocks) => {
                        let ids = blocks.iter().filter_map(|block| block.as_tool_use().ok());
                        let ids = ids.map(|call| call.tool_use_id().to_owned());
                        theirs.extend(tool_calls.iter().map(|call| call.id.as_str()).zip(ids));
                        blocks
                    }
                    None => said(text, tool_calls)?,
                };
                (ConversationRole::Assistant, blocks)
            }
            Message::Tool {
                call_id, outcome, ..
            } => {
                let id = theirs.get(call_id.as_str()).unwrap_or(call_id);
                let text = outcome_text(outcome);
                let text = if text.trim().is_empty() {
                    "(nothing)"
                } else {
                    &text
                };
                // Not every model takes a status; the text says what is an error.
                let result = ToolResultBlock::builder()
                    .tool_use_id(id)
                    .content(ToolResultContentBlock::Text(text.to_owned()))
                    .build();
                let result = ContentBlock::ToolResult(result.map_err(incomplete)?);
                (ConversationRole::User, vec![result])
            }
        };
        match turns.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    let turn = |(role, blocks): (ConversationRole, Vec<ContentBlock>)| {
        let turn = Turn::builder().role(role).set_content(Some(blocks));
        turn.build().map_err(incomplete)
    };
    // A turn without anything in it would be refused.
    let turns = turns.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    turns.map(turn).collect()
}

fn picture(image: &str) -> Result<ContentBlock, ModelError> {
    let refused = |why: &str| ModelError::Refused(why.to_owned());
    let inline = image
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"));
    let (kind, data) = inline.ok_or_else(|| {
        refused("Bedrock does not fetch pictures: they must be data: URLs in base64")
    })?;
    let format = match kind {
        "image/png" => ImageFormat::Png,
        "image/jpeg" | "image/jpg" => ImageFormat::Jpeg,
        "image/gif" => ImageFormat::Gif,
        "image/webp" => ImageFormat::Webp,
        _ => return Err(refused("Bedrock takes pictures in PNG, JPEG, GIF or WebP")),
    };
    let bytes = base64::decode(data).map_err(|_| refused("a picture is not base64"))?;
    let source = ImageSource::Bytes(Blob::new(bytes));
    let image = ImageBlock::builder().format(format).source(source).build();
    image.map(ContentBlock::Image).map_err(incomplete)
}

fn said(text: &str, tool_calls: &[ToolCall]) -> Result<Vec<ContentBlock>, ModelError> {
    let mut blocks = Vec::new();
    if !text.trim().is_empty() {
        blocks.push(ContentBlock::Text(text.to_owned()));
    }
    for call in tool_calls {
        blocks.push(called(&call.id, &call.tool, &call.arguments).map_err(incomplete)?);
    }
    Ok(blocks)
}

/// A call. The API takes objects alone; what else a model sent was an error, which its result says.
fn called(id: &str, tool: &str, arguments: &Value) -> Result<ContentBlock, BuildError> {
    let input = if arguments.is_object() {
        document(arguments)
    } else {
        document(&json!({ "invalid": arguments }))
    };
    let call = ToolUseBlock::builder()
        .tool_use_id(id)
        .name(tool)
        .input(input);
    call.build().map(ContentBlock::ToolUse)
}

/// The blocks as this very model gave them: thoughts are signed, and refused when anything of them is changed.
fn verbatim(name: &ModelName, content: Option<&ProviderContent>) -> Option<Vec<ContentBlock>> {
    let content = content.filter(|content| content.model == *name)?;
    let blocks = content.content.as_array()?;
    let blocks = blocks.iter().filter(|block| !is_blank(block));
    blocks.map(block_of).collect()
}

fn is_blank(block: &Value) -> bool {
    block["text"]
        .as_str()
        .is_some_and(|text| text.trim().is_empty())
}

/// A block from the form that `stream` keeps it in.
fn block_of(block: &Value) -> Option<ContentBlock> {
    if let Some(text) = block["text"].as_str() {
        return Some(ContentBlock::Text(text.to_owned()));
    }
    if let Some(call) = block.get("toolUse") {
        let (id, tool) = (call["toolUseId"].as_str()?, call["name"].as_str()?);
        return called(id, tool, &call["input"]).ok();
    }
    let thought = block.get("reasoningContent")?;
    let thought = match thought["redactedContent"].as_str() {
        Some(data) => ReasoningContentBlock::RedactedContent(Blob::new(base64::decode(data).ok()?)),
        None => {
            let thought = &thought["reasoningText"];
            let signature = thought["signature"].as_str().map(str::to_owned);
            let text = ReasoningTextBlock::builder()
                .text(thought["text"].as_str()?)
                .set_signature(signature);
            ReasoningContentBlock::ReasoningText(text.build().ok()?)
        }
    };
    Some(ContentBlock::ReasoningContent(thought))
}

fn incomplete(error: BuildError) -> ModelError {
    ModelError::Refused(format!("Bedrock cannot be asked this: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_along_or_are_refused_with_a_reason() {
        assert!(picture("data:image/png;base64,aGVsbG8=").is_ok());
        for (image, expected) in [
            ("https://example.com/a.png", "does not fetch"),
            ("data:image/svg+xml;base64,aGVsbG8=", "PNG, JPEG"),
            ("data:image/png;base64,!", "not base64"),
        ] {
            let error = picture(image).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
