//! DynamoDB's JSON protocol, version 20120810, spoken by dynoxide in this process.

use axum::body::Body;
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

const TARGET: &str = "DynamoDB_20120810.";
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const UNKNOWN: &str = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Does what a request asks for, on this thread.
pub(super) fn answer(database: &Database, head: &Parts, body: &Bytes) -> Response<Body> {
    let target = head.headers.get("x-amz-target");
    let operation = target
        .and_then(|target| target.to_str().ok()?.strip_prefix(TARGET))
        .unwrap_or_default();
    let (status, body) = match dispatch(database, operation, body) {
        None => (StatusCode::BAD_REQUEST, UNKNOWN.to_owned()),
        Some(Ok(answer)) => (StatusCode::OK, answer),
        Some(Err(error)) => {
            let status = StatusCode::from_u16(error.status_code());
            let status = status.unwrap_or(StatusCode::BAD_REQUEST);
            if status.is_server_error() {
                tracing::error!(operation, %error, "DynamoDB failed");
            }
            (status, error.to_json())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// `None` where there is no such operation.
fn dispatch(
    database: &Database,
    operation: &str,
    body: &[u8],
) -> Option<Result<String, DynoxideError>> {
    macro_rules! operations {
        ($($name:literal => $method:ident,)*) => {
            match operation {
                $($name => read(operation, body)
                    .and_then(|request| write(&database.$method(request)?)),)*
                _ => return None,
            }
        };
    }
    let answer = operations! {
        "GetItem" => get_item,
        "PutItem" => put_item,
        "UpdateItem" => update_item,
        "DeleteItem" => delete_item,
        "Query" => query,
        "Scan" => scan,
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "TransactGetItems" => transact_get_items,
        "TransactWriteItems" => transact_write_items,
        "DescribeTable" => describe_table,
        "ListTables" => list_tables,
        "CreateTable" => create_table,
        "UpdateTable" => update_table,
        "DeleteTable" => delete_table,
        "DescribeTimeToLive" => describe_time_to_live,
        "UpdateTimeToLive" => update_time_to_live,
        "ExecuteStatement" => execute_statement,
        "BatchExecuteStatement" => batch_execute_statement,
        "ExecuteTransaction" => execute_transaction,
        "ListTagsOfResource" => list_tags_of_resource,
        "TagResource" => tag_resource,
        "UntagResource" => untag_resource,
    };
    Some(answer)
}

fn write(answer: &impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(answer).map_err(|error| {
        DynoxideError::InternalServerError(format!("the answer cannot be written: {error}"))
    })
}

/// Reads a request. What dynoxide's types find wrong comes as text, with a word before it that says which error it is.
fn read<T: DeserializeOwned>(operation: &str, body: &[u8]) -> Result<T, DynoxideError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| refused(operation, &error.to_string()))
}

fn refused(operation: &str, text: &str) -> DynoxideError {
    // serde_json says where; DynamoDB does not.
    let place = text.rfind(" at line ").unwrap_or(text.len());
    let text = &text[..place];
    let after = |words: &[&str]| words.iter().find_map(|word| text.strip_prefix(word));
    if let Some(text) = after(&["VALIDATION_REQUEST:"]) {
        let is_enveloped = matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem");
        let envelope = if is_enveloped {
            "1 validation error detected: "
        } else {
            ""
        };
        return DynoxideError::ValidationException(format!("{envelope}{text}"));
    }
    if let Some(text) = after(&["VALIDATION:", "VALIDATION_AS_READ:"]) {
        return DynoxideError::ValidationException(text.to_owned());
    }
    if let Some(text) = after(&["SERIALIZATION:", "SERIALIZATION_AS_READ:"]) {
        return DynoxideError::SerializationException(text.to_owned());
    }
    let of_values = [
        "missing field",
        "unknown variant",
        "invalid type: null",
        "AttributeValue",
    ];
    if of_values.iter().any(|words| text.contains(words)) {
        DynoxideError::ValidationException(text.to_owned())
    } else {
        DynoxideError::SerializationException(text.to_owned())
    }
}
