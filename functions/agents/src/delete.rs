//! Deleting an agent, whichever dialect asks for it.

use std::time::Duration;

use auth::Principal;
use domain::Result;
use domain::audit::AuditEntry;
use domain::ids::AgentId;
use engine::Endings;
use tokio::time::Instant;
use web::{AppContext, found};

/// The time that a request stops runs, those in progress first. What is left is stopped by the deletion's job; no worker takes it up
/// meanwhile.
const STOPS_FOR: Duration = Duration::from_secs(10);

/// Deletes an agent, and with it its schedule. Its runs are stopped and stay readable by their ids.
pub(crate) async fn delete(context: &AppContext, caller: &Principal, id: AgentId) -> Result<()> {
    let until = Instant::now() + STOPS_FOR;
    let agent = found(context.store.agent(caller.workspace_id, id)).await?;
    let now = context.services.clock.now();
    let audit = AuditEntry::new(&caller.audit_context, "agent.deleted", "agent", id, now);
    let deletion = context.store.delete_agent(&agent, &audit).await?;
    let endings = Endings::new(context.store.clone(), context.services.clock.clone());
    endings.begin(deletion, &caller.audit_context, until).await;
    Ok(())
}
