//! Rights: roles for people and Prodgy tokens, scopes for Prowpt and AgentPlatform keys.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod grant;

pub use grant::{Grant, Holding, may_grant};

/// The role of a member of an organization. Ordered: each role may do what the ones before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    User,
    Admin,
    /// Crosses organizations. Granted on the machine by `signalbox admin grant` only.
    #[serde(alias = "SYSTEM")]
    SuperAdmin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Admin => "ADMIN",
            Self::SuperAdmin => "SUPERADMIN",
        }
    }

    /// `Ok` when this role includes `needed`.
    pub fn require(self, needed: Self) -> Result<()> {
        if self >= needed {
            Ok(())
        } else {
            Err(Error::Forbidden(format!(
                "requires role {}",
                needed.as_str()
            )))
        }
    }
}

/// The scopes of AgentPlatform keys (AgentPlatform's API reference).
pub const AGENTPLATFORM_SCOPES: [&str; 16] = [
    "agents:read",
    "agents:write",
    "runs:read",
    "connections:read",
    "usage:read",
    "signals:write",
    "notifications:read",
    "notifications:write",
    "webhooks:read",
    "webhooks:write",
    "mcp:read",
    "mcp:write",
    "credentials:read",
    "credentials:write",
    "audit_logs:read",
    "mcp:tools",
];

/// The scopes of Prowpt keys (Prowpt's agent integration page). `*` and `<resource>:*` are accepted beside them.
pub const PROWPT_SCOPES: [&str; 22] = [
    "projects:read",
    "projects:write",
    "projects:publish",
    "projects:delete",
    "sources:read",
    "sources:write",
    "assistant:use",
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "records:read",
    "records:write",
    "record_types:read",
    "record_types:write",
    "translations:read",
    "translations:write",
    "email_templates:read",
    "email_templates:write",
    "assets:read",
    "assets:write",
    "billing:read",
    "billing:purchase_credits",
];

/// Returns `true` if a Prowpt key may carry `scope`.
pub fn is_prowpt_scope(scope: &str) -> bool {
    scope == "*"
        || PROWPT_SCOPES.contains(&scope)
        || scope.strip_suffix(":*").is_some_and(|resource| {
            PROWPT_SCOPES.iter().any(|known| {
                known
                    .split_once(':')
                    .is_some_and(|(name, _)| name == resource)
            })
        })
}

/// Returns `true` if an AgentPlatform key may carry `scope`. There are no wildcards in this dialect.
pub fn is_agentplatform_scope(scope: &str) -> bool {
    AGENTPLATFORM_SCOPES.contains(&scope)
}

/// The scopes of what concerns an organization's money and secrets.
const SCOPES_OF_ADMINISTRATORS: [&str; 2] = ["credentials:write", "billing:purchase_credits"];

/// The least role that an operation needs beside its scope. A wildcard gives no more than the role of its key allows.
pub fn least_role(scope: &str) -> Role {
    if SCOPES_OF_ADMINISTRATORS.contains(&scope) {
        Role::Admin
    } else {
        Role::User
    }
}

/// Returns `true` if `granted` includes `needed`, wildcards considered.
pub fn grants(granted: &[String], needed: &str) -> bool {
    granted.iter().any(|scope| {
        scope == needed
            || scope == "*"
            || scope.strip_suffix(":*").is_some_and(|resource| {
                needed
                    .strip_prefix(resource)
                    .is_some_and(|rest| rest.starts_with(':'))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_grant_their_resource_and_nothing_beside_it() {
        let granted = |scopes: &[&str], needed| {
            grants(
                &scopes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                needed,
            )
        };
        assert!(granted(&["projects:*"], "projects:delete"));
        assert!(
            !granted(&["record:*"], "records:read"),
            "a prefix of a resource name is another resource"
        );
        assert!(!granted(&["records:*"], "record_types:read"));
        assert!(granted(&["*"], "billing:purchase_credits"));
        assert!(is_prowpt_scope("billing:*") && is_prowpt_scope("*"));
        assert!(
            !is_prowpt_scope("projects") && !is_prowpt_scope("nothing:*") && !is_prowpt_scope(":*")
        );
        assert!(!is_agentplatform_scope("agents:*"));
    }

    #[test]
    fn roles_include_the_ones_below() {
        assert!(Role::SuperAdmin.require(Role::Admin).is_ok());
        assert!(Role::User.require(Role::Admin).is_err());
        assert_eq!(
            serde_json::from_str::<Role>("\"SYSTEM\"").unwrap(),
            Role::SuperAdmin
        );
    }
}
