use domain::run::{Step, StepEvent, ToolCall, ToolOutcome};
use llm::ModelAnswer;
use serde_json::json;

use super::journal::MAX_ERROR;
use super::*;
use crate::definition::ResultKind;
use crate::model_choice::ModelChoice;

fn state(max_steps: u32, result: ResultKind) -> State {
    let definition = Definition {
        model: ModelChoice::default(),
        instructions: String::new(),
        opening: "hello".to_owned(),
        images: Vec::new(),
        tools: Vec::new(),
        allowed_hosts: Vec::new(),
        allowed_agents: Vec::new(),
        max_steps,
        result,
    };
    State::replay(definition, &[]).unwrap()
}

fn answer(text: &str, tools: &[&str]) -> ModelAnswer {
    let call = |tool: &&str| ToolCall {
        id: "1".to_owned(),
        tool: (*tool).to_owned(),
        arguments: json!({}),
    };
    ModelAnswer {
        text: text.to_owned(),
        tool_calls: tools.iter().map(call).collect(),
        usage: TokenUsage {
            input: 3,
            output: 2,
        },
        cost_micros: 5,
        ..ModelAnswer::default()
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
    let mut state = state(3, ResultKind::Text);
    let mut answers = 0;
    loop {
        match state.next() {
            Action::CallModel => {
                answers += 1;
                state.answered(answer("", &["rm"]));
            }
            Action::RecordIntent(_) => state.refuse("there is no tool called rm"),
            Action::Write => state.written(),
            Action::Done(outcome) => {
                assert_eq!(outcome, Outcome::failed("step limit of 3 reached"));
                break;
            }
            Action::CallTool { .. } => panic!("nothing may be called"),
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
    let mut state = state(20, ResultKind::Text);
    state.answered(answer("", &["rm"]));
    state.refuse("x".repeat(MAX_ERROR + 1));
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
        let mut state = state(20, ResultKind::Text);
        state.answered(answer("", &["http_request"]));
        state.intend(idempotent);
        assert_eq!(state.next(), Action::Write);
        state.written();
        state.returned(ToolOutcome::Ok(json!(1)));
        assert_eq!(state.next(), expected, "idempotent: {idempotent}");
    }
}

#[test]
fn what_is_too_large_is_not_kept() {
    let large = "x".repeat(MAX_PAYLOAD);
    let mut told = state(20, ResultKind::Text);
    told.answered(answer("", &["http_request"]));
    told.returned(ToolOutcome::Ok(json!(large)));
    assert!(
        matches!(told.unwritten(), [_, StepEvent::ToolReturned { outcome: ToolOutcome::Error(error), .. }]
        if error == "the result is larger than 102400 bytes")
    );

    let mut said = state(20, ResultKind::Text);
    said.answered(answer(&large, &[]));
    assert_eq!(
        error_of(&said),
        "the model's answer is larger than 102400 bytes"
    );

    let mut result = state(20, ResultKind::Text);
    result.answered(answer(&large[..MAX_PAYLOAD - 10], &[]));
    assert_eq!(error_of(&result), "the output is larger than 102400 bytes");

    let mut asked = state(20, ResultKind::Text);
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
        let mut state = state(20, ResultKind::Weather);
        if let Some(outcome) = outcome {
            state.answered(answer("", &["get_weather"]));
            state.returned(outcome);
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
        ("a call that nobody asked for", vec![step(0, intended("1"))]),
        (
            "another call",
            vec![step(0, answered()), step(1, intended("2"))],
        ),
        (
            "an answer before its time",
            vec![step(0, answered()), step(1, answered())],
        ),
    ] {
        let definition = state(20, ResultKind::Text).definition;
        assert!(
            State::replay(definition, &journal).is_err(),
            "{description}"
        );
    }
}
