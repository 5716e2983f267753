//! Signals: events of other systems that make an agent run.

use axum::extract::State as Extract;
use domain::ids::{AgentId, RunId, SignalId};
use domain::run::{RunTrigger, Signal};
use domain::text::{NO_CONTROLS, is_control};
use engine::NewRun;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::SignalsWrite;
use web::{
    ApiResponse, Authorized, Clock, Id, Json, MAX_INPUT_BODY, NewId, Result, RoutePolicy, Routes,
};

use crate::State;

/// The sender's word for what happened: 1 to 100 characters, none of them a control character.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 100)]
struct SignalType(String);

impl TryFrom<String> for SignalType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.trim().is_empty() {
            return Err("can't be blank");
        }
        if text.chars().count() > 100 {
            return Err("must be at most 100 characters");
        }
        if text.chars().any(is_control) {
            return Err(NO_CONTROLS);
        }
        Ok(Self(text))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"type": "custom_event", "payload": {"order": 1042}}))]
struct SendSignal {
    #[serde(rename = "type")]
    kind: SignalType,
    /// Any JSON; the input of the run. `{}` when left out.
    payload: Option<Value>,
}

/// A signal that was taken, and the run that it has started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedSignal)]
struct AcceptedSignalResponse {
    id: SignalId,
    agent_id: AgentId,
    #[serde(rename = "type")]
    kind: String,
    run_id: RunId,
    status: SignalStatus,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SignalStatus {
    Accepted,
}

/// Sends an agent a signal, which makes it run.
#[utoipa::path(
    post, path = "/api/v1/agents/{id}/signals", tag = "Signals",
    params(("id" = AgentId, Path)),
    request_body = SendSignal,
    security(("AgentPlatformKey" = ["signals:write"])),
    responses((status = 202, body = AcceptedSignalResponse)),
)]
async fn send_signal(
    Extract(state): Extract<State>,
    Extract(clock): Extract<Clock>,
    caller: Authorized<SignalsWrite>,
    Id(id): Id<AgentId>,
    fresh: NewId,
    Json(body): Json<SendSignal>,
) -> Result<ApiResponse<AcceptedSignalResponse>> {
    let now = clock.now();
    let signal = Signal {
        id: fresh.id(now),
        kind: body.kind.0,
    };
    let new = NewRun {
        id: fresh.id(now),
        trigger: RunTrigger::Signal,
        signal: Some(signal.clone()),
        input: body.payload.unwrap_or_else(|| json!({})),
        input_field: "payload",
        caller: &caller.audit_context,
    };
    let run = state.starter.start(caller.workspace_id, id, new).await?;
    Ok(ApiResponse::accepted(AcceptedSignalResponse {
        id: signal.id,
        agent_id: id,
        kind: signal.kind,
        run_id: run.id,
        status: SignalStatus::Accepted,
    }))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new().with(
        RoutePolicy::authenticated().max_body(MAX_INPUT_BODY),
        routes!(send_signal),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_type_is_a_short_printable_text() {
        let wrong = |text: String| SignalType::try_from(text).is_err();
        assert!(!wrong("order.created".to_owned()) && !wrong("ß".repeat(100)));
        for text in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            assert!(wrong(text.to_owned()), "{text:?}");
        }
    }
}
