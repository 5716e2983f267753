//! The usage of runs, counted by day: per agent, and per workspace and organization in shards, since many of their runs end at once.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::Result;
use domain::ids::{AgentId, OrganizationId, WorkspaceId};
use domain::run::{Run, TokenUsage};
use domain::usage::Usage;
use futures::future::{try_join_all, try_join4};

use crate::attributes::{COST_MICROS, EXPIRES, INPUT_TOKENS, OUTPUT_TOKENS, RUNS, TYPE};
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, number, sort_key};
use crate::keys::{self, Key, USAGE_SHARDS};
use crate::{Store, keys::usage_day};

/// The time that a day's counts are kept.
const KEPT_FOR: TimeDelta = TimeDelta::days(400);

/// The usage of a day.
pub type DayUsage = (NaiveDate, Usage);

impl Store {
    /// Counts a run that has ended. Counting it again counts it twice.
    pub async fn count_usage(&self, run: &Run, now: DateTime<Utc>) -> Result<()> {
        let day = now.date_naive();
        let usage = Usage::of(run);
        let organization = keys::organization_usage(run.organization_id, run.id, day);
        let workspace = keys::workspace_usage(run.workspace_id, run.id, day);
        let agent = keys::agent_usage(run.workspace_id, run.agent_id, day);
        let tokens = usage.tokens.input + usage.tokens.output;
        let in_plan = async {
            if run.counts_in_plan {
                // The run itself was counted when it started.
                self.count_in_month(run.organization_id, 0, tokens, now)
                    .await?;
            }
            Ok(())
        };
        try_join4(
            self.add_usage(organization, usage, now),
            self.add_usage(workspace, usage, now),
            self.add_usage(agent, usage, now),
            in_plan,
        )
        .await?;
        Ok(())
    }

    /// The usage of an organization on each day of a range, both ends included; days without runs are left out.
    pub async fn usage_of_organization(
        &self,
        organization: OrganizationId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let shards = (0..USAGE_SHARDS).map(|it| keys::organization_usage_shard(organization, it));
        self.usage_of_shards(shards.collect(), from, to).await
    }

    /// The usage of a workspace; otherwise like [`Self::usage_of_organization`].
    pub async fn usage_of_workspace(
        &self,
        workspace: WorkspaceId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let shards = (0..USAGE_SHARDS).map(|it| keys::workspace_usage_shard(workspace, it));
        self.usage_of_shards(shards.collect(), from, to).await
    }

    async fn usage_of_shards(
        &self,
        partitions: Vec<String>,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let shards = partitions
            .iter()
            .map(|partition| self.usage_days(partition, from, to));
        let mut days = std::collections::BTreeMap::<NaiveDate, Usage>::new();
        for (day, usage) in try_join_all(shards).await?.into_iter().flatten() {
            *days.entry(day).or_default() += usage;
        }
        Ok(days.into_iter().collect())
    }

    /// The usage of an agent; otherwise like [`Self::usage_of_organization`].
    pub async fn usage_of_agent(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let partition = keys::agent_usage_days(workspace, agent);
        self.usage_days(&partition, from, to).await
    }

    async fn usage_days(
        &self,
        partition: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<DayUsage>> {
        let (first, last) = (usage_day(from), usage_day(to));
        let items = self
            .collection(&self.tables.logs, partition, &first, &last)
            .await?;
        Ok(items.iter().filter_map(read_day).collect())
    }

    async fn add_usage(&self, key: Key, usage: Usage, now: DateTime<Utc>) -> Result<()> {
        let count = |value: u64| AttributeValue::N(value.to_string());
        let expires = (now + KEPT_FOR).timestamp();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.logs)
            .set_key(Some(key.attributes()))
            .update_expression(
                format!("ADD {RUNS} :runs, {INPUT_TOKENS} :input, {OUTPUT_TOKENS} :output, {COST_MICROS} :cost \
                 SET {EXPIRES} = :expires, #type = :type"),
            )
            .expression_attribute_names("#type", TYPE)
            .expression_attribute_values(":runs", count(usage.runs))
            .expression_attribute_values(":input", count(usage.tokens.input))
            .expression_attribute_values(":output", count(usage.tokens.output))
            .expression_attribute_values(":cost", count(usage.cost_micros))
            .expression_attribute_values(":expires", AttributeValue::N(expires.to_string()))
            .expression_attribute_values(":type", AttributeValue::S("usage".to_owned()));
        update.sent().await.map_err(aws_error)?;
        Ok(())
    }
}

fn read_day(item: &Item) -> Option<DayUsage> {
    let count = |name| u64::try_from(number(item, name)).unwrap_or(0);
    let usage = Usage {
        runs: count(RUNS),
        tokens: TokenUsage {
            input: count(INPUT_TOKENS),
            output: count(OUTPUT_TOKENS),
        },
        cost_micros: count(COST_MICROS),
    };
    Some((sort_key(item).parse().ok()?, usage))
}
