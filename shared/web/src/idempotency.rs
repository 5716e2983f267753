//! `Idempotency-Key`: the same request, sent again, is answered again and not done again.
//!
//! A key is remembered for 24 hours with a hash of the request's body and, sealed, the response. The scope is principal,
//! organization, workspace, method and path. Only successes are kept: a request that was refused changed nothing and may be
//! corrected. A response of more than 100 KB is not kept: a repetition is handled anew, and by the ids that are derived from its key
//! finds what the first request made.
//!
//! The key is looked up by [`admit`], which [`crate::Authorized`] calls once its rule holds: an earlier answer is given only to
//! a caller who may make the request now.

use std::sync::{Arc, Mutex, PoisonError};

use auth::{Identity, Principal};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use domain::Error;
use domain::ids::new_v7;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Attempt, StoredResponse};

use crate::body::read_up_to;
use crate::context::AppContext;
use crate::dialects::DialectRef;
use crate::dispatch::call;
use crate::error::ApiError;
use crate::new_id::{KeyNotLookedUp, NewId};
use crate::response::Payload;
use crate::scope::RequestScope;

/// The time for which a request is taken to be worked on, when no response was stored.
const IN_FLIGHT: TimeDelta = TimeDelta::seconds(60);
/// The largest response that is kept.
const MAX_RESPONSE: usize = 100 * 1024;
/// The purpose that responses are sealed for.
const PURPOSE: &str = "idempotent-response";
/// The header of an answer that is given again.
const REPLAYED: &str = "idempotent-replayed";

/// A response as it is stored: already in its envelope.
#[derive(Serialize, Deserialize)]
struct Kept {
    body: String,
}

/// The key of a request, in the request's extensions.
#[derive(Clone)]
pub(crate) struct Key(Arc<Inner>);

struct Inner {
    host: AppContext,
    scope: String,
    body: Bytes,
    claim: Mutex<Option<Claim>>,
}

/// The right to work on a request.
struct Claim {
    attempt: Attempt,
    /// `true` when an earlier attempt had the key, and may have done something.
    is_taken_over: bool,
}

/// Handles a request that has a key; lets all others pass.
pub(crate) async fn apply(
    host: &AppContext,
    scope: &RequestScope,
    principal: &Principal,
    request: Request,
    routes: &Router,
) -> Response {
    let text = match (request.method(), request.headers().get("idempotency-key")) {
        (&Method::POST, Some(text)) => text
            .to_str()
            .map(str::to_owned)
            .ok()
            .filter(|text| (1..=255).contains(&text.len())),
        _ => return call(routes, request).await,
    };
    let Some(text) = text else {
        return ApiError(Error::invalid_header(
            "Idempotency-Key",
            "must have 1 to 255 ASCII characters",
        ))
        .into_response();
    };
    let (key, request) = match Key::read(host, scope, principal, &text, request).await {
        Ok(read) => read,
        Err(error) => return ApiError(error).into_response(),
    };
    // A panic frees the key like any other 5xx.
    let response = call(routes, request).await;
    match key.taken_claim() {
        Some(claim) => key.settle(claim, scope.dialect, response).await,
        // The request was refused before its key was looked up, or is answered with what was kept.
        None => {
            let is_replay = response.headers().contains_key(REPLAYED);
            let is_done = response.status().is_success();
            debug_assert!(is_replay || !is_done, "a handler that takes no Authorized");
            response
        }
    }
}

/// Looks up the key of a request whose caller may make it, and claims it.
///
/// # Errors
/// The response to give in place of the handler's: the one that was kept, or why there is none.
pub(crate) async fn admit(parts: &mut Parts) -> Result<(), Response> {
    let Some(key) = parts.extensions.get::<Key>().cloned() else {
        return Ok(());
    };
    match key.claim().await {
        Ok(Found::Claimed(fresh)) => {
            parts.extensions.remove::<KeyNotLookedUp>();
            parts.extensions.insert(fresh);
            Ok(())
        }
        Ok(Found::Answered(response)) => Err(response),
        Err(error) => Err(ApiError(error).into_response()),
    }
}

enum Found {
    Claimed(NewId),
    Answered(Response),
}

impl Key {
    async fn read(
        host: &AppContext,
        scope: &RequestScope,
        principal: &Principal,
        text: &str,
        request: Request,
    ) -> Result<(Self, Request), Error> {
        let (mut parts, body) = request.into_parts();
        let body = read_up_to(body, scope.max_body).await?;
        let key = Self(Arc::new(Inner {
            host: host.clone(),
            scope: scope_of(principal, &parts, text),
            body: body.clone(),
            claim: Mutex::default(),
        }));
        parts.extensions.insert(key.clone());
        parts.extensions.insert(KeyNotLookedUp);
        Ok((key, Request::from_parts(parts, Body::from(body))))
    }

    async fn claim(&self) -> Result<Found, Error> {
        let Inner {
            host, scope, body, ..
        } = &*self.0;
        let now = host.services.clock.now();
        let mut attempt = Attempt {
            nonce: new_v7(now),
            // Keyed, since a body may have a password in it.
            fingerprint: host.vault.mac(PURPOSE, body).await?,
            first_at: now,
            in_flight_until: now + IN_FLIGHT,
            response: None,
        };
        let earlier = match host.store.claim_idempotency(scope, &attempt).await {
            Ok(Ok(())) => None,
            Ok(Err(earlier)) => Some(earlier),
            Err(error) => {
                // The claim may have been written all the same.
                self.give_back(&attempt).await;
                return Err(error);
            }
        };
        if let Some(earlier) = &earlier {
            let is_same = host
                .vault
                .verify_mac(PURPOSE, body, &earlier.fingerprint)
                .await?;
            if is_same == Some(false) {
                return Err(Error::invalid_header(
                    "Idempotency-Key",
                    "was used with another request body",
                ));
            }
            if let Some(response) = &earlier.response
                && let Some(response) = replay(host, scope, response).await?
            {
                return Ok(Found::Answered(response));
            }
            attempt.first_at = earlier.first_at;
            // One that was answered is over, though its answer cannot be opened any more.
            let is_over = earlier.response.is_some() || earlier.in_flight_until <= now;
            let is_taken_over = is_over && self.take_over(earlier, &attempt).await?;
            if !is_taken_over {
                return Err(Error::Conflict(
                    "a request with this Idempotency-Key is still being worked on".to_owned(),
                ));
            }
        }
        let seed: [u8; 32] = Sha256::digest(scope.as_bytes()).into();
        let fresh = NewId {
            seed: Some((attempt.first_at, seed)),
        };
        let claim = Claim {
            attempt,
            is_taken_over: earlier.is_some(),
        };
        *self.slot() = Some(claim);
        Ok(Found::Claimed(fresh))
    }

    async fn take_over(&self, earlier: &Attempt, attempt: &Attempt) -> Result<bool, Error> {
        let Inner { host, scope, .. } = &*self.0;
        let replaced = host
            .store
            .replace_idempotency(scope, earlier, attempt)
            .await;
        if replaced.is_err() {
            self.give_back(attempt).await;
        }
        replaced
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Claim>> {
        self.0.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken_claim(&self) -> Option<Claim> {
        self.slot().take()
    }

    /// Ends the claim as the response requires: the response is kept, or the key is given back or forgotten.
    async fn settle(&self, claim: Claim, dialect: DialectRef, response: Response) -> Response {
        let attempt = &claim.attempt;
        let payload = response.extensions().get::<Payload>().cloned();
        let failed = response.extensions().get::<Arc<Error>>().cloned();
        let status = failed
            .as_deref()
            .map_or(response.status(), |error| dialect.status_of(error));
        match payload {
            Some(payload) if failed.is_none() && status.is_success() => {
                let faced = dialect.success(status, payload);
                let (parts, body) = faced.into_parts();
                match axum::body::to_bytes(body, usize::MAX).await {
                    Ok(body) => {
                        self.keep(attempt, parts.status, &body).await;
                        Response::from_parts(parts, Body::from(body))
                    }
                    Err(error) => ApiError(Error::internal(error)).into_response(),
                }
            }
            // The first attempt was refused, so nothing has happened. A later one cannot tell what those before it have done.
            _ if status.is_client_error() && !claim.is_taken_over => {
                self.release(attempt).await;
                response
            }
            // Something may have happened: the key keeps its time, so that a repetition finds it by the derived ids.
            _ => {
                self.give_back(attempt).await;
                response
            }
        }
    }

    /// Stores a response, or, when it is too large, only that the work is over. When that fails the work is done all the same,
    /// and a repetition finds it by its derived ids.
    async fn keep(&self, attempt: &Attempt, status: StatusCode, body: &[u8]) {
        if body.len() > MAX_RESPONSE {
            return self.give_back(attempt).await;
        }
        let Inner { host, scope, .. } = &*self.0;
        let stored = async {
            let kept = Kept {
                body: String::from_utf8_lossy(body).into_owned(),
            };
            let kept = serde_json::to_vec(&kept).map_err(Error::internal)?;
            let response = StoredResponse {
                status: status.as_u16(),
                sealed: host.vault.seal(PURPOSE, scope, &kept).await?,
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

    /// Lets the next request with the key begin at once, as a repetition.
    async fn give_back(&self, attempt: &Attempt) {
        let Inner { host, scope, .. } = &*self.0;
        let over = Attempt {
            in_flight_until: DateTime::UNIX_EPOCH,
            ..attempt.clone()
        };
        let replaced = host.store.replace_idempotency(scope, attempt, &over).await;
        if let Err(error) = replaced {
            tracing::warn!(%error, "an idempotency key was not given back; it is free again in a minute");
        }
    }

    /// Forgets the key.
    async fn release(&self, attempt: &Attempt) {
        let Inner { host, scope, .. } = &*self.0;
        if let Err(error) = host.store.release_idempotency(scope, attempt).await {
            tracing::warn!(%error, "an idempotency key was not released; it is free again in a minute");
        }
    }
}

/// The scope of a key: the same text in another organization or workspace is another key.
fn scope_of(principal: &Principal, parts: &Parts, key: &str) -> String {
    let who = match principal.identity {
        // Whichever session it is.
        Identity::Session(session) => principal
            .user_id
            .map_or_else(|| session.to_string(), |user| user.to_string()),
        other => other.to_string(),
    };
    [
        &who,
        &principal.organization_id.to_string(),
        &principal.workspace_id.to_string(),
        parts.method.as_str(),
        parts.uri.path(),
        key,
    ]
    .join("\n")
}

/// The response that was kept, if it can still be opened.
async fn replay(
    host: &AppContext,
    scope: &str,
    stored: &StoredResponse,
) -> Result<Option<Response>, Error> {
    let Some(kept) = host.vault.open(PURPOSE, scope, &stored.sealed).await? else {
        return Ok(None);
    };
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
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Some(response))
}
