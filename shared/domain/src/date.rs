//! Dates that clients name. They keep to the years in which dates, ids and keys sort as texts.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};

const YEARS: RangeInclusive<i32> = 1970..=9999;

/// A day of the years 1970 to 9999, `2026-11-22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub NaiveDate);

impl FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = text.parse::<NaiveDate>().ok();
        // Chrono reads `+2026-1-2` as well.
        day.filter(|day| text.len() == 10 && YEARS.contains(&day.year()))
            .map(Self)
            .ok_or("must be a date of the years 1970 to 9999, such as 2026-11-22")
    }
}

/// A moment of the years 1970 to 9999, in RFC 3339; or a [`Day`], for its first moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub DateTime<Utc>);

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Some(moment.with_timezone(&Utc)),
            Err(_) => {
                let day = text.parse::<Day>().ok();
                day.map(|day| day.0.and_time(NaiveTime::MIN).and_utc())
            }
        };
        moment
            .filter(|moment| YEARS.contains(&moment.year()))
            .map(Self)
            .ok_or("must be a time in RFC 3339 of the years 1970 to 9999, such as 2026-11-22T10:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_to_the_years_that_sort_as_texts() {
        for (text, day, moment) in [
            ("1970-01-01", true, Some("1970-01-01T00:00:00+00:00")),
            ("9999-12-31", true, Some("9999-12-31T00:00:00+00:00")),
            (
                "2026-11-22T23:30:00-05:00",
                false,
                Some("2026-11-23T04:30:00+00:00"),
            ),
            (
                "1970-01-01T00:00:00Z",
                false,
                Some("1970-01-01T00:00:00+00:00"),
            ),
            (
                "9999-12-31T23:59:59.999999999Z",
                false,
                Some("9999-12-31T23:59:59.999999999+00:00"),
            ),
            ("1969-12-31", false, None),
            ("1970-01-01T00:30:00+01:00", false, None),
            ("9999-12-31T23:30:00-01:00", false, None),
            ("+10000-01-05", false, None),
            ("10000-01-05", false, None),
            ("-0002-12-31", false, None),
            ("0000-01-01", false, None),
            ("262142-12-31T00:00:00Z", false, None),
            ("2026-1-5", false, None),
            ("+2026-1-5", false, None),
            ("2026-02-30", false, None),
            ("2026-11-22 10:00", false, None),
            ("yesterday", false, None),
            ("", false, None),
        ] {
            assert_eq!(text.parse::<Day>().is_ok(), day, "{text}");
            let read = text
                .parse::<Moment>()
                .ok()
                .map(|moment| moment.0.to_rfc3339());
            assert_eq!(read.as_deref(), moment, "{text}");
        }
    }
}
