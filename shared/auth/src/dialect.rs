//! Which product's rules a path follows. The first segments are compared whole: `/api/workflow` is Prodgy's,
//! `/api/workflows` is Prowpt's.

/// One of the published APIs, or our own account routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `{"success":true,"message":..,"data":..}`; validation is 400.
    Prodgy,
    /// Our own routes for accounts: Prodgy's envelope, sessions only, limits of their own.
    Account,
    /// Bare JSON; errors `{"detail":..}`; validation is 422. Also what unknown paths answer in.
    Prowpt,
    /// `{"data":..}`; errors `{"errors":..}`; validation is 422.
    AgentPlatform,
}

impl Dialect {
    pub fn of(path: &str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        match (segments.next(), segments.next(), segments.next()) {
            (Some("api"), Some("v1"), _) | (Some("webhooks"), Some("inbound"), _) => {
                Self::AgentPlatform
            }
            (Some("swagger" | "swagger.json"), ..) => Self::Prodgy,
            (Some("api"), Some("auth"), Some("me")) => Self::Prowpt,
            (Some("api"), Some("auth" | "workspaces" | "organization"), _) => Self::Account,
            (
                Some("api"),
                Some(
                    "agent-base" | "workflow" | "workflow-base" | "integrations-base"
                    | "knowledge-base" | "webhook" | "communicator" | "assistant" | "transcription"
                    | "api-tokens" | "api-token",
                ),
                _,
            ) => Self::Prodgy,
            _ => Self::Prowpt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_compared_whole() {
        for (path, dialect) in [
            ("/api/v1/agents", Dialect::AgentPlatform),
            ("/api/v1", Dialect::AgentPlatform),
            ("/api/v10/agents", Dialect::Prowpt),
            ("/api/workflow/x/status", Dialect::Prodgy),
            ("/api/workflows/7", Dialect::Prowpt),
            ("/api/api-token/auth/validate", Dialect::Prodgy),
            ("/api/settings/api-keys", Dialect::Prowpt),
            ("/api/auth/me/", Dialect::Prowpt),
            ("/api/auth/login", Dialect::Account),
            ("/api/organization/members", Dialect::Account),
            ("/webhooks/inbound/t", Dialect::AgentPlatform),
            ("/nothing", Dialect::Prowpt),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
