//! The parameters of the query.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDate, Utc};
use domain::Error;
use domain::date::{Day, Moment};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::de::value::{self, StrDeserializer};

use crate::error::ApiError;

/// The query, decoded. A parameter that is given twice counts once, the last time.
#[derive(Clone, Debug, Default)]
pub struct Params(HashMap<String, String>);

impl Params {
    pub(crate) fn parse(query: &str) -> Result<Self, Error> {
        let mut params = HashMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                let decoded = percent_decode_str(&text)
                    .decode_utf8()
                    .map(|text| text.into_owned());
                decoded.map_err(|_| Error::Malformed("the query is not UTF-8".to_owned()))
            };
            params.insert(decode(name)?, decode(value)?);
        }
        Ok(Self(params))
    }

    /// The text of a parameter; one that is empty counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A parameter read as a `T`.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, Error> {
        let value = self.get(name).map(str::parse).transpose();
        value.map_err(|error: T::Err| Error::invalid_query(name, error.to_string()))
    }

    /// A parameter that is a word of the enum `T`.
    pub fn word<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, Error> {
        let read = |word| T::deserialize(StrDeserializer::<value::Error>::new(word));
        let word = self.get(name).map(read).transpose();
        word.map_err(|error| Error::invalid_query(name, demand(&error.to_string())))
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &'static str, least: u32, most: u32) -> Result<Option<u32>, Error> {
        let wrong = || match most {
            u32::MAX => {
                Error::invalid_query(name, format!("must be a whole number of at least {least}"))
            }
            _ => Error::invalid_query(
                name,
                format!("must be a whole number from {least} to {most}"),
            ),
        };
        let number = self
            .get(name)
            .map(|text| text.parse::<u32>().map_err(|_| wrong()))
            .transpose()?;
        match number {
            Some(number) if !(least..=most).contains(&number) => Err(wrong()),
            number => Ok(number),
        }
    }

    /// A moment in RFC 3339, or a day, which means its first moment in UTC.
    pub fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Error> {
        let moment = self.parsed::<Moment>(name)?;
        Ok(moment.map(|moment| moment.0))
    }

    /// A day.
    pub fn day(&self, name: &'static str) -> Result<Option<NaiveDate>, Error> {
        let day = self.parsed::<Day>(name)?;
        Ok(day.map(|day| day.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

/// Serde's message about a wrong value, as a demand. "invalid type: integer `7`, expected a string": the value itself stays out of
/// the answer.
pub(crate) fn demand(text: &str) -> String {
    let is_about_value = text.starts_with("invalid type: ") || text.starts_with("unknown variant ");
    match text.split_once(", expected ").filter(|_| is_about_value) {
        Some((_, "a map")) => "must be an object".to_owned(),
        Some((_, "a sequence")) => "must be a list".to_owned(),
        Some((_, expected)) => format!("must be {}", expected.trim_start_matches("struct ")),
        None => text.to_owned(),
    }
}
