//! The audit log: rows that are written in the same transaction as the change that they tell of.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{AuditId, OrganizationId, TokenId, UserId, WorkspaceId};

/// The actor of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "id", rename_all = "snake_case")]
pub enum Actor {
    User(UserId),
    ApiKey(TokenId),
    /// The platform itself: a schedule, an expiry.
    System,
}

/// The caller of a request as the logs keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    /// The source IP as the gateway saw it.
    pub ip: Option<String>,
    /// At most 256 characters of the `User-Agent` header.
    pub user_agent: Option<String>,
}

impl Caller {
    /// The platform acting for a workspace.
    pub fn system(organization_id: OrganizationId, workspace_id: WorkspaceId) -> Self {
        Self {
            actor: Actor::System,
            organization_id,
            workspace_id,
            ip: None,
            user_agent: None,
        }
    }
}

/// The thing that was acted upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Resource {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
}

/// One row of a workspace's audit log, or of the organization's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEntry {
    pub id: AuditId,
    pub organization_id: OrganizationId,
    /// The address that it was done from.
    pub workspace_id: WorkspaceId,
    /// `true` if it concerns the organization as a whole: then administrators see it in every workspace.
    #[serde(default)]
    pub concerns_all: bool,
    pub actor: Actor,
    /// `<resource>.<past participle>`: `agent.created`.
    pub action: String,
    pub resource: Resource,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl AuditEntry {
    /// `caller` did `action` to the `kind` with this `id`.
    pub fn new(
        caller: &Caller,
        action: &str,
        kind: &str,
        id: impl ToString,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: AuditId::new(now),
            organization_id: caller.organization_id,
            workspace_id: caller.workspace_id,
            concerns_all: false,
            actor: caller.actor,
            action: action.to_owned(),
            resource: Resource {
                kind: kind.to_owned(),
                id: id.to_string(),
            },
            ip: caller.ip.clone(),
            user_agent: caller.user_agent.clone(),
            created_at: now,
        }
    }

    /// The row as one that concerns the organization as a whole.
    #[must_use]
    pub fn of_organization(self) -> Self {
        Self {
            concerns_all: true,
            ..self
        }
    }
}
