//! The rules of support triage: rules for the priority of a request, and when a person must look.

use std::collections::HashSet;

use aho_corasick::Anchored;
use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::noncontiguous::NFA;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::is_control;

const MAX_RULES: usize = 50;
const MAX_KEYWORDS: usize = 50;
/// In characters, as for the name of a rule.
const MAX_KEYWORD: usize = 100;
/// The longest condition in words, in characters.
const MAX_WORDS: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// A rule that an operator wrote: `{"priority": "urgent", "when": {"any": ["outage", "down"]}, "escalate": true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: Option<String>,
    pub priority: Priority,
    pub when: Condition,
    /// `true` if a person must look at what it applies to.
    pub escalate: bool,
}

/// The conditions on which something applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// For a model that understands them.
    Words(String),
    /// Decided without a model.
    Keywords(Keywords),
}

/// Keywords of a text: all of `all`, and one of `any` if it has some.
///
/// A keyword is one or more whole words, in any case; `*` at its beginning or end stands for the rest of a word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keywords {
    pub any: Vec<String>,
    pub all: Vec<String>,
}

/// The words of a text, ready for keywords.
#[derive(Clone, Debug)]
pub struct Words(String);

impl Words {
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words = lower
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let mut spaced = String::from(" ");
        for word in words {
            spaced.push_str(word);
            spaced.push(' ');
        }
        Self(spaced)
    }

    /// The keywords of these conditions that the text has, in one pass over it, however many there are.
    pub fn find<'k>(&self, conditions: impl IntoIterator<Item = &'k Condition>) -> Found<'k> {
        let keywords: Vec<&str> = conditions
            .into_iter()
            .filter_map(|condition| match condition {
                Condition::Keywords(keywords) => Some(keywords),
                Condition::Words(_) => None,
            })
            .flat_map(|keywords| keywords.all.iter().chain(&keywords.any))
            .map(String::as_str)
            .collect();
        let wanted = keywords.iter().map(|keyword| Self::wanted(keyword));
        let automaton = NFA::new(wanted).expect("100 KB of keywords make an automaton");
        let mut found = HashSet::new();
        let mut seen = HashSet::new();
        let mut state = automaton
            .start_state(Anchored::No)
            .expect("the automaton is made for searches from anywhere");
        for byte in self.0.bytes() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_match(state) && seen.insert(state) {
                let matches = 0..automaton.match_len(state);
                let matches = matches.map(|index| automaton.match_pattern(state, index));
                found.extend(matches.map(|pattern| keywords[pattern.as_usize()]));
            }
        }
        Found(found)
    }

    /// The tokens of a text that has a keyword.
    fn wanted(keyword: &str) -> String {
        let words = Self::of(keyword).0;
        let mut wanted = words.as_str();
        if keyword.trim_start().starts_with('*') {
            wanted = wanted.trim_start();
        }
        if keyword.trim_end().ends_with('*') {
            wanted = wanted.trim_end();
        }
        wanted.to_owned()
    }
}

/// Keywords that a text has.
#[derive(Debug)]
pub struct Found<'k>(HashSet<&'k str>);

impl Keywords {
    /// The keywords for which the condition holds; `None` when it does not.
    pub fn among(&self, found: &Found<'_>) -> Option<Vec<String>> {
        let has = |keyword: &String| found.0.contains(keyword.as_str());
        if !self.all.iter().all(has) {
            return None;
        }
        let any: Vec<_> = self.any.iter().filter(|keyword| has(keyword)).collect();
        if any.is_empty() && !self.any.is_empty() {
            return None;
        }
        Some(self.all.iter().chain(any).cloned().collect())
    }
}

/// Reads `priority_rules`.
///
/// # Errors
/// The text for people, which names the place.
pub fn rules(value: &Value) -> Result<Vec<Rule>, String> {
    let Some(list) = value.as_array().filter(|list| list.len() <= MAX_RULES) else {
        return Err(format!("must be a list of at most {MAX_RULES} rules"));
    };
    let rules = list.iter().enumerate();
    rules
        .map(|(index, value)| rule(value).map_err(|why| format!("[{index}]{why}")))
        .collect()
}

fn rule(value: &Value) -> Result<Rule, String> {
    let Some(fields) = value.as_object() else {
        return Err(" must be an object with priority and when".to_owned());
    };
    known(fields, &["name", "priority", "when", "escalate"]).map_err(|name| {
        format!(".{name} is not part of a rule, which has name, priority, when and escalate")
    })?;
    let name = match fields.get("name") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            short(value, MAX_KEYWORD)
                .filter(|name| !name.contains(is_control))
                .ok_or_else(|| {
                    format!(".name must be a text of 1 to {MAX_KEYWORD} characters, none of them a control character")
                })?,
        ),
    };
    let priority = fields.get("priority").and_then(Value::as_str);
    let priority = Priority::ALL
        .into_iter()
        .find(|known| Some(known.as_str()) == priority)
        .ok_or(".priority must be one of urgent, high, normal, low")?;
    let when = fields.get("when").unwrap_or(&Value::Null);
    let when = condition(when).map_err(|why| format!(".when {why}"))?;
    let escalate = match fields.get("escalate") {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().ok_or(".escalate must be true or false")?,
    };
    Ok(Rule {
        name,
        priority,
        when,
        escalate,
    })
}

/// Reads `escalation_criteria`, or the `when` of a rule.
///
/// # Errors
/// The text for people.
pub fn condition(value: &Value) -> Result<Condition, String> {
    match value {
        Value::String(_) => short(value, MAX_WORDS)
            .map(Condition::Words)
            .ok_or_else(|| format!("must have 1 to {MAX_WORDS} characters")),
        Value::Object(fields) if known(fields, &["any", "all"]).is_ok() => {
            let (any, all) = (keywords(fields, "any")?, keywords(fields, "all")?);
            if any.is_empty() && all.is_empty() {
                return Err("must have keywords in any or all".to_owned());
            }
            Ok(Condition::Keywords(Keywords { any, all }))
        }
        _ => Err(
            "must be a text, or keywords: {\"any\": [\"outage\", \"down\"]} or {\"all\": […]}"
                .to_owned(),
        ),
    }
}

fn keywords(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let wrong = || {
        format!(
            "must have at most {MAX_KEYWORDS} keywords in {name}, each with letters or digits and of at most {MAX_KEYWORD} characters"
        )
    };
    let list = match fields.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value.as_array().ok_or_else(wrong)?,
    };
    if list.len() > MAX_KEYWORDS {
        return Err(wrong());
    }
    list.iter()
        .map(|value| {
            short(value, MAX_KEYWORD)
                .filter(|keyword| keyword.contains(char::is_alphanumeric))
                .ok_or_else(wrong)
        })
        .collect()
}

fn short(value: &Value, limit: usize) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.chars().count() <= limit).then(|| text.to_owned())
}

/// The first name that is none of `names`.
fn known(fields: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    let unknown = fields.keys().find(|name| !names.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| Err(name.chars().take(100).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keywords_are_whole_words_in_any_case() {
        let words = Words::of("The SITE is  down — refunds, please! データ障害です");
        for (condition, expected) in [
            (json!({ "any": ["down"] }), true),
            (json!({ "any": ["dow"] }), false),
            (json!({ "any": ["dow*"] }), true),
            (json!({ "any": ["refund"] }), false),
            (json!({ "any": ["refund*"] }), true),
            (json!({ "any": ["*ease"] }), true),
            (json!({ "any": ["site is down"] }), true),
            (json!({ "any": ["Site. Is Down!"] }), true),
            (json!({ "any": ["down site"] }), false),
            (json!({ "any": ["*障害*"] }), true),
            (json!({ "all": ["site", "down"] }), true),
            (json!({ "all": ["site", "up"] }), false),
            (json!({ "all": ["site"], "any": ["up", "away"] }), false),
            (json!({ "all": ["site"], "any": ["up", "down"] }), true),
        ] {
            let read = super::condition(&condition).unwrap();
            let Condition::Keywords(keywords) = &read else {
                panic!("{condition}")
            };
            let found = words.find([&read]);
            assert_eq!(keywords.among(&found).is_some(), expected, "{condition}");
        }
    }

    #[test]
    fn many_keywords_take_one_pass_over_a_long_text() {
        let keyword = |number: usize| json!(format!("*{}{number}", "a".repeat(number % 90)));
        let rule = |rule: usize| {
            let any: Vec<_> = (0..MAX_KEYWORDS)
                .map(|number| keyword(rule * MAX_KEYWORDS + number))
                .collect();
            super::condition(&json!({ "any": any, "all": ["*b*"] })).unwrap()
        };
        let conditions: Vec<_> = (0..MAX_RULES).map(rule).collect();
        let text = format!("{}b aa92 ", "a".repeat(1_999_980));
        let start = std::time::Instant::now();
        let found = Words::of(&text).find(&conditions);
        assert!(
            start.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        let mut found: Vec<_> = found.0.into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["*aa92", "*b*"]);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (value, expected) in [
            (json!("urgent"), "must be a list"),
            (json!(["x"]), "[0] must be an object"),
            (
                json!([{ "priority": "asap", "when": "x" }]),
                "[0].priority must be one of",
            ),
            (
                json!([{ "priority": "low" }]),
                "[0].when must be a text, or keywords",
            ),
            (
                json!([{ "priority": "low", "when": "" }]),
                "[0].when must have 1 to",
            ),
            (
                json!([{ "priority": "low", "when": { "any": ["!"] } }]),
                "[0].when must have at most",
            ),
            (
                json!([{ "priority": "low", "when": { "any": "x" } }]),
                "[0].when must have at most",
            ),
            (
                json!([{ "priority": "low", "when": {} }]),
                "[0].when must have keywords",
            ),
            (
                json!([{ "priority": "low", "when": { "none": [] } }]),
                "[0].when must be a text, or",
            ),
            (
                json!([{ "priority": "low", "when": "x", "escalate": 1 }]),
                "[0].escalate must be",
            ),
            (
                json!([{ "priority": "low", "when": "x", "who": 1 }]),
                "[0].who is not part",
            ),
            (
                json!([{ "priority": "low", "when": "x" }, { "name": " ", "priority": "low", "when": "x" }]),
                "[1].name must be",
            ),
        ] {
            let error = rules(&value).unwrap_err();
            assert!(error.starts_with(expected), "{value}: {error}");
        }
    }
}
