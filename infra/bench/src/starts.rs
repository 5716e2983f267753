//! The functions' binaries, started as Lambda starts them.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::sample::Sample;
use super::table::{Table, megabytes, milliseconds, to_megabytes};
use super::tenant::{Request, Tenant};
use super::{Measured, options};
use local::Platform;
use local::TemplateSource;
use local::lambda_events::{RestRequest, RestResponse};
use local::runtime_api::{Bootstrap, find_binary};
use local::template::Function;

const STARTS: usize = 20;

pub(super) async fn measure(
    template: &TemplateSource,
    directory: &Path,
) -> anyhow::Result<Measured> {
    let platform = Platform::start(options(template)).await?;
    let tenant = Tenant::found(&platform.url()).await?;
    let mut table = Table::new(
        "HTTP functions: process start to the first `next`, and the first request",
        [
            "function",
            "first next",
            "slowest",
            "memory",
            "first request",
            "second",
            "memory",
        ],
    );
    let mut values = serde_json::Map::new();
    for function in &platform.deployment().functions {
        let routes = &platform.deployment().routes;
        let Some(route) = routes
            .iter()
            .find(|route| route.function == function.logical_id)
        else {
            continue;
        };
        let Some(binary) = find_binary(directory, &function.bin) else {
            table.note(format!(
                "{} is not in {}",
                function.bin,
                directory.display()
            ));
            continue;
        };
        let environment = platform.function_environment(&function.logical_id);
        let environment = environment.context("a function without an environment")?;
        let request = first_request(&tenant, &function.bin, &route.path);
        let starts = starts(&binary, environment, function, &request).await?;
        table.row([function.bin.clone()].into_iter().chain(starts.cells()));
        values.insert(function.bin.clone(), starts.value());
    }
    table.note(format!(
        "medians of {STARTS} starts; the process alone, without Lambda's own part of a cold start"
    ));
    platform.stop().await;
    Ok(Measured {
        name: "function_starts",
        table,
        value: Value::Object(values),
    })
}

/// An authenticated request that the function answers after reading something; of a function that the bench does not know,
/// what its first route says to a stranger.
fn first_request(tenant: &Tenant, bin: &str, path: &str) -> Request {
    let get = |path: &str, credential: &str, expected| Request {
        name: "first request",
        method: Method::GET,
        path: path.to_owned(),
        credential: credential.to_owned(),
        body: None,
        expected,
    };
    match bin {
        "identity" => get("/api/organization", &tenant.session, 200),
        "tokens" => get("/api/settings/api-keys", &tenant.session, 200),
        "agents" => tenant.list(),
        "executions" => {
            let path = format!("/api/agent-base/{}/executions", tenant.agent);
            get(&path, &tenant.prodgy, 200)
        }
        "triggers" => tenant.signal(json!({})),
        _ => get(path, "", 401),
    }
}

struct Starts {
    first_next: Sample,
    first_request: Sample,
    second_request: Sample,
    resident_at_next: u64,
    resident_after: u64,
}

impl Starts {
    fn cells(&self) -> [String; 6] {
        [
            milliseconds(self.first_next.median()),
            milliseconds(self.first_next.percentile(100)),
            megabytes(self.resident_at_next),
            milliseconds(self.first_request.median()),
            milliseconds(self.second_request.median()),
            megabytes(self.resident_after),
        ]
    }

    fn value(&self) -> Value {
        json!({
            "first_next_ms": self.first_next.median(),
            "first_next_slowest_ms": self.first_next.percentile(100),
            "first_request_ms": self.first_request.median(),
            "second_request_ms": self.second_request.median(),
            "resident_mb_at_first_next": to_megabytes(self.resident_at_next),
            "resident_mb_after": to_megabytes(self.resident_after),
        })
    }
}

async fn starts(
    binary: &Path,
    environment: &HashMap<String, String>,
    function: &Function,
    request: &Request,
) -> anyhow::Result<Starts> {
    let (mut nexts, mut firsts, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at_next, mut after) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let started = Bootstrap::start(binary, environment).await;
        let bootstrap = started.with_context(|| function.bin.clone())?;
        nexts.push(bootstrap.first_next().after);
        at_next.push(bootstrap.first_next().resident_bytes.unwrap_or_default());
        firsts.push(answer(&bootstrap, function, request).await?);
        seconds.push(answer(&bootstrap, function, request).await?);
        after.push(bootstrap.resident_bytes().unwrap_or_default());
    }
    Ok(Starts {
        first_next: Sample::new(nexts),
        first_request: Sample::new(firsts),
        second_request: Sample::new(seconds),
        resident_at_next: middle(at_next),
        resident_after: middle(after),
    })
}

/// Has the function answer, and checks that it does so as it should.
async fn answer(
    bootstrap: &Bootstrap,
    function: &Function,
    request: &Request,
) -> anyhow::Result<Duration> {
    let Request {
        method,
        path,
        credential,
        ..
    } = request;
    let mut event = RestRequest::new(method.clone(), path);
    if !credential.is_empty() {
        event = event.bearer(credential);
    }
    if let Some(body) = &request.body {
        event = event.json(body);
    }
    let event = event.into_event();
    let started = Instant::now();
    let result = bootstrap.invoke(event, function.timeout).await?;
    let took = started.elapsed();
    let status = RestResponse::read(result)?.status.as_u16();
    ensure!(
        status == request.expected,
        "{} answered {status} to {path}",
        function.bin
    );
    Ok(took)
}

fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
