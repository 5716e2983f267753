//! `Idempotency-Key`: the same request, sent again, is answered again and not done again.
//!
//! A key is remembered for 24 hours with a hash of the request's body and, sealed, the response. The scope is principal,
//! method and path. Only successes are kept: a request that was refused changed nothing and may be corrected. A response of
//! more than 100 KB is not kept: a repetition is handled anew, and by the ids that are derived from its key finds what the
//! first request made.

use std::sync::Arc;

use auth::{Dialect, Keyring, Principal};
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use domain::Error;
use domain::ids::fresh;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Attempt, StoredResponse};

use crate::Failure;
use crate::encode;
use crate::extract::{FreshId, largest_body, read_up_to};
use crate::reply::Payload;
use crate::serve::Host;

/// How long a request is taken to be worked on, when no response was stored.
const IN_FLIGHT: TimeDelta = TimeDelta::seconds(60);
/// The largest response that is kept.
const MAX_RESPONSE: usize = 100 * 1024;
/// What responses are sealed for.
const PURPOSE: &str = "idempotent-response";

/// A response in the form that is stored: already with its face.
#[derive(Serialize, Deserialize)]
struct Kept {
    body: String,
}

/// Handles a request that has a key; lets all others pass.
pub(crate) async fn apply(
    host: &Host,
    principal: &Principal,
    dialect: Dialect,
    request: Request,
    next: Next,
) -> Response {
    let key = match (request.method(), request.headers().get("idempotency-key")) {
        (&Method::POST, Some(key)) => key
            .to_str()
            .map(str::to_owned)
            .ok()
            .filter(|key| (1..=255).contains(&key.len())),
        _ => return next.run(request).await,
    };
    let Some(key) = key else {
        return Failure(Error::invalid_header(
            "Idempotency-Key",
            "must have 1 to 255 ASCII characters",
        ))
        .into_response();
    };
    match once(host, principal, dialect, &key, request, next).await {
        Ok(response) => response,
        Err(error) => Failure(error).into_response(),
    }
}

async fn once(
    host: &Host,
    principal: &Principal,
    dialect: Dialect,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let now = host.services.clock.now();
    let keyring = Keyring::load(&host.services).await?;
    let (mut parts, body) = request.into_parts();
    let body = read_up_to(body, largest_body(parts.uri.path())).await?;
    let scope = scope_of(principal, &parts, key);

    let mut attempt = Attempt {
        nonce: fresh(now),
        // Keyed, since a body may have a password in it.
        fingerprint: keyring.mac(PURPOSE, &body),
        first_at: now,
        in_flight_until: now + IN_FLIGHT,
        response: None,
    };
    if let Err(earlier) = host.store.claim_idempotency(&scope, &attempt).await? {
        if !keyring.verify_mac(PURPOSE, &body, &earlier.fingerprint) {
            return Err(Error::invalid_header(
                "Idempotency-Key",
                "was used with another request body",
            ));
        }
        if let Some(response) = &earlier.response {
            return replay(&keyring, &scope, response);
        }
        attempt.first_at = earlier.first_at;
        let taken_over = earlier.in_flight_until <= now
            && host
                .store
                .replace_idempotency(&scope, &earlier, &attempt)
                .await?;
        if !taken_over {
            return Err(Error::Conflict(
                "a request with this Idempotency-Key is still being worked on".to_owned(),
            ));
        }
    }

    let seed: [u8; 32] = Sha256::digest(scope.as_bytes()).into();
    parts.extensions.insert(FreshId {
        seed: Some((attempt.first_at, seed)),
    });
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;

    let payload = response.extensions().get::<Payload>().cloned();
    let failed = response.extensions().get::<Arc<Error>>().cloned();
    match (payload, failed) {
        (Some(payload), None) if response.status().is_success() => {
            let faced = encode::success(dialect, response.status(), payload);
            let (parts, body) = faced.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX)
                .await
                .map_err(Error::internal)?;
            keep(host, &keyring, &scope, &attempt, parts.status, &body).await;
            Ok(Response::from_parts(parts, Body::from(body)))
        }
        // Something may have happened before a 5xx: the key stays claimed, and the derived ids make the repetition find it.
        (_, Some(error)) if encode::status_of(dialect, &error).is_server_error() => Ok(response),
        _ => {
            if let Err(error) = host.store.release_idempotency(&scope, &attempt).await {
                tracing::warn!(%error, "an idempotency key was not released; it is free again in a minute");
            }
            Ok(response)
        }
    }
}

/// Whose key it is: the same one in another organization or workspace, or with another role, is another.
fn scope_of(principal: &Principal, parts: &Parts, key: &str) -> String {
    let who = principal
        .token_id()
        .map_or_else(|| principal.user_id.to_string(), |token| token.to_string());
    [
        &who,
        &principal.organization_id.to_string(),
        &principal.workspace_id.to_string(),
        principal.role.as_str(),
        parts.method.as_str(),
        parts.uri.path(),
        key,
    ]
    .join("\n")
}

/// Stores a response, or, when it is too large, only that the work is over. When that fails the work is done all the same, and
/// a repetition finds it by its derived ids.
async fn keep(
    host: &Host,
    keyring: &Keyring,
    scope: &str,
    attempt: &Attempt,
    status: StatusCode,
    body: &[u8],
) {
    let stored = async {
        if body.len() > MAX_RESPONSE {
            let over = Attempt {
                in_flight_until: attempt.first_at,
                ..attempt.clone()
            };
            return host.store.replace_idempotency(scope, attempt, &over).await;
        }
        let kept = Kept {
            body: String::from_utf8_lossy(body).into_owned(),
        };
        let kept = serde_json::to_vec(&kept).map_err(Error::internal)?;
        let response = StoredResponse {
            status: status.as_u16(),
            sealed: keyring.seal(PURPOSE, scope, &kept)?,
        };
        let done = Attempt {
            response: Some(response),
            ..attempt.clone()
        };
        host.store.replace_idempotency(scope, attempt, &done).await
    };
    if let Err(error) = stored.await {
        tracing::warn!(%error, "a response was not kept for its idempotency key");
    }
}

fn replay(keyring: &Keyring, scope: &str, stored: &StoredResponse) -> Result<Response, Error> {
    let kept = keyring
        .open(PURPOSE, scope, &stored.sealed)
        .ok_or_else(|| Error::internal("a kept response cannot be opened"))?;
    let kept: Kept = serde_json::from_slice(&kept).map_err(Error::internal)?;
    let status = StatusCode::from_u16(stored.status).map_err(Error::internal)?;
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        axum::http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        axum::http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    Ok(response)
}
