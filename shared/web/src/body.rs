//! Bodies of requests: JSON, or as they were received.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use domain::Error;
use domain::payload;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;
use crate::params::demand;
use crate::scope::RequestScope;

/// A JSON body, whose content type has to say so: a web page can send other types to any origin without a preflight.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be left out, which then means the default.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_said_to_be_json(request.headers());
        let body = read_body(request).await?;
        if body.is_empty() {
            return Err(ApiError(Error::Malformed(
                "the request needs a JSON body".to_owned(),
            )));
        }
        if !is_json {
            return Err(ApiError(Error::UnsupportedMediaType));
        }
        Ok(Self(parse_json(&body)?))
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_said_to_be_json(request.headers());
        let body = read_body(request).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            Ok(Self(T::default()))
        } else if is_json {
            Ok(Self(parse_json(&body)?))
        } else {
            Err(ApiError(Error::UnsupportedMediaType))
        }
    }
}

/// The body as it was received, of whatever content type: what a signature is verified over.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Ok(Self(read_body(request).await?))
    }
}

/// Tells whether the content type is `application/json`, or another one that is JSON, with whatever parameters.
fn is_said_to_be_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    subtype == "json"
        || subtype
            .strip_suffix("+json")
            .is_some_and(|name| !name.is_empty())
}

/// The body, up to what its route takes.
pub(crate) async fn read_body(request: Request) -> Result<Bytes, Error> {
    let (parts, body) = request.into_parts();
    read_up_to(body, RequestScope::of(&parts).max_body).await
}

/// The body, up to `limit`.
pub(crate) async fn read_up_to(body: Body, limit: usize) -> Result<Bytes, Error> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if too_large {
            Error::TooLarge { limit }
        } else {
            Error::Malformed("the request body broke off".to_owned())
        }
    })
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    if std::str::from_utf8(body).is_err() {
        return Err(Error::Malformed("the request body is not UTF-8".to_owned()));
    }
    if has_nul(body) {
        return Err(Error::Malformed(
            "the request body contains the NUL character".to_owned(),
        ));
    }
    if let Some(member) = payload::too_deep_member(body) {
        return Err(Error::invalid(member, payload::too_deep()));
    }
    // As a value first: members that the type does not know are skipped without a limit on their depth otherwise.
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| json_error(".", &error))?;
    // Every body here is an object. Serde would take a list for one, member by member.
    if !value.is_object() {
        return Err(Error::Malformed(
            "the request body must be an object".to_owned(),
        ));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        json_error(&path, &error.into_inner())
    })
}

/// Tells whether a JSON text has an escaped NUL. A raw one is no JSON to begin with.
fn has_nul(body: &[u8]) -> bool {
    let is_even = |index: usize| {
        body[..index]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count()
            % 2
            == 0
    };
    body.windows(6)
        .enumerate()
        .any(|(index, window)| window == b"\\u0000" && is_even(index))
}

/// A syntax error concerns the body, a wrong value its field.
fn json_error(path: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    if !error.is_data() {
        return Error::Malformed(format!(
            "the request body is not JSON: {text} (line {}, column {})",
            error.line(),
            error.column()
        ));
    }
    let parent = if path == "." { "" } else { path };
    let named = |prefix: &str| {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.split('`').next())
    };
    if let Some(name) = named("missing field `") {
        let field = if parent.is_empty() {
            name.to_owned()
        } else {
            format!("{parent}.{name}")
        };
        return Error::invalid(field, "is required");
    }
    let message = demand(text);
    if parent.is_empty() {
        return Error::Malformed(format!("the request body {message}"));
    }
    Error::invalid(parent, message)
}

/// For a member that may be `null`: tells that from one that is left out, which `#[serde(default)]` makes `None`.
pub fn double_option<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
