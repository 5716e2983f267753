//! The screen of the demo.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

/// Longer texts in bodies are cut.
const SHOWN_TEXT: usize = 60;
/// Longer lists are only counted.
const SHOWN_ITEMS: usize = 4;
/// The column at which a long result is broken.
const WIDTH: usize = 96;
/// Members whose values are not shown.
const SECRET: [&str; 1] = ["password"];

/// Numbered steps on standard output.
pub(super) struct Screen {
    number: usize,
    title: &'static str,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            number: 0,
            title: "",
        }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &'static str) -> io::Result<()> {
        self.number += 1;
        self.title = title;
        line(&format!("\n{:>2}  {title}", self.number))
    }

    /// Shows a request and the status that it was answered with.
    pub(super) fn exchange(
        &mut self,
        request: &str,
        body: Option<&Value>,
        status: u16,
    ) -> io::Result<()> {
        line(&format!("    {request}  -> {status}"))?;
        match body {
            Some(body) => line(&format!("      {}", shortened(body))),
            None => Ok(()),
        }
    }

    /// Shows something that a step found out.
    pub(super) fn result(&mut self, name: &str, value: impl std::fmt::Display) -> io::Result<()> {
        line(&format!("      {name:<16} {value}"))
    }

    /// Shows a text of several lines.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        for row in text.lines().flat_map(wrapped) {
            line(&format!("      | {row}"))?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, took: Duration) -> io::Result<()> {
        let (steps, seconds) = (self.number, took.as_secs_f64());
        line(&format!("\nAll {steps} steps held, in {seconds:.1} s."))
    }

    pub(super) fn failed_step(&self) -> String {
        format!("step {} ({}) failed", self.number, self.title)
    }
}

fn line(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}

/// A body on one line, without secrets and long texts.
fn shortened(body: &Value) -> String {
    fn shorten(name: &str, value: &Value) -> Value {
        match value {
            Value::String(_) if SECRET.contains(&name) => "...".into(),
            Value::String(text) if text.chars().count() > SHOWN_TEXT => {
                let start: String = text.chars().take(SHOWN_TEXT / 2).collect();
                format!("{start}... ({} characters)", text.chars().count()).into()
            }
            Value::Array(items) if items.len() > SHOWN_ITEMS => {
                format!("{} items", items.len()).into()
            }
            Value::Object(fields) => {
                let fields = fields.iter();
                let shortened = fields.map(|(name, value)| (name.clone(), shorten(name, value)));
                Value::Object(shortened.collect())
            }
            other => other.clone(),
        }
    }
    shorten("", body).to_string()
}

/// A line in pieces of at most `WIDTH` characters, broken between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split_whitespace() {
        let row = rows.last_mut().filter(|row| {
            row.is_empty() || row.chars().count() + 1 + word.chars().count() <= WIDTH
        });
        match row {
            Some(row) if row.is_empty() => row.push_str(word),
            Some(row) => {
                row.push(' ');
                row.push_str(word);
            }
            None => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_shown_without_secrets_and_long_texts() {
        let body = json!({"password": "Secret-1", "input": {"text": "ß".repeat(100), "n": 1}});
        let shown = shortened(&body);
        assert!(!shown.contains("Secret"), "{shown}");
        assert!(shown.contains("... (100 characters)") && shown.contains("\"n\":1"));
        assert!(shown.chars().count() < 100, "{shown}");
    }

    #[test]
    fn lines_are_broken_between_words() {
        let rows = wrapped(&"word ".repeat(40));
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() <= WIDTH));
        assert_eq!(wrapped(""), [""]);
    }
}
