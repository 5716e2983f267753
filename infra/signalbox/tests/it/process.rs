//! The real command, running the project's template on a data directory.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::fixture::MAX_WAIT;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");

/// Limits out of a test's way.
const LIMITS: [&str; 4] = [
    "ProdgyLimitPerMinute=100000",
    "AgentPlatformLimitPerMinute=100000",
    "AccountLimitPerMinute=100000",
    "SignInLimitPerMinute=100000",
];

/// A directory for a platform's data, and what its processes say beside it.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Everything that went to standard error so far.
    pub(crate) fn errors(&self) -> Vec<u8> {
        fs::read(self.error_file()).unwrap()
    }

    fn error_file(&self) -> PathBuf {
        self.directory.path().join("stderr")
    }

    /// Starts the platform and waits until it is ready.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Running {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(self.error_file())
            .unwrap();
        let mut command = self.command(&["local", "--port", "0"]);
        for limit in LIMITS {
            command.args(["--param", limit]);
        }
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(url) = line.strip_prefix("ready ") {
                return Running {
                    child,
                    url: url.to_owned(),
                    greeting,
                };
            }
            greeting.push_str(&line);
            greeting.push('\n');
        }
        let errors = String::from_utf8_lossy(&self.errors()).into_owned();
        panic!("it ended before it was ready: {errors}");
    }

    /// Runs one of the other commands on the data directory to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
        command
            .current_dir(self.directory.path())
            .env_remove("RUST_LOG")
            .kill_on_drop(true)
            .args(arguments)
            .args(["--template", TEMPLATE, "--data-dir"])
            .arg(self.data());
        command
    }
}

/// A platform that has said that it is ready.
pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
    /// The lines that it has printed before that.
    pub(crate) greeting: String,
}

impl Running {
    /// The first word of the greeting that begins with `prefix`.
    pub(crate) fn secret(&self, prefix: &str) -> String {
        let mut words = self.greeting.split_whitespace();
        let found = words.find(|word| word.starts_with(prefix));
        found
            .unwrap_or_else(|| panic!("no {prefix} in {}", self.greeting))
            .to_owned()
    }

    /// The last word of the greeting's line that begins with `name`.
    pub(crate) fn line(&self, name: &str) -> &str {
        let mut lines = self.greeting.lines().map(str::trim);
        let found = lines.find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {}", self.greeting))
            .trim()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Ends it like a power cut.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        let mut shell = Command::new("sh");
        assert!(shell.args(["-c", &kill]).status().await.unwrap().success());
        self.child.wait().await.unwrap()
    }
}

/// A client of one platform with one credential, for AgentPlatform's and account routes.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    credential: String,
}

impl Client {
    pub(crate) fn new(platform: &Running, credential: &str) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: platform.url.clone(),
            credential: credential.to_owned(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(method.parse().unwrap(), url);
        if self.credential.is_empty() {
            request
        } else {
            request.bearer_auth(&self.credential)
        }
    }

    /// The body of a success.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request("GET", path).send().await.unwrap();
        body(response, path).await
    }

    /// A run that AgentPlatform knows, once it is over.
    pub(crate) async fn finished(&self, run: &str) -> Value {
        let until = Instant::now() + MAX_WAIT;
        loop {
            let run = self.get(&format!("/api/v1/runs/{run}")).await;
            if matches!(run["data"]["status"].as_str(), Some("completed" | "failed")) {
                return run;
            }
            assert!(Instant::now() < until, "{run}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The body of a success.
    pub(crate) async fn post(&self, path: &str, json: Value) -> Value {
        let request = self.request("POST", path).json(&json);
        body(request.send().await.unwrap(), path).await
    }
}

async fn body(response: reqwest::Response, path: &str) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}
