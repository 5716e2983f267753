//! Hosted models while a run is under way: calls side by side, and answers that break off.

use serde_json::json;
use testkit::fakes::Turn;

use crate::models::{MODELS, asked, run_agent, start};

#[tokio::test]
async fn calls_of_one_answer_are_made_side_by_side_and_told_in_the_order_they_were_asked_for() {
    let fixture = start().await;
    let host = fixture.target_host();
    let url = format!("{}/together", fixture.target.url());
    for model in MODELS {
        let call = |number: u32| ("http_request", json!({"url": url, "query": {"n": number}}));
        fixture
            .models
            .play([Turn::Calls((1..=3).map(call).collect())]);
        let config = json!({"instructions": "Go.", "model": model, "tools": ["http_request"], "allowed_hosts": [host]});
        let ended = run_agent(&fixture, config, json!({})).await;
        assert_eq!(ended["status"], "completed", "{model}: {ended}");
        let asked = asked(&fixture);
        let results = asked.last().unwrap().to_string();
        assert_eq!(results.matches(r"ok\").count(), 3, "{results}");
    }
    assert_eq!(fixture.target.hits().len(), 3 * MODELS.len());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_that_is_announced() {
    let fixture = start().await;
    for model in MODELS {
        fixture.models.play([Turn::Broken]);
        let config = json!({"instructions": "Go.", "model": model});
        let ended = run_agent(&fixture, config, json!({})).await;
        assert_eq!(ended["output"]["text"], "Done.", "{model}: {ended}");
        let path = format!("/api/workflow/{}/events", ended["id"].as_str().unwrap());
        let events = fixture.get(&path).await.text;
        let restarted = events.find("turn.restarted").expect(&events);
        let done = events.find("Done.").expect(&events);
        assert!(restarted < done, "{model}: {events}");
        assert!(events[..restarted].contains("event: delta"), "{events}");
        assert!(!events[restarted..].contains("event: error"), "{events}");
    }
}
