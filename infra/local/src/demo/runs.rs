//! Running the agent, by REST and by a signal.

use anyhow::ensure;
use serde_json::{Value, json};

use super::account::Keys;
use super::agent::Agent;
use super::client::{Client, text};

/// The report that the agent is given to read.
const REPORT: &str = include_str!("../../assets/incident-report.md");

const QUESTION: &str = "What was the root cause?";
/// The words that the answer to the question has to quote.
const ROOT_CAUSE: &str = "called the risk service inside an open database transaction";

/// A run that is over.
pub(super) struct Run {
    pub(super) id: String,
    pub(super) answer: String,
}

pub(super) async fn sum_up_by_rest(
    client: &mut Client<'_>,
    keys: &Keys,
    agent: &Agent,
) -> anyhow::Result<()> {
    client
        .screen
        .step("Have it sum up a real incident report and wait for the result (Prodgy)")?;
    let path = format!("/api/agent-base/{}/executions", agent.id);
    let body = json!({"input": {"text": REPORT}, "wait": true});
    let answer = client.post(&path, &keys.prodgy, &body, 200).await?;
    let execution = &answer["data"];
    ensure!(
        execution["status"] == "completed",
        "the execution ended as {execution}"
    );
    let summary = text(execution, "/output/text")?;
    ensure!(
        summary.len() < REPORT.len() / 2,
        "a summary is shorter than its text"
    );
    let quoted = quoted_sentences(summary);
    ensure!(
        quoted >= 3,
        "only {quoted} sentences of the summary are in the report"
    );
    client.screen.text(summary)?;
    client.screen.result(
        "quoted",
        format!("{quoted} sentences of the report, word for word"),
    )?;
    client
        .screen
        .result("took", format!("{} ms", execution["duration_ms"]))?;
    Ok(())
}

pub(super) async fn ask_by_signal(
    client: &mut Client<'_>,
    keys: &Keys,
    agent: &Agent,
) -> anyhow::Result<Run> {
    client.screen.step(
        "Send it a signal with a question, which runs it through the queue (AgentPlatform)",
    )?;
    let path = format!("/api/v1/agents/{}/signals", agent.id);
    let payload = json!({"question": QUESTION, "text": REPORT});
    let body = json!({"type": "incident.closed", "payload": payload});
    let accepted = client.post(&path, &keys.agentplatform, &body, 202).await?;
    ensure!(
        accepted["data"]["status"] == "accepted",
        "the signal is accepted"
    );
    let id = text(&accepted, "/data/run_id")?.to_owned();

    let path = format!("/api/v1/runs/{id}");
    let run = client
        .get_until(&path, &keys.agentplatform, is_over)
        .await?;
    ensure!(
        run["data"]["status"] == "completed",
        "the run ended as {}",
        run["data"]
    );
    let answer = text(&run, "/data/output/text")?;
    let answers = answer.contains(ROOT_CAUSE);
    ensure!(answers, "the answer does not name the root cause: {answer}");
    client.screen.text(answer)?;
    Ok(Run {
        id,
        answer: answer.to_owned(),
    })
}

pub(super) fn is_over(run: &Value) -> bool {
    let status = run["data"]["status"].as_str();
    matches!(status, Some("completed" | "failed" | "cancelled"))
}

/// The number of sentences of the summary that the report has word for word.
fn quoted_sentences(summary: &str) -> usize {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let report = words(REPORT);
    // Every quote ends with its citation.
    let quotes = summary
        .split(" [")
        .map(|piece| piece.split_once(']').map_or(piece, |(_, rest)| rest));
    quotes
        .map(words)
        .filter(|quote| quote.len() > 20 && report.contains(quote.as_str()))
        .count()
}
