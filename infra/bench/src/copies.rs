//! Copies of an agent and of a run: the items that functions wrote, with other identifiers, in batches. Making as many through the
//! platform would take its time.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use domain::ids;
use runtime::Clock;
use serde_json::{Value, json};
use std::time::Duration;

use super::runs::{finished, send_signal};
use super::tenant::{Tenant, text};
use local::{Options, Platform, TemplateSource};

use crate::dynamodb_recorder::{Call, DynamoDbRecorder};

/// The most items that DynamoDB takes at once.
const BATCH: usize = 25;

/// The items of one thing, as JSON, and the identifiers in them that are its own.
#[derive(Clone)]
pub(super) struct Pattern {
    table: String,
    items: Vec<String>,
    own: Vec<String>,
}

/// The items of an agent and of a run.
#[derive(Clone)]
pub(super) struct Patterns {
    pub(super) agent: Pattern,
    pub(super) run: Pattern,
    organization: String,
    workspace: String,
    agent_id: String,
}

impl Patterns {
    /// Records both on a platform of their own.
    pub(super) async fn record(template: &TemplateSource) -> anyhow::Result<Self> {
        let recorder = DynamoDbRecorder::without_delay();
        let options = Options {
            dynamodb_proxy: Some(recorder.proxy()),
            event_sources: true,
            ..super::options(template)
        };
        let platform = Platform::start(options).await?;
        let mut tenant = Tenant::found(&platform.url()).await?;
        let table = platform.services().config.tables.records.clone();
        recorder.take();
        let client = platform.services().dynamodb;
        let agent = tenant.send(&tenant.create()).await?;
        let own = [text(&agent, "/data/id")?, text(&agent, "/data/version_id")?];
        let agent_items = items(&recorder.take(), &table, &own[0]);
        tenant.agent.clone_from(&own[0]);
        let run = send_signal(&tenant).await?;
        finished(&tenant, &run, Duration::from_millis(20)).await?;
        let workspace = text(&agent, "/data/product_id")?;
        let run_items =
            stored(&client, &table, &format!("workspace#{workspace}#run#{run}")).await?;
        ensure!(
            agent_items.len() == 2 && run_items.len() > 1,
            "not what was expected"
        );
        platform.stop().await;
        Ok(Self {
            organization: text(&agent, "/data/organization_id")?,
            workspace,
            agent_id: own[0].clone(),
            agent: Pattern {
                table: table.clone(),
                items: agent_items,
                own: own.to_vec(),
            },
            run: Pattern {
                table,
                items: run_items,
                own: vec![run],
            },
        })
    }

    /// The same for another tenant, and runs of an agent of its.
    pub(super) fn of(&self, tenant: &Tenant) -> Self {
        let moved = |pattern: &Pattern, agent: Option<&str>| {
            let items = pattern.items.iter().map(|item| {
                let item = item.replace(&self.organization, &tenant.organization);
                let item = item.replace(&self.workspace, &tenant.workspace);
                agent.map_or_else(|| item.clone(), |agent| item.replace(&self.agent_id, agent))
            });
            Pattern {
                items: items.collect(),
                ..pattern.clone()
            }
        };
        Self {
            agent: moved(&self.agent, None),
            run: moved(&self.run, Some(&tenant.agent)),
            ..self.clone()
        }
    }
}

impl Pattern {
    /// Writes so many copies.
    pub(super) async fn copy(
        &self,
        client: &Client,
        clock: &Clock,
        count: usize,
    ) -> anyhow::Result<()> {
        let mut batch = Vec::new();
        for left in (0..count).rev() {
            let fresh: Vec<_> = self
                .own
                .iter()
                .map(|_| ids::new_v7(clock.now()).to_string())
                .collect();
            for item in &self.items {
                let pairs = self.own.iter().zip(&fresh);
                let item = pairs.fold(item.clone(), |item, (old, new)| item.replace(old, new));
                batch.push(write(&item)?);
            }
            if left == 0 || batch.len() + self.items.len() > BATCH {
                let requests = HashMap::from([(self.table.clone(), std::mem::take(&mut batch))]);
                let call = client.batch_write_item().set_request_items(Some(requests));
                let output = call.send().await?;
                let is_done = output.unprocessed_items.unwrap_or_default().is_empty();
                ensure!(is_done, "DynamoDB did not take a whole batch");
            }
        }
        Ok(())
    }
}

/// The items that transactions put into `table` and that have to do with `id`.
fn items(calls: &[Call], table: &str, id: &str) -> Vec<String> {
    let mut items = Vec::new();
    for call in calls {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        for write in body["TransactItems"].as_array().into_iter().flatten() {
            let put = &write["Put"];
            if put["TableName"] == table && put["Item"].to_string().contains(id) {
                items.push(put["Item"].to_string());
            }
        }
    }
    items
}

/// The items of a partition.
async fn stored(client: &Client, table: &str, partition: &str) -> anyhow::Result<Vec<String>> {
    let query = client
        .query()
        .table_name(table)
        .key_condition_expression("PK = :partition")
        .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()));
    let found = query.send().await?.items.unwrap_or_default();
    let item = |item: HashMap<String, AttributeValue>| {
        let attributes = item.into_iter().map(|(name, value)| {
            let value = match value {
                AttributeValue::N(number) => json!({"N": number}),
                AttributeValue::S(text) => json!({"S": text}),
                other => bail!("{name} is neither text nor number: {other:?}"),
            };
            Ok((name, value))
        });
        let attributes = attributes.collect::<anyhow::Result<serde_json::Map<_, _>>>()?;
        Ok(Value::Object(attributes).to_string())
    };
    found.into_iter().map(item).collect()
}

fn write(item: &str) -> anyhow::Result<WriteRequest> {
    let item: HashMap<String, HashMap<String, String>> = serde_json::from_str(item)?;
    let attributes = item.into_iter().map(|(name, typed)| {
        let (kind, value) = typed
            .into_iter()
            .next()
            .context("an attribute has a type")?;
        let value = match kind.as_str() {
            "N" => AttributeValue::N(value),
            _ => AttributeValue::S(value),
        };
        anyhow::Ok((name, value))
    });
    let item = attributes.collect::<anyhow::Result<_>>()?;
    let put = PutRequest::builder().set_item(Some(item)).build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}
