//! The plan of the caller's organization: `/api/organization/plan`. The operator of the platform decides it.

use auth::Principal;
use axum::extract::State as Extract;
use domain::audit::AuditEntry;
use domain::error::all_valid;
use domain::plan::{PlanLimits, PlanOverride, PlanUsage};
use domain::{Error, FieldError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::{Session, SuperAdminSession};
use web::{ApiResponse, Authorized, Clock, Json, Result, Routes, Store};

use crate::State;

/// Above this a limit is none.
const MAX_LIMIT: u64 = 1_000_000_000_000_000;

/// A decision for one organization. What is `null` or left out is as for all organizations; 0 means no limit.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"agents": 20, "runs": 1000, "tokens": 0}))]
struct DecidePlan {
    agents: Option<u64>,
    /// Started in a calendar month (UTC).
    runs: Option<u64>,
    /// Used in a calendar month (UTC).
    tokens: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
struct PlanResponse {
    /// `limited` or `unlimited`.
    #[schema(example = "limited")]
    plan: &'static str,
    /// `null` for as much as one likes.
    limits: PlanLimits,
    /// The limits that were set for this organization alone.
    decided: PlanOverride,
    /// Runs that were started this month.
    runs: u64,
    /// Tokens that runs which ended this month have used.
    tokens: u64,
}

impl From<PlanUsage> for PlanResponse {
    fn from(standing: PlanUsage) -> Self {
        Self {
            plan: standing.limits.name(),
            limits: standing.limits,
            decided: standing.own,
            runs: standing.runs,
            tokens: standing.tokens,
        }
    }
}

/// The plan of the organization, and its usage this month.
#[utoipa::path(get, path = "/api/organization/plan", tag = "Organization", security(("Session" = [])), responses((status = 200, body = PlanResponse)))]
async fn get_plan(
    Extract(state): Extract<State>,
    caller: Authorized<Session>,
) -> Result<ApiResponse<PlanResponse>> {
    Ok(ApiResponse::ok(standing(&state, &caller).await?.into()))
}

/// Decides what an organization may use: the caller's, or the one that `X-Organization-Id` names. This is for super admins.
#[utoipa::path(put, path = "/api/organization/plan", tag = "Organization", request_body = DecidePlan, security(("Session" = ["SUPERADMIN"])), responses((status = 200, body = PlanResponse)))]
async fn set_plan_override(
    Extract(state): Extract<State>,
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<SuperAdminSession>,
    Json(body): Json<DecidePlan>,
) -> Result<ApiResponse<PlanResponse>> {
    let decided = [
        ("agents", body.agents),
        ("runs", body.runs),
        ("tokens", body.tokens),
    ];
    let too_large = decided
        .into_iter()
        .filter(|(_, limit)| limit.is_some_and(|limit| limit > MAX_LIMIT))
        .map(|(field, _)| FieldError::new(field, format!("must be at most {MAX_LIMIT}")));
    all_valid(too_large.collect())?;
    let own = PlanOverride {
        agents: body.agents,
        runs: body.runs,
        tokens: body.tokens,
    };
    let now = clock.now();
    let organization = caller.organization_id;
    let audit = AuditEntry::new(
        &caller.audit_context,
        "organization.plan_decided",
        "organization",
        organization,
        now,
    )
    .of_organization();
    store.set_plan_override(organization, &own, &audit).await?;
    Ok(ApiResponse::ok(standing(&state, &caller).await?.into()))
}

async fn standing(state: &State, caller: &Principal) -> Result<PlanUsage, Error> {
    let now = state.context.services.clock.now();
    state.context.store.plan(caller.organization_id, now).await
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(get_plan, set_plan_override))
}
