//! Runs that ask hosted models, `openai/…`, `anthropic/…` and `bedrock/…`, with the organization's keys, in all weathers.

mod faults;
mod services;

use serde_json::{Value, json};
use testkit::Fixture;
use testkit::fakes::Turn;

use crate::secrets::everything_stored;

/// A model of each provider, whose prices are known.
pub(crate) const MODELS: [&str; 3] = [
    "openai/gpt-5",
    "anthropic/claude-sonnet-4-5",
    "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
];

fn provider_of(model: &str) -> &str {
    model.split_once('/').unwrap().0
}

/// A platform and a provider that hangs for two seconds at most, with a credential for each of its APIs.
pub(crate) async fn start() -> Fixture {
    let fixture = Fixture::with(|options| options.parameter("ModelTimeoutSeconds", "2")).await;
    for model in MODELS {
        fixture.store_credential(provider_of(model)).await;
    }
    fixture
}

/// The end of a run of a fresh agent.
pub(crate) async fn run_agent(fixture: &Fixture, config: Value, input: Value) -> Value {
    let agent = fixture.agent(config).await;
    let run = fixture.start_run(&agent, input).await;
    fixture.ended(&run).await
}

/// The bodies of the requests that the provider got.
pub(crate) fn asked(fixture: &Fixture) -> Vec<Value> {
    let hits = fixture.models.take_hits().into_iter();
    hits.map(|hit| serde_json::from_str(&hit.body).unwrap())
        .collect()
}

#[tokio::test]
async fn a_hosted_model_answers_with_the_organizations_key() {
    let fixture = start().await;
    for (model, header, value, cost) in [
        (
            MODELS[0],
            "authorization",
            format!("Bearer {}", Fixture::SECRET),
            2250,
        ),
        (MODELS[1], "x-api-key", Fixture::SECRET.to_owned(), 4500),
        (
            MODELS[2],
            "authorization",
            format!("Bearer {}", Fixture::SECRET),
            4500,
        ),
    ] {
        fixture.models.play([Turn::Text("Paris.".to_owned())]);
        let config = json!({"instructions": "Be brief.", "model": model, "max_output_tokens": 77});
        let run = run_agent(&fixture, config, json!({"text": "The capital of France?"})).await;
        assert_eq!(
            (&run["status"], &run["output"], &run["tokens"]),
            (
                &json!("completed"),
                &json!({"text": "Paris."}),
                &json!({"input": 1000, "output": 100})
            )
        );
        assert_eq!(run["cost_micros"], cost);
        let hits = fixture.models.take_hits();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].headers[header], value);
        let body: Value = serde_json::from_str(&hits[0].body).unwrap();
        let limits = [&body["max_tokens"], &body["inferenceConfig"]["maxTokens"]];
        assert!(limits.contains(&&json!(77)), "{body}");
        assert!(body.to_string().contains("The capital of France?"));
    }
    let listed = fixture.app.get("/api/v1/credentials").bearer(&fixture.key);
    for credential in listed.send().await.expect(200)["data"].as_array().unwrap() {
        assert!(credential["last_used_at"].is_string(), "{credential}");
    }
}

#[tokio::test]
async fn parallel_calls_are_made_and_reasoning_goes_back_as_it_came() {
    let fixture = start().await;
    for (model, reasoning) in [
        (MODELS[0], json!("A tool knows.")),
        (
            MODELS[1],
            json!({"type": "thinking", "thinking": "A tool knows.", "signature": "c2lnbmVk"}),
        ),
        (
            MODELS[2],
            json!({"reasoningText": {"text": "A tool knows.", "signature": "c2lnbmVk"}}),
        ),
    ] {
        fixture.models.play([
            Turn::Calls(vec![
                ("get_weather", json!({"location": "New York"})),
                ("get_weather", json!({"location": "Nowhere"})),
            ]),
            Turn::Text("Mild.".to_owned()),
        ]);
        let config = json!({"instructions": "x", "model": model, "tools": ["get_weather"]});
        let run = run_agent(&fixture, config, json!({"text": "Compare."})).await;
        assert_eq!(run["output"]["text"], "Mild.", "{run}");
        assert_eq!(run["tokens"], json!({"input": 2000, "output": 200}));

        let asked = asked(&fixture);
        let [_, second] = &asked[..] else {
            panic!("{asked:?}")
        };
        let messages = second["messages"].as_array().unwrap();
        if provider_of(model) == "openai" {
            assert_eq!(messages[2]["reasoning_content"], reasoning);
            let results: Vec<_> = messages[3..]
                .iter()
                .map(|message| &message["tool_call_id"])
                .collect();
            assert_eq!(results, ["call_0", "call_1"]);
            assert!(
                messages[3]["content"]
                    .as_str()
                    .unwrap()
                    .contains("New York")
            );
            assert!(
                messages[4]["content"]
                    .as_str()
                    .unwrap()
                    .starts_with("Error: ")
            );
        } else if provider_of(model) == "bedrock" {
            assert_eq!(messages[1]["content"][0]["reasoningContent"], reasoning);
            let results = messages[2]["content"].as_array().unwrap().iter();
            let results: Vec<_> = results.map(|result| &result["toolResult"]).collect();
            assert_eq!(
                (&results[0]["toolUseId"], &results[1]["toolUseId"]),
                (&json!("tooluse_0"), &json!("tooluse_1"))
            );
            let told = results[1]["content"][0]["text"].as_str().unwrap();
            assert!(told.starts_with("Error: "), "{told}");
        } else {
            assert_eq!(messages[1]["content"][0], reasoning);
            let results = &messages[2]["content"];
            assert_eq!(
                (&results[0]["tool_use_id"], &results[1]["tool_use_id"]),
                (&json!("toolu_0"), &json!("toolu_1"))
            );
            assert_eq!(results[1]["is_error"], true);
        }
    }
}

#[tokio::test]
async fn fallbacks_are_asked_in_order() {
    let fixture = start().await;
    let config = json!({"instructions": "x", "model": MODELS[0], "fallbacks": [MODELS[1]]});
    // There is another model to ask, so the run does not wait.
    fixture.models.play([
        Turn::Fails(429, Some("20")),
        Turn::Text("From the second.".to_owned()),
    ]);
    let run = run_agent(&fixture, config.clone(), json!({"text": "Go."})).await;
    assert_eq!(run["output"]["text"], "From the second.");
    assert_eq!(
        run["cost_micros"], 4500,
        "the price of the one that answered"
    );
    let paths: Vec<_> = fixture
        .models
        .take_hits()
        .into_iter()
        .map(|hit| hit.path)
        .collect();
    assert_eq!(paths, ["/chat/completions", "/v1/messages"]);

    fixture
        .models
        .play([Turn::Fails(403, None), Turn::Fails(401, None)]);
    let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
    let refused = "the provider refused the key";
    assert_eq!(
        run["error"],
        format!("{}: {refused}; {}: {refused}", MODELS[0], MODELS[1])
    );
}

#[tokio::test]
async fn a_key_is_chosen_by_its_id_or_is_the_newest_and_a_revoked_one_is_not_used() {
    let fixture = Fixture::with(|options| options.parameter("ModelTimeoutSeconds", "2")).await;
    let run = async |config: Value| run_agent(&fixture, config, json!({"text": "Go."})).await;
    let missing = format!("{}: there is no active credential for openai", MODELS[0]);
    let any = json!({"instructions": "x", "model": MODELS[0]});
    assert_eq!(run(any.clone()).await["error"], missing);
    let id = fixture.store_credential("openai").await;
    let named = json!({"instructions": "x", "model": MODELS[0], "credential_id": id});
    assert_eq!(run(any.clone()).await["status"], "completed");
    assert_eq!(run(named.clone()).await["status"], "completed");

    let path = format!("/api/v1/credentials/{id}/revoke");
    let revoke = fixture.app.post(&path, json!({})).bearer(&fixture.key);
    revoke.send().await.expect(200);
    fixture.models.take_hits();
    assert_eq!(run(any.clone()).await["error"], missing);
    fixture.store_credential("openai").await;
    assert_eq!(
        run(named).await["error"],
        missing,
        "not replaced by another"
    );
    assert!(fixture.models.take_hits().is_empty());
    assert_eq!(run(any).await["status"], "completed");
}

#[tokio::test]
async fn a_result_has_the_form_that_was_asked_for_or_there_is_none() {
    let fixture = start().await;
    let schema = json!({"type": "object", "properties": {"capital": {"type": "string"}}, "required": ["capital"]});
    for (model, asks, image) in [
        (MODELS[0], "json_schema", "https://example.com/flag.png"),
        (MODELS[1], "json_schema", "https://example.com/flag.png"),
        (
            MODELS[2],
            "JSON Schema",
            "data:image/png;base64,ZmxhZy5wbmc=",
        ),
    ] {
        let config = json!({"instructions": "x", "model": model, "output_schema": schema});
        let images = json!([image]);
        let input = json!({"question": "Whose flag?", "images": images});
        fixture
            .models
            .play([Turn::Text("{\"capital\": \"Paris\"}".to_owned())]);
        let run = run_agent(&fixture, config.clone(), input).await;
        assert_eq!(run["output"]["data"], json!({"capital": "Paris"}), "{run}");
        let asked = asked(&fixture).pop().unwrap().to_string();
        assert!(
            asked.contains(asks) && (asked.contains(image) || asked.contains("ZmxhZy5wbmc=")),
            "{asked}"
        );

        fixture.models.play([Turn::Text("Paris.".to_owned())]);
        let run = run_agent(&fixture, config, json!({"text": "France?"})).await;
        assert_eq!(
            run["error"],
            "the model's answer is not JSON, as output_schema asks"
        );
    }
}

#[tokio::test]
async fn services_that_know_only_a_part_of_a_protocol_are_understood() {
    let fixture = start().await;
    for model in &MODELS[..2] {
        fixture
            .models
            .play([Turn::AtOnce("All at once.".to_owned())]);
        let config = json!({"instructions": "x", "model": model});
        let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
        assert_eq!(run["output"]["text"], "All at once.", "{run}");
        assert_eq!(run["tokens"], json!({"input": 1000, "output": 100}));
        let asked = asked(&fixture);
        assert_eq!((asked.len(), &asked[0]["stream"]), (1, &json!(true)));
    }
    let unknown = "Unrecognized request argument supplied: stream_options";
    fixture.models.play([Turn::Refuses(unknown)]);
    let config = json!({"instructions": "x", "model": MODELS[0]});
    let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
    assert_eq!(run["output"]["text"], "Done.", "{run}");
    assert_eq!(run["tokens"], json!({"input": 0, "output": 0}));
    let asked = asked(&fixture);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].get("stream_options").is_none());
}

#[tokio::test]
async fn a_key_that_a_provider_repeats_in_an_answer_is_not_kept() {
    let fixture = start().await;
    for model in MODELS {
        fixture.models.play([Turn::Echo]);
        let config = json!({"instructions": "x", "model": model});
        let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
        assert_eq!(run["output"]["text"], "You said ….", "{run}");
    }
    assert!(
        !everything_stored(&fixture.app)
            .await
            .contains(Fixture::SECRET)
    );
}

#[tokio::test]
async fn the_platform_pays_for_models_of_bedrock_only_where_it_says_so() {
    let arn = "arn:aws:bedrock:eu-central-1::foundation-model/amazon.nova-lite-v1:0";
    let fixture = Fixture::with(|options| options.parameter("BedrockModelArns", arn)).await;
    let run = async |config: Value| run_agent(&fixture, config, json!({"text": "Go."})).await;
    let ours = json!({"instructions": "x", "model": "bedrock/amazon.nova-lite-v1:0"});
    assert_eq!(run(ours.clone()).await["output"]["text"], "Done.");
    let hits = fixture.models.take_hits();
    assert_eq!(
        hits[0].path.replace("%3A", ":"),
        "/model/amazon.nova-lite-v1:0/converse-stream"
    );
    let signed = hits[0].headers["authorization"].to_str().unwrap();
    let role = "AWS4-HMAC-SHA256 Credential=ExecutionsWorkerFunction-";
    assert!(signed.starts_with(role), "{signed}");

    // AWS's words would name our account.
    fixture.models.play([Turn::Fails(403, None)]);
    let name = "bedrock/amazon.nova-lite-v1:0";
    let refused = format!("{name}: this platform may not ask this model");
    assert_eq!(run(ours.clone()).await["error"], refused);
    // A key of their own goes first, and one that they withdrew is not replaced.
    let id = fixture.store_credential("bedrock").await;
    fixture.models.take_hits();
    run(ours).await;
    let key = format!("Bearer {}", Fixture::SECRET);
    assert_eq!(fixture.models.take_hits()[0].headers["authorization"], key);
    let path = format!("/api/v1/credentials/{id}/revoke");
    let revoke = fixture.app.post(&path, json!({})).bearer(&fixture.key);
    revoke.send().await.expect(200);
    let named = json!({"instructions": "x", "model": name, "credential_id": id});
    let missing = format!("{name}: there is no active credential for bedrock");
    assert_eq!(run(named).await["error"], missing);

    let elsewhere = Fixture::with(|options| options.parameter("ModelTimeoutSeconds", "2")).await;
    let theirs = json!({"instructions": "x", "model": name});
    let ended = run_agent(&elsewhere, theirs, json!({"text": "Go."})).await;
    assert_eq!(ended["error"], missing);
}
