//! Services that speak a part of chat completions, or speak them in their own way.

use testkit::fakes::Service;

use super::*;

/// The requests to every service: two calls at once, then an answer in a form.
fn config(tools: bool) -> Value {
    let schema = json!({"type": "object", "properties": {"capital": {"type": "string"}}, "required": ["capital"]});
    let tools = if tools {
        json!(["get_weather"])
    } else {
        json!([])
    };
    json!({"instructions": "x", "model": MODELS[0], "tools": tools, "output_schema": schema})
}

fn turns() -> [Turn; 2] {
    let places = ["New York", "Nowhere"];
    let calls = places.map(|place| ("get_weather", json!({"location": place})));
    // The form that models give an answer whose schema is described in words.
    let answer = "```json\n{\"capital\": \"Paris\"}\n```";
    [Turn::Calls(calls.to_vec()), Turn::Text(answer.to_owned())]
}

#[tokio::test]
async fn what_a_service_refuses_is_left_out_once_and_never_asked_for_again() {
    let fixture = start().await;
    for (service, refusals, gone, there) in [
        (
            Service::AzureOpenAi,
            1,
            &["max_tokens"][..],
            &["max_completion_tokens", "stream_options"][..],
        ),
        (
            Service::Mistral,
            1,
            &["stream_options"],
            &["max_tokens", "response_format"],
        ),
        (
            Service::DeepSeek,
            1,
            &["response_format"],
            &["max_tokens", "stream_options"],
        ),
        (
            Service::Gemini,
            1,
            &["response_format"],
            &["max_tokens", "stream_options"],
        ),
        (
            Service::Minimal,
            5,
            &[
                "response_format",
                "max_tokens",
                "max_completion_tokens",
                "stream_options",
                "stream",
            ],
            &["tools"],
        ),
    ] {
        fixture.models.speak_like(service);
        // What is known of a service is known of its credential.
        fixture.store_credential("openai").await;
        for (run, refused) in [("first", refusals), ("second", 0)] {
            fixture.models.play(turns());
            let end = run_agent(&fixture, config(true), json!({"text": "Go."})).await;
            let case = format!("{service:?}, {run}: {end}");
            if gone.contains(&"response_format") {
                assert_eq!(end["output"]["data"], json!({"capital": "Paris"}), "{case}");
            }
            let asked = asked(&fixture);
            assert_eq!(asked.len(), refused + 2, "{case}");
            let last = asked.last().unwrap();
            assert!(
                gone.iter().all(|name| last[*name].is_null()),
                "{case}: {last}"
            );
            assert!(
                there.iter().all(|name| !last[*name].is_null()),
                "{case}: {last}"
            );
            let told = last["messages"][0]["content"].as_str().unwrap();
            let in_words = told.contains("JSON Schema") && told.contains("capital");
            assert_eq!(
                in_words,
                gone.contains(&"response_format"),
                "{case}: {told}"
            );
        }
    }
    // Gemini takes a form where there are no tools.
    fixture.models.speak_like(Service::Gemini);
    fixture.store_credential("openai").await;
    fixture
        .models
        .play([Turn::Text("{\"capital\": \"Paris\"}".to_owned())]);
    let run = run_agent(&fixture, config(false), json!({"text": "Go."})).await;
    assert_eq!(run["output"]["data"], json!({"capital": "Paris"}), "{run}");
    let asked = asked(&fixture);
    assert!(
        asked.len() == 1 && asked[0]["response_format"].is_object(),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_is_known_of_one_model_is_not_believed_of_another() {
    let fixture = start().await;
    let run = async |model: &str| {
        let config = json!({"instructions": "x", "model": model});
        let run = run_agent(&fixture, config, json!({"text": "Go."})).await;
        assert_eq!(run["output"]["text"], "Done.", "{run}");
        asked(&fixture).len()
    };
    fixture.models.speak_like(Service::Mistral);
    assert_eq!(
        (run("openai/small").await, run("openai/small").await),
        (2, 1)
    );
    assert_eq!(
        (run("openai/large").await, run("openai/large").await),
        (2, 1)
    );
    // A member that a service names because of its value is not left out.
    fixture.models.speak_like(Service::OpenAi);
    let too_large =
        "max_tokens is too large: 4096. This model supports at most 1024 completion tokens";
    fixture.models.play([Turn::Refuses(too_large)]);
    let config = json!({"instructions": "x", "model": "openai/tiny"});
    let failed = run_agent(&fixture, config, json!({"text": "Go."})).await;
    assert!(
        failed["error"].as_str().unwrap().contains("too large"),
        "{failed}"
    );
    assert_eq!(asked(&fixture).len(), 1);
}

#[tokio::test]
async fn two_calls_are_two_calls_in_every_services_way_to_stream_them() {
    let fixture = start().await;
    for service in [
        Service::OpenAi,
        Service::Mistral,
        Service::Gemini,
        Service::OldOllama,
        Service::LlamaCpp,
        Service::Minimal,
    ] {
        fixture.models.speak_like(service);
        let [calls, _] = turns();
        fixture.models.play([calls, Turn::Text("Mild.".to_owned())]);
        let config = json!({"instructions": "x", "model": format!("openai/{service:?}"), "tools": ["get_weather"]});
        let run = run_agent(&fixture, config, json!({"text": "Compare."})).await;
        assert_eq!(run["output"]["text"], "Mild.", "{service:?}: {run}");
        let asked = asked(&fixture).pop().unwrap();
        let messages = asked["messages"].as_array().unwrap();
        let [.., asking, first, second] = &messages[..] else {
            panic!("{service:?}: {messages:?}")
        };
        let ids = [0, 1].map(|at| asking["tool_calls"][at]["id"].as_str().unwrap());
        assert!(
            ids[0] != ids[1] && !ids.contains(&""),
            "{service:?}: {ids:?}"
        );
        assert_eq!(
            [&first["tool_call_id"], &second["tool_call_id"]],
            ids,
            "{service:?}"
        );
        let results = [first, second].map(|result| result["content"].as_str().unwrap());
        assert!(results[0].contains("New York"), "{service:?}: {results:?}");
        assert!(
            results[1].starts_with("Error: "),
            "{service:?}: {results:?}"
        );
    }
}
