//! Hosted models while a run is under way: calls side by side, and answers that break off.

use serde_json::json;
use testkit::fakes::{Target, Turn};

use crate::models::{Desk, MODELS};

#[tokio::test]
async fn calls_of_one_answer_are_made_side_by_side_and_told_in_the_order_they_were_asked_for() {
    let (desk, target) = (Desk::start().await, Target::start().await);
    let host = target.url().trim_start_matches("http://");
    let url = format!("{}/together", target.url());
    for model in MODELS {
        let call = |number: u32| ("http_request", json!({"url": url, "query": {"n": number}}));
        desk.api.play([Turn::Calls((1..=3).map(call).collect())]);
        let config = json!({"instructions": "Go.", "model": model, "tools": ["http_request"], "allowed_hosts": [host]});
        let run = desk.run(config, json!({})).await;
        assert_eq!(run["status"], "completed", "{model}: {run}");
        let asked = desk.asked();
        let results = asked.last().unwrap().to_string();
        assert_eq!(results.matches(r"ok\").count(), 3, "{results}");
    }
    assert_eq!(target.hits().len(), 3 * MODELS.len());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_that_is_announced() {
    let desk = Desk::start().await;
    for model in MODELS {
        desk.api.play([Turn::Broken]);
        let config = json!({"instructions": "Go.", "model": model});
        let run = desk.run(config, json!({})).await;
        assert_eq!(run["output"]["text"], "Done.", "{model}: {run}");
        let path = format!("/api/workflow/{}/events", run["id"].as_str().unwrap());
        let events = desk.app.get(&path).bearer(&desk.token).send().await.text;
        let restarted = events.find("turn.restarted").expect(&events);
        let done = events.find("Done.").expect(&events);
        assert!(restarted < done, "{model}: {events}");
        assert!(events[..restarted].contains("event: delta"), "{events}");
        assert!(!events[restarted..].contains("event: error"), "{events}");
    }
}
