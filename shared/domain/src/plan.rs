//! The plan of an organization: agents, and runs and tokens in a calendar month (UTC).

use chrono::{DateTime, Datelike, Months, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Upper bounds; `None` for as much as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PlanLimits {
    pub agents: Option<u64>,
    /// Started in a month.
    pub runs: Option<u64>,
    /// Used in a month by runs that have ended, input and output together.
    pub tokens: Option<u64>,
}

impl PlanLimits {
    /// The plan's name.
    pub fn name(&self) -> &'static str {
        if *self == Self::default() {
            "unlimited"
        } else {
            "limited"
        }
    }
}

/// The limits that the operator has set for one organization. `None` leaves it with what all have; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlanOverride {
    pub agents: Option<u64>,
    pub runs: Option<u64>,
    pub tokens: Option<u64>,
}

impl PlanOverride {
    /// The limits of an organization, where all others have `common`.
    pub fn resolve(&self, common: PlanLimits) -> PlanLimits {
        let of = |own: Option<u64>, common| match own {
            None => common,
            Some(limit) => Some(limit).filter(|limit| *limit > 0),
        };
        PlanLimits {
            agents: of(self.agents, common.agents),
            runs: of(self.runs, common.runs),
            tokens: of(self.tokens, common.tokens),
        }
    }
}

/// The usage of an organization's plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanUsage {
    pub own: PlanOverride,
    pub limits: PlanLimits,
    /// Agents that there are now.
    pub agents: u64,
    /// Runs that were started this month.
    pub runs: u64,
    /// Tokens that runs which ended this month have used.
    pub tokens: u64,
    pub now: DateTime<Utc>,
}

impl PlanUsage {
    /// That of an organization without limits.
    pub fn unlimited(now: DateTime<Utc>) -> Self {
        Self {
            own: PlanOverride::default(),
            limits: PlanLimits::default(),
            agents: 0,
            runs: 0,
            tokens: 0,
            now,
        }
    }

    /// Returns `true` if runs have to be counted as they start, and their tokens as they end.
    pub fn counts_runs(&self) -> bool {
        self.limits.runs.is_some() || self.limits.tokens.is_some()
    }

    /// `Ok` while another run may start.
    ///
    /// # Errors
    /// `Forbidden`: not a rate limit, which would invite clients to try again, since only the next month or the operator helps.
    pub fn admit_run(&self) -> Result<()> {
        let (what, limit) = match (self.limits.runs, self.limits.tokens) {
            (Some(limit), _) if self.runs >= limit => ("runs", limit),
            (_, Some(limit)) if self.tokens >= limit => ("tokens", limit),
            _ => return Ok(()),
        };
        let next = next_month(self.now).format("%Y-%m-%d");
        Err(Error::Forbidden(format!(
            "the plan's limit of {limit} {what} a month is reached; runs can start again on {next} UTC"
        )))
    }

    /// The error when no more agents can be made.
    pub fn no_more_agents(&self) -> Error {
        let limit = self.limits.agents.unwrap_or_default();
        Error::Forbidden(format!("the plan's limit of {limit} agents is reached"))
    }
}

fn next_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now.date_naive().with_day(1).unwrap_or_default();
    first.and_time(NaiveTime::MIN).and_utc() + Months::new(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_its_own_limits_before_those_of_all() {
        let common = PlanLimits {
            agents: Some(3),
            runs: Some(100),
            tokens: None,
        };
        let own = PlanOverride {
            agents: None,
            runs: Some(0),
            tokens: Some(7),
        };
        let limits = own.resolve(common);
        assert_eq!(
            (limits.agents, limits.runs, limits.tokens),
            (Some(3), None, Some(7))
        );
        assert_eq!(limits.name(), "limited");
        assert_eq!(PlanOverride::default().resolve(common), common);
        assert_eq!(PlanLimits::default().name(), "unlimited");
    }

    #[test]
    fn a_refusal_names_the_limit_and_the_day_on_which_it_ends() {
        let standing = PlanUsage {
            own: PlanOverride::default(),
            limits: PlanLimits {
                agents: None,
                runs: Some(5),
                tokens: Some(9),
            },
            agents: 0,
            runs: 4,
            tokens: 8,
            now: "2026-12-31T23:59:59Z".parse().unwrap(),
        };
        assert!(standing.admit_run().is_ok());
        let over = PlanUsage {
            tokens: 9,
            ..standing
        };
        let told = over.admit_run().unwrap_err().to_string();
        assert!(
            told.contains("9 tokens") && told.contains("2027-01-01"),
            "{told}"
        );
        let over = PlanUsage {
            runs: 6,
            ..standing
        };
        assert!(over.admit_run().unwrap_err().to_string().contains("5 runs"));
    }
}
