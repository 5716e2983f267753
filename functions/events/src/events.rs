//! The events of an execution, as Prodgy has them.

use std::time::Duration;

use auth::Lasting;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Error;
use domain::ids::RunId;
use futures::future::join;
use rand::RngExt;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Authenticated;
use web::{
    Authorized, Deadline, Id, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER, Params, RequestScope, Result,
    RoutePolicy, Routes,
};

use crate::follow::Following;
use crate::place::Place;
use crate::{Pace, State};

/// Tells nginx, and what behaves like it, to pass everything on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The time before the host's deadline that is kept for ending a stream.
const MARGIN: TimeDelta = TimeDelta::seconds(10);

/// One event of a stream.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "1500001",
    "event": "delta",
    "data": "{\"at\":\"2026-11-22T10:00:00Z\",\"execution_id\":\"0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70\",\"node_id\":\"model-1\",\"text\":\"An expired \"}",
}))]
#[expect(dead_code, reason = "only described")]
struct ExecutionEvent {
    /// A number.
    #[schema(pattern = "^[0-9]+$")]
    id: String,
    event: EventName,
    /// JSON with `execution_id`, `node_id`, `at` and what belongs to the event.
    #[schema(content_media_type = "application/json")]
    data: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
enum EventName {
    Status,
    NodeStarted,
    NodeCompleted,
    Log,
    Delta,
    Error,
    Done,
}

/// Tells what happens in an execution, as it happens, in server-sent events.
///
/// `event` is `status`, `node_started`, `node_completed`, `log`, `delta` (more of a model's text), `error` or `done`, which is the
/// last one. `data` is JSON with `execution_id`, `node_id`, `at` and what belongs to the event. `id` is a number that grows, and
/// the events of an execution are the same whenever they are read: a client that comes back with the id of the last event it
/// has seen misses none and sees none twice. A `log` with the code `turn.restarted` makes the text so far of its node void.
///
/// After 15 seconds without an event there is a comment. The server ends a stream after one to two minutes, without `done`; clients
/// then come back, as `EventSource` does by itself, and coming back within a minute does not count against the limit. A stream
/// also ends within five seconds after its credential has. A workspace has 20 streams open at once, unless the platform says
/// otherwise; beyond these the answer is 429, with `Retry-After`.
#[utoipa::path(
    get, path = "/api/workflow/{id}/events", tag = "Executions",
    extensions(("x-bare" = json!(true))),
    params(
        ("id" = RunId, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "The id of the last event that was seen"),
        ("last_event_id" = Option<u64>, Query, description = "The same, for clients that cannot set the header"),
    ),
    responses(
        (status = 200, description = "The events that follow", body = ExecutionEvent, content_type = "text/event-stream"),
        (status = 204, description = "`done` was the last event that was seen: there is nothing to come back for"),
    ),
)]
async fn stream_execution_events(
    Extract(state): Extract<State>,
    caller: Authorized<Authenticated>,
    Id(id): Id<RunId>,
    Deadline(deadline): Deadline,
    scope: RequestScope,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let last = LastEventId::of(&headers, &params)?;
    let (context, now) = (&state.context, state.context.services.clock.now());
    let product = params.parsed("product_id")?;
    let lasting = Lasting::new(scope.dialect.credentials(), headers, product, &caller);
    let time = lasts(state.pace, deadline, now);
    let following = Following::start(context.store.clone(), caller.workspace_id, id, last.id);
    let place = Place::take(context, lasting, caller.workspace_id, id, now + time);
    // A place that is not needed is given back when it is dropped.
    let (following, place) = join(following, place).await;
    let following = following?.ok_or(Error::NotFound("execution"))?;
    if last.id > following.newest() {
        return Err(last.wrong().into());
    }
    if following.is_read_to_its_end() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = Sse::new(following.stream(place?, !scope.is_resumed, state.pace, time));
    Ok(([(ACCEL_BUFFERING, "no")], events).into_response())
}

/// The time that a stream lasts: a random time, or less if its host has to end the response before `deadline`.
fn lasts(pace: Pace, deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    let (least, most) = pace.lasts;
    let time = rand::rng().random_range(least..=most);
    let rest = deadline.map(|deadline| (deadline - now - MARGIN).to_std().unwrap_or_default());
    rest.map_or(time, |rest| rest.min(time))
}

/// The last event that a client has seen; 0 for none.
struct LastEventId {
    id: u64,
    is_header: bool,
}

impl LastEventId {
    fn of(headers: &HeaderMap, params: &Params) -> Result<Self, Error> {
        let header = headers.get(LAST_EVENT_ID).filter(|text| !text.is_empty());
        let is_header = header.is_some();
        let text = match header {
            Some(text) => Some(text.to_str().unwrap_or("?")),
            None => params.get(LAST_EVENT_ID_PARAMETER),
        };
        let read = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        let id = text.map_or(Some(0), read);
        let this = Self {
            id: id.unwrap_or(0),
            is_header,
        };
        id.map_or(Err(this.wrong()), |_| Ok(this))
    }

    fn wrong(&self) -> Error {
        let message = "must be the id of an event of this execution";
        if self.is_header {
            Error::invalid_header("Last-Event-ID", message)
        } else {
            Error::invalid_query(LAST_EVENT_ID_PARAMETER, message)
        }
    }
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().with(
        RoutePolicy::authenticated().event_stream(),
        routes!(stream_execution_events),
    )
}
