//! Every translation, both ways, at the wire: `requests/<case>.bedrock.json` is the body that is sent, and
//! `streams/bedrock/<case>.json` has the names and payloads of the events that come back.

use std::fs;
use std::sync::{Arc, Mutex};

use aws_sdk_bedrockruntime::config::SharedHttpClient;
use aws_sdk_bedrockruntime::config::http::{HttpRequest, HttpResponse};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message as Frame};
use domain::credential::ProviderSecret;
use domain::model::Provider;
use domain::run::ProviderContent;
use outbound::OutboundClient;
use serde_json::{Value, json};

use super::{Bedrock, BedrockAccess};
use crate::golden::{
    cases, compare, compare_streamed, folder, images, name, plain, structured, tools, verbatim,
};
use crate::{Message, ModelError, ModelRequest, ModelResponse};

const SECRET: &str = "bedrock-api-key-0123456789";

/// Bedrock's side of a request: what it was asked, and what it answers.
#[derive(Clone, Debug)]
struct Wire {
    asked: Arc<Mutex<Value>>,
    status: u16,
    reply: Vec<u8>,
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let key = request.headers().get("authorization");
        assert_eq!(key, Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(
            request.uri(),
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/model-1/converse-stream"
        );
        *self.asked.lock().unwrap() = body;
        let status = self.status.try_into().unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.reply.clone()));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/vnd.amazon.eventstream");
        headers.insert("retry-after", "7");
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl Wire {
    fn answering(status: u16, reply: Vec<u8>) -> Self {
        Self {
            asked: Arc::default(),
            status,
            reply,
        }
    }

    fn client(&self) -> SharedHttpClient {
        let connection = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connection.clone())
    }
}

/// The events as bytes.
fn frames(events: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events.as_array().unwrap() {
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let kind = event[0].as_str().unwrap();
        let (message_type, name, kind) = match kind.strip_prefix("exception ") {
            Some(kind) => ("exception", ":exception-type", kind),
            None => ("event", ":event-type", kind),
        };
        let frame = Frame::new(event[1].to_string())
            .add_header(Header::new(":message-type", text(message_type)))
            .add_header(Header::new(name, text(kind)))
            .add_header(Header::new(":content-type", text("application/json")));
        write_message_to(&frame, &mut bytes).unwrap();
    }
    bytes
}

async fn ask(
    wire: &Wire,
    request: &ModelRequest,
) -> (Result<ModelResponse, ModelError>, Vec<String>) {
    let access = BedrockAccess::Key {
        secret: ProviderSecret::try_from(SECRET.to_owned()).unwrap(),
        base_url: "https://bedrock-runtime.eu-west-1.amazonaws.com".to_owned(),
    };
    let model = Bedrock::new("model-1".to_owned(), access, OutboundClient::new(false));
    let mut told = Vec::new();
    let mut on_text = |piece: &str| told.push(piece.to_owned());
    let answer = model.converse(wire.client(), request, &mut on_text).await;
    (answer, told)
}

/// The conversation with answers that go back as they came, here with one of Bedrock's.
fn thought() -> ModelRequest {
    let mut request = verbatim();
    if let Message::Assistant { content, .. } = &mut request.messages[1] {
        *content = Some(ProviderContent {
            model: name(Provider::Bedrock, "model-1"),
            content: json!([
                { "reasoningContent": { "reasoningText": { "text": "Bern, then.", "signature": "c2lnbmVk" } } },
                { "reasoningContent": { "redactedContent": "b3BhcXVl" } },
                { "text": "Let me see." },
                { "text": "\n" },
                { "toolUse": { "toolUseId": "tooluse_9", "name": "get_weather", "input": { "location": "Bern", "days": -1.5 } } },
            ]),
        });
    }
    request
}

fn pictures() -> ModelRequest {
    let mut request = images();
    request.images.retain(|image| image.starts_with("data:"));
    request
}

#[tokio::test]
async fn requests_become_what_converse_takes() {
    for (case, request) in [
        ("plain", plain()),
        ("tools", tools()),
        ("verbatim", thought()),
        ("structured", structured()),
        ("images", pictures()),
    ] {
        let wire = Wire::answering(200, Vec::new());
        drop(ask(&wire, &request).await);
        let file = folder().join(format!("requests/{case}.bedrock.json"));
        compare(&file, &wire.asked.lock().unwrap());
    }
    let wire = Wire::answering(200, Vec::new());
    let (refused, _) = ask(&wire, &images()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("does not fetch pictures"), "{why}");
    assert!(wire.asked.lock().unwrap().is_null());
}

#[tokio::test]
async fn streams_become_answers() {
    for file in cases("streams", "bedrock") {
        let events = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let wire = Wire::answering(200, frames(&events));
        let is_structured = file.ends_with("structured.json");
        let request = if is_structured { structured() } else { plain() };
        let (answer, told) = ask(&wire, &request).await;
        compare_streamed(&file, answer, &told);
    }
    let mut half = frames(&json!([["messageStart", { "role": "assistant" }]]));
    half.truncate(half.len() - 3);
    let (answer, _) = ask(&Wire::answering(200, half), &plain()).await;
    assert!(matches!(answer, Err(ModelError::Unavailable { .. })));
}

#[tokio::test]
async fn refusals_say_why_without_the_key() {
    let refused = |why: &str| format!("Refused(\"{why}\")");
    let busy = |why: &str| format!("Unavailable {{ why: \"{why}\", retry_after: Some(7s) }}");
    for (status, body, expected) in [
        (
            429,
            json!({ "__type": "ThrottlingException", "message": "Too many tokens" }),
            busy("the provider answered 429 Too Many Requests"),
        ),
        (
            429,
            json!({ "__type": "ModelNotReadyException", "message": "Not yet" }),
            busy("the provider answered 429 Too Many Requests"),
        ),
        (
            408,
            json!({ "__type": "ModelTimeoutException" }),
            busy("the provider answered 408 Request Timeout"),
        ),
        (
            424,
            json!({ "__type": "ModelErrorException", "message": "Oh" }),
            busy("the provider answered 502 Bad Gateway"),
        ),
        (
            503,
            json!("Service Unavailable"),
            busy("the provider answered 503 Service Unavailable"),
        ),
        (
            400,
            json!({ "__type": "ValidationException", "message": format!("No {SECRET} there") }),
            refused("the provider answered 400 Bad Request: No … there"),
        ),
        (
            403,
            json!({ "__type": "AccessDeniedException", "message": "You don't have access to the model" }),
            refused("the provider refused the key: You don't have access to the model"),
        ),
        (
            400,
            json!({ "Message": "Not so" }),
            refused("the provider answered 400 Bad Request: Not so"),
        ),
        (
            404,
            json!({ "__type": "ResourceNotFoundException", "message": "No such model" }),
            refused("the provider answered 404 Not Found: No such model"),
        ),
    ] {
        let wire = Wire::answering(status, body.to_string().into_bytes());
        let (answer, told) = ask(&wire, &plain()).await;
        assert_eq!(format!("{:?}", answer.unwrap_err()), expected);
        assert!(told.is_empty());
    }
}
