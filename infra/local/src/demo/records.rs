//! The records of a run: the run, its messages, the audit log.

use anyhow::ensure;
use serde_json::Value;

use super::account::Keys;
use super::agent::Agent;
use super::client::{Client, text};
use super::runs::Run;

pub(super) async fn read_run(
    client: &mut Client<'_>,
    keys: &Keys,
    run: &Run,
) -> anyhow::Result<()> {
    client.screen.step("Look at the run")?;
    let path = format!("/api/v1/runs/{}", run.id);
    let shown = client.get(&path, &keys.agentplatform, 200).await?;
    let data = &shown["data"];
    ensure!(
        data["trigger"] == "signal",
        "the run was started by {}",
        data["trigger"]
    );
    for name in [
        "status",
        "trigger",
        "created_at",
        "started_at",
        "finished_at",
    ] {
        let value = text(data, &format!("/{name}"))?;
        client.screen.result(name, value)?;
    }
    client
        .screen
        .result("signal", text(data, "/signal/type")?)?;
    let tokens = &data["tokens"];
    let tokens = format!("{} read, {} written", tokens["input"], tokens["output"]);
    client.screen.result("tokens", tokens)?;
    Ok(())
}

pub(super) async fn read_messages(
    client: &mut Client<'_>,
    keys: &Keys,
    run: &Run,
) -> anyhow::Result<()> {
    client.screen.step("Read what the run shows to people")?;
    let path = format!("/api/v1/runs/{}/messages", run.id);
    let listed = client.get(&path, &keys.agentplatform, 200).await?;
    let messages = rows(&listed);
    ensure!(!messages.is_empty(), "the run shows no message");
    for message in messages {
        let (kind, title) = (text(message, "/kind")?, text(message, "/title")?);
        client.screen.result(kind, title)?;
    }
    let shown = messages
        .iter()
        .any(|message| message["content"] == run.answer.as_str());
    ensure!(shown, "no message has the answer");
    Ok(())
}

pub(super) async fn read_audit_log(
    client: &mut Client<'_>,
    keys: &Keys,
    agent: &Agent,
) -> anyhow::Result<()> {
    client.screen.step("Read the audit log")?;
    let listed = client
        .get("/api/v1/audit-logs", &keys.agentplatform, 200)
        .await?;
    let entries = rows(&listed);
    for entry in entries {
        let at = text(entry, "/created_at")?;
        let resource = format!(
            "{} {}",
            text(entry, "/resource/type")?,
            text(entry, "/resource/id")?
        );
        client
            .screen
            .result(text(entry, "/action")?, format!("{at}  {resource}"))?;
    }
    let created = |entry: &&Value| {
        entry["action"] == "agent.created" && entry["resource"]["id"] == agent.id.as_str()
    };
    ensure!(
        entries.iter().filter(created).count() == 1,
        "the agent's creation is logged once"
    );
    Ok(())
}

fn rows(listed: &Value) -> &[Value] {
    listed["data"].as_array().map_or(&[], Vec::as_slice)
}
