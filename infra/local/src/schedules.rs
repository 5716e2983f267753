//! Firing functions by the clock: `ScheduleV2` events.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use runtime::Clock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::hosting::FunctionHandle;
use crate::invocation::Invoker;
use crate::template::Schedule;

/// The longest sleep. A machine that was suspended in between notices the lost time after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The time that the clock may fall behind the time that passes before it counts as set back.
const LARGEST_DRIFT: TimeDelta = TimeDelta::seconds(1);

/// The times at which a schedule fires.
#[derive(Debug)]
pub(crate) enum Timetable {
    Every(Duration),
    Cron(Box<Cron>, Tz),
}

impl Timetable {
    /// Reads `rate(…)` or `cron(…)`.
    pub(crate) fn parse(schedule: &Schedule) -> Result<Self, String> {
        let expression = schedule.expression.trim();
        let argument = |name: &str| {
            expression
                .strip_prefix(name)?
                .strip_prefix('(')?
                .strip_suffix(')')
        };
        if let Some(rate) = argument("rate") {
            return parse_rate(rate)
                .map(Self::Every)
                .ok_or_else(|| format!("{expression} is not a rate"));
        }
        let Some(fields) = argument("cron") else {
            return Err(format!("{expression} is neither rate(…) nor cron(…)"));
        };
        let timezone = schedule.timezone.as_deref().unwrap_or("UTC");
        let timezone = timezone
            .parse()
            .map_err(|_| format!("there is no time zone {timezone}"))?;
        // AWS counts weekdays from 1 for Sunday, like Quartz, and wants a `?` in place of one of the two day fields.
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .dom_and_dow(true)
            .build();
        // The parser takes a year only together with seconds, which AWS does not have.
        let cron = parser
            .parse(&format!("0 {fields}"))
            .map_err(|error| format!("{expression}: {error}"))?;
        Ok(Self::Cron(Box::new(cron), timezone))
    }

    /// The first time to fire after `last`, `None` if there is none.
    fn next(&self, last: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(period) => last.checked_add_signed(TimeDelta::from_std(*period).ok()?),
            Self::Cron(cron, timezone) => cron
                .find_next_occurrence(&last.with_timezone(timezone), false)
                .ok()
                .map(|next| next.with_timezone(&Utc)),
        }
    }

    /// Waits until it is time to fire after `last`, which is now. Gives the time to go on from, `None` if it never fires again.
    async fn due(&self, last: DateTime<Utc>, clock: &Clock) -> Option<DateTime<Utc>> {
        let started = Instant::now();
        let mut wait = Wait::new(self, last)?;
        loop {
            let now = clock.now();
            let remaining = wait.remaining(now, started.elapsed())?;
            if remaining.is_zero() {
                return Some(now);
            }
            tokio::time::sleep(remaining.min(LONGEST_SLEEP)).await;
        }
    }
}

/// The wait for the next firing.
///
/// A rate counts the time that passes, whatever the clock is set to. By a clock that was set back, the times of a `cron(…)` are
/// those that come now; firings that were slept through are not made up for.
struct Wait<'a> {
    timetable: &'a Timetable,
    next: DateTime<Utc>,
    /// The last reading of the clock, and the time that had passed then.
    seen: (DateTime<Utc>, Duration),
}

impl<'a> Wait<'a> {
    /// Begins after a firing at `last`; `None` if there is no other.
    fn new(timetable: &'a Timetable, last: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            timetable,
            next: timetable.next(last)?,
            seen: (last, Duration::ZERO),
        })
    }

    /// The time to wait still, when the clock says `now` and `passed` has passed since the beginning.
    fn remaining(&mut self, now: DateTime<Utc>, passed: Duration) -> Option<Duration> {
        let (seen, before) = self.seen;
        let expected = seen + TimeDelta::from_std(passed.saturating_sub(before)).ok()?;
        if expected - now > LARGEST_DRIFT {
            self.next = self.timetable.next(now)?;
        }
        self.seen = (now, passed);
        let by_clock = (self.next - now).to_std().unwrap_or_default();
        Some(match self.timetable {
            Timetable::Every(period) => by_clock.min(period.saturating_sub(passed)),
            Timetable::Cron(..) => by_clock,
        })
    }
}

fn parse_rate(rate: &str) -> Option<Duration> {
    let (count, unit) = rate.trim().split_once(char::is_whitespace)?;
    let count: u64 = count.parse().ok().filter(|count| *count > 0)?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 60 * 60,
        "day" | "days" => 24 * 60 * 60,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// A schedule and the function that it fires.
pub(crate) struct Scheduled {
    pub(crate) schedule: Schedule,
    pub(crate) timetable: Timetable,
    pub(crate) function: FunctionHandle,
    pub(crate) invoker: Invoker,
}

impl Scheduled {
    /// Fires at once and then by its timetable, until `stop`.
    ///
    /// The first time the input's member `abandoned_before` says when this platform started. Whatever a worker claimed
    /// before that time is abandoned, since the lock of the data directory shows that no other platform runs.
    pub(crate) async fn run(self, started_at: DateTime<Utc>, stop: CancellationToken) {
        // Firing goes by real time even where a test has moved the functions' clock.
        let clock = Clock::system();
        let mut last = clock.now();
        let mut input = self.schedule.input.clone();
        if let Some(members) = input.as_object_mut() {
            members.insert(
                "abandoned_before".to_owned(),
                started_at
                    .to_rfc3339_opts(SecondsFormat::Millis, true)
                    .into(),
            );
        }
        self.fire(input);
        loop {
            let due = tokio::select! {
                () = stop.cancelled() => return,
                due = self.timetable.due(last, &clock) => due,
            };
            let Some(due) = due else { return };
            last = due;
            self.fire(self.schedule.input.clone());
        }
    }

    /// Invokes the function beside whatever may still run of it, as the service does.
    fn fire(&self, input: Value) {
        let (name, function) = (self.schedule.function.clone(), self.function.clone());
        self.invoker.spawn(async move {
            if let Err(error) = function.handle_event(input).await {
                tracing::error!(function = name, %error, "scheduled function failed");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timetable(expression: &str, timezone: Option<&str>) -> Result<Timetable, String> {
        Timetable::parse(&Schedule {
            function: "Tick".to_owned(),
            event: "Schedule".to_owned(),
            expression: expression.to_owned(),
            timezone: timezone.map(str::to_owned),
            input: Value::Null,
            enabled: true,
        })
    }

    #[test]
    fn expressions_are_read_as_aws_reads_them() {
        for (expression, timezone, last, next) in [
            (
                "rate(1 minute)",
                None,
                "2026-11-22T10:00:30Z",
                "2026-11-22T10:01:30Z",
            ),
            (
                "rate(2 hours)",
                None,
                "2026-11-22T10:00:00Z",
                "2026-11-22T12:00:00Z",
            ),
            (
                "cron(0 8 * * ? *)",
                None,
                "2026-11-22T10:00:00Z",
                "2026-11-23T08:00:00Z",
            ),
            // A Sunday; 2 is Monday.
            (
                "cron(15 8 ? * 2 *)",
                None,
                "2026-11-22T10:00:00Z",
                "2026-11-23T08:15:00Z",
            ),
            (
                "cron(15 8 ? * MON-FRI *)",
                None,
                "2026-11-21T10:00:00Z",
                "2026-11-23T08:15:00Z",
            ),
            (
                "cron(0 8 1 * ? *)",
                Some("Europe/Berlin"),
                "2026-11-22T10:00:00Z",
                "2026-12-01T07:00:00Z",
            ),
        ] {
            let last: DateTime<Utc> = last.parse().unwrap();
            let found = timetable(expression, timezone).unwrap().next(last).unwrap();
            assert_eq!(
                found.to_rfc3339_opts(SecondsFormat::Secs, true),
                next,
                "{expression}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_does_not_hold_up_a_schedule() {
        let start: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
        let hour = TimeDelta::hours(1);
        // After 20 seconds the clock is set; how long the wait is in all.
        for (expression, set, waited) in [
            ("rate(1 minute)", TimeDelta::zero(), 60),
            ("rate(1 minute)", -hour, 60),
            ("rate(1 minute)", TimeDelta::seconds(-20), 60),
            ("rate(1 minute)", hour, 20),
            ("cron(* * * * ? *)", TimeDelta::zero(), 60),
            ("cron(* * * * ? *)", -hour, 60),
            ("cron(* * * * ? *)", hour, 20),
            ("cron(0 * * * ? *)", TimeDelta::minutes(-30), 30 * 60),
        ] {
            let timetable = timetable(expression, None).unwrap();
            let mut wait = Wait::new(&timetable, start).unwrap();
            let mut passed = Duration::ZERO;
            loop {
                let mut now = start + TimeDelta::from_std(passed).unwrap();
                if passed >= Duration::from_secs(20) {
                    now += set;
                }
                let remaining = wait.remaining(now, passed).unwrap();
                if remaining.is_zero() {
                    break;
                }
                passed += remaining.min(Duration::from_secs(10));
            }
            assert_eq!(passed.as_secs(), waited, "{expression} {set}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for expression in [
            "rate(0 minutes)",
            "rate(5 seconds)",
            "cron(0 8 * *)",
            "at(2026-11-22T10:00:00)",
            "every minute",
        ] {
            assert!(timetable(expression, None).is_err(), "{expression}");
        }
        assert_eq!(
            timetable("cron(0 8 * * ? *)", Some("Mars/Olympus")).unwrap_err(),
            "there is no time zone Mars/Olympus"
        );
    }
}
