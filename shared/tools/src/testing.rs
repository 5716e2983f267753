//! A catalog with all tools, for the tests of this crate.

use std::sync::Arc;

use chrono::DateTime;
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use futures::future::{self, BoxFuture};
use serde_json::Value;

use crate::{
    AgentCall, CallingRun, ToolCatalog, ToolError, ToolScope, ToolSet, ToolSettings, Workspace,
};

/// A workspace without agents.
struct Empty;

impl Workspace for Empty {
    fn trigger<'a>(&'a self, _: AgentCall<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(future::ready(Ok(Value::Null)))
    }

    fn activity<'a>(
        &'a self,
        _: &'a CallingRun,
        _: u32,
    ) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(future::ready(Ok(Value::Null)))
    }
}

pub(crate) fn catalog(settings: ToolSettings) -> ToolCatalog {
    ToolCatalog::new(settings).with_workspace(Arc::new(Empty))
}

/// All tools of a catalog, for a run.
pub(crate) async fn resolve_all(catalog: &ToolCatalog) -> ToolSet {
    let now = DateTime::UNIX_EPOCH;
    let run = CallingRun {
        id: RunId::new(now),
        organization_id: OrganizationId::new(now),
        workspace_id: WorkspaceId::new(now),
        agent_id: AgentId::new(now),
        started_at: now,
        lineage: None,
    };
    let scope = ToolScope {
        organization_id: run.organization_id,
        workspace_id: run.workspace_id,
        run: Some(&run),
    };
    let names = domain::agent::TOOLS.map(str::to_owned);
    catalog.resolve(scope, &names).await.unwrap()
}
