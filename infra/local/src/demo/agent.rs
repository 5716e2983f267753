//! The agent that reads reports.

use anyhow::ensure;
use serde_json::json;

use super::account::{Keys, stranger};
use super::client::{Client, text};

/// An installed agent's id.
pub(super) struct Agent {
    pub(super) id: String,
}

pub(super) async fn install_reader(client: &mut Client<'_>, keys: &Keys) -> anyhow::Result<Agent> {
    client
        .screen
        .step("Install an agent that reads reports (Prodgy), and see it in AgentPlatform")?;
    let instructions =
        "Sum up the incident in five sentences: what happened, its impact and its root cause.";
    let body = json!({
        "slug": "freeform",
        "name": "Incident reader",
        "parameters": {"instructions": instructions},
    });
    let path = "/api/agent-base/install";
    let installed = client.post(path, &keys.prodgy, &body, 201).await?;
    let id = text(&installed, "/data/id")?.to_owned();
    let path = format!("/api/v1/agents/{id}");
    let agent = client.get(&path, &keys.agentplatform, 200).await?;
    ensure!(
        text(&agent, "/data/status")? == "idle",
        "a new agent is idle"
    );
    client.screen.result("agent", &id)?;
    client
        .screen
        .result("model", text(&agent, "/data/config/model")?)?;
    Ok(Agent { id })
}

pub(super) async fn keep_out_strangers(
    client: &mut Client<'_>,
    agent: &Agent,
) -> anyhow::Result<()> {
    client
        .screen
        .step("Ask for the agent from another organization: it is not there")?;
    let stranger = stranger(client).await?;
    let path = format!("/api/agent-base/{}", agent.id);
    let refusal = client.get(&path, &stranger, 404).await?;
    client
        .screen
        .result("answer", text(&refusal, "/message")?)?;
    Ok(())
}
