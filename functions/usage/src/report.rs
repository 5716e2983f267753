//! Usage as AgentPlatform has it.

use axum::extract::State as Extract;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};
use domain::Error;
use domain::ids::AgentId;
use domain::plan::PlanLimits;
use domain::usage::Usage;
use futures::future::try_join;
use serde::Serialize;
use store::DayUsage;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use web::access::UsageRead;
use web::{ApiResponse, Authorized, Clock, Params, Result, Routes, Store};

use crate::State;

/// The longest period, in days.
const MAX_DAYS: i64 = 366;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageReport)]
struct UsageResponse {
    period_start: DateTime<Utc>,
    period_end: DateTime<Utc>,
    /// `limited` or `unlimited`.
    #[schema(example = "unlimited")]
    plan: &'static str,
    /// In a calendar month (UTC), whatever the period; `null` for as much as one likes.
    limits: PlanLimits,
    used: Used,
    /// The days on which runs ended, in order.
    days: Vec<DayReport>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Used {
    /// Agents that there are now; 1 for the usage of one.
    agents: u64,
    /// That ended in the period.
    runs: u64,
    tokens: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// At list prices, in millionths of a US dollar; models whose price is not known count as 0.
    cost_micros: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct DayReport {
    date: NaiveDate,
    runs: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost_micros: u64,
}

impl From<&DayUsage> for DayReport {
    fn from((date, usage): &DayUsage) -> Self {
        Self {
            date: *date,
            runs: usage.runs,
            input_tokens: usage.tokens.input,
            output_tokens: usage.tokens.output,
            cost_micros: usage.cost_micros,
        }
    }
}

/// The filter of usage, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct UsagePeriod {
    /// The first day; that of the current month when left out.
    from: Option<NaiveDate>,
    /// The last day; today when left out. A period has at most 366 days.
    to: Option<NaiveDate>,
    /// Only this agent's, of the key's workspace.
    agent_id: Option<AgentId>,
}

/// Tells what the organization's runs used, by the day on which they ended. A key whose maker may use only some workspaces tells
/// that of its own.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "Usage",
    params(UsagePeriod),
    security(("AgentPlatformKey" = ["usage:read"])),
    responses((status = 200, body = UsageResponse)),
)]
async fn get_usage(
    Extract(store): Extract<Store>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<UsageRead>,
    params: Params,
) -> Result<ApiResponse<UsageResponse>> {
    let now = clock.now();
    let today = now.date_naive();
    let to = params.day("to")?.unwrap_or(today);
    let month = to.with_day(1).unwrap_or(to);
    let from = params.day("from")?.unwrap_or(month);
    if !(0..MAX_DAYS).contains(&(to - from).num_days()) {
        let message = format!("must be up to {} days before to", MAX_DAYS - 1);
        return Err(Error::invalid_query("from", message).into());
    }
    let standing = store.plan(caller.organization_id, now);
    let used = async {
        match params.parsed::<AgentId>("agent_id")? {
            Some(id) => {
                let workspace = caller.workspace_id;
                let agent = store.agent(workspace, id).await?;
                agent.ok_or_else(|| Error::invalid_query("agent_id", "names no agent of yours"))?;
                let days = store.usage_of_agent(workspace, id, from, to);
                Ok((Some(1), days.await?))
            }
            None if caller.workspaces.is_some() => {
                let workspace = caller.workspace_id;
                let days = store.usage_of_workspace(workspace, from, to);
                let (agents, days) = try_join(store.agents_in(workspace), days).await?;
                Ok((Some(agents), days))
            }
            None => {
                let organization = caller.organization_id;
                let days = store.usage_of_organization(organization, from, to);
                Ok::<_, Error>((None, days.await?))
            }
        }
    };
    let (standing, (agents, days)) = try_join(standing, used).await?;
    let limits = standing.limits;
    let agents = agents.unwrap_or(standing.agents);
    Ok(ApiResponse::ok(UsageResponse::new(
        from, to, limits, agents, &days,
    )))
}

impl UsageResponse {
    fn new(
        from: NaiveDate,
        to: NaiveDate,
        limits: PlanLimits,
        agents: u64,
        days: &[DayUsage],
    ) -> Self {
        let used: Usage = days.iter().map(|(_, usage)| *usage).sum();
        let after = to.checked_add_days(Days::new(1)).unwrap_or(to);
        Self {
            period_start: from.and_time(NaiveTime::MIN).and_utc(),
            period_end: after.and_time(NaiveTime::MIN).and_utc(),
            plan: limits.name(),
            limits,
            used: Used {
                agents,
                runs: used.runs,
                tokens: used.tokens.input + used.tokens.output,
                input_tokens: used.tokens.input,
                output_tokens: used.tokens.output,
                cost_micros: used.cost_micros,
            },
            days: days.iter().map(DayReport::from).collect(),
        }
    }
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().authenticated(routes!(get_usage))
}
