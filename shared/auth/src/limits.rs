//! Rate limits: fixed windows of a minute, counted in DynamoDB so that they hold across instances.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use domain::error::RateLimit;
use domain::ids::RunId;
use domain::{Error, Result};
use runtime::config::Limits;
use store::{Store, Tries, Window};

/// A limit and the name that its windows are counted under.
#[derive(Clone, Copy, Debug)]
pub struct NamedLimit {
    pub name: &'static str,
    pub of: fn(&Limits) -> u32,
}

/// The limit that a request counts against, and its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub name: &'static str,
    pub subject: String,
    pub limit: u32,
}

impl Policy {
    /// Requests of an address.
    pub fn of_address(limit: NamedLimit, limits: &Limits, ip: &str) -> Self {
        Self {
            name: limit.name,
            subject: network_of(ip),
            limit: (limit.of)(limits),
        }
    }

    /// Requests whose credential is unknown, by address.
    pub(crate) fn unauthenticated(limits: &Limits, ip: &str) -> Self {
        Self {
            name: "unauthenticated",
            subject: network_of(ip),
            limit: limits.unauthenticated,
        }
    }

    /// Wrong passwords from an address.
    pub fn sign_in_from(limits: &Limits, ip: &str) -> Self {
        Self {
            name: "sign_in_ip",
            subject: network_of(ip),
            limit: limits.sign_in,
        }
    }

    /// Wrong passwords from a device that has signed in to the account before.
    pub fn sign_in_with(limits: &Limits, device: &str) -> Self {
        Self {
            name: "sign_in_device",
            subject: device.to_owned(),
            limit: limits.sign_in,
        }
    }

    /// Wrong passwords of an account from everywhere else. Others can use this limit up, so it alone must not lock the owner out.
    pub fn sign_in_to(limits: &Limits, email: &str) -> Self {
        Self {
            name: "sign_in_account",
            subject: email.to_owned(),
            limit: limits.sign_in_to_account,
        }
    }

    /// Wrong passwords where a session is to be given another one.
    pub fn password_change(limits: &Limits, user: impl ToString) -> Self {
        Self {
            name: "password_change",
            subject: user.to_string(),
            limit: limits.sign_in,
        }
    }

    /// Invitations of an organization, in an hour.
    pub fn invitation(limits: &Limits, organization: impl ToString) -> Self {
        Self {
            name: "invitation",
            subject: organization.to_string(),
            limit: limits.invitations_per_hour,
        }
    }
}

/// The subject that an address counts as: itself, or for IPv6 its network, since a client holds a /64 at least and could use a fresh
/// address for every request.
pub fn network_of(ip: &str) -> String {
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(IpAddr::V6(address)) => address
            .to_ipv4_mapped()
            .map_or_else(|| ip.to_owned(), |address| address.to_string()),
        _ => ip.to_owned(),
    }
}

/// The way in which a request counts against the limit of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    Always,
    /// The request counts unless it comes back to this run's stream of events and [`Store::spend_comeback`] finds that it may:
    /// clients come back by themselves, and give up for good when they are refused.
    UnlessItComesBack(RunId),
    /// The request was counted before, and its credential is checked again.
    Never,
}

/// Counts requests.
#[derive(Clone)]
pub struct Limiter {
    store: Store,
}

impl Limiter {
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Counts one request and tells how the window stands. `None` when counting failed: then the request passes, since a
    /// limiter that is down must not take the API with it.
    pub(crate) async fn count(&self, policy: &Policy, now: DateTime<Utc>) -> Option<Count> {
        match self.count_in(Window::at(now), policy, now).await {
            Ok(count) => Some(count),
            Err(error) => {
                tracing::warn!(%error, policy = policy.name, metric = "rate_limiter_failed", "the rate limiter failed open");
                None
            }
        }
    }

    /// Counts one request and refuses it over the limit.
    pub async fn require(&self, policy: &Policy, now: DateTime<Utc>) -> Result<()> {
        match self
            .count(policy, now)
            .await
            .map(|count| count.against(policy.limit))
        {
            Some((limit, true)) => Err(Error::RateLimited(limit)),
            _ => Ok(()),
        }
    }

    /// Like [`Self::require`], and refuses a request that cannot be counted.
    pub async fn require_counted(&self, policy: &Policy, now: DateTime<Utc>) -> Result<()> {
        self.require_in(Window::at(now), policy, now).await
    }

    /// Like [`Self::require_counted`], in the window of an hour.
    pub async fn require_counted_in_hour(&self, policy: &Policy, now: DateTime<Utc>) -> Result<()> {
        self.require_in(Window::hour_at(now), policy, now).await
    }

    async fn require_in(&self, window: Window, policy: &Policy, now: DateTime<Utc>) -> Result<()> {
        let count = self.count_in(window, policy, now).await;
        let count = count.inspect_err(|error| failed_closed(policy, error))?;
        match count.against(policy.limit) {
            (limit, true) => Err(Error::RateLimited(limit)),
            _ => Ok(()),
        }
    }

    /// Adds to the passwords that were tried in a window.
    pub(crate) async fn count_tries(
        &self,
        window: Window,
        policy: &Policy,
        counted: i32,
        wrong: i32,
    ) -> Result<Tries> {
        let tries = self
            .store
            .count_tries(policy.name, &policy.subject, window, counted, wrong);
        tries
            .await
            .inspect_err(|error| failed_closed(policy, error))
    }

    async fn count_in(&self, window: Window, policy: &Policy, now: DateTime<Utc>) -> Result<Count> {
        let count = self.store.count(policy.name, &policy.subject, window);
        Ok(Count {
            count: count.await?,
            window_end: window.end(),
            now,
        })
    }
}

fn failed_closed(policy: &Policy, error: &Error) {
    tracing::error!(%error, policy = policy.name, metric = "rate_limiter_failed", "the rate limiter failed closed");
}

/// The number of requests that a window has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    count: u32,
    window_end: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Count {
    /// The window measured against a limit, and whether this request is over it.
    pub(crate) fn against(self, limit: u32) -> (RateLimit, bool) {
        let reset = self.window_end.timestamp();
        let retry_after = (reset - self.now.timestamp()).max(1);
        (
            RateLimit {
                limit,
                remaining: limit.saturating_sub(self.count),
                reset,
                retry_after,
            },
            self.count > limit,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_subject() {
        assert_eq!(
            network_of("2001:db8:1:2:aaaa::1"),
            network_of("2001:db8:1:2:bbbb::9")
        );
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:192.0.2.7"), network_of("192.0.2.7"));
    }
}
