//! Directives: the tool calls that a text spells out, `@get_weather {"location": "Bern"}`.

use domain::run::ToolCall;
use serde_json::{Map, Value};

use super::filling::Filler;
use super::input::{Input, structured};
use crate::{Message, ModelRequest};

/// The request of a conversation's directives now.
pub(super) struct Directives {
    /// The call to make, when one is left.
    pub(super) next: Option<ToolCall>,
    /// Directives that cannot be carried out, in words for the user.
    pub(super) problems: Vec<String>,
    /// The instructions without directives.
    pub(super) prose: String,
}

impl Directives {
    pub(super) fn of(request: &ModelRequest, input: &Input<'_>) -> Self {
        let allowed: Vec<_> = request
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        let mut problems = Vec::new();
        let mut filler = Filler::of(&input.value);
        let mut calls_in = |text: &str| {
            let Script { directives, prose } = Script::parse(text, &allowed);
            let calls = directives.into_iter().filter_map(|directive| {
                directive
                    .and_then(|directive| directive.into_call(&allowed, &mut filler))
                    .map_err(|problem| problems.push(problem))
                    .ok()
            });
            (calls.collect::<Vec<_>>(), prose)
        };

        let (standing, prose) = calls_in(&request.instructions);
        let latest = request
            .messages
            .iter()
            .rposition(|message| matches!(message, Message::User { .. }))
            .unwrap_or(0);
        let said = match request.messages.get(latest) {
            Some(Message::User { text }) if structured(text).is_none() => calls_in(text).0,
            _ => Vec::new(),
        };

        // Position tells what was done already: calls come in the order of the directives, the standing ones
        // once per run and first.
        let before = calls_made(&request.messages[..latest]);
        let since = calls_made(&request.messages[latest..]);
        let next = standing.into_iter().skip(before).chain(said).nth(since);
        let id = format!("call_{}", before + since + 1);
        let next = next.map(|(tool, arguments)| ToolCall {
            id,
            tool,
            arguments,
        });
        Self {
            next,
            problems,
            prose,
        }
    }
}

fn calls_made(messages: &[Message]) -> usize {
    messages
        .iter()
        .map(|message| {
            if let Message::Assistant { tool_calls, .. } = message {
                tool_calls.len()
            } else {
                0
            }
        })
        .sum()
}

/// A text, taken apart.
struct Script<'a> {
    directives: Vec<Result<Directive<'a>, String>>,
    prose: String,
}

struct Directive<'a> {
    tool: &'a str,
    arguments: Map<String, Value>,
}

impl<'a> Script<'a> {
    fn parse(text: &'a str, tools: &[&str]) -> Self {
        let mut script = Self {
            directives: Vec::new(),
            prose: String::with_capacity(text.len()),
        };
        let mut rest = text;
        while !rest.is_empty() {
            let line_end = rest.find('\n').map_or(rest.len(), |end| end + 1);
            let line = &rest[..line_end];
            let mut consumed = line_end;
            match named_tool(line, tools) {
                None => script.prose.push_str(line),
                Some(tool) => {
                    let name_end = rest.find('@').map_or(0, |at| at + 1 + tool.len());
                    let (directive, length) = Directive::parse(tool, &rest[name_end..]);
                    consumed = consumed.max(name_end + length);
                    script.directives.push(directive);
                }
            }
            rest = &rest[consumed..];
        }
        script
    }
}

/// The tool that a line calls. `@ada, have a look` calls none.
fn named_tool<'a>(line: &'a str, tools: &[&str]) -> Option<&'a str> {
    let call = line.trim_start().strip_prefix('@')?;
    let end = call
        .find(|character: char| !(character.is_ascii_alphanumeric() || "_-.".contains(character)))
        .unwrap_or(call.len());
    let (name, rest) = call.split_at(end);
    (!name.is_empty() && (tools.contains(&name) || rest.trim_start().starts_with('{')))
        .then_some(name)
}

impl<'a> Directive<'a> {
    /// Reads the arguments, which may go on over several lines; says how much of `rest` they take.
    fn parse(tool: &'a str, rest: &str) -> (Result<Self, String>, usize) {
        let line = rest.lines().next().unwrap_or_default();
        if line.trim().is_empty() {
            return (
                Ok(Self {
                    tool,
                    arguments: Map::new(),
                }),
                line.len(),
            );
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Map<String, Value>>();
        match values.next() {
            Some(Ok(arguments)) => {
                let end = values.byte_offset();
                let tail = rest[end..].lines().next().unwrap_or_default();
                let directive = if tail.trim().is_empty() {
                    Ok(Self { tool, arguments })
                } else {
                    Err(format!(
                        "I did not call {tool}: there is more on its line than a JSON object."
                    ))
                };
                (directive, end + tail.len())
            }
            Some(Err(error)) => (
                Err(format!(
                    "I did not call {tool}: its arguments are not a JSON object ({error})."
                )),
                line.len(),
            ),
            None => (
                Ok(Self {
                    tool,
                    arguments: Map::new(),
                }),
                line.len(),
            ),
        }
    }

    fn into_call(
        self,
        allowed: &[&str],
        filler: &mut Filler<'_>,
    ) -> Result<(String, Value), String> {
        if !allowed.contains(&self.tool) {
            return Err(format!("I am not allowed to call {}.", self.tool));
        }
        let arguments = filler
            .fill(self.tool, self.arguments)
            .map_err(|problem| format!("I did not call {}: {problem}.", self.tool))?;
        Ok((self.tool.to_owned(), Value::Object(arguments)))
    }
}
