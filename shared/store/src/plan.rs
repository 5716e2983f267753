//! An organization's plan: one item with what the operator has decided for it and what is used this month, so that one read
//! tells whether a run may start. The counts are added to without a condition on each other, so runs that start at once may
//! exceed a limit by as many; an agent is counted in the transaction that makes it.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use domain::agent::Agent;
use domain::audit::AuditEntry;
use domain::ids::{AgentId, OrganizationId, WorkspaceId};
use domain::plan::{PlanOverride, PlanUsage};
use domain::{Error, Result};

use crate::agents::read_agent;
use crate::attributes::{
    AGENTS, COUNTED_MONTH, MAX_AGENTS, MAX_RUNS, MAX_TOKENS, MONTH_RUNS, MONTH_TOKENS, ROW_COUNT,
};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{Item, number, text};
use crate::keys;
use crate::transaction::{Condition, stale};
use crate::{Store, Transaction};

/// The number of times that a count is tried while others begin a new month.
const ATTEMPTS: u32 = 3;

impl Store {
    /// The usage of an organization's plan now.
    pub async fn plan(
        &self,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<PlanUsage> {
        let key = keys::plan(organization);
        let item = self.get_item(&self.tables.records, &key).await?;
        Ok(self.plan_usage(&item.unwrap_or_default(), now))
    }

    /// An agent, and how its organization stands against its plan now.
    pub async fn agent_and_plan(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        organization: OrganizationId,
        now: DateTime<Utc>,
    ) -> Result<(Option<Agent>, PlanUsage)> {
        let wanted = [keys::agent(workspace, agent), keys::plan(organization)];
        let [agent, plan] = self.get_items(&self.tables.records, wanted).await?;
        let agent = agent.as_ref().map(read_agent).transpose()?;
        Ok((agent, self.plan_usage(&plan.unwrap_or_default(), now)))
    }

    fn plan_usage(&self, item: &Item, now: DateTime<Utc>) -> PlanUsage {
        let own = PlanOverride {
            agents: decided(item, MAX_AGENTS),
            runs: decided(item, MAX_RUNS),
            tokens: decided(item, MAX_TOKENS),
        };
        let counts = text(item, COUNTED_MONTH) == Some(&month(now));
        let used = |name| match counts {
            true => u64::try_from(number(item, name)).unwrap_or(0),
            false => 0,
        };
        PlanUsage {
            own,
            limits: own.resolve(self.plan),
            agents: u64::try_from(number(item, AGENTS)).unwrap_or(0),
            runs: used(MONTH_RUNS),
            tokens: used(MONTH_TOKENS),
            now,
        }
    }

    /// Takes the agents of a workspace that is gone out of the counts. `true`, however often it is called.
    pub(crate) async fn forget_workspace(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
    ) -> Result<bool> {
        let records = &self.tables.records;
        let list = keys::agents(workspace);
        let (total, plan) = (keys::total(&list), keys::plan(organization));
        let rows = self.kept_total(&list).await?;
        let mut transaction = self.transaction();
        if rows > 0 && self.get_item(records, &plan).await?.is_some() {
            let less = Condition::exists().number(":less", format!("-{rows}"));
            transaction.update(records, &plan, format!("ADD {AGENTS} :less"), less, stale);
        }
        let unchanged = Condition::that(format!(
            "attribute_not_exists({ROW_COUNT}) OR {ROW_COUNT} = :seen"
        ));
        transaction.delete(records, &total, unchanged.number(":seen", rows), stale);
        transaction.commit().await?;
        Ok(true)
    }

    /// Decides what an organization may use.
    pub async fn set_plan_override(
        &self,
        organization: OrganizationId,
        own: &PlanOverride,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut condition = Condition::none();
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for (name, limit) in [
            (MAX_AGENTS, own.agents),
            (MAX_RUNS, own.runs),
            (MAX_TOKENS, own.tokens),
        ] {
            match limit {
                Some(limit) => {
                    set.push(format!("{name} = :{name}"));
                    condition = condition.number(&format!(":{name}"), limit);
                }
                None => removed.push(name),
            }
        }
        let clause = |word: &str, parts: String| match parts.as_str() {
            "" => String::new(),
            parts => format!("{word} {parts} "),
        };
        let expression = clause("SET", set.join(", ")) + &clause("REMOVE", removed.join(", "));
        let mut transaction = self.transaction();
        let records = &self.tables.records;
        let key = keys::plan(organization);
        transaction.update(records, &key, expression.trim(), condition, || {
            Error::internal("an unconditional write failed")
        });
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Counts runs that are started, or takes the count back.
    pub async fn count_runs(
        &self,
        organization: OrganizationId,
        runs: i64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.count_in_month(organization, runs, 0, now).await
    }

    pub(crate) async fn count_in_month(
        &self,
        organization: OrganizationId,
        runs: i64,
        tokens: u64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let key = keys::plan(organization);
        for attempt in 1..=ATTEMPTS {
            for (expression, condition) in [
                (
                    format!("ADD {MONTH_RUNS} :runs, {MONTH_TOKENS} :tokens"),
                    format!("{COUNTED_MONTH} = :month"),
                ),
                (
                    format!(
                        "SET {COUNTED_MONTH} = :month, {MONTH_RUNS} = :runs, {MONTH_TOKENS} = :tokens"
                    ),
                    format!("attribute_not_exists({COUNTED_MONTH}) OR {COUNTED_MONTH} < :month"),
                ),
            ] {
                let update = self
                    .dynamodb
                    .update_item()
                    .table_name(&self.tables.records)
                    .set_key(Some(key.attributes()))
                    .update_expression(expression)
                    .condition_expression(condition)
                    .expression_attribute_values(":runs", AttributeValue::N(runs.to_string()))
                    .expression_attribute_values(":tokens", AttributeValue::N(tokens.to_string()))
                    .expression_attribute_values(":month", AttributeValue::S(month(now)));
                match update.sent().await {
                    Ok(_) => return Ok(()),
                    Err(error) if condition_failure(&error).is_some() => {}
                    Err(error) => match aws_error(error) {
                        // An agent may be counted in this very moment.
                        error if error.is_retryable() && attempt < ATTEMPTS => {}
                        error => return Err(error),
                    },
                }
            }
        }
        // A later month is being counted already: by a machine whose clock is ahead.
        Ok(())
    }
}

impl Transaction<'_> {
    /// Counts an agent that is made, unless the organization has as many as its plan allows: `Forbidden` then.
    pub(crate) fn count_agent(&mut self, organization: OrganizationId, workspace: WorkspaceId) {
        let below = |limit: &str| format!("attribute_not_exists({AGENTS}) OR {AGENTS} < {limit}");
        let own = format!(
            "attribute_exists({MAX_AGENTS}) AND ({MAX_AGENTS} = :zero OR {})",
            below(MAX_AGENTS)
        );
        let mut condition = match self.store().plan.agents {
            None => Condition::that(format!("attribute_not_exists({MAX_AGENTS}) OR ({own})")),
            Some(limit) => Condition::that(format!(
                "(attribute_not_exists({MAX_AGENTS}) AND ({})) OR ({own})",
                below(":common")
            ))
            .number(":common", limit),
        };
        condition = condition.number(":zero", 0).number(":one", 1);
        let records = &self.store().tables.records;
        let key = keys::plan(organization);
        self.update(
            records,
            &key,
            format!("ADD {AGENTS} :one"),
            condition,
            || Error::Forbidden("the plan's limit of agents is reached".to_owned()),
        );
        self.count(&keys::agents(workspace), 1);
    }

    /// Counts an agent that goes.
    pub(crate) fn discount_agent(&mut self, organization: OrganizationId, workspace: WorkspaceId) {
        let records = &self.store().tables.records;
        let key = keys::plan(organization);
        let less = Condition::none().number(":less", -1);
        self.update(records, &key, format!("ADD {AGENTS} :less"), less, || {
            Error::internal("an unconditional write failed")
        });
        self.count(&keys::agents(workspace), -1);
    }
}

fn month(now: DateTime<Utc>) -> String {
    now.format("%Y-%m").to_string()
}

/// A limit that the operator has set, 0 included.
fn decided(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
