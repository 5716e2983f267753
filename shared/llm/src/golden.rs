//! Every translation, both ways, against the files in `tests/golden`: `requests/<case>.<api>.json` is what an API is sent,
//! `replies/<api>/<case>.json` what it answers at once, `streams/<api>/<case>.sse` what it answers in pieces, and
//! `<case>.answer.json` beside these what we make of that.
//!
//! An expected file that is missing is written, and the test fails once: look at it before checking it in.

use std::fs;
use std::path::{Path, PathBuf};

use domain::model::{ModelName, Provider};
use domain::run::{ProviderContent, ToolCall, ToolOutcome};
use futures::stream;
use serde_json::{Value, json};

use crate::redact::RedactingSink;
use crate::structure::in_words;
use crate::unsupported::{Member, Unsupported};
use crate::{Message, ModelError, ModelRequest, ModelResponse, ToolSpec, anthropic, openai};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn name(provider: Provider, model: &str) -> ModelName {
    let model = model.to_owned();
    ModelName::Hosted { provider, model }
}

/// The body that each API is sent for a request.
fn translations(request: &ModelRequest) -> [(&'static str, Value); 3] {
    let all = Unsupported::default();
    [
        ("openai", openai::body("model-1", request, true, &all)),
        ("compatible", openai::body("model-1", request, false, &all)),
        ("anthropic", anthropic::body("model-1", request)),
    ]
}

fn read(api: &str, body: Value) -> Result<ModelResponse, ModelError> {
    match api {
        "openai" => openai::answer(&name(Provider::OpenAi, "model-1"), body),
        _ => anthropic::answer(&name(Provider::Anthropic, "model-1"), body),
    }
}

pub(crate) fn user(text: &str) -> Message {
    Message::User {
        text: text.to_owned(),
    }
}

pub(crate) fn call(id: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        tool: "get_weather".to_owned(),
        arguments,
    }
}

pub(crate) fn result(id: &str, outcome: ToolOutcome) -> Message {
    Message::Tool {
        call_id: id.to_owned(),
        tool: "get_weather".to_owned(),
        outcome,
    }
}

pub(crate) fn plain() -> ModelRequest {
    ModelRequest {
        instructions: "Be brief.".to_owned(),
        messages: vec![user("What is the capital of France?")],
        max_output_tokens: 512,
        ..ModelRequest::default()
    }
}

/// Two parallel calls, one of which failed, and one with arguments that were no JSON.
pub(crate) fn tools() -> ModelRequest {
    let schema = json!({ "type": "object", "properties": { "location": { "type": "string" } }, "required": ["location"] });
    ModelRequest {
        messages: vec![
            user("Compare the weather."),
            Message::Assistant {
                text: "I look it up.".to_owned(),
                tool_calls: vec![
                    call("call_1_1", json!({ "location": "Bern" })),
                    call("call_1_2", json!({ "location": "Nowhere" })),
                ],
                content: None,
            },
            result("call_1_1", ToolOutcome::Ok(json!({ "temperature": 7.5 }))),
            result("call_1_2", ToolOutcome::Error("no such place".to_owned())),
            Message::Assistant {
                text: String::new(),
                tool_calls: vec![call("call_2_1", json!("{\"location\": \"Oslo"))],
                content: None,
            },
            result(
                "call_2_1",
                ToolOutcome::Error("the arguments are not JSON".to_owned()),
            ),
        ],
        tools: vec![ToolSpec {
            name: "get_weather".to_owned(),
            description: "The weather at a place.".to_owned(),
            input_schema: schema,
            idempotent: true,
        }],
        ..plain()
    }
}

/// An answer that goes back as it came, to the model that gave it, and in our words to any other.
pub(crate) fn verbatim() -> ModelRequest {
    let given = |provider, content| {
        Some(ProviderContent {
            model: name(provider, "model-1"),
            content,
        })
    };
    let thought = json!([
        { "type": "thinking", "thinking": "Bern, then.", "signature": "c2lnbmVk" },
        { "type": "redacted_thinking", "data": "b3BhcXVl" },
        { "type": "text", "text": "Let me see." },
        { "type": "tool_use", "id": "toolu_9", "name": "get_weather", "input": { "location": "Bern" } },
    ]);
    let reasoned = json!({
        "role": "assistant", "content": "And there?", "reasoning_content": "Oslo is next.",
        "tool_calls": [{ "id": "call_xyz", "type": "function", "function": { "name": "get_weather", "arguments": "{ \"location\":\"Oslo\" }" } }],
    });
    ModelRequest {
        messages: vec![
            user("Compare the weather."),
            Message::Assistant {
                text: "Let me see.".to_owned(),
                tool_calls: vec![call("call_1_1", json!({ "location": "Bern" }))],
                content: given(Provider::Anthropic, thought),
            },
            result("call_1_1", ToolOutcome::Ok(json!("rain"))),
            Message::Assistant {
                text: "And there?".to_owned(),
                tool_calls: vec![call("call_2_1", json!({ "location": "Oslo" }))],
                content: given(Provider::OpenAi, reasoned),
            },
            result("call_2_1", ToolOutcome::Ok(json!("snow"))),
        ],
        ..tools()
    }
}

pub(crate) fn structured() -> ModelRequest {
    ModelRequest {
        output_schema: Some(
            json!({ "type": "object", "properties": { "capital": { "type": "string" } }, "required": ["capital"] }),
        ),
        ..plain()
    }
}

pub(crate) fn images() -> ModelRequest {
    ModelRequest {
        instructions: String::new(),
        messages: vec![user("")],
        images: vec![
            "https://example.com/a.png".to_owned(),
            "data:image/jpeg;base64,aGVsbG8=".to_owned(),
        ],
        ..plain()
    }
}

#[test]
fn requests_become_what_each_api_takes() {
    for (case, request) in [
        ("plain", plain()),
        ("tools", tools()),
        ("verbatim", verbatim()),
        ("structured", structured()),
        ("images", images()),
    ] {
        for (api, body) in translations(&request) {
            let file = folder().join(format!("requests/{case}.{api}.json"));
            compare(&file, &body);
        }
    }
}

#[test]
fn what_a_service_refuses_is_left_out_or_said_in_words() {
    let refused = [Member::Stream, Member::MaxTokens, Member::ResponseFormat];
    let without = Unsupported::from_iter(refused);
    let body = openai::body("model-1", &in_words(&structured()), false, &without);
    compare(&folder().join("requests/structured.refusing.json"), &body);
}

#[test]
fn replies_become_answers() {
    for api in ["openai", "anthropic"] {
        for file in cases("replies", api) {
            let body = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            let expected = file.with_extension("answer.json");
            compare(&expected, &shown(read(api, body)));
        }
    }
}

#[tokio::test]
async fn streams_become_the_same_answers() {
    for api in ["openai", "anthropic"] {
        for file in cases("streams", api) {
            // Pieces come as the network cuts them.
            let bytes = fs::read(&file).unwrap();
            let chunks = bytes.chunks(7).map(|chunk| Ok(chunk.to_vec().into()));
            let chunks = stream::iter(chunks.collect::<Vec<_>>());
            let mut told = Vec::new();
            let mut on_text = |piece: &str| told.push(piece.to_owned());
            let mut sink = RedactingSink::new(None, &mut on_text);
            let body = match api {
                "openai" => {
                    crate::stream::read(chunks, openai::StreamAccumulator::default(), &mut sink)
                        .await
                }
                _ => {
                    crate::stream::read(chunks, anthropic::StreamAccumulator::default(), &mut sink)
                        .await
                }
            };
            sink.end();
            compare_streamed(&file, body.and_then(|body| read(api, body)), &told);
        }
    }
}

/// Compares what came of a stream, and in what pieces its text was told.
#[track_caller]
pub(crate) fn compare_streamed(
    file: &Path,
    answer: Result<ModelResponse, ModelError>,
    told: &[String],
) {
    if let Ok(answer) = &answer {
        assert_eq!(told.concat(), answer.text, "{}", file.display());
    }
    let mut answer = shown(answer);
    answer["told"] = json!(told);
    compare(&file.with_extension("answer.json"), &answer);
}

/// The files for an API, less the answers in them.
pub(crate) fn cases(kind: &str, api: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join(kind).join(api)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_case = |path: &PathBuf| !path.to_string_lossy().ends_with(".answer.json");
    let mut cases: Vec<_> = paths.filter(is_case).collect();
    cases.sort();
    assert!(cases.len() >= 5, "{}", cases.len());
    cases
}

/// An answer as a file has it.
fn shown(answer: Result<ModelResponse, ModelError>) -> Value {
    match answer {
        Ok(answer) => json!({
            "text": answer.text,
            "tool_calls": answer.tool_calls,
            "usage": answer.usage,
            "content": answer.content,
            "stop": format!("{:?}", answer.stop),
        }),
        Err(error) => json!({ "error": format!("{error:?}") }),
    }
}

/// Fails with the lines that differ when `file` does not hold `actual`.
#[track_caller]
pub(crate) fn compare(file: &Path, actual: &Value) {
    let actual = format!("{actual:#}\n");
    let Ok(expected) = fs::read_to_string(file) else {
        fs::write(file, &actual).unwrap();
        panic!("{} is new: look at it", file.display());
    };
    let (mut old, mut new) = (expected.lines(), actual.lines());
    let mut difference = Vec::new();
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                difference.extend(old.map(|line| format!("{number:4} - {line}")));
                difference.extend(new.map(|line| format!("{number:4} + {line}")));
            }
        }
    }
    assert!(
        difference.is_empty(),
        "{} says otherwise:\n{}",
        file.display(),
        difference.join("\n")
    );
}
