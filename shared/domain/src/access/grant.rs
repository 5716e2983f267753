//! Granting: callers grant only what they have, to others and to themselves.

use super::{Role, least_role};
use crate::error::{Error, Result};
use crate::ids::WorkspaceId;

/// The rights that a caller has, and so may grant.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub role: Role,
    /// The workspaces that the caller may use; `None` means all of the organization.
    pub workspaces: Option<&'a [WorkspaceId]>,
}

impl Holding<'_> {
    /// Returns `true` if the caller may use a workspace of the organization.
    pub fn may_use(&self, workspace: WorkspaceId) -> bool {
        self.workspaces.is_none_or(|own| own.contains(&workspace))
    }

    /// `Ok` when the caller has the role in all workspaces: for what concerns the organization as a whole.
    pub fn require_role_everywhere(&self, role: Role) -> Result<()> {
        self.role.require(role)?;
        if self.workspaces.is_none() {
            return Ok(());
        }
        let role = role.as_str();
        Err(Error::Forbidden(format!(
            "requires role {role} in all workspaces"
        )))
    }
}

/// The rights that are to be granted.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    Role(Role),
    /// `None` means all of the organization.
    Workspaces(Option<&'a [WorkspaceId]>),
    Scopes(&'a [String]),
    /// Requests of a key in a minute.
    RequestsPerMinute {
        wanted: u32,
        /// The limits that the operator allows the key.
        allowed: u32,
    },
}

/// The most requests of a key in a minute that can be granted.
const MAX_REQUESTS_PER_MINUTE: u32 = 100_000;

/// `Ok` when the caller has what is wanted.
///
/// # Errors
/// `Invalid` naming `role` or `rate_limit_per_minute`, `Forbidden` for workspaces and scopes.
pub fn may_grant(caller: Holding<'_>, wanted: Grant<'_>) -> Result<()> {
    match wanted {
        Grant::Role(role) if role > caller.role => {
            Err(Error::invalid("role", "must not exceed your own"))
        }
        Grant::Role(_) => Ok(()),
        Grant::Workspaces(wanted) => workspaces(caller, wanted),
        Grant::Scopes(scopes) => {
            let lacking = scopes.iter().find(|scope| least_role(scope) > caller.role);
            lacking.map_or(Ok(()), |scope| {
                let role = least_role(scope).as_str();
                Err(Error::Forbidden(format!(
                    "the scope {scope} requires role {role}"
                )))
            })
        }
        Grant::RequestsPerMinute { wanted, allowed } => {
            let most = match caller.role {
                Role::SuperAdmin => MAX_REQUESTS_PER_MINUTE,
                Role::User | Role::Admin => allowed,
            };
            if (1..=most).contains(&wanted) {
                return Ok(());
            }
            let message = format!("must be from 1 to {most}");
            Err(Error::invalid("rate_limit_per_minute", message))
        }
    }
}

fn workspaces(caller: Holding<'_>, wanted: Option<&[WorkspaceId]>) -> Result<()> {
    let Some(own) = caller.workspaces else {
        return Ok(());
    };
    let refused = match wanted {
        None => Some("you may not use all workspaces".to_owned()),
        Some(wanted) => wanted
            .iter()
            .position(|workspace| !own.contains(workspace))
            .map(|index| format!("you may not use workspaces[{index}]")),
    };
    refused.map_or(Ok(()), |why| Err(Error::Forbidden(why)))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    #[test]
    fn what_a_caller_lacks_is_not_granted() {
        let id =
            |second| WorkspaceId::new(DateTime::<Utc>::from_timestamp(second, 0).expect("a time"));
        let (first, second) = (id(1), id(2));
        let (own, both) = ([second], [second, first]);
        let administrators = ["credentials:write".to_owned()];
        let wildcard = ["*".to_owned()];
        let rate = |wanted| Grant::RequestsPerMinute {
            wanted,
            allowed: 100,
        };
        let of = |role, workspaces| Holding { role, workspaces };
        let user = of(Role::User, None);
        let admin = of(Role::Admin, None);
        let limited = of(Role::Admin, Some(&own[..]));
        let operator = of(Role::SuperAdmin, None);
        for (caller, wanted, may) in [
            (user, Grant::Role(Role::User), true),
            (user, Grant::Role(Role::Admin), false),
            (admin, Grant::Role(Role::SuperAdmin), false),
            (admin, Grant::Workspaces(None), true),
            (admin, Grant::Workspaces(Some(&both)), true),
            (limited, Grant::Workspaces(None), false),
            (limited, Grant::Workspaces(Some(&both)), false),
            (limited, Grant::Workspaces(Some(&own)), true),
            (user, Grant::Scopes(&administrators), false),
            (user, Grant::Scopes(&wildcard), true),
            (limited, Grant::Scopes(&administrators), true),
            (admin, rate(0), false),
            (admin, rate(100), true),
            (admin, rate(101), false),
            (operator, rate(100_000), true),
            (operator, rate(100_001), false),
        ] {
            let granted = may_grant(caller, wanted);
            assert_eq!(granted.is_ok(), may, "{caller:?} {wanted:?}: {granted:?}");
        }
    }
}
