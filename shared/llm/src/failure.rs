//! Failures of a provider.

use std::time::Duration;

use chrono::DateTime;
use outbound::OutboundError;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::ModelError;

/// The part of a provider's own error text that is passed on, in characters.
pub(crate) const MAX_ERROR: usize = 300;

impl From<OutboundError> for ModelError {
    fn from(error: OutboundError) -> Self {
        let text = error.to_string();
        match error {
            OutboundError::Refused(_) | OutboundError::TooLarge(_) => Self::Refused(text),
            OutboundError::TimedOut | OutboundError::Unavailable(_) | OutboundError::Failed(_) => {
                unavailable(&text)
            }
        }
    }
}

/// The reply is not an answer of this provider: cut off on the way, or some proxy's page.
pub(crate) fn unreadable() -> ModelError {
    unavailable("the provider's reply cannot be read")
}

/// The stream ended before the answer did.
pub(crate) fn broken_off() -> ModelError {
    unavailable("the provider's answer broke off before its end")
}

pub(crate) fn unavailable(why: &str) -> ModelError {
    ModelError::Unavailable {
        why: why.to_owned(),
        retry_after: None,
    }
}

/// The meaning of a status with an error object in its body. The key is not in it any more.
pub(crate) fn of_status(status: StatusCode, error: &Value, headers: &HeaderMap) -> ModelError {
    let told = match &error["message"] {
        Value::Null => error,
        message => message,
    };
    let told = match told {
        Value::String(text) => text.clone(),
        // Lists of errors, as FastAPI has them.
        Value::Array(_) => told.to_string(),
        Value::Object(_) if told.get("detail").is_some() => told.to_string(),
        _ => String::new(),
    };
    let told: String = told.chars().take(MAX_ERROR).collect();
    let number = status.as_u16();
    let answered = match status.canonical_reason() {
        Some(reason) => format!("the provider answered {number} {reason}"),
        None => format!("the provider answered {number}"),
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ModelError::Refused("the provider refused the key".to_owned())
        }
        // Waiting does not help here, unlike with every other 429.
        StatusCode::TOO_MANY_REQUESTS if is(error, "insufficient_quota") => {
            ModelError::Refused("the key's quota is used up".to_owned())
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
            ModelError::Unavailable {
                why: answered,
                retry_after: retry_after(headers),
            }
        }
        status if status.is_server_error() => ModelError::Unavailable {
            why: answered,
            retry_after: retry_after(headers),
        },
        _ if told.is_empty() => ModelError::Refused(answered),
        _ => ModelError::Refused(format!("{answered}: {told}")),
    }
}

/// The meaning of an error that comes in the middle of an answer: the same as the status that it stands for.
pub(crate) fn in_the_middle(error: &Value) -> ModelError {
    let number = ["code", "status"].into_iter().find_map(|name| {
        let number = u16::try_from(error[name].as_u64()?).ok()?;
        StatusCode::from_u16(number)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
    });
    // What is not known may well be better next time.
    let status = number.unwrap_or_else(|| {
        let known = STATUSES.iter().find(|(name, _)| is(error, name));
        known
            .and_then(|(_, status)| StatusCode::from_u16(*status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    });
    of_status(status, error, &HeaderMap::new())
}

/// The statuses that the names of errors stand for.
const STATUSES: [(&str, u16); 11] = [
    ("insufficient_quota", 429),
    ("rate_limit_exceeded", 429),
    ("rate_limit_error", 429),
    ("overloaded_error", 529),
    ("timeout_error", 504),
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
];

fn is(error: &Value, name: &str) -> bool {
    error["code"] == name || error["type"] == name
}

/// The time that the provider wants to be left alone: a number of seconds, or a moment, which counts from the reply's own date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.trim().parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let wanted = text("retry-after")?.trim();
    if let Ok(seconds) = wanted.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let moment = |text| DateTime::parse_from_rfc2822(text).ok();
    let (until, now) = (moment(wanted)?, moment(text("date")?)?);
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_in_the_middle_means_what_its_status_would() {
        for (error, expected) in [
            (
                json!({ "type": "overloaded_error", "message": "Overloaded" }),
                Ok("answered 529"),
            ),
            (json!({ "type": "api_error" }), Ok("answered 500")),
            (
                json!({ "code": 502, "message": "upstream" }),
                Ok("answered 502 Bad Gateway"),
            ),
            (
                json!({ "type": "tokens", "code": "rate_limit_exceeded" }),
                Ok("answered 429"),
            ),
            (json!("what?"), Ok("answered 500")),
            (json!({ "code": "insufficient_quota" }), Err("quota")),
            (
                json!({ "type": "authentication_error" }),
                Err("refused the key"),
            ),
            (
                json!({ "type": "invalid_request_error", "message": "too long" }),
                Err("400 Bad Request: too long"),
            ),
        ] {
            let (told, is_expected) = match (in_the_middle(&error), expected) {
                (ModelError::Unavailable { why, .. }, Ok(text)) => {
                    (why.clone(), why.contains(text))
                }
                (ModelError::Refused(why), Err(text)) => (why.clone(), why.contains(text)),
                (other, _) => (format!("{other:?}"), false),
            };
            assert!(is_expected, "{error}: {told}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_moment() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            retry_after(&pairs.collect())
        };
        let date = ("date", "Sun, 22 Nov 2026 18:00:00 GMT");
        for (headers, expected) in [
            (&[("retry-after", "7")][..], Some(Duration::from_secs(7))),
            (&[("retry-after", "0.5")], Some(Duration::from_millis(500))),
            (
                &[("retry-after", "7"), ("retry-after-ms", "250")],
                Some(Duration::from_millis(250)),
            ),
            (
                &[("retry-after", "Sun, 22 Nov 2026 18:00:20 GMT"), date],
                Some(Duration::from_secs(20)),
            ),
            (
                &[("retry-after", "Sun, 22 Nov 2026 17:00:00 GMT"), date],
                Some(Duration::ZERO),
            ),
            (&[("retry-after", "Sun, 22 Nov 2026 18:00:20 GMT")], None),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(read(headers), expected, "{headers:?}");
        }
    }
}
