//! The schedule of an agent: a cron expression of five fields in a time zone.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A schedule that was read and found to fire at least once more.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    timezone: Tz,
}

impl Schedule {
    /// Reads a five-field cron expression, minute first (`0 7 * * *`).
    ///
    /// # Errors
    /// The text for a client: what is wrong with the expression.
    pub fn parse(expression: &str, timezone: Tz) -> Result<Self, String> {
        if expression.len() > 100 || expression.split_whitespace().count() != 5 {
            return Err("must be a cron expression with five fields".to_owned());
        }
        // The parser passes over what is left out.
        let mut parts = expression
            .split_whitespace()
            .flat_map(|field| field.split(','));
        if parts.any(str::is_empty) {
            return Err("is not a cron expression: a list has an empty part".to_owned());
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(expression)
            .map_err(|error| format!("is not a cron expression: {error}"))?;
        Ok(Self { cron, timezone })
    }

    /// The first firing after `time`; `None` when there is none, as for the 30th of February.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = time.with_timezone(&self.timezone);
        self.cron
            .find_next_occurrence(&local, false)
            .ok()
            .map(|at| at.with_timezone(&Utc))
    }
}

/// Reads an IANA time zone name (`Europe/Berlin`).
pub fn timezone(name: &str) -> Result<Tz, String> {
    Tz::from_str(name).map_err(|_| "is not an IANA time zone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone: &str, after: &str) -> String {
        let schedule = Schedule::parse(expression, timezone(zone).unwrap()).unwrap();
        schedule
            .next_after(after.parse().unwrap())
            .unwrap()
            .to_rfc3339()
    }

    #[test]
    fn firings_follow_the_time_zone_through_a_change_of_clocks() {
        assert_eq!(
            next("0 7 * * *", "UTC", "2026-03-28T07:00:00Z"),
            "2026-03-29T07:00:00+00:00"
        );
        assert_eq!(
            next("0 7 * * *", "Europe/Berlin", "2026-03-28T07:00:00Z"),
            "2026-03-29T05:00:00+00:00"
        );
        assert_eq!(
            next(
                "*/15 9-17 * * MON-FRI",
                "America/New_York",
                "2026-11-20T22:46:00Z"
            ),
            "2026-11-23T14:00:00+00:00"
        );
    }

    #[test]
    fn what_is_not_five_fields_or_out_of_range_is_refused() {
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "a b c d e",
            "@daily",
            "0 25 * * *",
            "1,,2 * * * *",
            ",1 * * * *",
            "0 7 * * 1,",
            "1- * * * *",
            "-1 * * * *",
            "1--2 * * * *",
            "*/ * * * *",
            "/5 * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
        ] {
            assert!(Schedule::parse(wrong, Tz::UTC).is_err(), "{wrong}");
        }
        assert!(timezone("Mars/Olympus").is_err());
    }

    #[test]
    fn a_day_that_never_comes_has_no_next_firing() {
        let schedule = Schedule::parse("0 0 30 2 *", Tz::UTC);
        assert!(
            schedule.is_err()
                || schedule
                    .unwrap()
                    .next_after("2026-01-01T00:00:00Z".parse().unwrap())
                    .is_none()
        );
    }
}
