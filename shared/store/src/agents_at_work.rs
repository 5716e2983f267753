//! Which agents have runs under way: read from the partitions of the statuses, whose sort keys begin with the agent.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::Result;
use domain::agent::Agent;
use domain::ids::{AgentId, WorkspaceId};
use domain::page::{Page, PageRequest};
use domain::run::RunStatus;
use futures::future::{try_join, try_join_all};

use crate::Store;
use crate::item::{Item, aws_error, boxed, text};
use crate::keys::{self, Index};

/// How many runs are read of a partition before an agent's remaining ones are passed over.
const AT_ONCE: i32 = 250;

/// One partition, read from the newest agent down.
struct Reading {
    partition: String,
    /// Agents that have a run in it.
    found: HashSet<AgentId>,
    /// The last agent seen; `None` once there is nothing more to read.
    last: Option<AgentId>,
}

impl Store {
    /// A page of a workspace's agents, and which of them have a run in one of `statuses` now, however many those have.
    pub async fn agents_at_work(
        &self,
        workspace: WorkspaceId,
        statuses: &[RunStatus],
        page: &PageRequest,
    ) -> Result<(Page<Agent>, HashSet<AgentId>)> {
        // Up to the cursor's own agent, which is on the page before.
        let high = page.cursor.clone().unwrap_or_else(|| "~".to_owned());
        let partitions = statuses
            .iter()
            .flat_map(|status| keys::runs_in_status(workspace, *status));
        let readings = partitions.map(|partition| {
            let reading = Reading {
                partition,
                found: HashSet::new(),
                last: None,
            };
            self.read_on(reading, "!", &high)
        });
        let (agents, readings) =
            try_join(self.agents(workspace, page), try_join_all(readings)).await?;
        let Some(oldest) = agents.items.last().map(|agent| agent.id) else {
            return Ok((agents, HashSet::new()));
        };
        let readings = readings
            .into_iter()
            .map(|reading| self.read_down_to(reading, oldest));
        let readings = try_join_all(readings).await?;
        let at_work = readings.into_iter().flat_map(|reading| reading.found);
        Ok((agents, at_work.collect()))
    }

    /// Whether an agent has a run in one of `statuses` now.
    pub async fn is_at_work(
        &self,
        workspace: WorkspaceId,
        statuses: &[RunStatus],
        agent: AgentId,
    ) -> Result<bool> {
        let prefix = keys::runs_of_agent_in_status(agent);
        let high = format!("{prefix}~");
        let partitions: Vec<String> = statuses
            .iter()
            .flat_map(|status| keys::runs_in_status(workspace, *status))
            .collect();
        let looks = partitions
            .iter()
            .map(|partition| self.places(partition, &prefix, &high, 1));
        let found = try_join_all(looks).await?;
        Ok(found.iter().any(|(rows, _)| !rows.is_empty()))
    }

    /// Reads a partition until all agents from `oldest` on are known. Each step makes at least one more known.
    async fn read_down_to(&self, mut reading: Reading, oldest: AgentId) -> Result<Reading> {
        while let Some(last) = reading.last.filter(|last| *last > oldest) {
            // The agent's other runs lie above its bare id.
            let high = last.to_string();
            reading = self.read_on(reading, &oldest.to_string(), &high).await?;
        }
        Ok(reading)
    }

    async fn read_on(&self, mut reading: Reading, low: &str, high: &str) -> Result<Reading> {
        let (rows, more) = self.places(&reading.partition, low, high, AT_ONCE).await?;
        let agents = rows
            .iter()
            .filter_map(|row| keys::agent_in_status(text(row, Index::Status.sort())?));
        let agents: Vec<AgentId> = agents.collect();
        reading.last = agents.last().copied().filter(|_| more);
        reading.found.extend(agents);
        Ok(reading)
    }

    /// The newest rows of a partition between two sort keys, and whether there are more.
    async fn places(
        &self,
        partition: &str,
        low: &str,
        high: &str,
        limit: i32,
    ) -> Result<(Vec<Item>, bool)> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(Index::Status.name())
            .key_condition_expression(format!(
                "{} = :partition AND {} BETWEEN :low AND :high",
                Index::Status.partition(),
                Index::Status.sort()
            ))
            .expression_attribute_values(":partition", text(partition))
            .expression_attribute_values(":low", text(low))
            .expression_attribute_values(":high", text(high))
            .scan_index_forward(false)
            .limit(limit);
        let output = boxed(query.send()).await.map_err(aws_error)?;
        let more = output.last_evaluated_key.is_some();
        Ok((output.items.unwrap_or_default(), more))
    }
}
