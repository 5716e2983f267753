//! The request log, `/api/settings/api-keys/activity` (Prowpt's agent integration page): what keys of all kinds asked for.

use auth::Principal;
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::activity::{ActivityCount, RequestLogEntry};
use domain::ids::{ActivityId, ProjectId, TokenId, WorkspaceId};
use futures::future::try_join;
use serde::Serialize;
use store::ActivityFilter;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::FullAccess;
use web::{
    ApiResponse, Authorized, Clock, PageParams, PageResponse, Params, ProwptPaging, Result, Routes,
    Store,
};

use crate::State;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// A request that a key made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Activity)]
struct ActivityResponse {
    id: ActivityId,
    key_id: TokenId,
    #[schema(example = "GET")]
    method: String,
    /// Without the query; at most 512 bytes.
    #[schema(example = "/api/v1/agents/0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70")]
    path: String,
    /// The path's pattern.
    #[schema(example = "/api/v1/agents/{id}")]
    route: String,
    #[schema(example = 200)]
    status: u16,
    /// Until the answer was ready, in whole milliseconds, rounded up.
    duration_ms: u64,
    /// `null` for requests that are not about one.
    project_id: Option<ProjectId>,
    ip: String,
    user_agent: Option<String>,
    /// As in the response's `X-Request-Id`.
    request_id: String,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActivityStats)]
struct ActivityStatsResponse {
    /// Of the last 90 days.
    total_requests: u64,
    /// Since midnight UTC.
    requests_today: u64,
    /// Keys and tokens that can be used now, counted to 1,000.
    active_keys: u64,
    /// Of the last 90 days, to a tenth; 0 without a request.
    avg_response_ms: f64,
}

impl From<RequestLogEntry> for ActivityResponse {
    fn from(row: RequestLogEntry) -> Self {
        Self {
            id: row.id,
            key_id: row.key_id,
            duration_ms: row.duration_ms(),
            method: row.method,
            path: row.path,
            route: row.route,
            status: row.status,
            project_id: row.project_id,
            ip: row.ip,
            user_agent: row.user_agent,
            request_id: row.request_id,
            created_at: row.created_at,
        }
    }
}

/// Lists the requests that a workspace's keys made in the last 90 days, newest first, failed ones included. Requests of
/// sessions are not among them.
///
/// A page may be short, or empty, and still have a `next_cursor`: one request looks at 1,200 rows. With a filter, `total` counts
/// among the newest 1,000.
#[utoipa::path(
    get,
    path = "/api/settings/api-keys/activity",
    tag = "API Keys",
    params(
        ("workspace_id" = Option<WorkspaceId>, Query, description = "Default: the session's, or the key's own"),
        ("key_id" = Option<TokenId>, Query, description = "Only this key's"),
        ("project_id" = Option<ProjectId>, Query, description = "Only those about this project"),
        ("method" = Option<String>, Query, description = "Only this method", example = "POST"),
        ("status" = Option<String>, Query, description = "A status, or a class of them", example = "4xx"),
        ("from" = Option<String>, Query, description = "At or after: RFC 3339, or a date", example = "2026-11-22T10:00:00Z"),
        ("to" = Option<String>, Query, description = "Before", example = "2026-11-23"),
        ProwptPaging,
    ),
    security(("Session" = []), ("ProwptKey" = ["*"]), ("ProwptBearer" = ["*"])),
    responses((status = 200, body = Vec<ActivityResponse>))
)]
async fn list_activity(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<FullAccess>,
    query: Params,
    params: PageParams,
) -> Result<PageResponse<ActivityResponse>> {
    let filter = ActivityFilter {
        key_id: query.parsed("key_id")?,
        project_id: query.parsed("project_id")?,
        method: query.get("method").map(method).transpose()?,
        status: query.get("status").map(statuses).transpose()?,
        from: query.time("from")?,
        to: query.time("to")?,
    };
    let workspace = workspace(&state, &caller, &query).await?;
    let now = clock.now();
    let page = store.activity(workspace, &filter, &params.request, now);
    let page = page.await?;
    Ok(PageResponse::new(page.map(ActivityResponse::from), params))
}

/// Tells how many requests there were, and how long they took.
#[utoipa::path(
    get,
    path = "/api/settings/api-keys/activity/stats",
    tag = "API Keys",
    params(("workspace_id" = Option<WorkspaceId>, Query, description = "Default: the session's, or the key's own")),
    security(("Session" = []), ("ProwptKey" = ["*"]), ("ProwptBearer" = ["*"])),
    responses((status = 200, body = ActivityStatsResponse))
)]
async fn get_activity_stats(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<FullAccess>,
    query: Params,
) -> Result<ApiResponse<ActivityStatsResponse>> {
    let workspace = workspace(&state, &caller, &query).await?;
    let now = clock.now();
    let (days, active) = try_join(
        store.activity_counts(workspace, now),
        store.good_tokens(workspace, now),
    )
    .await?;
    let mut total = ActivityCount::default();
    for count in days.values() {
        total += *count;
    }
    Ok(ApiResponse::ok(ActivityStatsResponse {
        total_requests: total.requests,
        requests_today: days.get(&now.date_naive()).map_or(0, |day| day.requests),
        active_keys: active.into(),
        avg_response_ms: average_ms(total),
    }))
}

async fn workspace(
    state: &State,
    caller: &Principal,
    query: &Params,
) -> Result<WorkspaceId, Error> {
    let requested = query.parsed("workspace_id")?;
    let authenticator = &state.context.authenticator;
    authenticator.workspace_for(caller, requested).await
}

/// To a tenth of a millisecond.
fn average_ms(total: ActivityCount) -> f64 {
    let tenths = (total.duration_micros + total.requests * 50) / (total.requests.max(1) * 100);
    u32::try_from(tenths).map_or(f64::MAX, f64::from) / 10.0
}

fn method(text: &str) -> Result<String, Error> {
    let method = text.to_ascii_uppercase();
    if METHODS.contains(&method.as_str()) {
        return Ok(method);
    }
    let message = format!("must be one of {}", METHODS.join(", "));
    Err(Error::invalid_query("method", message))
}

/// The first and the last status of `404` or `4xx`.
fn statuses(text: &str) -> Result<(u16, u16), Error> {
    let class = |text: &str| {
        let digit: u8 = text.to_ascii_lowercase().strip_suffix("xx")?.parse().ok()?;
        let first = u16::from(digit) * 100;
        Some((first, first + 99))
    };
    let exact = |text: &str| text.parse().ok().map(|status: u16| (status, status));
    let found = exact(text).or_else(|| class(text));
    found
        .filter(|(first, last)| (100..=599).contains(first) && *last <= 599)
        .ok_or_else(|| {
            let message = "must be a status such as 404, or a class such as 4xx";
            Error::invalid_query("status", message)
        })
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(list_activity))
        .authenticated(routes!(get_activity_stats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!(statuses("404").unwrap(), (404, 404));
        assert_eq!(statuses("4xx").unwrap(), (400, 499));
        assert_eq!(statuses("5XX").unwrap(), (500, 599));
        for wrong in [
            "", "0xx", "6xx", "600", "99", "40x", "-4xx", "655xx", "1000xx",
        ] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_average_is_rounded_to_a_tenth() {
        let of = |requests, duration_micros| {
            average_ms(ActivityCount {
                requests,
                duration_micros,
            })
        };
        assert!((of(0, 0) - 0.0).abs() < 1e-9);
        assert!((of(2, 3_100) - 1.6).abs() < 1e-9);
    }
}
