//! What handlers take from a request. A rejection is a domain error like any other, and gets its dialect's face.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use auth::{NamedLimit, Policy};
use axum::body::Body;
use axum::extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use domain::Error;
use domain::date::{Day, Moment};
use domain::ids::{self, Identifier};
use domain::payload;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::scope::RequestScope;
use crate::serve::EndpointLimit;
use crate::{ApiError, AppContext, idempotency};

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

/// Whether the content type is `application/json`, or another one that is JSON, with whatever parameters.
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

/// Whether a JSON text has an escaped NUL. A raw one is no JSON to begin with.
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

/// What serde says of a wrong value, as a demand. "invalid type: integer `7`, expected a string": the value itself stays out of
/// the answer.
fn demand(text: &str) -> String {
    let is_about_value = text.starts_with("invalid type: ") || text.starts_with("unknown variant ");
    match text.split_once(", expected ").filter(|_| is_about_value) {
        Some((_, "a map")) => "must be an object".to_owned(),
        Some((_, "a sequence")) => "must be a list".to_owned(),
        Some((_, expected)) => format!("must be {}", expected.trim_start_matches("struct ")),
        None => text.to_owned(),
    }
}

/// For a member that may be `null`: tells that from one that is left out, which `#[serde(default)]` makes `None`.
pub fn double_option<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The query, decoded. A parameter that is given twice counts once, the last time.
#[derive(Clone, Debug, Default)]
pub struct Params(HashMap<String, String>);

impl Params {
    pub(crate) fn parse(query: &str) -> Result<Self, Error> {
        let mut params = HashMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                let decoded = percent_decode_str(&text)
                    .decode_utf8()
                    .map(|text| text.into_owned());
                decoded.map_err(|_| Error::Malformed("the query is not UTF-8".to_owned()))
            };
            params.insert(decode(name)?, decode(value)?);
        }
        Ok(Self(params))
    }

    /// The text of a parameter; one that is empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A parameter read as a `T`.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, Error> {
        let value = self.get(name).map(str::parse).transpose();
        value.map_err(|error: T::Err| Error::invalid_query(name, error.to_string()))
    }

    /// A parameter that is a word of the enum `T`.
    pub fn word<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Error> {
        let read = |word| T::deserialize(StrDeserializer::<value::Error>::new(word));
        let word = self.get(name).map(read).transpose();
        word.map_err(|error| Error::invalid_query(name, demand(&error.to_string())))
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &'static str, least: u32, most: u32) -> Result<Option<u32>, Error> {
        let wrong = || match most {
            u32::MAX => {
                Error::invalid_query(name, format!("must be a whole number of at least {least}"))
            }
            _ => Error::invalid_query(
                name,
                format!("must be a whole number from {least} to {most}"),
            ),
        };
        let number = self
            .get(name)
            .map(|text| text.parse::<u32>().map_err(|_| wrong()))
            .transpose()?;
        match number {
            Some(number) if !(least..=most).contains(&number) => Err(wrong()),
            number => Ok(number),
        }
    }

    /// A moment in RFC 3339, or a day, which means its first moment in UTC.
    pub fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Error> {
        let moment = self.parsed::<Moment>(name)?;
        Ok(moment.map(|moment| moment.0))
    }

    /// A day.
    pub fn day(&self, name: &'static str) -> Result<Option<NaiveDate>, Error> {
        let day = self.parsed::<Day>(name)?;
        Ok(day.map(|day| day.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

/// The one id of the path. Whatever is not the form of an id names nothing, so it is not found.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

/// The two ids of the path, in order.
#[derive(Clone, Copy, Debug)]
pub struct IdPair<A, B>(pub A, pub B);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = path_variables(parts, state).await;
        let id = segments
            .first()
            .filter(|_| segments.len() == 1)
            .and_then(|segment| segment.parse().ok());
        id.map(Self).ok_or(ApiError(Error::NotFound("resource")))
    }
}

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for IdPair<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = path_variables(parts, state).await;
        let pair = match segments.as_slice() {
            [first, second] => first.parse().ok().zip(second.parse().ok()),
            _ => None,
        };
        pair.map(|(first, second)| Self(first, second))
            .ok_or(ApiError(Error::NotFound("resource")))
    }
}

async fn path_variables<S: Send + Sync>(parts: &mut Parts, state: &S) -> Vec<String> {
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => params.iter().map(|(_, value)| value.to_owned()).collect(),
        // Not UTF-8 once decoded, so no id of ours.
        Err(_) => Vec::new(),
    }
}

/// The limit of a signed route ([`crate::RoutePolicy::signed`]), which its handler counts requests against once it has verified their
/// signature.
#[derive(Clone)]
pub struct SignedEndpoint {
    limit: NamedLimit,
    context: AppContext,
}

impl SignedEndpoint {
    /// Counts a request of the endpoint with this id.
    ///
    /// # Errors
    /// `RateLimited` over the limit; an error of the store when the request cannot be counted.
    pub async fn count(&self, endpoint: impl ToString) -> Result<(), Error> {
        let services = &self.context.services;
        let policy = Policy {
            name: self.limit.name,
            subject: endpoint.to_string(),
            limit: (self.limit.of)(&services.config.limits),
        };
        let limiter = self.context.authenticator.limiter();
        limiter.require_counted(&policy, services.clock.now()).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedEndpoint
where
    AppContext: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let limit = parts.extensions.get::<EndpointLimit>().copied();
        let EndpointLimit(limit) =
            limit.ok_or_else(|| Error::internal("the route is not a signed one"))?;
        Ok(Self {
            limit,
            context: AppContext::from_ref(state),
        })
    }
}

/// When the host stops waiting for this request's answer, where it says so.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Option<DateTime<Utc>>);

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let context = parts.extensions.get::<lambda_http::Context>();
        let millis = context.and_then(|context| i64::try_from(context.deadline).ok());
        Ok(Self(millis.and_then(DateTime::from_timestamp_millis)))
    }
}

/// The header that names the last event of a stream that a client has seen. Clients that cannot set headers use the parameter.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub const LAST_EVENT_ID_PARAMETER: &str = "last_event_id";

/// The id for what this request creates: a fresh one, or for a request with an `Idempotency-Key` always the same, so that a
/// repetition after a crash meets the row that the first attempt wrote.
#[derive(Clone, Copy, Debug)]
pub struct NewId {
    pub(crate) seed: Option<(DateTime<Utc>, [u8; 32])>,
}

impl NewId {
    /// The id, with the time `now` unless the request was first made earlier. Each type of id has its own.
    pub fn id<T: Identifier>(&self, now: DateTime<Utc>) -> T {
        T::from(self.seed.map_or_else(
            || ids::new_v7(now),
            |(first_at, seed)| {
                let seed = [T::NAME.as_bytes(), &seed].concat();
                ids::deterministic(first_at, &Sha256::digest(seed).into())
            },
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NewId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(fresh) => Ok(*fresh),
            None if parts.extensions.get::<idempotency::Key>().is_some() => Err(ApiError(
                Error::internal("an id was wanted before the request's key was looked up"),
            )),
            None => Ok(Self { seed: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::text::Name;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Outer {
        name: Name,
        inner: Option<Inner>,
        choice: Option<Choice>,
        map: Option<HashMap<String, u32>>,
        any: Option<serde_json::Value>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Up,
        Down,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Inner {
        count: u32,
    }

    #[test]
    fn a_word_of_the_query_is_one_of_the_enum() {
        let params = Params::parse("fine=down&wrong=left").unwrap();
        assert_eq!(params.word::<Choice>("fine").unwrap(), Some(Choice::Down));
        assert_eq!(params.word::<Choice>("absent").unwrap(), None);
        let error = params.word::<Choice>("wrong").unwrap_err().to_string();
        assert_eq!(error, "wrong: must be `up` or `down`");
    }

    #[test]
    fn a_body_is_said_to_be_json_by_its_content_type() {
        for (kind, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            (" application/problem+json ;a=b", true),
            ("application/jsonx", false),
            ("application/+json", false),
            ("application/xml+jsonp", false),
            ("text/json", false),
            ("text/plain; application/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_said_to_be_json(&headers), expected, "{kind}");
        }
        assert!(!is_said_to_be_json(&HeaderMap::new()));
    }

    #[test]
    fn a_wrong_body_is_told_by_field_and_a_broken_one_by_place() {
        let deep = format!("{{\"name\":\"x\",\"any\":{}", "[".repeat(500));
        for (body, expected) in [
            (r#"{"inner":null}"#, "name: is required"),
            (r#"{"name":7}"#, "name: must be a string"),
            (r#"{"name":"  "}"#, "name: can't be blank"),
            (r#"{"name":"x","inner":{"count":-1}}"#, "inner.count: "),
            (r#"{"name":"x","inner":{}}"#, "inner.count: is required"),
            (
                r#"{"name":"x","choice":"left"}"#,
                "choice: must be `up` or `down`",
            ),
            (r#"{"name":"x","map":[]}"#, "map: must be an object"),
            (r#"{"name":"x""#, "the request body is not JSON"),
            (r#"{"name":"x"} trailing"#, "the request body is not JSON"),
            (
                r#"{"name":"\u0000"}"#,
                "the request body contains the NUL character",
            ),
            ("[]", "the request body "),
            (deep.as_str(), "any: must be nested at most 64 levels deep"),
            (
                &"[".repeat(500),
                "the request body is not JSON: recursion limit",
            ),
        ] {
            let error = parse_json::<Outer>(body.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(expected),
                "{}: {error}",
                &body[..body.len().min(50)]
            );
        }
        assert!(parse_json::<Outer>(br#"{"name":"\\u0000 is six characters"}"#).is_ok());
        assert!(
            parse_json::<Outer>(b"{\"name\":\"\xff\"}")
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
    }
}
