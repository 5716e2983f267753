//! `builtin/extractive`: quotes, and calls the tools that it is told to call. No weights, no network, no invention.
//!
//! - A line `@tool {"argument": "value"}` in the instructions, or in a user message that is plain text, is a
//!   directive. Directives are carried out one after the other, each once; `{{input.path}}` in a value stands
//!   for that part of the run's input. Text inside a JSON input is never a directive: other people wrote it.
//! - Once tools have answered, the answer is a report of their results.
//! - Otherwise it answers with sentences of the input, word for word: those that say most of it, or those that
//!   bear on the question when there is one.

mod directives;
mod filling;
mod input;
mod markup;
mod places;
mod ranking;
mod report;
mod sentences;
mod words;

use domain::run::{TokenUsage, ToolCall};

use crate::{Message, ModelRequest, ModelResponse};
use directives::Directives;
use input::Input;
use ranking::Index;
use sentences::Text;

/// The number of sentences that an answer has when the instructions do not say.
const SENTENCES: usize = 5;

/// The longest answer, in bytes. Quotations are for people to read.
const MAX_ANSWER: usize = 50 * 1024;

/// The model. It keeps nothing: the same request has the same answer. `usage` counts words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extractive;

/// The size of a request from which on an answer may take longer than other work on the same thread should wait, in bytes.
const LONG: usize = 64 * 1024;

impl Extractive {
    /// Answers without keeping the async thread: half a second may be needed for a long text.
    pub async fn answer_beside(&self, request: &ModelRequest) -> ModelResponse {
        if size(request) < LONG {
            return self.answer(request);
        }
        let request = request.clone();
        match tokio::task::spawn_blocking(move || Self.answer(&request)).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    pub fn answer(&self, request: &ModelRequest) -> ModelResponse {
        let input = Input::of(&request.messages);
        let directives = Directives::of(request, &input);
        let (text, tool_calls) = match directives.next {
            Some(call) => (String::new(), vec![call]),
            None => (compose(request, &input, &directives), Vec::new()),
        };
        let output = words::count(&text) + tool_calls.iter().map(words_of_call).sum::<u64>();
        ModelResponse {
            text,
            tool_calls,
            usage: TokenUsage {
                input: words_of_request(request),
                output,
            },
            ..ModelResponse::default()
        }
    }
}

fn compose(request: &ModelRequest, input: &Input, directives: &Directives) -> String {
    let limit = words::sentence_limit(&directives.prose).unwrap_or(SENTENCES);
    let mut parts = report::of_results(&request.messages, &directives.prose, limit);
    parts.extend(directives.problems.iter().cloned());
    let answer = if parts.is_empty() {
        quote(input, &directives.prose, limit)
    } else {
        parts.join("\n\n")
    };
    report::cut(&answer, MAX_ANSWER)
}

fn quote(input: &Input, instructions: &str, limit: usize) -> String {
    let text = Text::parse(
        input
            .passages
            .iter()
            .map(|passage| (passage.heading.as_deref(), passage.text.as_ref())),
    );
    let index = Index::build(&text);
    let chosen = match &input.question {
        _ if text.sentences.is_empty() => return nothing_to_quote(input),
        Some(question) => index.answer(question, limit),
        None => index.summary(instructions, limit),
    };
    if chosen.is_empty() {
        return "I found nothing on this in the text. I look for the words of the question and quote; I do not infer."
            .to_owned();
    }
    cite(&text, &chosen)
}

/// The sentences, each with its number, and where each stands.
fn cite(text: &Text, chosen: &[usize]) -> String {
    let mut quotes = String::new();
    let mut sources = String::new();
    for (number, &index) in chosen
        .iter()
        .enumerate()
        .map(|(index, sentence)| (index + 1, sentence))
    {
        let sentence = &text.sentences[index];
        quotes += &format!("{} [{number}]\n", sentence.text);
        sources += &match text.section_of(sentence) {
            Some(section) => format!("\n[{number}] {section} (sentence {})", index + 1),
            None => format!("\n[{number}] sentence {}", index + 1),
        };
    }
    quotes + &sources
}

fn nothing_to_quote(input: &Input) -> String {
    match (&input.question, input.is_empty()) {
        (_, true) => "There was nothing to work with: the input is empty.".to_owned(),
        (Some(_), _) => "There is a question, but no text to answer it from. This model, builtin/extractive, quotes from the \
                         text that it is given; it knows nothing by itself."
            .to_owned(),
        (None, _) => "There is no sentence in the input that I could quote. This model, builtin/extractive, quotes from text and \
                      carries out directives such as @get_weather {\"location\": \"Bern\"}; it does not write text of its own."
            .to_owned(),
    }
}

fn size(request: &ModelRequest) -> usize {
    let messages = request.messages.iter().map(|message| match message {
        Message::User { text } => text.len(),
        Message::Assistant {
            text, tool_calls, ..
        } => {
            let arguments = tool_calls
                .iter()
                .map(|call| call.arguments.to_string().len());
            text.len() + arguments.sum::<usize>()
        }
        Message::Tool { outcome, .. } => report::plain(outcome).len(),
    });
    request.instructions.len() + messages.sum::<usize>()
}

fn words_of_request(request: &ModelRequest) -> u64 {
    let messages = request.messages.iter().map(|message| match message {
        Message::User { text } => words::count(text),
        Message::Assistant {
            text, tool_calls, ..
        } => words::count(text) + tool_calls.iter().map(words_of_call).sum::<u64>(),
        Message::Tool { outcome, .. } => words::count(&report::plain(outcome)),
    });
    words::count(&request.instructions) + messages.sum::<u64>()
}

fn words_of_call(call: &ToolCall) -> u64 {
    1 + words::count(&call.arguments.to_string())
}

#[cfg(test)]
mod tests;
