//! Unsigned requests, and requests of web pages, to every port that the process listens on.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use runtime::Clock;
use serde_json::json;

use crate::process;

const TARGETS: [(&str, &str); 4] = [
    ("DynamoDB_20120810.ListTables", "{}"),
    (
        "DynamoDB_20120810.Scan",
        r#"{"TableName":"signalbox-RecordsTable"}"#,
    ),
    (
        "secretsmanager.GetSecretValue",
        r#"{"SecretId":"signalbox-MasterSecret"}"#,
    ),
    ("AmazonSQS.ListQueues", "{}"),
];

/// A signature of now that no key has made, as `authorization` and `x-amz-date` have it.
fn forged(key: &str, service: &str) -> [(&'static str, String); 2] {
    let now = Clock::system().now();
    let scope = format!(
        "{key}/{}/us-east-1/{service}/aws4_request",
        now.format("%Y%m%d")
    );
    let signature = "0".repeat(64);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    );
    let time = now.format("%Y%m%dT%H%M%SZ").to_string();
    [("authorization", authorization), ("x-amz-date", time)]
}

/// The TCP ports that a process listens on.
fn listening(process: u32) -> BTreeSet<u16> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let sockets: BTreeSet<String> = descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // `0A` is LISTEN.
            if fields[3] == "0A" && sockets.contains(fields[9]) {
                let (_, port) = fields[1].rsplit_once(':').unwrap();
                ports.insert(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}

/// The requests that a process of this machine, a web page or a name that leads here may send. `key` is the id of an access key of this start.
fn tries(client: &Client, url: &str, key: &str) -> Vec<RequestBuilder> {
    let mut tries = vec![
        client.get(url),
        client.get(format!("{url}2018-06-01/runtime/invocation/next")),
        client.get(format!("{url}signalbox-filesbucket?list-type=2")),
        client.put(format!("{url}signalbox-filesbucket/v/x")).body("x"),
        client
            .post(format!("{url}signalbox-filesbucket"))
            .header("content-type", "multipart/form-data; boundary=b")
            .body("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nv/x\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--b--\r\n"),
    ];
    for (target, body) in TARGETS {
        let call = || {
            let call = client.post(url).header("x-amz-target", target).body(body);
            call.header("content-type", "application/x-amz-json-1.0")
        };
        tries.push(call());
        tries.push(call().header("host", "evil.example"));
        for key in ["local", key] {
            for service in ["dynamodb", "s3", "secretsmanager", "sqs"] {
                let [authorization, time] = forged(key, service);
                // S3 misses the time before anything else, and answers 400.
                if service != "s3" {
                    tries.push(call().header(authorization.0, &authorization.1));
                }
                let call = call().header(authorization.0, authorization.1);
                let call = call.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
                tries.push(call.header(time.0, time.1));
            }
        }
        tries.push(call().header("x-signalbox-authenticated", ""));
        for origin in ["http://evil.example", "null", "http://localhost:3000"] {
            tries.push(call().header("origin", origin));
        }
        let preflight = client
            .request(Method::OPTIONS, url)
            .header("origin", "http://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST");
        tries.push(preflight.header("access-control-request-headers", "x-amz-target"));
    }
    tries
}

#[tokio::test]
async fn no_port_but_the_gateways_answers_unsigned_requests() {
    let home = process::Home::new();
    let platform = home.start(&["--param", "OutboundAllowLoopback=true"]).await;
    let gateway: u16 = platform.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let ports = listening(platform.process_id());
    assert!(ports.contains(&gateway), "{ports:?}");
    assert!(ports.len() > 4, "{ports:?}");
    let client = Client::builder().no_proxy().build().unwrap();
    let variables = fs::read_to_string(home.data().join("aws.env")).unwrap();
    let known = variables
        .lines()
        .find_map(|line| line.strip_prefix("AWS_ACCESS_KEY_ID="));
    let known = known.unwrap();
    for port in ports.iter().filter(|port| **port != gateway) {
        for request in tries(&client, &format!("http://127.0.0.1:{port}/"), known) {
            let request = request.timeout(Duration::from_secs(10)).build().unwrap();
            let told = format!("{port}: {request:?}");
            let answer = client.execute(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{told}");
            assert!(
                !answer.headers().contains_key("access-control-allow-origin"),
                "{told}"
            );
            let text = answer.text().await.unwrap();
            assert!(
                text.len() < 400 && !text.contains("signalbox-"),
                "{told}: {text}"
            );
        }
    }

    // An agent that may reach this machine reaches none of them either, nor the gateway.
    let key = platform.secret("ap_live_");
    let owner = process::Client::new(&platform, &key);
    for port in &ports {
        for host in ["127.0.0.1", "localhost", "127.1.2.3"] {
            let call = json!({"method": "POST", "url": format!("http://{host}:{port}/"),
                "headers": {"x-amz-target": TARGETS[2].0}, "body": TARGETS[2].1});
            let config = json!({"instructions": format!("@http_request {call}"), "tools": ["http_request"], "allowed_hosts": [host]});
            let agent = json!({"name": "Curious", "type": "freeform", "config": config});
            let agent = owner.post("/api/v1/agents", agent).await;
            let path = format!(
                "/api/v1/agents/{}/signals",
                agent["data"]["id"].as_str().unwrap()
            );
            let run = owner.post(&path, json!({"type": "x"})).await;
            let run = owner
                .finished(run["data"]["run_id"].as_str().unwrap())
                .await;
            let text = run.to_string();
            assert!(!text.contains("SecretString"), "{text}");
            assert!(
                text.contains("one of the platform's own services"),
                "{text}"
            );
        }
    }
    platform.kill().await;
}
