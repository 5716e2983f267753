//! `/api/workflow/{id}/events`: what happens in a run, while it happens and later.

mod open;

use std::collections::VecDeque;
use std::time::Duration;

use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, RunStatus, Step, StepEvent, StreamChunk, StreamChunkEvent, TokenUsage};
use futures::future::join_all;
use local::{Options, Registry};
use reqwest::Response;
use serde_json::{Value, json};
use store::{RunWrite, Store};
use testkit::fakes::{ModelApi, Target, Turn};
use testkit::{Account, Fixture, TestApp, in_this_process};

/// The time that a test waits for what should come at once. Only a failing test waits that long.
const MAX_WAIT: Duration = Duration::from_secs(10);
const TEXT: &str =
    "Checkout failed at nine. An expired certificate was the cause. It was renewed at ten.";

/// An agent whose runs a test follows.
struct Followed {
    fixture: Fixture,
    agent: String,
}

impl Followed {
    async fn start() -> Self {
        Self::with(|options| options).await
    }

    /// A platform without workers: runs stay as the test writes them.
    async fn without_workers() -> Self {
        Self::with(|options| Options {
            event_sources: false,
            schedules: false,
            ..options
        })
        .await
    }

    async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let fixture = Fixture::with(change).await;
        let agent = fixture
            .app
            .agent(&fixture.key, "Summarise the cause.")
            .await;
        Self { fixture, agent }
    }

    /// Starts a run and returns its id.
    async fn run(&self, input: Value, wait: bool) -> String {
        let body = json!({"input": input, "wait": wait});
        let answer = self.fixture.execute(&self.agent, body).await;
        let data = answer.expect(if wait { 200 } else { 202 })["data"].clone();
        let id = if wait { "id" } else { "execution_id" };
        data[id].as_str().unwrap().to_owned()
    }

    async fn open(&self, run: &str, last: Option<&str>) -> EventStream {
        let url = self.fixture.app.url(&format!("/api/workflow/{run}/events"));
        let mut request = self
            .fixture
            .app
            .client
            .get(url)
            .bearer_auth(&self.fixture.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        EventStream {
            response,
            rest: String::new(),
            frames: VecDeque::new(),
        }
    }

    fn store(&self) -> Store {
        Store::new(&self.fixture.app.platform.services())
    }

    /// The run as it is stored.
    async fn stored(&self, run: &str) -> Run {
        let workspace: WorkspaceId = self.fixture.account.workspace_id.parse().unwrap();
        let id: RunId = run.parse().unwrap();
        self.store().run(workspace, id).await.unwrap().unwrap()
    }
}

/// A stream of events that is being read.
struct EventStream {
    response: Response,
    rest: String,
    frames: VecDeque<Event>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
    comment: Option<String>,
    retry: String,
}

impl Event {
    fn parse(frame: &str) -> Self {
        let mut event = Self::default();
        for line in frame.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut event.id),
                "event" => value.clone_into(&mut event.name),
                "data" => event.data = serde_json::from_str(value).unwrap(),
                "" => event.comment = Some(value.to_owned()),
                "retry" => value.clone_into(&mut event.retry),
                other => panic!("{other} in a stream"),
            }
        }
        event
    }
}

impl EventStream {
    /// The next frame, comments too; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let chunk = tokio::time::timeout(MAX_WAIT, self.response.chunk()).await;
            let chunk = chunk.expect("nothing came").unwrap()?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((frame, rest)) = self.rest.split_once("\n\n") {
                self.frames.push_back(Event::parse(frame));
                self.rest = rest.to_owned();
            }
        }
    }

    async fn read_all(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn text_of(events: &[Event]) -> String {
    let deltas = events.iter().filter(|event| event.name == "delta");
    deltas
        .map(|event| event.data["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_runs_events_are_complete_and_in_order_and_end_with_done() {
    let followed = Followed::start().await;
    let run = followed.run(json!({ "text": TEXT }), false).await;
    let live = followed.open(&run, None).await.read_all().await;
    let mut seen = names(&live);
    seen.dedup();
    let whole = [
        "status",
        "node_started",
        "delta",
        "node_completed",
        "status",
        "done",
    ];
    assert_eq!(seen, whole);
    let ids: Vec<u64> = live.iter().map(|event| event.id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|left, right| left < right), "{ids:?}");
    for event in &live {
        assert_eq!(event.data["execution_id"], run.as_str());
        assert!(event.data["at"].is_string());
    }
    let done = &live.last().unwrap().data;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["output"]["text"], text_of(&live).as_str());
    assert!(live.iter().filter(|event| event.name == "delta").count() > 1);

    // Later the same events are told, to a session too.
    assert_eq!(followed.open(&run, None).await.read_all().await, live);
    let path = format!("/api/workflow/{run}/events");
    let answer = followed
        .fixture
        .app
        .get(&path)
        .bearer(&followed.fixture.account.access_token)
        .send()
        .await;
    assert_eq!(answer.text.matches("event: ").count(), live.len());
}

#[tokio::test]
async fn tools_and_large_outputs_are_told_and_long_ones_cut() {
    let target = Target::start().await;
    let followed = Followed::start().await;
    let key = followed
        .fixture
        .account
        .agentplatform_key(&followed.fixture.app, &["agents:write"])
        .await;
    let host = target.url().trim_start_matches("http://");
    let url = format!("{}/{}", target.url(), "x".repeat(3000));
    let directive = format!("@http_request {{\"method\": \"GET\", \"url\": \"{url}\"}}");
    let config =
        json!({"instructions": directive, "tools": ["http_request"], "allowed_hosts": [host]});
    let body = json!({"name": "A", "type": "freeform", "config": config});
    let agent = followed
        .fixture
        .app
        .post("/api/v1/agents", body)
        .bearer(&key)
        .send()
        .await;
    let agent = agent.expect(201)["data"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/agent-base/{agent}/executions");
    let body = json!({"input": {}, "wait": true});
    let run = followed
        .fixture
        .app
        .post(&path, body)
        .bearer(&followed.fixture.token)
        .send()
        .await;
    let run = run.expect(200)["data"].clone();
    let events = followed.open(run["id"].as_str().unwrap(), None).await;
    let events = events.read_all().await;
    let of_tool = |name: &str| {
        let of = |event: &&Event| event.name == name && event.data["node_type"] == "tool";
        events
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{name}: {events:#?}"))
            .data
            .clone()
    };
    let (started, completed) = (of_tool("node_started"), of_tool("node_completed"));
    assert_eq!(started["tool"], "http_request");
    assert_eq!(started["cut"], true);
    assert!(
        started["arguments"].as_str().unwrap().contains("xxx"),
        "{started}"
    );
    assert_eq!(completed["node_id"], started["node_id"]);
    assert_eq!(completed["tool"], "http_request");
    assert!(completed["ok"].is_boolean(), "{completed}");
    assert_eq!(events.last().unwrap().data["output"], run["output"]);
}

#[tokio::test]
async fn a_hosted_model_is_seen_at_work() {
    let (followed, provider) = (Followed::start().await, ModelApi::start().await);
    let scopes = ["agents:write", "credentials:write"];
    let key = followed
        .fixture
        .account
        .agentplatform_key(&followed.fixture.app, &scopes)
        .await;
    let post = async |path: &str, body: Value| {
        let answer = followed
            .fixture
            .app
            .post(path, body)
            .bearer(&key)
            .send()
            .await;
        answer.expect(201)["data"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let body = json!({"name": "x", "provider": "openai", "secret": "sk-0123456789", "base_url": provider.url()});
    post("/api/v1/credentials", body).await;
    let config = json!({"instructions": "x", "model": "openai/gpt-5"});
    let body = json!({"name": "M", "type": "freeform", "config": config});
    let agent = post("/api/v1/agents", body).await;
    // It is asked again after a second.
    provider.play([Turn::Fails(503, Some("1"))]);
    let followed = Followed { agent, ..followed };
    let run = followed.run(json!({}), false).await;

    let mut stream = followed.open(&run, None).await;
    let started = loop {
        let event = stream.next().await.unwrap();
        if event.name == "node_started" {
            break event;
        }
    };
    assert_eq!(started.data["model"], "openai/gpt-5");
    assert_eq!(followed.stored(&run).await.status, RunStatus::Running);
    let rest = stream.read_all().await;
    assert_eq!(text_of(&rest), "Done.");
    assert_eq!(rest.last().unwrap().data["output"]["text"], "Done.");
    let replay = followed
        .open(&run, Some(&started.id))
        .await
        .read_all()
        .await;
    assert_eq!(replay, rest);
}

/// Writes what a worker would, and one event after the other is there.
#[tokio::test]
async fn a_stream_that_is_cut_anywhere_goes_on_where_it_was() {
    let followed = Followed::without_workers().await;
    let id = followed.run(json!({}), false).await;
    let store = followed.store();
    let mut live = followed.open(&id, None).await;
    assert_eq!(live.next().await.unwrap().data["status"], "queued");

    let now = followed.fixture.app.clock.now();
    let read = followed.stored(&id).await;
    let mut run = Run {
        status: RunStatus::Running,
        started_at: Some(now),
        ..read.clone()
    };
    let write = async |read: &Run, run: &mut Run, steps: &[Step]| {
        let write = RunWrite {
            read,
            run,
            is_entered: true,
            steps,
            messages: &[],
            agent: None,
            audit: &[],
        };
        store.write_run(write).await.unwrap();
        run.version = read.version + 1;
    };
    write(&read, &mut run, &[]).await;
    assert_eq!(live.next().await.unwrap().data["status"], "running");

    let model = "openai/gpt-5-mini".parse().unwrap();
    let pieces = [
        StreamChunkEvent::ModelAsked { model, attempt: 1 },
        StreamChunkEvent::Text {
            text: "An expired ".to_owned(),
        },
        StreamChunkEvent::Text {
            text: "certificate ".to_owned(),
        },
    ];
    for (sequence, event) in (0..).zip(pieces) {
        let chunk = StreamChunk {
            position: 0,
            sequence,
            at: now,
            event,
        };
        if sequence == 0 {
            let read = run.clone();
            run.showing = Some(0);
            store.show_answer(&read, &run, &chunk).await.unwrap();
            run.version += 1;
        } else {
            store.append_chunk(&run, &chunk).await.unwrap();
        }
        live.next().await.unwrap();
    }
    // The client goes away in the middle of the answer, and comes back when everything is over.
    drop(live);
    let text = "An expired certificate was the cause.";
    let answered = StepEvent::ModelAnswered {
        text: text.to_owned(),
        tool_calls: Vec::new(),
        usage: TokenUsage::default(),
        cost_micros: 0,
        content: None,
    };
    let steps = [Step {
        index: 0,
        at: now,
        event: answered,
    }];
    let read = run.clone();
    run = Run {
        status: RunStatus::Completed,
        steps: 1,
        // Too large for the head.
        output: Some(json!({"text": text, "data": "x".repeat(50_000)})),
        finished_at: Some(now),
        ..run
    };
    write(&read, &mut run, &steps).await;

    let whole = followed.open(&id, None).await.read_all().await;
    assert_eq!(text_of(&whole), text);
    let done = whole.last().unwrap();
    assert_eq!(
        (done.name.as_str(), &done.data["output"]),
        ("done", run.output.as_ref().unwrap())
    );
    for (index, event) in whole.iter().enumerate() {
        if event.name == "done" {
            let path = format!("/api/workflow/{id}/events?last_event_id={}", event.id);
            let answer = followed
                .fixture
                .app
                .get(&path)
                .bearer(&followed.fixture.token)
                .send()
                .await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
        } else {
            let rest = followed.open(&id, Some(&event.id)).await.read_all().await;
            assert_eq!(rest, whole[index + 1..]);
        }
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_refused_before_it_begins() {
    let followed = Followed::without_workers().await;
    let id = followed.run(json!({}), false).await;
    let path = format!("/api/workflow/{id}/events");
    let get =
        async |path: &str, token: &str| followed.fixture.app.get(path).bearer(token).send().await;

    let other = followed
        .fixture
        .app
        .register()
        .await
        .prodgy_token(&followed.fixture.app)
        .await;
    let refused = get(&path, &other).await.expect_refused(404);
    assert!(refused.contains("Execution not found"), "{refused}");
    let unknown = "/api/workflow/0193a5c8-7b40-7c6e-9d2f-5b1e8a4c3d70/events";
    get(unknown, &followed.fixture.token)
        .await
        .expect_refused(404);
    get("/api/workflow/7/events", &followed.fixture.token)
        .await
        .expect_refused(404);
    followed
        .fixture
        .app
        .get(&path)
        .send()
        .await
        .expect_refused(401);
    let answer = followed
        .fixture
        .app
        .post(&path, json!({}))
        .bearer(&followed.fixture.token)
        .send()
        .await;
    answer.expect_refused(405);

    for wrong in ["x", "-1", "1.5", "+1", "99999999999999999999", "2"] {
        let refused = get(
            &format!("{path}?last_event_id={wrong}"),
            &followed.fixture.token,
        )
        .await;
        assert!(
            refused.expect_refused(400).contains("last_event_id"),
            "{wrong}"
        );
        let refused = followed
            .fixture
            .app
            .get(&path)
            .bearer(&followed.fixture.token)
            .header("last-event-id", wrong);
        let refused = refused.send().await.expect_refused(400);
        assert!(refused.contains("Last-Event-ID"), "{wrong}");
    }
}

#[tokio::test]
async fn fifty_streams_at_once_all_come_to_their_end() {
    let followed =
        Followed::with(|options| options.parameter("EventStreamsPerWorkspace", "50")).await;
    let streams = (0..50).map(|_| async {
        let run = followed.run(json!({ "text": TEXT }), false).await;
        followed.open(&run, None).await.read_all().await
    });
    for events in join_all(streams).await {
        assert_eq!(events[0].data["status"], "queued");
        assert_eq!(events.last().unwrap().data["status"], "completed");
    }
}
