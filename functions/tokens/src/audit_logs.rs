//! The audit log, `/api/v1/audit-logs` (AgentPlatform's API reference): what was done in the key's workspace and, for
//! administrators, in the organization as a whole, newest first.

use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::audit::{Actor, AuditEntry, Resource};
use domain::ids::AuditId;
use serde::Serialize;
use store::AuditFilter;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::AuditLogsRead;
use web::{
    Authorized, Clock, CursorPaging, PageParams, PageResponse, Params, Result, Routes, Store,
};

use crate::State;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLog)]
struct AuditLogResponse {
    id: AuditId,
    actor: Actor,
    #[schema(example = "agent.created")]
    action: String,
    resource: Resource,
    ip: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<AuditEntry> for AuditLogResponse {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            actor: entry.actor,
            action: entry.action,
            resource: entry.resource,
            ip: entry.ip,
            created_at: entry.created_at,
        }
    }
}

/// Lists what was done in the workspace; administrators see among it what concerned the organization: its members, workspaces,
/// credentials and defaults. `action` may end in `*`: `agent.*`. A page may be short, or empty, and still have a `next_cursor`: one
/// request looks at 1,000 entries.
#[utoipa::path(
    get,
    path = "/api/v1/audit-logs",
    tag = "Audit Logs",
    params(
        ("action" = Option<String>, Query, description = "An action, or the beginning of some", example = "agent.*"),
        ("from" = Option<String>, Query, description = "At or after: RFC 3339, or a date", example = "2026-11-22T10:00:00Z"),
        ("to" = Option<String>, Query, description = "Before", example = "2026-11-23"),
        CursorPaging,
    ),
    security(("AgentPlatformKey" = ["audit_logs:read"])),
    responses((status = 200, body = Vec<AuditLogResponse>))
)]
async fn list_audit_logs(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<AuditLogsRead>,
    query: Params,
    params: PageParams,
) -> Result<PageResponse<AuditLogResponse>> {
    let filter = AuditFilter {
        action: query.get("action").map(str::to_owned),
        from: query.time("from")?,
        to: query.time("to")?,
    };
    let now = clock.now();
    let is_administrator = caller.role >= Role::Admin;
    let organization = is_administrator.then_some(caller.organization_id);
    let workspace = caller.workspace_id;
    let page = store.audit_log(workspace, organization, &filter, &params.request, now);
    let page = page.await?;
    Ok(PageResponse::new(page.map(AuditLogResponse::from), params))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(list_audit_logs))
}
