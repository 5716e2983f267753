//! The runs that an agent is at work on: a small item beside each agent, which lists of agents read in the same round trip.
//!
//! * It has an attribute for each run that a worker has had for a moment. The entry goes when the run ends, beside the write of the run and
//!   not in its transaction: all runs of an agent meet here, and would collide. An entry ends by itself some time after the run's lease,
//!   so that one which was not taken away does no harm, and is written anew while the run goes on.
//! * It counts the runs that are paused, in the transactions that pause and continue them.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use domain::agent::Agent;
use domain::ids::{AgentId, RunId, WorkspaceId};
use domain::page::{Cursor, Page, PageRequest};
use domain::run::{Run, RunStatus};
use domain::{Error, Result};
use futures::future::try_join;

use crate::agents::read_agent;
use crate::attributes::PAUSED;
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{Item, number, sort_key};
use crate::keys::{self, PARTITION, SORT};
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// The prefix of the attributes of runs.
const RUN: char = 'r';
/// The digits of a run's id that its attribute has: random ones.
const DIGITS: usize = 12;
/// The time that an entry outlasts the lease: it is written anew every two minutes, and a worker that takes the run again has 90 seconds.
const OUTLASTS: TimeDelta = TimeDelta::seconds(210);
/// The number of status items that are read with a page beyond its agents: those of agents that were deleted a moment ago.
const SPARE: u32 = 5;

/// An agent, and whether a run of it is running or paused.
#[derive(Clone, Debug)]
pub struct AgentWithStatus {
    pub agent: Agent,
    pub is_at_work: bool,
}

impl Store {
    pub async fn agent_with_status(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: DateTime<Utc>,
    ) -> Result<Option<AgentWithStatus>> {
        let wanted = [
            keys::agent(workspace, id),
            keys::agent_status(workspace, id),
        ];
        let [agent, status] = self.get_items(&self.tables.records, wanted).await?;
        let Some(agent) = agent else {
            return Ok(None);
        };
        Ok(Some(AgentWithStatus {
            agent: read_agent(&agent)?,
            is_at_work: status.is_some_and(|status| is_at_work(&status, now)),
        }))
    }

    /// Returns `true` if a run of an agent is running or paused.
    pub async fn is_at_work(
        &self,
        workspace: WorkspaceId,
        id: AgentId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let key = keys::agent_status(workspace, id);
        let status = self.get_item(&self.tables.records, &key).await?;
        Ok(status.is_some_and(|status| is_at_work(&status, now)))
    }

    /// A page of a workspace's agents, newest first.
    pub async fn agents_with_status(
        &self,
        workspace: WorkspaceId,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<AgentWithStatus>> {
        let limit = page.limit.get() + SPARE;
        let cursor = page
            .cursor
            .as_ref()
            .map(Cursor::id::<AgentId>)
            .transpose()?;
        let cursor = cursor.map(|cursor| cursor.to_string());
        let first = self.statuses(workspace, cursor.as_deref(), limit);
        let (agents, (mut statuses, mut more)) =
            try_join(self.agents(workspace, page), first).await?;
        if let Some(oldest) = agents.items.last() {
            let oldest = oldest.id.to_string();
            while more
                && let Some(last) = statuses.last().map(|item| sort_key(item).to_owned())
                && last > oldest
            {
                let next = self.statuses(workspace, Some(&last), limit).await?;
                statuses.extend(next.0);
                more = next.1;
            }
        }
        let at_work = |agent: &Agent| {
            let id = agent.id.to_string();
            let status = statuses.iter().find(|item| sort_key(item) == id);
            status.is_some_and(|status| is_at_work(status, now))
        };
        Ok(agents.map(|agent| AgentWithStatus {
            is_at_work: at_work(&agent),
            agent,
        }))
    }

    /// Status items below a cursor, newest first, and whether there may be more.
    async fn statuses(
        &self,
        workspace: WorkspaceId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Item>, bool)> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .key_condition_expression(format!("{PARTITION} = :partition AND {SORT} < :below"))
            .expression_attribute_values(":partition", text(&keys::agent_statuses(workspace)))
            .expression_attribute_values(":below", text(cursor.unwrap_or(keys::AFTER_IDS)))
            .scan_index_forward(false)
            .set_limit(i32::try_from(limit).ok());
        let output = query.sent().await.map_err(aws_error)?;
        let more = output.last_evaluated_key.is_some();
        Ok((output.items.unwrap_or_default(), more))
    }

    /// Enters a run that is running, under a lease until then, or enters it anew. Nothing fails by it.
    pub async fn enter_running(&self, run: &Run, lease_until: DateTime<Utc>) {
        let until = (lease_until + OUTLASTS).timestamp().to_string();
        let update = self.update_of_status(run);
        let update = update
            .update_expression(format!("SET {} = :until", entry(run.id)))
            .expression_attribute_values(":until", AttributeValue::N(until));
        log_failure(run, update.sent().await);
    }

    /// Takes the entry of a run away that was running when it was `read`, and is not any more. Nothing fails by it.
    pub async fn leave_running(&self, read: &Run, run: &Run) {
        let is_running = |run: &Run| run.status == RunStatus::Running;
        if !is_running(read) || is_running(run) {
            return;
        }
        let update = self.update_of_status(run);
        let update = update
            .update_expression(format!("REMOVE {}", entry(run.id)))
            // Else an agent that is deleted meanwhile would leave an item behind.
            .condition_expression(format!("attribute_exists({PARTITION})"));
        log_failure(run, update.sent().await);
    }

    fn update_of_status(&self, run: &Run) -> UpdateItemFluentBuilder {
        let key = keys::agent_status(run.workspace_id, run.agent_id);
        self.dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(key.attributes()))
    }
}

impl Transaction<'_> {
    /// Counts a run that is paused now, or is so no more.
    pub(crate) fn follow_pause(&mut self, read: &Run, run: &Run) {
        let (was, is) = (
            read.status == RunStatus::Paused,
            run.status == RunStatus::Paused,
        );
        if was == is {
            return;
        }
        let records = self.store().tables.records.clone();
        let key = keys::agent_status(run.workspace_id, run.agent_id);
        let more = Condition::none().number(":more", if is { 1 } else { -1 });
        self.update(&records, &key, format!("ADD {PAUSED} :more"), more, || {
            Error::internal("an unconditional write failed")
        });
    }
}

/// Logs that a status was not written, unless its agent was deleted meanwhile.
fn log_failure(
    run: &Run,
    written: std::result::Result<UpdateItemOutput, SdkError<UpdateItemError>>,
) {
    if let Err(error) = written
        && condition_failure(&error).is_none()
    {
        let error = aws_error(error);
        tracing::warn!(run.id = %run.id, %error, "the agent's status does not have the run as it is");
    }
}

/// The attribute of a run.
fn entry(run: RunId) -> String {
    let id = run.as_uuid().simple().to_string();
    format!("{RUN}{}", &id[id.len() - DIGITS..])
}

fn is_at_work(status: &Item, now: DateTime<Utc>) -> bool {
    let now = now.timestamp();
    let mut runs = status.keys().filter(|name| name.starts_with(RUN));
    number(status, PAUSED) > 0 || runs.any(|name| number(status, name) > now)
}
