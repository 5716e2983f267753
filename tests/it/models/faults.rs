//! Providers that are slow, busy, broken or endless.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn every_fault_ends_in_a_finished_or_clearly_failed_run() {
    let fails = |status| Turn::Fails(status, None);
    let done = || Turn::Text("Done.".to_owned());
    let drip = || Turn::Trickling(Duration::from_millis(700), "one two three".to_owned());
    let faults = [
        ("one 500", vec![fails(500), done()], "", 2),
        ("one 529", vec![fails(529), done()], "", 2),
        (
            "a 429 that says when",
            vec![Turn::Fails(429, Some("2")), done()],
            "",
            2,
        ),
        (
            "a 429 that says: much later",
            vec![Turn::Fails(429, Some("3600"))],
            "429 Too Many Requests, and asks to wait 3600 s",
            1,
        ),
        (
            "500 for good",
            vec![fails(500), fails(502), fails(503)],
            "the provider answered 503",
            3,
        ),
        ("a broken reply", vec![Turn::Broken, done()], "", 2),
        (
            "an answer without its end",
            vec![Turn::Unfinished, done()],
            "",
            2,
        ),
        (
            "an answer that never has its end",
            vec![Turn::Unfinished, Turn::Broken, Turn::Unfinished],
            "broke off before its end",
            3,
        ),
        (
            "an error in the middle",
            vec![Turn::Overloaded, done()],
            "",
            2,
        ),
        (
            "a proxy's page",
            vec![Turn::NotJson, Turn::NotJson, Turn::NotJson],
            "cannot be read",
            3,
        ),
        (
            "too slow",
            vec![
                Turn::Slow(Duration::from_secs(4)),
                Turn::Slow(Duration::from_secs(4)),
                Turn::Slow(Duration::from_secs(4)),
            ],
            "no complete reply in time",
            3,
        ),
        (
            "too slow in the middle",
            vec![drip(), drip(), drip()],
            "no complete reply in time",
            3,
        ),
        (
            "a refused key",
            vec![fails(401)],
            "the provider refused the key",
            1,
        ),
        (
            "a wrong request",
            vec![fails(400)],
            "the provider answered 400 Bad Request: not with",
            1,
        ),
        (
            "endless output",
            vec![Turn::Endless],
            "larger than 1048576 bytes",
            1,
        ),
        (
            "too much output",
            vec![Turn::Cut],
            "cut off at the limit of 4096 tokens",
            1,
        ),
        ("a refusal", vec![Turn::Declined], "declined to answer", 1),
        (
            "a call that is no JSON",
            vec![Turn::InvalidCall("get_weather"), done()],
            "",
            2,
        ),
        (
            "a tool that does not exist",
            vec![Turn::Calls(vec![("rm", json!({}))]), done()],
            "",
            2,
        ),
    ];
    let one_by_one = async |model: &str| {
        let fixture = start().await;
        for (description, turns, error, requests) in &faults {
            fixture.models.play(turns.clone());
            let config = json!({"instructions": "x", "model": model, "tools": ["get_weather"]});
            let began = Instant::now();
            let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
            let asked = asked(&fixture);
            assert_eq!(asked.len(), *requests, "{model}, {description}");
            if error.is_empty() {
                assert_eq!(run["output"]["text"], "Done.", "{model}, {description}");
            } else {
                let told = run["error"].as_str().unwrap();
                assert_eq!(run["status"], "failed", "{model}, {description}");
                assert!(told.contains(error), "{model}, {description}: {told}");
            }
            if description.ends_with("says when") {
                assert!(began.elapsed() >= Duration::from_secs(2));
            }
            if description.ends_with("no JSON") {
                let told = asked[1].to_string();
                assert!(told.contains("the arguments are not a JSON object"));
            }
        }
        let stored = everything_stored(&fixture.app).await;
        assert!(!stored.contains(Fixture::SECRET), "the key is stored");
    };
    futures::join!(
        one_by_one(MODELS[0]),
        one_by_one(MODELS[1]),
        one_by_one(MODELS[2])
    );
}
