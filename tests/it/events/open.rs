//! Limits on open streams: their number, their duration, and the return of their clients.

use std::time::Instant;

use ::events::Pace;
use chrono::TimeDelta;
use testkit::{DynamoDbRecorder, TestResponse};

use super::*;

/// A platform without workers, whose streams have this pace.
async fn at_pace(pace: Pace, change: impl FnOnce(Options) -> Options) -> Followed {
    Followed::with(|options| {
        change(Options {
            registry: Registry::standard().with("events", move |services| {
                ::events::lambda_at(pace, services)
            }),
            event_sources: false,
            schedules: false,
            // No binary has this code.
            ..in_this_process(options)
        })
    })
    .await
}

/// Streams that are soon over.
fn short() -> Pace {
    Pace {
        check_every: Duration::from_millis(200),
        lasts: (Duration::from_millis(300), Duration::from_millis(400)),
        ..Pace::default()
    }
}

impl Followed {
    /// The outcome of an attempt to open a stream. The stream is read to its end, if it is one.
    async fn try_to_open(&self, run: &str, token: &str, last: Option<&str>) -> TestResponse {
        let path = format!("/api/workflow/{run}/events");
        let mut request = self.fixture.app.get(&path).bearer(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await
    }
}

#[tokio::test]
async fn a_workspace_has_as_many_streams_as_it_may() {
    let pace = Pace {
        check_every: Duration::from_millis(200),
        ..Pace::default()
    };
    let followed = at_pace(pace, |options| {
        options.parameter("EventStreamsPerWorkspace", "3")
    })
    .await;
    let runs = join_all((0..4).map(|_| followed.run(json!({}), false))).await;
    let mut streams = Vec::new();
    for run in &runs[..3] {
        let mut stream = followed.open(run, None).await;
        assert_eq!(stream.next().await.unwrap().name, "status");
        streams.push(stream);
    }
    let refused = followed
        .try_to_open(&runs[3], &followed.fixture.token, None)
        .await;
    let text = refused.expect_refused(429);
    assert!(text.contains("3 event streams open"), "{text}");
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=131).contains(&wait), "{wait}");
    // The documented headers tell of requests, of which there are enough.
    assert_eq!(refused.header("ratelimit-limit"), "100000");

    // Other workspaces have places of their own.
    let elsewhere = followed.fixture.app.register().await;
    let token = elsewhere.prodgy_token(&followed.fixture.app).await;
    let key = elsewhere
        .agentplatform_key(&followed.fixture.app, &["agents:write"])
        .await;
    let agent = followed.fixture.app.agent(&key, "x").await;
    let path = format!("/api/agent-base/{agent}/executions");
    let started = followed
        .fixture
        .app
        .post(&path, json!({"input": {}}))
        .bearer(&token);
    let run = started.send().await.expect(202)["data"]["execution_id"].clone();
    let url = format!("/api/workflow/{}/events", run.as_str().unwrap());
    let open = followed
        .fixture
        .app
        .client
        .get(followed.fixture.app.url(&url))
        .bearer_auth(&token);
    assert_eq!(open.send().await.unwrap().status(), 200);

    // A client that opens the same stream again has most likely left the older one, which gives way.
    let mut newer = followed.open(&runs[1], None).await;
    let older = streams.remove(1).read_all().await;
    assert!(older.iter().all(|event| event.name != "done"), "{older:?}");
    assert_eq!(newer.next().await.unwrap().name, "status");
    let refused = followed
        .try_to_open(&runs[3], &followed.fixture.token, None)
        .await;
    refused.expect_refused(429);

    // A client that leaves frees a place at once.
    drop(newer);
    let until = Instant::now() + MAX_WAIT;
    let mut last = loop {
        let url = followed
            .fixture
            .app
            .url(&format!("/api/workflow/{}/events", runs[3]));
        let response = followed
            .fixture
            .app
            .client
            .get(url)
            .bearer_auth(&followed.fixture.token);
        let response = response.send().await.unwrap();
        if response.status() == 200 {
            break response;
        }
        assert!(Instant::now() < until, "no place comes free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(last.chunk().await.unwrap().is_some());
}

#[tokio::test]
async fn a_stream_ends_after_a_while_and_its_client_comes_back_uncounted() {
    let followed = at_pace(short(), |options| {
        options
            .parameter("ProdgyLimitPerMinute", "6")
            .parameter("EventStreamsPerWorkspace", "2")
    })
    .await;
    let (app, token) = (&followed.fixture.app, followed.fixture.token.as_str());
    let run = followed.run(json!({}), false).await;
    // A minute's end shall not fall into what is counted.
    let into = app.clock.now().timestamp_millis().rem_euclid(60_000);
    app.clock.advance(TimeDelta::milliseconds(60_000 - into));
    let frames = followed.open(&run, None).await.read_all().await;
    assert_eq!(names(&frames), ["status", ""]);
    assert_eq!(frames[1].retry, "1000");
    let id = frames[0].id.clone();
    // Many more than six, and each takes up the place of the one before.
    for _ in 0..8 {
        let frames = followed.open(&run, Some(&id)).await.read_all().await;
        assert_eq!(
            (names(&frames), frames[0].retry.as_str()),
            (vec![""], "1000")
        );
    }
    let remaining = async || {
        let answer = app.get("/api/agent-base").bearer(token).send().await;
        answer.header("ratelimit-remaining").parse::<u32>().unwrap()
    };
    assert_eq!(remaining().await, 4, "one stream and this");

    // A client may come back uncounted once for each stream; a second request is counted.
    let (one, other) = tokio::join!(
        followed.try_to_open(&run, token, Some(&id)),
        followed.try_to_open(&run, token, Some(&id))
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_eq!(remaining().await, 2, "one of the two, and this");
    // Neither does it help another credential, nor another execution, nor after a minute.
    let session = &followed.fixture.account.access_token;
    let answer = followed.try_to_open(&run, session, Some(&id)).await;
    assert_eq!(answer.header("ratelimit-remaining"), "1");
    let another = async {
        let path = format!("/api/agent-base/{}/executions", followed.agent);
        let key = followed
            .fixture
            .account
            .agentplatform_key(app, &["signals:write"])
            .await;
        let path = path
            .replace("/api/agent-base", "/api/v1/agents")
            .replace("executions", "signals");
        let sent = app
            .post(&path, json!({"type": "x"}))
            .bearer(&key)
            .send()
            .await;
        sent.expect(202)["data"]["run_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let another = another.await;
    let answer = followed.try_to_open(&another, token, Some("0")).await;
    assert_eq!(answer.header("ratelimit-remaining"), "0");
    let answer = followed.try_to_open(&another, token, None).await;
    answer.expect_refused(429);
    let back = followed.try_to_open(&run, token, Some(&id)).await;
    assert_eq!(back.status, 200, "not the run's own");
    app.clock.advance(TimeDelta::seconds(62));
    let answer = followed.try_to_open(&run, token, Some(&id)).await;
    assert_eq!(answer.header("ratelimit-remaining"), "5");
}

#[tokio::test]
async fn a_client_that_comes_back_again_and_again_is_counted_every_other_time() {
    let followed = at_pace(Pace::default(), |options| {
        options.parameter("ProdgyLimitPerMinute", "6")
    })
    .await;
    let run = followed.run(json!({}), false).await;
    let into = followed
        .fixture
        .app
        .clock
        .now()
        .timestamp_millis()
        .rem_euclid(60_000);
    followed
        .fixture
        .app
        .clock
        .advance(TimeDelta::milliseconds(60_000 - into));
    let url = followed
        .fixture
        .app
        .url(&format!("/api/workflow/{run}/events"));
    let come_back = async |id: &str| {
        // What allows it is written behind the first event.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let request = followed
            .fixture
            .app
            .client
            .get(&url)
            .bearer_auth(&followed.fixture.token);
        request.header("last-event-id", id).send().await.unwrap()
    };
    let mut first = followed.open(&run, None).await;
    let id = first.next().await.unwrap().id;
    // They stay open, as they do in AWS, where the function is not told that a client has left.
    let mut open = Vec::new();
    for _ in 0..14 {
        open.push(come_back(&id).await);
    }
    let statuses: Vec<_> = open.iter().map(|it| it.status().as_u16()).collect();
    // Of six that are counted each lets one more through, and the last comes back too soon after one that was let through.
    let (fine, refused) = statuses.split_at(11);
    assert!(fine.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(refused, [429; 3], "{statuses:?}");
    // After half a minute a connection may break again.
    followed.fixture.app.clock.advance(TimeDelta::seconds(31));
    assert_eq!(come_back(&id).await.status(), 200);
}

#[tokio::test]
async fn a_stream_ends_within_five_seconds_after_its_credential() {
    let followed = Followed::without_workers().await;
    let (app, account) = (&followed.fixture.app, &followed.fixture.account);
    let run = followed.run(json!({}), false).await;
    let follow = async |token: &str| {
        let url = app.url(&format!("/api/workflow/{run}/events"));
        let response = app.client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = EventStream {
            response,
            rest: String::new(),
            frames: VecDeque::new(),
        };
        assert_eq!(stream.next().await.unwrap().name, "status");
        stream
    };
    let body = json!({"name": "short-lived"});
    let made = app
        .post("/api/api-tokens", body)
        .bearer(&account.access_token);
    let made = made.send().await.expect(201)["data"].clone();
    let (own_id, own) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    let member = account
        .colleague(app, "USER", &[account.workspace_id.as_str()])
        .await;
    let login = json!({"email": account.email, "password": Account::PASSWORD});
    let login = app.post("/api/auth/login", login).send().await.expect(200);
    let other_session = login["data"]["access_token"].as_str().unwrap();

    let of_token = follow(own).await;
    let of_member = follow(&member.access_token).await;
    let of_session = follow(other_session).await;
    let mut of_another = follow(&followed.fixture.token).await;

    let delete = |path: String| {
        app.request(reqwest::Method::DELETE, &path)
            .bearer(&account.access_token)
    };
    let deleted = delete(format!("/api/api-tokens/{own_id}")).send().await;
    deleted.expect(200);
    let removed = delete(format!("/api/organization/members/{}", member.user_id));
    removed.send().await.expect(200);
    let logout = app
        .post("/api/auth/logout", json!({}))
        .bearer(other_session);
    logout.send().await.expect(200);
    let ended = Instant::now();
    let over = async |stream: EventStream| {
        let rest = stream.read_all().await;
        assert!(rest.iter().all(|event| event.name.is_empty()), "{rest:?}");
        ended.elapsed()
    };
    let times = tokio::join!(over(of_token), over(of_member), over(of_session));
    let limit = Duration::from_secs(5);
    assert!(
        times.0 < limit && times.1 < limit && times.2 < limit,
        "{times:?}"
    );
    let another = tokio::time::timeout(Duration::from_secs(1), of_another.next());
    assert!(another.await.is_err(), "the others go on");
}

/// The cost of an open stream, as docs/LIMITS.md has it.
#[tokio::test]
async fn an_idle_stream_reads_little_and_writes_nothing() {
    let recorder = DynamoDbRecorder::default();
    let proxy = recorder.proxy();
    let followed = Followed::with(|options| Options {
        dynamodb_proxy: Some(proxy),
        event_sources: false,
        schedules: false,
        ..options
    })
    .await;
    let run = followed.run(json!({}), false).await;
    recorder.take();
    let mut stream = followed.open(&run, None).await;
    stream.next().await.unwrap();
    let opened = recorder.take();
    let opened: Vec<_> = opened
        .into_iter()
        .filter(|call| !call.is_request_log())
        .collect();
    let nesting = DynamoDbRecorder::nesting(&opened);
    assert!(nesting <= 2, "{nesting}: {opened:?}");
    // It reads less often as time goes on.
    tokio::time::sleep(Duration::from_secs(4)).await;
    recorder.take();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let calls = recorder.take();
    let of = |operation: &str| {
        calls
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    };
    let (queries, gets) = (of("Query"), of("GetItem"));
    assert!(
        queries <= 7 && gets <= 2 * 3,
        "{queries} queries, {gets} gets"
    );
    assert_eq!(queries + gets, calls.len(), "{calls:?}");
}

#[tokio::test]
async fn a_stream_asks_its_client_back_before_its_host_ends_it() {
    let text = std::fs::read_to_string(TestApp::template()).unwrap();
    let text = text.replace("Timeout: 180", "Timeout: 11");
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("template.yaml");
    std::fs::write(&template, text).unwrap();
    let followed = Followed::with(|options| Options {
        template: template.into(),
        event_sources: false,
        schedules: false,
        ..options
    })
    .await;
    let run = followed.run(json!({}), false).await;
    let frames = followed.open(&run, None).await.read_all().await;
    assert_eq!(names(&frames), ["status", ""]);
    assert_eq!(frames[1].comment.as_deref(), Some("come back"));
    assert_eq!(frames[1].retry, "1000");
}

#[tokio::test]
async fn silence_is_broken_by_comments() {
    let followed = at_pace(
        Pace {
            ping_every: Duration::from_millis(50),
            ..Pace::default()
        },
        |options| options,
    )
    .await;
    let run = followed.run(json!({}), false).await;
    let mut stream = followed.open(&run, None).await;
    assert_eq!(stream.next().await.unwrap().name, "status");
    for _ in 0..2 {
        let ping = stream.next().await.unwrap();
        assert_eq!(ping.comment.as_deref(), Some("ping"));
        assert_eq!(ping.id, "");
    }
    // An open stream does not keep the platform from stopping.
    let (stopped, rest) = tokio::join!(
        tokio::time::timeout(MAX_WAIT, followed.fixture.app.platform.stop()),
        stream.read_all()
    );
    stopped.unwrap();
    assert!(rest.iter().all(|frame| frame.comment.is_some()));
}
