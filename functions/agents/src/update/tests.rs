use domain::agent::AgentType;
use serde_json::json;

use super::*;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn weather() -> Agent {
    let created_at = time("2026-11-22T10:00:00Z");
    serde_json::from_value(json!({
        "id": AgentId::new(created_at),
        "organization_id": AgentId::new(created_at),
        "workspace_id": AgentId::new(created_at),
        "name": "Weather",
        "agent_type": AgentType::WeatherCheck,
        "parameters": {"location": "Bern", "units": "imperial"},
        "prompts": [],
        "schedule": "0 7 * * *",
        "timezone": "UTC",
        "state": "active",
        "consecutive_failures": 0,
        "version_id": AgentVersionId::new(created_at),
        "version": 1,
        "latest_version": 3,
        "next_run_at": "2026-11-23T07:00:00Z",
        "created_at": created_at,
        "updated_at": created_at,
        "revision": 7,
    }))
    .unwrap()
}

fn apply(
    change: AgentChange,
    agent: &Agent,
    chosen: Option<AgentVersion>,
) -> Result<Option<Changed>> {
    change.apply(agent, chosen, Actor::System, time("2026-11-24T10:00:00Z"))
}

fn merge(parameters: Value) -> Option<ParameterChange> {
    Some(ParameterChange::Merge(
        parameters.as_object().unwrap().clone(),
    ))
}

#[test]
fn a_new_definition_is_the_next_version_and_leaves_a_due_firing_due() {
    let agent = weather();
    let parameters = merge(json!({"units": null}));
    let changed = apply(
        AgentChange {
            parameters,
            ..AgentChange::default()
        },
        &agent,
        None,
    );
    let changed = changed.unwrap().unwrap();
    let complete = json!({"location": "Bern", "units": "metric"});
    assert_eq!(Value::from(changed.agent.parameters), complete);
    assert_eq!(
        (changed.agent.version, changed.agent.latest_version),
        (4, 4)
    );
    assert_eq!(changed.agent.next_run_at, agent.next_run_at);
    let version = changed.version.unwrap();
    assert_eq!((version.id, version.number), (changed.agent.version_id, 4));
}

#[test]
fn what_changes_nothing_is_not_written() {
    let agent = weather();
    for change in [
        AgentChange::default(),
        AgentChange {
            decision: Some(Decision::Resume),
            ..AgentChange::default()
        },
        AgentChange {
            name: Some(agent.name.clone()),
            version_id: Some(agent.version_id),
            ..AgentChange::default()
        },
        AgentChange {
            schedule: Some(agent.schedule.clone()),
            ..AgentChange::default()
        },
    ] {
        let chosen = current_version(&agent, Actor::System, agent.created_at);
        assert!(apply(change, &agent, Some(chosen)).unwrap().is_none());
    }
}

#[test]
fn a_version_brings_its_definition_back_but_only_to_its_own_agent() {
    let agent = weather();
    let mut old = current_version(&agent, Actor::System, agent.created_at);
    old.id = AgentVersionId::new(time("2026-11-01T00:00:00Z"));
    old.number = 2;
    old.parameters.insert("location".to_owned(), json!("Oslo"));
    let go_back = || AgentChange {
        version_id: Some(old.id),
        ..AgentChange::default()
    };

    let changed = apply(go_back(), &agent, Some(old.clone()))
        .unwrap()
        .unwrap();
    assert!(changed.version.is_none());
    assert_eq!(changed.agent.version, 2);
    assert_eq!(changed.agent.parameters["location"], "Oslo");

    let both = AgentChange {
        parameters: merge(json!({"location": "Rome"})),
        ..go_back()
    };
    assert!(apply(both, &agent, Some(old.clone())).is_err());
    let foreign = AgentVersion {
        agent_id: AgentId::new(agent.created_at),
        ..old
    };
    assert!(apply(go_back(), &agent, Some(foreign)).is_err());
    assert!(apply(go_back(), &agent, None).is_err());
}

#[test]
fn resuming_forgives_and_looks_ahead_and_pausing_keeps_what_is_disabled() {
    let disabled = Agent {
        state: AgentState::Disabled,
        consecutive_failures: 5,
        next_run_at: None,
        ..weather()
    };
    let decide = |decision| AgentChange {
        decision: Some(decision),
        ..AgentChange::default()
    };
    assert!(
        apply(decide(Decision::Pause), &disabled, None)
            .unwrap()
            .is_none()
    );

    let resumed = apply(decide(Decision::Resume), &disabled, None)
        .unwrap()
        .unwrap();
    assert_eq!(
        (resumed.agent.state, resumed.agent.consecutive_failures),
        (AgentState::Active, 0)
    );
    assert_eq!(
        resumed.agent.next_run_at,
        Some(time("2026-11-25T07:00:00Z"))
    );
    assert_eq!(resumed.action, "agent.resumed");

    let paused = apply(decide(Decision::Pause), &weather(), None)
        .unwrap()
        .unwrap();
    assert_eq!(
        (paused.agent.next_run_at, paused.action),
        (None, "agent.paused")
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let change = AgentChange {
        parameters: merge(json!({"units": "kelvin"})),
        schedule: Some(Some("daily".to_owned())),
        ..AgentChange::default()
    };
    match apply(change, &weather(), None) {
        Err(Error::Invalid(errors)) => {
            let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
            assert_eq!(fields, ["config.units", "schedule"]);
        }
        other => panic!("{other:?}"),
    }
}
