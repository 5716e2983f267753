//! The calls of a request to DynamoDB, as a recording proxy sees them.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context;
use regex::Regex;
use runtime::{Clock, Config, Services};

use super::capacity::Units;
use super::platforms::options;
use super::tenant::{Request, Tenant};
use local::{Options, Platform, TemplateSource};

use crate::dynamodb_recorder::{Call, DynamoDbRecorder};

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("the pattern is well-formed")
});

/// The number of requests whose units are measured together.
const MEASURED: u32 = 20;
/// The time that what is written beside a response may take.
const SETTLING: Duration = Duration::from_millis(300);

/// A platform whose calls to DynamoDB are recorded.
pub(super) struct Capture {
    platform: Platform,
    recorder: DynamoDbRecorder,
    pub(super) tenant: Tenant,
}

/// The calls of one request.
pub(super) struct Recorded {
    /// Those of one wave ran side by side; a wave waited for the one before it.
    pub(super) waves: Vec<Vec<Call>>,
    /// Identifiers that the request made up. Calls that are made again need other ones.
    pub(super) fresh: BTreeSet<String>,
}

impl Capture {
    pub(super) async fn start(template: &TemplateSource) -> anyhow::Result<Self> {
        let recorder = DynamoDbRecorder::default();
        let options = Options {
            dynamodb_proxy: Some(recorder.proxy()),
            ..options(template)
        };
        let platform = Platform::start(options).await?;
        let tenant = Tenant::found(&platform.url()).await?;
        Ok(Self {
            platform,
            recorder,
            tenant,
        })
    }

    /// Like [`Self::record`], with the calls that are made once the response is on its way, side by side with the last ones before it.
    pub(super) async fn record_all(&self, request: &Request) -> anyhow::Result<Recorded> {
        let mut recorded = self.record(request).await?;
        let before = identifiers(&self.logged(request).await?);
        let calls = self.logged(request).await?;
        recorded
            .fresh
            .extend(identifiers(&calls).difference(&before).cloned());
        if let Some(last) = recorded.waves.last_mut() {
            last.extend(calls);
        }
        Ok(recorded)
    }

    /// The calls that write the request log for a request.
    async fn logged(&self, request: &Request) -> anyhow::Result<Vec<Call>> {
        self.settled().await;
        self.recorder.take();
        self.tenant.send(request).await?;
        self.settled().await;
        let mut calls = self.recorder.take();
        calls.retain(Call::is_request_log);
        Ok(calls)
    }

    /// Sends a request and returns what it asked of DynamoDB.
    pub(super) async fn record(&self, request: &Request) -> anyhow::Result<Recorded> {
        // The first one may find out what later ones remember.
        self.calls_of(request).await?;
        let before = identifiers(&self.calls_of(request).await?);
        let calls = self.calls_of(request).await?;
        let fresh = identifiers(&calls).difference(&before).cloned().collect();
        let mut waves: Vec<Vec<Call>> = Vec::new();
        for (depth, call) in DynamoDbRecorder::depths(&calls).into_iter().zip(calls) {
            waves.resize_with(waves.len().max(depth), Vec::new);
            waves[depth - 1].push(call);
        }
        Ok(Recorded { waves, fresh })
    }

    /// The units that one of several such requests takes, with what is written once its response is on its way.
    pub(super) async fn units(&self, request: &Request) -> anyhow::Result<Units> {
        // The first one may find out what later ones remember.
        self.tenant.send(request).await?;
        self.settled().await;
        self.recorder.take();
        for _ in 0..MEASURED {
            self.tenant.send(request).await?;
        }
        self.settled().await;
        let calls = self.recorder.take();
        let all: Units = calls.iter().map(Units::of).sum();
        Ok(all / MEASURED)
    }

    async fn settled(&self) {
        tokio::time::sleep(SETTLING).await;
    }

    /// A client that goes around the proxy.
    pub(super) fn dynamodb(&self) -> anyhow::Result<aws_sdk_dynamodb::Client> {
        let upstream = self
            .recorder
            .upstream()
            .context("the recorder has not started")?;
        let mut config = Config::clone(&self.platform.services().config);
        config.aws.dynamodb_endpoint = Some(format!("http://{upstream}"));
        Ok(Services::new(config, Clock::system()).dynamodb)
    }

    async fn calls_of(&self, request: &Request) -> anyhow::Result<Vec<Call>> {
        self.recorder.take();
        self.tenant.send(request).await?;
        let mut calls = self.recorder.take();
        // No response waits for those, so they may be those of the request before.
        calls.retain(|call| !call.is_background());
        Ok(calls)
    }
}

fn identifiers(calls: &[Call]) -> BTreeSet<String> {
    let texts = calls.iter().map(|call| String::from_utf8_lossy(&call.body));
    texts
        .flat_map(|text| {
            let found = UUID.find_iter(&text);
            found
                .map(|found| found.as_str().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}
