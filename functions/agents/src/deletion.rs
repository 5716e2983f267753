//! Removing an agent, whichever dialect asks for it.

use auth::Principal;
use domain::audit::AuditEntry;
use domain::ids::AgentId;
use domain::{Error, Result};
use web::Host;

/// Removes an agent and with it its schedule.
pub(crate) async fn delete(host: &Host, caller: &Principal, id: AgentId) -> Result<()> {
    let agent = host.store.agent(caller.workspace_id, id).await?;
    let agent = agent.ok_or(Error::NotFound("agent"))?;
    let now = host.services.clock.now();
    let audit = AuditEntry::new(&caller.caller, "agent.deleted", "agent", id, now);
    host.store.delete_agent(&agent, &audit).await
}
