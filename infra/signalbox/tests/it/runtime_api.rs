//! The Lambda Runtime API, with a shell script for a function: the test itself speaks for the process.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::lambda_events::{RestRequest, RestResponse};
use local::runtime_api::{Bootstrap, BootstrapError};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::MAX_WAIT;

/// Says where the Runtime API is and what it was started with, then does nothing.
const IDLE: &str = "#!/bin/sh
env > environment
echo \"$AWS_LAMBDA_RUNTIME_API\" > address.new
mv address.new address
exec sleep 600
";

const LONG: Duration = Duration::from_secs(60);

fn script(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bootstrap");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    (directory, file)
}

/// The calls of the process to the Runtime API.
struct Process {
    client: Client,
    base: String,
}

impl Process {
    async fn found_in(directory: &Path) -> Self {
        let file = directory.join("address");
        let written = async {
            while !file.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MAX_WAIT, written).await.unwrap();
        let address = fs::read_to_string(file).unwrap();
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            base: format!("{}/2018-06-01/runtime", address.trim()),
        }
    }

    async fn next(&self) -> Response {
        let url = format!("{}/invocation/next", self.base);
        self.client.get(url).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> StatusCode {
        let url = format!("{}/{path}", self.base);
        let sent = self.client.post(url).body(body.to_string()).send();
        sent.await.unwrap().status()
    }
}

fn request_id(event: &Response) -> String {
    let id = &event.headers()["lambda-runtime-aws-request-id"];
    id.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_process_that_ends_before_its_first_event_is_told_with_its_last_words() {
    let (_directory, binary) = script("#!/bin/sh\necho 'no table' >&2\nexit 3\n");
    let error = Bootstrap::start(&binary, &HashMap::new()).await.err();
    let error = error.unwrap().to_string();
    assert!(error.contains("no table"), "{error}");
    assert!(error.contains("exit status: 3"), "{error}");

    let missing = binary.with_file_name("missing");
    let error = Bootstrap::start(&missing, &HashMap::new()).await.err();
    assert!(error.unwrap().to_string().contains("missing"));
}

#[tokio::test]
async fn events_and_results_pass_between_caller_and_process() {
    let (directory, binary) = script(IDLE);
    let given = HashMap::from([("RECORDS_TABLE".to_owned(), "records".to_owned())]);
    let start = Bootstrap::start(&binary, &given);
    let process = async {
        let process = Process::found_in(directory.path()).await;
        let first = process.next().await;
        let arn = first.headers()["lambda-runtime-invoked-function-arn"].to_str();
        assert!(arn.unwrap().ends_with(":function:function"));
        let id = request_id(&first);
        assert_eq!(first.json::<Value>().await.unwrap(), json!({"n": 1}));
        let unknown = process.post("invocation/other/response", json!({}));
        assert_eq!(unknown.await, StatusCode::BAD_REQUEST);
        let path = format!("invocation/{id}/response");
        assert_eq!(
            process.post(&path, json!({"n": 2})).await,
            StatusCode::ACCEPTED
        );

        let second = process.next().await;
        let failed = json!({"errorType": "Broken", "errorMessage": "no table"});
        let path = format!("invocation/{}/error", request_id(&second));
        assert_eq!(process.post(&path, failed).await, StatusCode::ACCEPTED);
    };
    let caller = async {
        let bootstrap = start.await.unwrap();
        assert!(bootstrap.first_next().after > Duration::ZERO);
        assert!(bootstrap.resident_bytes().unwrap() > 0);
        let result = bootstrap.invoke(json!({"n": 1}), LONG).await.unwrap();
        assert_eq!(result, json!({"n": 2}));
        let error = bootstrap.invoke(json!({"n": 2}), LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the function failed: Broken: no table");
    };
    tokio::join!(caller, process);

    let environment = fs::read_to_string(directory.path().join("environment")).unwrap();
    let value = |name: &str| {
        environment
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    assert_eq!(value("RECORDS_TABLE"), Some("records"));
    assert_eq!(value("AWS_LAMBDA_FUNCTION_VERSION"), Some("$LATEST"));
    assert_eq!(value("HOME"), None, "nothing of this process leaks in");
    assert_eq!(value("CARGO_MANIFEST_DIR"), None);
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_killed() {
    let (directory, binary) = script(IDLE);
    let given = HashMap::new();
    let start = Bootstrap::start(&binary, &given);
    let process = async {
        let process = Process::found_in(directory.path()).await;
        let event = process.next().await;
        // It never answers, and the caller is gone by now.
        drop(event);
    };
    let caller = async {
        let bootstrap = start.await.unwrap();
        let error = bootstrap.invoke(json!({}), Duration::from_millis(50)).await;
        assert!(
            matches!(error, Err(BootstrapError::TimedOut(_))),
            "{error:?}"
        );
        let error = bootstrap.invoke(json!({}), LONG).await;
        assert!(
            matches!(error, Err(BootstrapError::Ended { .. })),
            "{error:?}"
        );
        assert!(bootstrap.resident_bytes().is_err());
    };
    tokio::join!(caller, process);
}

/// Sends a streamed response byte by byte as given, and gives the status that it is answered with, if it is.
async fn stream(process: &Process, request_id: &str, chunks: &[&str]) -> Option<String> {
    let (address, base) = process.base["http://".len()..].split_once('/').unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /{base}/invocation/{request_id}/response HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\
         Lambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\
         Content-Type: application/vnd.awslambda.http-integration-response\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    for chunk in chunks {
        connection.write_all(chunk.as_bytes()).await.unwrap();
    }
    if !chunks.last()?.ends_with("\r\n\r\n") {
        return None;
    }
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    Some(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_streamed_response_is_whole_or_says_how_it_broke_off() {
    let (directory, binary) = script(IDLE);
    let given = HashMap::new();
    let start = Bootstrap::start(&binary, &given);
    let accepted = Some("HTTP/1.1 202".to_owned());
    let process = async {
        let process = Process::found_in(directory.path()).await;
        let first = request_id(&process.next().await);
        let unknown = stream(&process, "other", &["0\r\n\r\n"]).await;
        assert_eq!(unknown.unwrap(), "HTTP/1.1 400");
        let whole = ["4\r\n{\"n\"\r\n", "3\r\n:2}\r\n", "0\r\n\r\n"];
        assert_eq!(stream(&process, &first, &whole).await, accepted);

        let second = request_id(&process.next().await);
        let message = "eyJlcnJvclR5cGUiOiJCcm9rZW4iLCJlcnJvck1lc3NhZ2UiOiJubyB0YWJsZSJ9";
        let trailers = format!(
            "0\r\nLambda-Runtime-Function-Error-Type: Broken\r\nLambda-Runtime-Function-Error-Body: {message}\r\n\r\n"
        );
        let failed = ["4\r\n{\"n\"\r\n", &trailers];
        assert_eq!(stream(&process, &second, &failed).await, accepted);

        let third = request_id(&process.next().await);
        assert_eq!(stream(&process, &third, &["4\r\n{\"n\"\r\n"]).await, None);
    };
    let caller = async {
        let bootstrap = start.await.unwrap();
        let invoke = async || bootstrap.invoke(json!({}), LONG).await;
        assert_eq!(invoke().await.unwrap(), json!({"n": 2}));
        let failed = invoke().await.unwrap_err().to_string();
        assert_eq!(failed, "the function failed: Broken: no table");
        let broken = invoke().await.unwrap_err();
        assert!(matches!(broken, BootstrapError::BrokenOff), "{broken}");
    };
    tokio::join!(caller, process);
}

#[tokio::test]
async fn only_the_process_itself_is_answered() {
    let (directory, binary) = script(IDLE);
    let given = HashMap::new();
    let start = Bootstrap::start(&binary, &given);
    let process = async {
        let process = Process::found_in(directory.path()).await;
        let (_, path) = process.base["http://".len()..].split_once('/').unwrap();
        let (secret, rest) = path.split_once('/').unwrap();
        assert!(secret.len() > 40, "{secret}");
        let root = process.base.strip_suffix(path).unwrap();
        let next = "invocation/next";
        let other = "x".repeat(secret.len());
        for foreign in [
            process.client.get(format!("{root}{rest}/{next}")),
            process.client.get(format!("{root}{other}/{rest}/{next}")),
            process
                .client
                .get(format!("{}/{next}", process.base))
                .header("origin", "null"),
            process
                .client
                .get(format!("{}/{next}", process.base))
                .header("host", "evil.example"),
            process
                .client
                .request(Method::OPTIONS, format!("{root}{rest}/{next}"))
                .header("origin", "http://evil.example"),
        ] {
            let refused = foreign.send().await.unwrap();
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            assert!(
                !refused
                    .headers()
                    .contains_key("access-control-allow-origin")
            );
        }
        drop(process.next().await);
    };
    let caller = async {
        let bootstrap = start.await.unwrap();
        drop(bootstrap.invoke(json!({}), Duration::from_millis(50)).await);
    };
    tokio::join!(caller, process);
}

#[test]
fn a_rest_event_says_the_request_as_api_gateway_does() {
    let event = RestRequest::new(Method::PUT, "/api/agents/?tag=a%20b&tag=c&empty=")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .source([203, 0, 113, 7].into())
        .stage("prod")
        .body(vec![0xff, 0x00])
        .into_event();
    assert_eq!(event["path"], "/api/agents/");
    assert_eq!(event["requestContext"]["path"], "/prod/api/agents/");
    assert_eq!(
        event["requestContext"]["identity"]["sourceIp"],
        "203.0.113.7"
    );
    assert_eq!(event["httpMethod"], "PUT");
    assert_eq!(event["multiValueHeaders"]["x-twice"], json!(["one", "two"]));
    let query = &event["multiValueQueryStringParameters"];
    assert_eq!(*query, json!({"tag": ["a b", "c"], "empty": [""]}));
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!("/wA="), &json!(true))
    );
}

#[test]
fn a_response_is_read_with_all_values_of_its_headers() {
    let response = RestResponse::read(json!({
        "statusCode": 201,
        "headers": {"content-type": "text/plain", "set-cookie": "a=1"},
        "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]},
        "body": "/wA=",
        "isBase64Encoded": true,
    }));
    let response = response.unwrap();
    assert_eq!(response.status, StatusCode::CREATED);
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(response.headers["content-type"], "text/plain");
    assert_eq!(response.body.as_ref(), [0xff, 0x00]);
    assert!(RestResponse::read(json!({"statusCode": 1000})).is_err());
}
