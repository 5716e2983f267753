//! Properties as Rust types.

use std::fmt::Display;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::evaluate::Evaluator;
use super::source_path::{Problem, SourcePath};

/// A type that is read from some of the properties of a resource or an event.
pub(super) trait Properties: DeserializeOwned {
    /// The properties to evaluate. All others stay unread.
    const NAMES: &'static [&'static str];
}

impl Evaluator<'_> {
    /// Evaluates those of a resource's properties that `T` names.
    pub(super) fn resource<T: Properties>(&self, id: &str) -> Result<T, Problem> {
        let resources = SourcePath::section("Resources");
        self.read(
            self.document.properties(id),
            &resources.at(id).at("Properties"),
        )
    }

    /// Evaluates those members of `source`, which stands at `place`, that `T` names.
    pub(super) fn read<T: Properties>(
        &self,
        source: &Value,
        place: &SourcePath<'_>,
    ) -> Result<T, Problem> {
        let mut evaluated = Map::new();
        for name in T::NAMES {
            if let Some(property) = source.get(name)
                && let Some(value) = self.evaluate(property, &place.at(name))?
            {
                evaluated.insert((*name).to_owned(), value);
            }
        }
        serde_path_to_error::deserialize(Value::Object(evaluated)).map_err(|error| {
            let mut problem = place.problem(error.inner().to_string());
            problem
                .place
                .extend(error.path().iter().filter_map(|segment| match segment {
                    Segment::Seq { index } => Some(index.to_string()),
                    Segment::Map { key } => Some(key.clone()),
                    Segment::Enum { .. } | Segment::Unknown => None,
                }));
            problem
        })
    }
}

/// Reads a number or a flag also from text, since that is what a reference to a parameter gives.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        other => other.to_string(),
    };
    text.parse()
        .map(Some)
        .map_err(|error: T::Err| D::Error::custom(format!("{text}: {error}")))
}
