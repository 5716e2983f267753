//! Functions in processes of their own, behind the gateway, the queues and the schedules that they have in AWS.

mod function;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::future::join_all;
use local::{Bootstraps, Options, Platform};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::fixture::{MAX_WAIT, start_error};

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bootstraps.yaml");

/// A platform and a client.
struct Fixture {
    platform: Platform,
    client: Client,
    directory: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(|options| options).await
    }

    async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        function::install(directory.path());
        let platform = Platform::start(change(options(directory.path())));
        Self {
            platform: platform.await.unwrap(),
            client: Client::builder().no_proxy().build().unwrap(),
            directory,
        }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.platform.url()))
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.get(path).send().await.unwrap().status()
    }

    /// The number that a path answers.
    async fn number(&self, path: &str) -> u32 {
        let response = self.get(path).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text.parse().unwrap()
    }
}

fn options(directory: &Path) -> Options {
    Options {
        bootstraps: Some(Bootstraps::of(directory)),
        ..Options::new(TEMPLATE)
    }
}

fn is_alive(process: u32) -> bool {
    // One that has not been waited for is a zombie, and no less gone.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, fields)| fields);
        !state.is_some_and(|fields| fields.starts_with('Z'))
    })
}

async fn gone(process: u32) {
    let until = Instant::now() + MAX_WAIT;
    while is_alive(process) {
        assert!(Instant::now() < until, "{process} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_free_process_is_taken_before_another_is_started() {
    let fixture = Fixture::start().await;
    let first = fixture.number("/web/pid").await;
    assert_ne!(first, std::process::id());
    for _ in 0..3 {
        assert_eq!(fixture.number("/web/pid").await, first);
    }
    // Two may run side by side; the other four wait for them.
    let together: BTreeSet<u32> = join_all((0..6).map(|_| fixture.number("/web/slow")))
        .await
        .into_iter()
        .collect();
    assert_eq!(together.len(), 2, "{together:?}");
    assert!(together.contains(&first));
    fixture.platform.stop().await;
    for process in together {
        assert!(!is_alive(process), "no process outlives its platform");
    }
}

#[tokio::test]
async fn processes_have_secrets_of_their_own_at_one_port() {
    let fixture = Fixture::start().await;
    let together = join_all((0..2).map(|_| fixture.number("/web/slow"))).await;
    let told: BTreeSet<String> = together
        .iter()
        .map(|process| {
            let variables = fs::read_to_string(format!("/proc/{process}/environ")).unwrap();
            let mut variables = variables.split('\0');
            let told = variables.find_map(|pair| pair.strip_prefix("AWS_LAMBDA_RUNTIME_API="));
            told.unwrap().to_owned()
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let ports = told.iter().map(|url| url.rsplit_once('/').unwrap().0);
    let ports: BTreeSet<&str> = ports.collect();
    assert_eq!(ports.len(), 1, "{ports:?}");

    // The secret of a process that has ended opens nothing.
    let next = |url: &str| {
        let next = fixture
            .client
            .get(format!("{url}/2018-06-01/runtime/invocation/x/y"));
        async { next.send().await.unwrap().status() }
    };
    for url in &told {
        assert_eq!(next(url).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(fixture.status("/web/crash").await, StatusCode::BAD_GATEWAY);
    let mut refused = 0;
    for url in &told {
        refused += u32::from(next(url).await == StatusCode::FORBIDDEN);
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn more_requests_than_processes_are_turned_away_in_the_end() {
    let fixture = Fixture::with(|options| options.parameter("Concurrency", "1")).await;
    let hanging = fixture.get("/web/hang").send();
    let other = async {
        // Whichever comes first.
        tokio::time::sleep(Duration::from_millis(500)).await;
        fixture.status("/web/pid").await
    };
    tokio::select! {
        _ = hanging => panic!("it hangs"),
        status = other => assert_eq!(status, StatusCode::BAD_GATEWAY),
    }
}

#[tokio::test]
async fn a_process_without_work_ends() {
    let fixture = Fixture::with(|mut options| {
        if let Some(bootstraps) = &mut options.bootstraps {
            bootstraps.idle_for = Duration::from_millis(200);
        }
        options
    })
    .await;
    let process = fixture.number("/web/pid").await;
    gone(process).await;
    assert_ne!(fixture.number("/web/pid").await, process);
}

#[tokio::test]
async fn a_function_that_panics_crashes_or_hangs_costs_one_answer() {
    let fixture = Fixture::with(|options| options.parameter("Timeout", "3")).await;
    let first = fixture.number("/web/pid").await;
    assert_eq!(fixture.status("/web/panic").await, StatusCode::BAD_GATEWAY);
    assert_eq!(fixture.number("/web/pid").await, first, "a panic is caught");

    assert_eq!(fixture.status("/web/crash").await, StatusCode::BAD_GATEWAY);
    let second = fixture.number("/web/pid").await;
    assert_ne!(second, first);

    let hung = fixture.status("/web/hang").await;
    assert_eq!(hung, StatusCode::GATEWAY_TIMEOUT);
    gone(second).await;
    fixture.number("/web/pid").await;
    assert_eq!(fixture.status("/odd").await, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_function_that_cannot_start_costs_one_answer() {
    let fixture = Fixture::start().await;
    let binary = fixture.directory.path().join("web");
    let script = fs::read_to_string(&binary).unwrap();
    fs::write(&binary, "#!/bin/sh\nexit 3\n").unwrap();
    assert_eq!(fixture.status("/web/pid").await, StatusCode::BAD_GATEWAY);
    fs::write(&binary, script).unwrap();
    fixture.number("/web/pid").await;
}

#[tokio::test]
async fn requests_and_responses_pass_through_the_events_whole() {
    let fixture = Fixture::start().await;
    let url = format!("{}/web/echo?tag=a%20b&tag=c", fixture.platform.url());
    let request = fixture.client.put(url).body("\u{e9}");
    let request = request.header("x-twice", "1").header("x-twice", "2");
    let response = request.send().await.unwrap();
    let cookies = response.headers().get_all("set-cookie").iter().count();
    assert_eq!(cookies, 2);
    let seen: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let expected = json!({
        "method": "PUT",
        "path": "/web/echo",
        "query": "tag=a+b&tag=c",
        // The event has both; `lambda_http` keeps the last.
        "twice": ["2"],
        "body": "\u{e9}".as_bytes(),
        "resource": "/web/{what}",
        "source": "127.0.0.1",
    });
    let plus = seen["query"].as_str().unwrap().replace("%20", "+");
    assert_eq!(plus, expected["query"]);
    for (name, value) in expected.as_object().unwrap() {
        assert!(name == "query" || seen[name] == *value, "{name}: {seen}");
    }

    // Bytes come through where the template says so, in both directions.
    let bytes = vec![0xff, 0x00, 0xfe];
    let post = |kind: &str, accept: &str| {
        let request = fixture
            .client
            .post(format!("{}/web/echo", fixture.platform.url()));
        let request = request.header("x-bytes", "1").header("content-type", kind);
        request.header("accept", accept).body(bytes.clone()).send()
    };
    let binary = "application/octet-stream";
    let answer = post(binary, binary).await.unwrap().bytes().await.unwrap();
    assert_eq!(answer, bytes);
    let answer = post(binary, "text/html, */*").await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "/wD+");
    let answer = post("image/png", binary).await.unwrap();
    let replaced = "\u{fffd}\0\u{fffd}".as_bytes();
    assert_eq!(answer.bytes().await.unwrap(), replaced);

    // Whatever a header has in it.
    let odd = reqwest::header::HeaderValue::from_bytes(b"caf\xe9 \xc3\xa9").unwrap();
    let answer = fixture.get("/web/echo").header("x-twice", odd);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);

    let large = fixture
        .client
        .post(format!("{}/web/echo", fixture.platform.url()));
    let large = large.body(vec![b'x'; 7_000_000]).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    fixture.platform.stop().await;
}

#[tokio::test]
async fn streamed_responses_stream_on() {
    let fixture = Fixture::with(|options| options.parameter("Timeout", "3")).await;
    let process = fixture.number("/stream/pid").await;
    let started = Instant::now();
    let mut response = fixture.get("/stream/whole").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let cookies = response.headers().get_all("set-cookie").iter().count();
    assert_eq!(cookies, 2);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "piece 0;");
    let first = started.elapsed();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "piece 1;");
    assert!(response.chunk().await.unwrap().is_none());
    assert!(started.elapsed() - first >= Duration::from_millis(50));

    for path in ["/stream/crash", "/stream/forever"] {
        let broken = fixture.get(path).send().await.unwrap();
        assert_eq!(broken.status(), StatusCode::OK);
        assert!(broken.bytes().await.is_err(), "{path} breaks off");
    }
    gone(process).await;
    assert_ne!(fixture.number("/stream/pid").await, process);

    // A stream without an end does not hold up the end of the platform.
    let endless = fixture.get("/stream/forever").send().await.unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(2), fixture.platform.stop());
    stopped.await.unwrap();
    drop(endless);
}

#[tokio::test]
async fn only_messages_that_were_handled_leave_their_queue() {
    let fixture = Fixture::start().await;
    let environment = fixture.platform.function_environment("WorkerFunction");
    let environment = environment.unwrap();
    let sqs = fixture.platform.services().sqs;
    for body in ["good", "bad", "crash", "hang"] {
        let send = sqs.send_message().queue_url(&environment["QUEUE_URL"]);
        send.message_body(body).send().await.unwrap();
        // Each on its own: whatever is with a message that ends the process fails with it.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut dead = BTreeSet::new();
    let until = Instant::now() + 2 * MAX_WAIT;
    while dead.len() < 3 {
        assert!(Instant::now() < until, "only {dead:?} failed");
        let receive = sqs.receive_message();
        let receive = receive.queue_url(&environment["DEAD_QUEUE_URL"]);
        let received = receive.wait_time_seconds(1).send().await.unwrap();
        let bodies = received
            .messages()
            .iter()
            .filter_map(|message| message.body());
        dead.extend(bodies.map(str::to_owned));
    }
    assert_eq!(dead, ["bad", "crash", "hang"].map(str::to_owned).into());
}

#[tokio::test]
async fn any_other_event_reaches_its_function() {
    let fixture = Fixture::start().await;
    let event = json!({"by": "hand"});
    let first = fixture.platform.invoke("TickFunction", event.clone()).await;
    let first = first.unwrap();
    assert_eq!(first["event"], event);
    let second = fixture.platform.invoke("TickFunction", json!({})).await;
    let process = function::process_id(&first);
    assert_eq!(function::process_id(&second.unwrap()), process);
    // A platform that is only dropped takes its processes along.
    drop(fixture.platform);
    gone(process).await;
}

#[tokio::test]
async fn a_process_gets_the_environment_of_the_template_and_of_lambda_alone() {
    let fixture = Fixture::start().await;
    let child = fixture.number("/web/child").await;
    let names = fixture.get("/web/environment").send().await.unwrap();
    let names: BTreeSet<String> = serde_json::from_str(&names.text().await.unwrap()).unwrap();
    let declared = fixture
        .platform
        .function_environment("WebFunction")
        .unwrap();
    for name in declared.keys() {
        assert!(names.contains(name), "{name}");
    }
    let of_lambda = [
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "PATH",
        "TZ",
        "_HANDLER",
        // The shell and the Lambda runtime say these.
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "_X_AMZN_TRACE_ID",
    ];
    for name in &names {
        let known = declared.contains_key(name) || of_lambda.contains(&name.as_str());
        assert!(known, "{name} leaks in");
    }
    assert_eq!(declared["AWS_LAMBDA_LOG_FORMAT"], "JSON");
    assert_eq!(declared["AWS_LAMBDA_LOG_LEVEL"], "WARN");

    fixture.platform.stop().await;
    gone(child).await;
}

#[tokio::test]
async fn a_binary_that_is_missing_keeps_the_platform_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    function::install(directory.path());
    fs::remove_file(directory.path().join("odd")).unwrap();
    let error = start_error(options(directory.path())).await;
    let expected = format!(
        "{TEMPLATE}: Resources.OddFunction.Properties.CodeUri: {} has neither odd nor odd/bootstrap: build the functions' binaries first",
        directory.path().display()
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn processes_do_not_outlive_a_platform_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    function::install(directory.path());
    let mut platform = Command::new(env!("CARGO_BIN_EXE_signalbox"))
        .args([
            "local",
            "--ephemeral",
            "--port",
            "0",
            "--template",
            TEMPLATE,
        ])
        .arg("--bootstraps")
        .arg(directory.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(platform.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap();
        let line = line.expect("it says that it is ready");
        if let Some(url) = line.strip_prefix("ready ") {
            break url.to_owned();
        }
    };
    let number = async |path: &str| -> u32 {
        let response = reqwest::get(format!("{url}{path}")).await.unwrap();
        response.text().await.unwrap().parse().unwrap()
    };
    let (idle, other) = tokio::join!(number("/web/slow"), number("/web/slow"));
    let at_work = reqwest::get(format!("{url}/stream/forever")).await.unwrap();
    platform.kill().await.unwrap();
    // No parent is left to kill them: they end because the Runtime API is gone.
    gone(idle).await;
    gone(other).await;
    drop(at_work);
}
