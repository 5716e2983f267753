//! The part of a reply that a model gets to see.

use domain::payload::{self, MAX_DEPTH};
use outbound::OutboundResponse;
use reqwest::Response;
use reqwest::header::{self, HeaderName};
use serde_json::{Map, Value, json};

/// The most of a reply that a model gets to see, in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// The headers of a reply that a model gets to see.
const SHOWN: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

pub(super) async fn result(response: OutboundResponse) -> Value {
    let mut headers = Map::new();
    for name in &SHOWN {
        // Of a body that is there, the length says nothing new.
        let is_said = *name == header::CONTENT_LENGTH && !response.body.is_empty();
        if let Some(value) = response.headers.get(name).filter(|_| !is_said) {
            headers.insert(
                name.to_string(),
                json!(String::from_utf8_lossy(value.as_bytes())),
            );
        }
    }
    let mut result = json!({ "status": response.status.as_u16(), "headers": headers });
    let kind = headers
        .get("content-type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    let size = response.body.len();
    if response.status.is_redirection() && headers.contains_key("location") {
        result["note"] =
            json!("redirects are not followed; the location header says where it went");
    }
    let is_deep = is_json && size <= MAX_BODY && payload::depth(&response.body) > MAX_DEPTH;
    if is_json
        && size <= MAX_BODY
        && !is_deep
        && let Ok(body) = serde_json::from_slice::<Value>(&response.body)
    {
        result["body"] = body;
    } else if let Some(what) = unreadable(essence, &response) {
        result["body"] = Value::Null;
        result["note"] = json!(format!(
            "the body is {what} and is not shown ({size} bytes)"
        ));
    } else {
        let mut text = decode(response).await;
        if text.len() > MAX_BODY {
            text.truncate(text.floor_char_boundary(MAX_BODY));
            result["truncated"] = json!(true);
            result["size"] = json!(size);
        }
        if is_deep {
            result["note"] = json!(format!(
                "the body is JSON nested more than {MAX_DEPTH} levels deep, and is shown as text"
            ));
        }
        result["body"] = json!(text);
    }
    result
}

/// The description of a body that no model can read.
fn unreadable(essence: &str, response: &OutboundResponse) -> Option<String> {
    // What is sent as application/octet-stream may be text all the same.
    const BINARY: [&str; 5] = [
        "application/gzip",
        "application/pdf",
        "application/wasm",
        "application/x-tar",
        "application/zip",
    ];
    let is_media = ["audio/", "font/", "image/", "video/"]
        .iter()
        .any(|kind| essence.starts_with(kind))
        && essence != "image/svg+xml";
    let is_encoded = response.headers.get(header::CONTENT_ENCODING);
    let is_encoded = is_encoded.is_some_and(|encoding| encoding != "identity");
    if response.body.is_empty() {
        None
    } else if is_encoded {
        Some("compressed".to_owned())
    } else if is_media || BINARY.contains(&essence) {
        Some(format!("not text but {essence}"))
    } else if response.body.contains(&0) {
        Some("not text".to_owned())
    } else {
        None
    }
}

/// The body as text, by the character set that its content type names.
async fn decode(response: OutboundResponse) -> String {
    let mut reply = http::Response::new(response.body);
    *reply.headers_mut() = response.headers;
    Response::from(reply).text().await.unwrap_or_default()
}
