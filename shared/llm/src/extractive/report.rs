//! Results of tools, for people to read.

use std::fmt::Write;

use domain::run::{ToolCall, ToolOutcome};
use serde_json::Value;

use super::markup::text_of_html;
use super::ranking::Index;
use super::sentences::Text;
use crate::Message;

/// The part of a JSON result or of a short text that is shown, in bytes.
const SHOWN: usize = 4_000;
/// A text up to this size is quoted whole, in bytes.
const WHOLE: usize = 1_000;

/// One paragraph for each result since the last user message.
pub(super) fn of_results(messages: &[Message], instructions: &str, limit: usize) -> Vec<String> {
    let latest = messages
        .iter()
        .rposition(|message| matches!(message, Message::User { .. }))
        .unwrap_or(0);
    let calls: Vec<_> = messages.iter().filter_map(calls_of).flatten().collect();
    let results = messages[latest..]
        .iter()
        .filter_map(|message| match message {
            Message::Tool {
                call_id,
                tool,
                outcome,
            } => Some((call_id, tool, outcome)),
            Message::User { .. } | Message::Assistant { .. } => None,
        });
    results
        .map(|(call_id, tool, outcome)| {
            let arguments = calls
                .iter()
                .find(|call| call.id == *call_id)
                .map_or(&Value::Null, |call| &call.arguments);
            match outcome {
                ToolOutcome::Error(error) => format!("{tool} failed: {error}"),
                ToolOutcome::Ok(value) => match tool.as_str() {
                    "get_weather" => weather(value),
                    "http_request" => reply(arguments, value, instructions, limit),
                    "trigger_agent" => triggered(arguments, value),
                    "get_activity" => activity(value),
                    _ => None,
                }
                .unwrap_or_else(|| format!("{tool} returned {}", json(value))),
            }
        })
        .collect()
}

/// A result as the model reads it.
pub(super) fn plain(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Ok(value) => value.to_string(),
        ToolOutcome::Error(error) => error.clone(),
    }
}

fn calls_of(message: &Message) -> Option<&Vec<ToolCall>> {
    if let Message::Assistant { tool_calls, .. } = message {
        Some(tool_calls)
    } else {
        None
    }
}

/// `None` when the value is not the weather.
fn weather(value: &Value) -> Option<String> {
    let place = &value["location"];
    let names = [
        place["name"].as_str()?,
        place["admin1"].as_str().unwrap_or(""),
        place["country"].as_str().unwrap_or(""),
    ];
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let (units, now, today) = (&value["units"], &value["current"], &value["today"]);
    let measured = |value: &Value, unit: &Value| {
        Some(
            format!("{} {}", value.as_f64()?, unit.as_str().unwrap_or(""))
                .trim()
                .to_owned(),
        )
    };
    let percent = |value: &Value| Some(format!("{} %", value.as_f64()?));
    let text = |value: &Value| value.as_str().map(str::to_owned);

    let current = [
        measured(&now["temperature"], &units["temperature"]),
        measured(&now["apparent_temperature"], &units["temperature"])
            .map(|felt| format!("feels like {felt}")),
        text(&now["conditions"]),
        measured(&now["wind_speed"], &units["wind_speed"]).map(|wind| format!("wind {wind}")),
        percent(&now["relative_humidity"]).map(|humidity| format!("humidity {humidity}")),
    ];
    let range = match (
        today["temperature_min"].as_f64(),
        measured(&today["temperature_max"], &units["temperature"]),
    ) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}")),
        _ => None,
    };
    let forecast = [
        text(&today["conditions"]),
        range,
        percent(&today["precipitation_probability"])
            .map(|chance| format!("chance of precipitation {chance}")),
    ];
    let time = now["time"]
        .as_str()
        .and_then(|time| time.split_once('T'))
        .map(|(_, time)| format!(" ({time})"))
        .unwrap_or_default();
    Some(format!(
        "Weather in {}\nNow{time}: {}.\nToday: {}.",
        names.join(", "),
        current.into_iter().flatten().collect::<Vec<_>>().join(", "),
        forecast
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    ))
}

/// `None` when the value is not an HTTP reply.
fn reply(arguments: &Value, value: &Value, instructions: &str, limit: usize) -> Option<String> {
    let status = value["status"].as_u64()?;
    let method = arguments["method"].as_str().unwrap_or("GET");
    let url = arguments["url"].as_str().unwrap_or_default();
    // A query may carry a key.
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let mut report = format!("{method} {url} answered {status}");
    match &value["body"] {
        Value::Null => {
            report += value["note"]
                .as_str()
                .map(|note| format!("; {note}"))
                .as_deref()
                .unwrap_or("")
        }
        Value::String(body) => {
            let kind = value["headers"]["content-type"]
                .as_str()
                .unwrap_or_default();
            let body = if kind.starts_with("text/html") {
                text_of_html(body)
            } else {
                body.clone()
            };
            report += &excerpt(body.trim(), instructions, limit);
        }
        body => _ = write!(report, ":\n{}", json(body)),
    }
    if value["truncated"] == Value::Bool(true) {
        report += "\n(The reply was longer; only its beginning was read.)";
    }
    Some(report)
}

/// `None` when the value is not a run.
fn triggered(arguments: &Value, value: &Value) -> Option<String> {
    let (run, status) = (value["run_id"].as_str()?, value["status"].as_str()?);
    let agent = arguments["agent"].as_str().unwrap_or("another agent");
    let mut report = format!("Run {run} of {agent} is {status}");
    match (&value["error"], &value["output"]["text"]) {
        (Value::String(error), _) => _ = write!(report, ": {error}"),
        (_, Value::String(text)) => _ = write!(report, ":\n{}", cut(text, SHOWN)),
        _ => report.push('.'),
    }
    Some(report)
}

/// `None` when the value is not what agents have done.
fn activity(value: &Value) -> Option<String> {
    let (completed, failed) = (value["completed"].as_u64()?, value["failed"].as_u64()?);
    let since = value["since"].as_str().unwrap_or_default();
    let mut report =
        format!("Runs of other agents since {since}: {completed} completed, {failed} failed.");
    for agent in value["agents"].as_array().into_iter().flatten() {
        let name = agent["name"].as_str().unwrap_or_default();
        _ = write!(
            report,
            "\n- {name}: {} completed, {} failed.",
            agent["completed"], agent["failed"]
        );
        if let Some(error) = agent["latest_error"].as_str() {
            _ = write!(report, " Latest error: {error}");
        }
    }
    Some(cut(&report, SHOWN))
}

/// A short text whole; of a long one, the sentences that matter.
fn excerpt(body: &str, instructions: &str, limit: usize) -> String {
    if body.is_empty() {
        return " with an empty body.".to_owned();
    }
    if body.len() <= WHOLE {
        return format!(":\n{body}");
    }
    let text = Text::parse([(None, body)]);
    let chosen = Index::build(&text).summary(instructions, limit);
    if chosen.is_empty() {
        return format!(":\n{}", cut(body, SHOWN));
    }
    let quotes: Vec<_> = chosen
        .iter()
        .map(|sentence| format!("> {}", text.sentences[*sentence].text))
        .collect();
    format!(
        ". {} of its {} sentences:\n{}",
        chosen.len(),
        text.sentences.len(),
        quotes.join("\n")
    )
}

fn json(value: &Value) -> String {
    cut(
        &serde_json::to_string_pretty(value).unwrap_or_default(),
        SHOWN,
    )
}

/// A text up to a number of bytes, with a notice when there is more.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let shown = &text[..text.floor_char_boundary(limit)];
    format!(
        "{shown}\n(The first {} of {} bytes.)",
        shown.len(),
        text.len()
    )
}
