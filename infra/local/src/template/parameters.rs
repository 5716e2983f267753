//! The template's parameters: what was given, else the default, checked as CloudFormation would.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::document::Document;
use super::place::{Place, Problem};

/// The values of all parameters.
pub(super) fn resolve(
    document: &Document,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Value>, Problem> {
    let section = Place::section("Parameters");
    let empty = serde_json::Map::new();
    let declared = document.section("Parameters").as_object().unwrap_or(&empty);
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(section.problem(format!("there is no parameter {unknown}")));
    }
    declared
        .iter()
        .map(|(name, declaration)| {
            Ok((
                name.clone(),
                value(declaration, given.get(name), &section.at(name))?,
            ))
        })
        .collect()
}

fn value(declaration: &Value, given: Option<&String>, place: &Place<'_>) -> Result<Value, Problem> {
    let text = match (given, declaration.get("Default").and_then(text)) {
        (Some(given), _) => given.clone(),
        (None, Some(default)) => default,
        (None, None) => return Err(place.problem("has no default; give it a value with --param")),
    };
    match declaration
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "Number" => {
            check(declaration, &text, place)?;
            number(&text, declaration, place)?;
        }
        "CommaDelimitedList" | "List<Number>" => {
            let items: Vec<&str> = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect();
            items
                .iter()
                .try_for_each(|item| check(declaration, item, place))?;
            return Ok(Value::from(items));
        }
        _ => check(declaration, &text, place)?,
    }
    Ok(Value::String(text))
}

fn check(declaration: &Value, text: &str, place: &Place<'_>) -> Result<(), Problem> {
    let refuse = |why: String| {
        let shown = if is_secret(declaration) {
            "its value".to_owned()
        } else {
            format!("{text:?}")
        };
        Err(place.problem(format!("{shown} {why}")))
    };
    if let Some(allowed) = declaration.get("AllowedValues").and_then(Value::as_array) {
        let allowed: Vec<String> = allowed.iter().filter_map(self::text).collect();
        if !allowed.iter().any(|value| value == text) {
            return refuse(format!("is none of {}", allowed.join(", ")));
        }
    }
    if let Some(pattern) = declaration.get("AllowedPattern").and_then(Value::as_str) {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
            place
                .at("AllowedPattern")
                .problem("is not a regular expression")
        })?;
        if !regex.is_match(text) {
            return refuse(format!("does not match {pattern}"));
        }
    }
    let length = text.chars().count();
    if limit(declaration, "MinLength").is_some_and(|limit| (length as f64) < limit) {
        return refuse("is too short".to_owned());
    }
    if limit(declaration, "MaxLength").is_some_and(|limit| length as f64 > limit) {
        return refuse("is too long".to_owned());
    }
    Ok(())
}

fn number(text: &str, declaration: &Value, place: &Place<'_>) -> Result<(), Problem> {
    let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
        return Err(place.problem(format!("{text:?} is not a number")));
    };
    if let Some(least) = limit(declaration, "MinValue").filter(|least| number < *least) {
        return Err(place.problem(format!("{text} is less than {least}")));
    }
    if let Some(most) = limit(declaration, "MaxValue").filter(|most| number > *most) {
        return Err(place.problem(format!("{text} is more than {most}")));
    }
    Ok(())
}

fn is_secret(declaration: &Value) -> bool {
    declaration
        .get("NoEcho")
        .is_some_and(|no_echo| *no_echo == Value::Bool(true) || no_echo.as_str() == Some("true"))
}

fn limit(declaration: &Value, name: &str) -> Option<f64> {
    declaration.get(name).and_then(text)?.parse().ok()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
