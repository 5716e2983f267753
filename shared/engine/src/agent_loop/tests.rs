use domain::run::{Step, StepEvent, ToolCall, ToolOutcome};
use llm::ModelResponse;
use serde_json::json;

use super::*;
use crate::agents::weather_check::Weather;
use crate::limits::Limits;
use crate::machine::Machine;
use crate::model_choice::ModelChoice;
use crate::outcome::MAX_ERROR;
use crate::result::{RunResult, Text};

fn state(max_steps: u32, result: impl RunResult + 'static) -> State {
    let definition = Definition {
        opening: "hello".to_owned(),
        max_steps,
        ..Definition::new(ModelChoice::default(), result)
    };
    State::replay(definition, &[]).unwrap()
}

fn answer(text: &str, tools: &[&str]) -> ModelResponse {
    let call = |tool: &&str| ToolCall {
        id: "1".to_owned(),
        tool: (*tool).to_owned(),
        arguments: json!({}),
    };
    ModelResponse {
        text: text.to_owned(),
        tool_calls: tools.iter().map(call).collect(),
        usage: TokenUsage {
            input: 3,
            output: 2,
        },
        cost_micros: 5,
        ..ModelResponse::default()
    }
}

fn error_of(state: &State) -> String {
    match state.next() {
        Action::Done(Outcome::Failed { error }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_that_keeps_asking_for_the_impossible_meets_the_step_limit() {
    let mut state = state(3, Text);
    let mut answers = 0;
    loop {
        match state.next() {
            Action::CallModel => {
                answers += 1;
                state.answered(answer("", &["rm"]));
            }
            Action::RecordIntents(calls) => {
                for call in calls {
                    state.refuse(&call.id, "there is no tool called rm");
                }
            }
            Action::Write => state.written(),
            Action::Done(outcome) => {
                assert_eq!(outcome, Outcome::failed("step limit of 3 reached"));
                break;
            }
            Action::CallTools(_) | Action::CheckAnswer => panic!("nothing may be called"),
        }
    }
    assert_eq!(answers, 3);
    assert_eq!(
        state.usage(),
        TokenUsage {
            input: 9,
            output: 6
        }
    );
}

#[test]
fn a_refusal_is_shown_to_the_model() {
    let mut state = state(20, Text);
    state.answered(answer("", &["rm"]));
    state.refuse("call_1_1", "x".repeat(MAX_ERROR + 1));
    let messages = state.request(Vec::new()).messages;
    match &messages[..] {
        [
            Message::User { text },
            Message::Assistant { tool_calls, .. },
            Message::Tool {
                call_id,
                outcome: ToolOutcome::Error(error),
                ..
            },
        ] => {
            assert_eq!(
                (text.as_str(), call_id, error.chars().count()),
                ("hello", &tool_calls[0].id, MAX_ERROR + 1)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_result_of_a_call_that_must_not_be_repeated_is_stored_at_once() {
    for (idempotent, expected) in [(false, Action::Write), (true, Action::CallModel)] {
        let mut state = state(20, Text);
        state.answered(answer("", &["http_request"]));
        state.intend("call_1_1", idempotent);
        assert_eq!(state.next(), Action::Write);
        state.written();
        state.returned("call_1_1", ToolOutcome::Ok(json!(1)));
        assert_eq!(state.next(), expected, "idempotent: {idempotent}");
    }
}

#[test]
fn what_is_too_large_is_not_kept() {
    let large = "x".repeat(MAX_PAYLOAD);
    let mut told = state(20, Text);
    told.answered(answer("", &["http_request"]));
    told.returned("call_1_1", ToolOutcome::Ok(json!(large)));
    assert!(
        matches!(told.unwritten(), [_, StepEvent::ToolReturned { outcome: ToolOutcome::Error(error), .. }]
        if error == "the result is larger than 2000000 bytes")
    );

    let mut said = state(20, Text);
    said.answered(answer(&large, &[]));
    assert_eq!(
        error_of(&said),
        "the model's answer is larger than 2000000 bytes"
    );

    let mut result = state(20, Text);
    result.answered(answer(&large[..MAX_PAYLOAD - 10], &[]));
    assert_eq!(error_of(&result), "the output is larger than 2000000 bytes");

    let mut asked = state(20, Text);
    asked.answered(answer("", &["rm"; 33]));
    assert_eq!(
        error_of(&asked),
        "the model asked for 33 calls in one answer; 32 are allowed"
    );
}

#[test]
fn a_weather_check_is_its_weather() {
    let weather = json!({ "temperature": 21 });
    let run = |outcome: Option<ToolOutcome>| {
        let mut state = state(20, Weather);
        if let Some(outcome) = outcome {
            state.answered(answer("", &["get_weather"]));
            state.returned("call_1_1", outcome);
            if state.next() == Action::CallModel {
                state.answered(answer("Mild.", &[]));
            }
        } else {
            state.answered(answer("No idea.", &[]));
        }
        state.next()
    };
    for (outcome, expected) in [
        (
            Some(ToolOutcome::Ok(weather.clone())),
            Outcome::Completed {
                output: json!({ "text": "Mild.", "weather": weather }),
            },
        ),
        (
            Some(ToolOutcome::Error("no such place".to_owned())),
            Outcome::failed("no such place"),
        ),
        (None, Outcome::failed("the weather was not looked up")),
    ] {
        assert_eq!(run(outcome), Action::Done(expected));
    }
}

#[test]
fn calls_of_one_answer_are_made_together_and_come_back_in_any_order() {
    let mut state = state(20, Text);
    state.answered(answer("", &["get"; 9]));
    let Action::RecordIntents(first) = state.next() else {
        panic!("intents come first");
    };
    assert_eq!(first.len(), MAX_CALLS_AT_ONCE);
    for call in &first {
        state.intend(&call.id, call.id != "call_1_3");
    }
    state.written();
    let Action::CallTools(calls) = state.next() else {
        panic!("then the calls");
    };
    for (made, pending) in calls.iter().rev().enumerate() {
        let id = &pending.call.id;
        state.returned(id, ToolOutcome::Ok(json!(made)));
        assert_eq!(state.must_write(), id == "call_1_3", "{id}");
        state.written();
    }
    assert!(matches!(state.next(), Action::RecordIntents(rest) if rest.len() == 1));
    state.refuse("call_1_9", "no");
    let told: Vec<_> = state
        .request(Vec::new())
        .messages
        .into_iter()
        .filter_map(|message| match message {
            Message::Tool { call_id, .. } => Some(call_id),
            _ => None,
        })
        .collect();
    let asked: Vec<_> = (1..=9).map(|index| format!("call_1_{index}")).collect();
    assert_eq!(told, asked, "the model reads them in the order it asked");
}

#[test]
fn a_limit_keeps_a_run_from_asking_again_and_not_from_ending() {
    let limits = |tokens, cost_micros| Limits {
        tokens,
        cost_micros,
        ..Limits::default()
    };
    for (limits, error) in [
        (limits(Some(5), None), "token limit of 5 reached"),
        (limits(None, Some(5)), "cost limit of $0.000005 reached"),
    ] {
        let mut definition = state(20, Text).definition;
        definition.limits = limits;
        let mut asking = State::replay(definition, &[]).unwrap();
        let mut ending = asking.clone();
        asking.answered(answer("", &["rm"]));
        asking.refuse("call_1_1", "no");
        assert_eq!(error_of(&asking), error);
        ending.answered(answer("That is all.", &[]));
        assert!(matches!(
            ending.next(),
            Action::Done(Outcome::Completed { .. })
        ));
    }
}

#[test]
fn a_hosted_models_answer_is_stored_before_it_is_checked_and_before_the_run_ends() {
    for (schema, expected) in [
        (Some(json!({"type": "string"})), Action::CheckAnswer),
        (None, Action::Done(Outcome::failed("x"))),
    ] {
        let mut definition = state(20, Text).definition;
        definition.model.name = "openai/gpt-5".parse().unwrap();
        definition.model.output_schema = schema;
        let mut state = State::replay(definition, &[]).unwrap();
        state.answered(answer("\"yes\"", &[]));
        assert!(matches!(state.next(), Action::Write));
        state.written();
        let kind = std::mem::discriminant(&state.next());
        assert_eq!(kind, std::mem::discriminant(&expected));
    }
}

#[test]
fn a_journal_that_makes_no_sense_is_refused() {
    let step = |index, event| Step {
        index,
        at: chrono::DateTime::UNIX_EPOCH,
        event,
    };
    let answered = || StepEvent::ModelAnswered {
        text: String::new(),
        tool_calls: answer("", &["a"]).tool_calls,
        usage: TokenUsage::default(),
        cost_micros: 0,
        content: None,
    };
    let intended = |id: &str| StepEvent::ToolIntended {
        call_id: id.to_owned(),
        idempotent: true,
    };
    for (description, journal) in [
        ("a gap", vec![step(1, answered())]),
        (
            "a call that was not asked for",
            vec![step(0, intended("1"))],
        ),
        (
            "another call",
            vec![step(0, answered()), step(1, intended("2"))],
        ),
        (
            "an answer before its time",
            vec![step(0, answered()), step(1, answered())],
        ),
        (
            "a step of a paused run",
            vec![step(0, StepEvent::Paused), step(1, answered())],
        ),
        (
            "a step of a stopped run",
            vec![step(0, StepEvent::Stopped), step(1, StepEvent::Paused)],
        ),
    ] {
        let definition = state(20, Text).definition;
        assert!(
            State::replay(definition, &journal).is_err(),
            "{description}"
        );
    }
}
