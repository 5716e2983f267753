//! Requests that the gateway does not take: for another host, too slow, malformed, or large and without a credential.

use std::time::{Duration, Instant};

use local::{Limits, Options, Platform};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{MAX_WAIT, options, start};
use crate::gateway::SESSION;

#[tokio::test]
async fn a_request_to_another_name_is_refused() {
    let (options, _seen) = options();
    let options = options
        .parameter("AllowedHosts", "build.example, *.tunnel.example")
        .parameter("PublicUrl", "https://agents.example.com/dev");
    let platform = Platform::start(options).await.unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let ask = async |host: &str| {
        let request = client.get(format!("{}/things", platform.url()));
        let request = request
            .header("host", host)
            .header("origin", "http://evil.example");
        request.send().await.unwrap()
    };
    for own in [
        "localhost:9",
        "a.localhost",
        "127.0.0.1",
        "[::1]:80",
        "build.example",
        "x.tunnel.example",
        "agents.example.com",
    ] {
        assert_eq!(ask(own).await.status(), StatusCode::OK, "{own}");
    }
    for other in ["evil.example", "tunnel.example", "192.0.2.7"] {
        let refused = ask(other).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{other}");
        assert!(
            !refused
                .headers()
                .contains_key("access-control-allow-origin")
        );
        let body: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        for text in [&body["message"], &body["detail"], &body["errors"]["detail"]] {
            assert!(text.as_str().unwrap().contains("AllowedHosts"), "{body}");
        }
    }
}

/// The response to these bytes, which may be no whole request, and after how long.
async fn answered(platform: &Platform, bytes: &str) -> (String, Duration) {
    let started = Instant::now();
    let mut connection = TcpStream::connect(platform.address()).await.unwrap();
    connection.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    tokio::time::timeout(MAX_WAIT, read).await.unwrap().unwrap();
    (String::from_utf8(answer).unwrap(), started.elapsed())
}

#[tokio::test]
async fn a_request_that_comes_slowly_or_in_no_form_is_given_up() {
    let (options, _seen) = options();
    let limits = Limits {
        head: Duration::from_millis(400),
        arrival: Duration::from_millis(400),
        ..Limits::LOCAL
    };
    let platform = Platform::start(Options { limits, ..options })
        .await
        .unwrap();
    let soon = Duration::from_secs(5);
    for head in ["", "POST /body HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let (answer, after) = answered(&platform, head).await;
        assert_eq!(answer, "", "{head}");
        assert!(after < soon, "{head} {after:?}");
    }
    let post = "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for (slow, status) in [
        ("Content-Length: 10\r\n\r\nhalf", 408),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 408),
        (
            "Transfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalfhalf\r\n0\r\n\r\n",
            400,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
            200,
        ),
    ] {
        let (answer, after) = answered(&platform, &format!("{post}{slow}")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{slow}: {answer}"
        );
        assert!(after < soon, "{slow} {after:?}");
    }
}

#[tokio::test]
async fn little_is_read_of_a_request_without_a_credential() {
    let (platform, _seen) = start().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let send = async |credential: Option<&str>, length: usize| {
        let request = client.post(format!("{}/body", platform.url()));
        let request = match credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        };
        let sent = request.body(vec![b'x'; length]).send().await;
        sent.unwrap().status()
    };
    assert_eq!(send(None, 1_000_000).await, StatusCode::OK);
    for nothing in [None, Some("nothing")] {
        let refused = send(nothing, 1_500_000).await;
        assert_eq!(refused, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(send(Some(SESSION), 1_500_000).await, StatusCode::OK);
}
