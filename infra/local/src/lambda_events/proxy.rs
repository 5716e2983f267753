//! Version 1.0 of API Gateway's proxy integration: requests as events, and responses as functions give them back.

use std::collections::HashMap;

use axum::body::Body;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayProxyRequestContext, ApiGatewayProxyResponse,
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use crate::runtime_api::ResponseStream;

/// The separator between the head of a streamed response and its body.
const DELIMITER: [u8; 8] = [0; 8];
/// The most bytes of the head of a streamed response.
const HEAD_LIMIT: usize = 64 * 1024;

/// The event that a function gets. `binary` are the media types whose bodies go into it in base64; of any other body, what
/// is not UTF-8 is replaced, as API Gateway does.
pub(crate) fn event(
    head: &request::Parts,
    context: ApiGatewayProxyRequestContext,
    path_parameters: HashMap<String, String>,
    body: &[u8],
    binary: &[String],
) -> ApiGatewayProxyRequest {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut query: HashMap<String, Vec<String>> = HashMap::new();
    for pair in head.uri.query().unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !name.is_empty() {
            query.entry(decoded(name)).or_default().push(decoded(value));
        }
    }
    let headers = readable(&head.headers);
    // Of a header that is there more than once, one member has the last value and the other all of them.
    let last = headers.keys().filter_map(|name| {
        Some((
            name.clone(),
            headers.get_all(name).iter().next_back()?.clone(),
        ))
    });
    let mut event = ApiGatewayProxyRequest::default();
    event.resource = context.resource_path.clone();
    event.path = Some(head.uri.path().to_owned());
    event.http_method = head.method.clone();
    event.headers = last.collect();
    event.multi_value_headers = headers;
    event.query_string_parameters = query.clone().into();
    event.multi_value_query_string_parameters = query.into();
    event.path_parameters = path_parameters;
    event.request_context = context;
    if !body.is_empty() {
        event.is_base64_encoded = is_among(binary, media_type(&head.headers, &CONTENT_TYPE));
        event.body = Some(text(body, event.is_base64_encoded));
    }
    event
}

/// An event is JSON, so it has no header values that are not UTF-8.
fn readable(headers: &HeaderMap) -> HeaderMap {
    let mut readable = headers.clone();
    for value in readable.values_mut() {
        if let text @ std::borrow::Cow::Owned(_) = String::from_utf8_lossy(value.as_bytes())
            && let Ok(replaced) = HeaderValue::from_bytes(text.as_bytes())
        {
            *value = replaced;
        }
    }
    readable
}

pub(super) fn text(body: &[u8], is_binary: bool) -> String {
    if is_binary {
        BASE64_STANDARD.encode(body)
    } else {
        String::from_utf8_lossy(body).into_owned()
    }
}

/// The first media type that a header names.
pub(super) fn media_type<'a>(headers: &'a HeaderMap, header: &HeaderName) -> &'a str {
    let text = headers.get(header).and_then(|text| text.to_str().ok());
    let text = text.unwrap_or_default();
    text.split([',', ';']).next().unwrap_or_default().trim()
}

/// Returns `true` if `kind` is one of `types`, in which a star stands for anything on its side of the slash.
pub(super) fn is_among(types: &[String], kind: &str) -> bool {
    types.iter().any(|known| match known.split_once('/') {
        Some(("*", "*")) => true,
        Some((first, "*")) => kind
            .split_once('/')
            .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(first)),
        _ => known.eq_ignore_ascii_case(kind),
    })
}

/// A result that is no response.
#[derive(Debug, thiserror::Error)]
#[error("the result is no response that API Gateway understands: {0}")]
pub(crate) struct Malformed(String);

/// Reads what a function gave back whole. API Gateway makes bytes of base64 only for a client that asks for one of the
/// `binary` types first; any other gets the base64.
pub(crate) fn whole_response(
    result: &[u8],
    request: &HeaderMap,
    binary: &[String],
) -> Result<Response<Body>, Malformed> {
    let wants_bytes = is_among(binary, media_type(request, &ACCEPT));
    let (head, body) = parsed(result)?;
    let body = match body {
        Some((text, true)) if wants_bytes => decode(&text)?.into(),
        Some((text, _)) => text,
        None => Bytes::new(),
    };
    Ok(head.map(|()| Body::from(body)))
}

/// The head of a result, and its text with whether that is base64.
pub(crate) type Parsed = (Response<()>, Option<(Bytes, bool)>);

/// Takes a result apart, without a look at what its client wants.
pub(crate) fn parsed(result: &[u8]) -> Result<Parsed, Malformed> {
    let response: ApiGatewayProxyResponse =
        serde_json::from_slice(result).map_err(|error| Malformed(error.to_string()))?;
    let status = u16::try_from(response.status_code)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Malformed(format!("statusCode is {}", response.status_code)))?;
    let mut headers = response.multi_value_headers;
    for (name, value) in &response.headers {
        // Merged with those of the same name, unless it is one of them.
        if !headers.get_all(name).iter().any(|known| known == value) {
            headers.append(name, value.clone());
        }
    }
    let body = response
        .body
        .map(|body| (Bytes::from(body.to_vec()), response.is_base64_encoded));
    Ok((head(status, headers), body))
}

pub(crate) fn decode(base64: &[u8]) -> Result<Vec<u8>, Malformed> {
    BASE64_STANDARD
        .decode(base64)
        .map_err(|error| Malformed(format!("its body is not base64: {error}")))
}

/// The head of a streamed response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prelude {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, Value>,
    #[serde(default)]
    multi_value_headers: HashMap<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
}

/// Reads what a function streams: waits for the head, and leaves the body to come.
pub(crate) async fn streamed_response(
    mut pieces: ResponseStream,
) -> Result<Response<Body>, Malformed> {
    let mut beginning = BytesMut::new();
    let prelude = loop {
        let piece = match pieces.next().await {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Err(Malformed(error.to_string())),
            None => return Err(Malformed("it ends before its body begins".to_owned())),
        };
        // The delimiter may have begun in the piece before.
        let from = beginning.len().saturating_sub(DELIMITER.len() - 1);
        beginning.extend_from_slice(&piece);
        let found = beginning[from..]
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER);
        if let Some(position) = found {
            let mut rest = beginning.split_off(from + position);
            pieces.push_back(rest.split_off(DELIMITER.len()).freeze());
            break beginning;
        }
        if beginning.len() > HEAD_LIMIT {
            return Err(Malformed("its body does not begin".to_owned()));
        }
    };
    let prelude: Prelude =
        serde_json::from_slice(&prelude).map_err(|error| Malformed(error.to_string()))?;
    let status = StatusCode::from_u16(prelude.status_code)
        .map_err(|_| Malformed(format!("statusCode is {}", prelude.status_code)))?;
    let cookies = Value::from(prelude.cookies);
    let mut headers = HeaderMap::new();
    let named = prelude.headers.iter().chain(&prelude.multi_value_headers);
    for (name, values) in named
        .map(|(name, values)| (name.as_str(), values))
        .chain([(SET_COOKIE.as_str(), &cookies)])
    {
        append(&mut headers, name, values)?;
    }
    Ok(head(status, headers).map(|()| pieces.into_body()))
}

fn append(headers: &mut HeaderMap, name: &str, values: &Value) -> Result<(), Malformed> {
    let unreadable = || Malformed(format!("the header {name} cannot be read"));
    let known: HeaderName = name.parse().map_err(|_| unreadable())?;
    let values = match values {
        Value::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    for value in values {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return Err(unreadable()),
        };
        let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| unreadable())?;
        headers.append(&known, value);
    }
    Ok(())
}

/// A response without what only says how its body travelled to the gateway.
fn head(status: StatusCode, mut headers: HeaderMap) -> Response<()> {
    for header in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(header);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_streamed_response_has_its_head_wherever_its_pieces_end() {
        let pieces = ResponseStream::of([
            br#"{"statusCode":201,"headers":{"x-one":"1","x-two":["2","3"],"#.as_slice(),
            b"\"content-length\":\"9\"},\"cookies\":[\"a=1\",\"b=2\"]}\0\0\0",
            b"\0\0\0\0",
            b"\0first",
            b"second\0\0\0\0\0\0\0\0",
        ]);
        let response = streamed_response(pieces).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let count = |name: &str| response.headers().get_all(name).iter().count();
        let counts = ["x-one", "x-two", "set-cookie", "content-length"].map(count);
        assert_eq!(counts, [1, 2, 2, 0]);
        let body = axum::body::to_bytes(response.into_body(), 100).await;
        assert_eq!(body.unwrap(), "firstsecond\0\0\0\0\0\0\0\0");
    }

    #[tokio::test]
    async fn what_is_no_response_is_told() {
        let pieces: [&[u8]; 4] = [
            br#"{"statusCode":200}"#,
            b"text\0\0\0\0\0\0\0\0",
            b"{\"statusCode\":1000}\0\0\0\0\0\0\0\0",
            b"{\"statusCode\":200,\"headers\":{\"a b\":\"\"}}\0\0\0\0\0\0\0\0",
        ];
        for piece in pieces {
            let read = streamed_response(ResponseStream::of([piece])).await;
            assert!(read.is_err(), "{}", String::from_utf8_lossy(piece));
        }
        let wholes: [&[u8]; 4] = [
            b"null",
            b"{}",
            br#"{"statusCode":1000}"#,
            br#"{"statusCode":200,"headers":{"a b":""}}"#,
        ];
        for whole in wholes {
            let read = whole_response(whole, &HeaderMap::new(), &[]);
            assert!(read.is_err(), "{}", String::from_utf8_lossy(whole));
        }
    }

    #[test]
    fn headers_of_one_name_are_merged_unless_they_are_the_same() {
        let result = br#"{"statusCode":200,"headers":{"x":"1","y":"2"},"multiValueHeaders":{"x":["1","3"],"y":["4"]}}"#;
        let response = whole_response(result, &HeaderMap::new(), &[]).unwrap();
        let values = |name: &str| -> Vec<&HeaderValue> {
            let values = response.headers().get_all(name);
            values.iter().collect()
        };
        assert_eq!(values("x"), ["1", "3"]);
        assert_eq!(values("y"), ["4", "2"]);
    }
}
