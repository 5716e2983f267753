//! Agents that are more than their instructions: support triage, the morning briefing, and agents that start agents.

use chrono::TimeDelta;
use serde_json::{Value, json};
use testkit::Fixture;
use testkit::fakes::Turn;

async fn start() -> Fixture {
    Fixture::with(|options| options.parameter("ModelTimeoutSeconds", "5")).await
}

#[tokio::test]
async fn a_request_is_triaged_by_keywords_and_says_that_nothing_was_generated() {
    let fixture = start().await;
    let config = json!({
        "priority_rules": [
            {"priority": "low", "when": {"any": ["newsletter"]}},
            {"name": "Outage", "priority": "urgent", "when": {"all": ["checkout"], "any": ["down", "outage*"]}, "escalate": true},
            {"priority": "high", "when": {"any": ["checkout"]}},
            {"priority": "high", "when": "The customer sounds angry."},
        ],
        "escalation_criteria": {"any": ["lawyer"]},
    });
    let agent = fixture.agent_of("Triage", "support_triage", config).await;
    let body = "Our checkout is DOWN since nine this morning. We lose orders every minute. The newsletter looks nice by the way.";
    let done = fixture
        .run_to_end(
            &agent,
            json!({"subject": "Help", "body": body, "customer": {"plan": "pro"}}),
        )
        .await;
    assert_eq!(done["status"], "completed", "{done}");
    let triage = &done["output"]["triage"];
    assert_eq!(
        (
            &triage["priority"],
            &triage["escalate"],
            &triage["generated"]
        ),
        (&json!("urgent"), &json!(true), &json!(false))
    );
    let rules: Vec<_> = triage["matched_rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["rule"].clone())
        .collect();
    assert_eq!(rules, [1, 2, 3]);
    assert_eq!(
        triage["matched_rules"][1]["keywords"],
        json!(["checkout", "down"])
    );
    let reason = triage["reason"].as_str().unwrap();
    assert!(
        reason.contains("Rule 2 (\"Outage\") makes it urgent")
            && reason.contains("One condition in words was not judged"),
        "{reason}"
    );
    let response = triage["suggested_response"].as_str().unwrap();
    assert!(
        response.contains("> Our checkout is DOWN since nine this morning."),
        "{response}"
    );
    assert!(
        done["output"]["text"]
            .as_str()
            .unwrap()
            .contains("not generative")
    );

    let run = done["id"].as_str().unwrap();
    let shown = fixture.data(&format!("/api/v1/runs/{run}/messages")).await;
    assert_eq!(
        (&shown[0]["kind"], &shown[0]["level"]),
        (&json!("alert"), &json!("critical"))
    );

    for (input, priority, escalate) in [
        (
            json!({"text": "Where do I find the invoice?"}),
            "normal",
            false,
        ),
        (
            json!({"text": "My lawyer will write about the newsletter."}),
            "low",
            true,
        ),
        (
            json!({"message": "The checkouts are fine."}),
            "normal",
            false,
        ),
    ] {
        let done = fixture.run_to_end(&agent, input).await;
        let triage = &done["output"]["triage"];
        assert_eq!(
            (&triage["priority"], &triage["escalate"]),
            (&json!(priority), &json!(escalate)),
            "{done}"
        );
    }
    let failed = fixture
        .run_to_end(&agent, json!({"subject": "Hello?"}))
        .await;
    assert!(
        failed["error"].as_str().unwrap().contains("`body`"),
        "{failed}"
    );

    let quiet = json!({"priority_rules": [{"priority": "high", "when": {"any": ["down"]}, "escalate": true}], "auto_notify": false});
    let quiet = fixture.agent_of("Quiet", "support_triage", quiet).await;
    let done = fixture
        .run_to_end(&quiet, json!({"text": "It is down."}))
        .await;
    assert_eq!(done["output"]["triage"]["escalate"], true);
    let shown = fixture
        .data(&format!("/api/v1/agents/{quiet}/messages"))
        .await;
    assert_eq!(shown[0]["level"], "info");
}

#[tokio::test]
async fn a_model_triages_and_the_operators_rules_win() {
    let fixture = start().await;
    fixture.store_credential("openai").await;
    let api = &fixture.models;
    let config = json!({
        "model": "openai/gpt-5", "fallbacks": ["builtin/extractive"], "tone": "Warm.",
        "priority_rules": [{"priority": "urgent", "when": {"any": ["outage"]}}, {"priority": "low", "when": "Praise."}],
        "escalation_criteria": "A refund above 100 euros.",
    });
    let agent = fixture.agent_of("Triage", "support_triage", config).await;
    let opinion = |priority: &str| {
        let answer = json!({"priority": priority, "suggested_response": "Dear Ada, sorry!", "escalate": true, "reason": "A refund."});
        Turn::Text(answer.to_string())
    };
    api.play([opinion("low"), opinion("low")]);
    for (text, priority) in [
        ("There is an outage.", "urgent"),
        ("I want 200 euros back.", "low"),
    ] {
        let done = fixture.run_to_end(&agent, json!({"text": text})).await;
        let triage = &done["output"]["triage"];
        assert_eq!(
            (
                &triage["priority"],
                &triage["escalate"],
                &triage["suggested_response"],
                &triage["generated"]
            ),
            (
                &json!(priority),
                &json!(true),
                &json!("Dear Ada, sorry!"),
                &json!(true)
            ),
            "{done}"
        );
    }
    let hits = api.take_hits();
    let asked: Value = serde_json::from_str(&hits[0].body).unwrap();
    assert_eq!(asked["response_format"]["type"], "json_schema");
    let told = asked["messages"][0]["content"].as_str().unwrap();
    for part in [
        "1. urgent: the request has any of [\"outage\"].",
        "2. low: Praise.",
        "A refund above 100 euros.",
        "Tone of the response: Warm.",
    ] {
        assert!(told.contains(part), "{told}");
    }

    // A model that does not answer: the rules decide, and quotes answer.
    api.play([Turn::Fails(400, None)]);
    let done = fixture
        .run_to_end(&agent, json!({"text": "There is an outage."}))
        .await;
    let triage = &done["output"]["triage"];
    assert_eq!(
        (&triage["priority"], &triage["generated"]),
        (&json!("urgent"), &json!(false)),
        "{done}"
    );
}

#[tokio::test]
async fn a_briefing_tells_the_weather_and_what_the_others_did() {
    let fixture = start().await;
    let weather = fixture
        .agent_of("Weather", "weather_check", json!({"location": "New York"}))
        .await;
    fixture.run_to_end(&weather, json!({})).await;
    fixture.app.clock.advance(TimeDelta::hours(25));
    for location in ["New York", "Atlantis"] {
        fixture
            .run_to_end(&weather, json!({"location": location}))
            .await;
    }
    let config = json!({"location": "New York", "sections": ["weather", "activity", "calendar"]});
    let briefing = fixture
        .agent_of("Morning", "morning_briefing", config)
        .await;
    // The second does not tell of the first.
    for _ in 0..2 {
        let done = fixture.run_to_end(&briefing, json!({})).await;
        assert_eq!(done["status"], "completed", "{done}");
        let text = done["output"]["text"].as_str().unwrap();
        for part in [
            "Weather in New York: 7.4 °C, overcast. Today 3.1 to 9.8 °C, light rain, chance of precipitation 70 %.",
            "1 run completed and 1 failed since yesterday.",
            "Failed: Weather (",
            "No calendar is connected",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("e-mail"), "{text}");
        let told = &done["output"]["briefing"];
        assert_eq!(told["weather"]["current"]["temperature"], 7.4);
        let [agent] = &told["activity"]["agents"].as_array().unwrap()[..] else {
            panic!("{told}")
        };
        assert_eq!(
            (&agent["agent_id"], &agent["completed"], &agent["failed"]),
            (&json!(weather), &json!(1), &json!(1))
        );
    }

    let config = json!({"style": "detailed", "location": "Atlantis"});
    let detailed = fixture
        .agent_of("Detailed", "morning_briefing", config)
        .await;
    let done = fixture.run_to_end(&detailed, json!({})).await;
    let text = done["output"]["text"].as_str().unwrap();
    assert!(
        text.contains("The weather could not be had: no place called \"Atlantis\""),
        "{text}"
    );
    assert!(
        text.contains("- **Weather**: 1 completed, 1 failed.\n  - Latest error: no place called"),
        "{text}"
    );
    assert!(
        !text.lines().any(|line| line.starts_with("No calendar")),
        "{text}"
    );

    // Another workspace knows nothing of it.
    let other = fixture.app.register().await;
    let key = other
        .agentplatform_key(&fixture.app, &["agents:write"])
        .await;
    let body = json!({"name": "M", "type": "morning_briefing"});
    let agent = fixture
        .app
        .post("/api/v1/agents", body)
        .bearer(&key)
        .send()
        .await
        .expect(201);
    let path = format!(
        "/api/agent-base/{}/executions",
        agent["data"]["id"].as_str().unwrap()
    );
    let token = other.prodgy_token(&fixture.app).await;
    let done = fixture
        .app
        .post(&path, json!({"wait": true}))
        .bearer(&token)
        .send()
        .await
        .expect(200);
    assert!(
        done["data"]["output"]["text"]
            .as_str()
            .unwrap()
            .contains("No other agent has finished")
    );
}

#[tokio::test]
async fn a_model_phrases_a_briefing_from_what_was_looked_up() {
    let fixture = start().await;
    fixture.store_credential("openai").await;
    let api = &fixture.models;
    let config = json!({"location": "New York", "model": "openai/gpt-5"});
    let briefing = fixture
        .agent_of("Morning", "morning_briefing", config)
        .await;
    api.play([Turn::Text("Cold and wet. All is quiet.".to_owned())]);
    let done = fixture.run_to_end(&briefing, json!({})).await;
    assert_eq!(
        done["output"]["text"], "Cold and wet. All is quiet.",
        "{done}"
    );
    assert_eq!(
        done["output"]["briefing"]["weather"]["current"]["temperature"],
        7.4
    );
    let hits = api.take_hits();
    assert_eq!(hits.len(), 1, "the model is asked once");
    assert!(hits[0].body.contains("tool_call_id") && !hits[0].body.contains("@get_weather"));
}

#[tokio::test]
async fn an_agent_starts_another_and_waits_for_it() {
    let fixture = start().await;
    let summary = fixture
        .agent_of(
            "Summary",
            "freeform",
            json!({"instructions": "Summarise in one sentence."}),
        )
        .await;
    let directive =
        "@trigger_agent {\"agent\": \"Summary\", \"input\": \"{{input.text}}\", \"wait\": true}";
    let config =
        json!({"instructions": directive, "tools": ["trigger_agent"], "allowed_agents": [summary]});
    let chief = fixture.agent_of("Chief", "freeform", config).await;
    let text = "The disk filled up at noon because logs were not rotated. Rotation is on now.";
    let done = fixture.run_to_end(&chief, json!({"text": text})).await;
    let said = done["output"]["text"].as_str().unwrap();
    assert!(
        said.contains("completed") && said.contains("The disk filled up at noon"),
        "{done}"
    );
    assert_eq!(done["parent_run_id"], Value::Null);

    let runs = fixture
        .data(&format!("/api/v1/agents/{summary}/runs"))
        .await;
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &runs[0]["trigger"],
            &runs[0]["parent_run_id"],
            &runs[0]["input"]
        ),
        (&json!("agent"), &done["id"], &json!({"text": text}))
    );
    let path = format!(
        "/api/agent-base/{summary}/executions/{}",
        runs[0]["id"].as_str().unwrap()
    );
    let shown = fixture
        .app
        .get(&path)
        .bearer(&fixture.token)
        .send()
        .await
        .expect(200);
    assert_eq!(
        (&shown["data"]["trigger"], &shown["data"]["parent_run_id"]),
        (&json!("agent"), &done["id"])
    );

    // An agent that is not listed is not started; nor is one of another tenant, whatever is allowed.
    let other = fixture.app.register().await;
    let key = other
        .agentplatform_key(&fixture.app, &["agents:write"])
        .await;
    let foreign = fixture.app.agent(&key, "x").await;
    for (agent, allowed) in [
        (&chief, json!([])),
        (&chief, json!([summary])),
        (&foreign, json!("*")),
        (&foreign, json!([foreign])),
    ] {
        let config = json!({"instructions": format!("@trigger_agent {{\"agent\": \"{agent}\"}}"), "tools": ["trigger_agent"], "allowed_agents": allowed});
        let agent = fixture.agent_of("Intruder", "freeform", config).await;
        let done = fixture.run_to_end(&agent, json!({})).await;
        let said = done["output"]["text"].as_str().unwrap();
        assert!(
            said.contains("no such agent") || said.contains("may start no other"),
            "{said}"
        );
    }
    assert_eq!(
        fixture
            .data(&format!("/api/v1/agents/{chief}/runs"))
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn large_agents_hide_no_smaller_one_from_those_that_call_it_by_name() {
    let fixture = start().await;
    let config = json!({"instructions": "Summarise."});
    fixture.agent_of("Oldest", "freeform", config).await;
    // More than a page of a list may have.
    for number in 0..60 {
        let config = json!({"instructions": "𝕏".repeat(20_000)});
        let name = format!("Large {number}");
        fixture.agent_of(&name, "freeform", config).await;
    }
    let config = json!({
        "instructions": "@trigger_agent {\"agent\": \"Oldest\", \"wait\": true}",
        "tools": ["trigger_agent"],
        "allowed_agents": "*",
    });
    let chief = fixture.agent_of("Chief", "freeform", config).await;
    let done = fixture.run_to_end(&chief, json!({})).await;
    let said = done["output"]["text"].as_str().unwrap();
    assert!(said.contains("completed"), "{said}");
}
