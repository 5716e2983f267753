//! The template's parameters: what was given, else the default, checked as CloudFormation would.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::document::Document;
use super::source_path::{Problem, SourcePath};

/// The values of all parameters.
pub(super) fn resolve(
    document: &Document,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, Problem> {
    let section = SourcePath::section("Parameters");
    let empty = serde_json::Map::new();
    let declared = document.section("Parameters").as_object().unwrap_or(&empty);
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(section.problem(format!("there is no parameter {unknown}")));
    }
    let mut values = BTreeMap::new();
    for (name, declaration) in declared {
        let parameter = Parameter {
            declaration,
            place: section.at(name),
        };
        values.insert(name.clone(), parameter.value(given.get(name))?);
    }
    Ok(values)
}

struct Parameter<'a> {
    declaration: &'a Value,
    place: SourcePath<'a>,
}

impl Parameter<'_> {
    fn value(&self, given: Option<&String>) -> Result<Value, Problem> {
        let kind = self.string("Type").unwrap_or_default();
        let text = match (given, self.string("Default")) {
            (Some(given), _) => given.clone(),
            (None, Some(_)) if kind.starts_with("AWS::SSM::") => {
                return Err(self
                    .place
                    .problem("is looked up in AWS; give it a value with --param"));
            }
            (None, Some(default)) => default,
            (None, None) => {
                return Err(self
                    .place
                    .problem("has no default; give it a value with --param"));
            }
        };
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            let items: Vec<&str> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect();
            for item in &items {
                self.check(item, kind == "List<Number>")?;
            }
            return Ok(Value::from(items));
        }
        self.check(&text, kind == "Number")?;
        Ok(Value::String(text))
    }

    fn check(&self, text: &str, is_number: bool) -> Result<(), Problem> {
        if let Some(allowed) = self
            .declaration
            .get("AllowedValues")
            .and_then(Value::as_array)
        {
            let allowed: Vec<String> = allowed.iter().filter_map(scalar).collect();
            if !allowed.iter().any(|value| value == text) {
                return self.refuse(text, &format!("is none of {}", allowed.join(", ")));
            }
        }
        if let Some(pattern) = self.string("AllowedPattern") {
            let regex = Regex::new(&format!("^(?:{pattern})$"));
            let regex = regex.map_err(|_| {
                self.place
                    .at("AllowedPattern")
                    .problem("is not a regular expression")
            })?;
            if !regex.is_match(text) {
                return self.refuse(text, &format!("does not match {pattern}"));
            }
        }
        let length = text.chars().count() as f64;
        if self.limit("MinLength").is_some_and(|least| length < least) {
            return self.refuse(text, "is too short");
        }
        if self.limit("MaxLength").is_some_and(|most| length > most) {
            return self.refuse(text, "is too long");
        }
        if is_number {
            self.check_number(text)
        } else {
            Ok(())
        }
    }

    fn check_number(&self, text: &str) -> Result<(), Problem> {
        let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
            return self.refuse(text, "is not a number");
        };
        if let Some(least) = self.limit("MinValue").filter(|least| number < *least) {
            return self.refuse(text, &format!("is less than {least}"));
        }
        if let Some(most) = self.limit("MaxValue").filter(|most| number > *most) {
            return self.refuse(text, &format!("is more than {most}"));
        }
        Ok(())
    }

    /// Says what is wrong with the value, without showing one that `NoEcho` protects.
    fn refuse(&self, text: &str, why: &str) -> Result<(), Problem> {
        let is_secret = self
            .string("NoEcho")
            .is_some_and(|no_echo| no_echo == "true");
        let shown = if is_secret {
            "its value".to_owned()
        } else {
            format!("{text:?}")
        };
        Err(self.place.problem(format!("{shown} {why}")))
    }

    fn limit(&self, name: &str) -> Option<f64> {
        self.string(name)?.parse().ok()
    }

    fn string(&self, name: &str) -> Option<String> {
        self.declaration.get(name).and_then(scalar)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
