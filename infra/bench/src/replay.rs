//! Recorded calls, made again with nothing but the SDK.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnValue, Select, TransactWriteItem, Update,
};
use futures::future::try_join_all;
use serde::Deserialize;
use uuid::Uuid;

use super::capture::Recorded;
use crate::dynamodb_recorder::Call;

type Item = HashMap<String, AttributeValue>;
/// The replacement of each identifier that a request made up.
type FreshIds = HashMap<String, String>;

/// The calls of a request, ready to be made.
#[derive(Clone)]
pub(super) struct Replay {
    client: Client,
    waves: Arc<Vec<Vec<Operation>>>,
    fresh: Arc<BTreeSet<String>>,
}

impl Replay {
    pub(super) fn new(client: Client, recorded: &Recorded) -> anyhow::Result<Self> {
        let wave = |calls: &Vec<Call>| calls.iter().map(Operation::read).collect();
        let waves: anyhow::Result<_> = recorded.waves.iter().map(wave).collect();
        Ok(Self {
            client,
            waves: Arc::new(waves?),
            fresh: Arc::new(recorded.fresh.clone()),
        })
    }

    /// Makes the calls in the order in which they were made.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let now_v7 = |old: &String| (old.clone(), Uuid::now_v7().to_string());
        let ids: FreshIds = self.fresh.iter().map(now_v7).collect();
        for wave in self.waves.iter() {
            let calls = wave.iter().map(|call| call.send(&self.client, &ids));
            try_join_all(calls).await?;
        }
        Ok(())
    }
}

/// A call as the SDK takes it. Members that are not listed here are refused: a call with less in it would be another one.
#[derive(Clone)]
enum Operation {
    Get(GetItem),
    BatchGet(BatchGetItem),
    Query(Query),
    Update(UpdateItem),
    Put(PutItem),
    Transact(TransactWriteItems),
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetItem {
    table_name: String,
    key: Attributes,
    consistent_read: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BatchGetItem {
    request_items: HashMap<String, BatchKeys>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BatchKeys {
    keys: Vec<Attributes>,
    consistent_read: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Query {
    table_name: String,
    index_name: Option<String>,
    key_condition_expression: String,
    expression_attribute_values: Attributes,
    scan_index_forward: Option<bool>,
    limit: Option<i32>,
    select: Option<String>,
    projection_expression: Option<String>,
    consistent_read: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateItem {
    table_name: String,
    key: Attributes,
    update_expression: String,
    condition_expression: Option<String>,
    expression_attribute_values: Attributes,
    return_values: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutItem {
    table_name: String,
    item: Attributes,
    condition_expression: Option<String>,
    expression_attribute_values: Option<Attributes>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TransactWriteItems {
    transact_items: Vec<Write>,
    /// Made anew by the SDK.
    #[serde(rename = "ClientRequestToken")]
    _token: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
enum Write {
    Put(PutItem),
    Update(UpdateItem),
}

/// An item as it is on the wire.
#[derive(Clone, Deserialize)]
struct Attributes(HashMap<String, Attribute>);

#[derive(Clone, Deserialize)]
enum Attribute {
    S(String),
    N(String),
}

impl Attributes {
    /// The item, with other identifiers in place of those that have to be fresh.
    fn with(&self, ids: &FreshIds) -> Item {
        let replace = |text: &String| {
            let ids = ids.iter();
            ids.fold(text.clone(), |text, (old, new)| text.replace(old, new))
        };
        let value = |attribute: &Attribute| match attribute {
            Attribute::N(number) => AttributeValue::N(number.clone()),
            Attribute::S(text) => AttributeValue::S(replace(text)),
        };
        let attributes = self.0.iter();
        attributes
            .map(|(name, attribute)| (name.clone(), value(attribute)))
            .collect()
    }
}

impl Operation {
    fn read(call: &Call) -> anyhow::Result<Self> {
        let body = &call.body;
        let read = match call.operation.as_str() {
            "GetItem" => serde_json::from_slice(body).map(Self::Get),
            "BatchGetItem" => serde_json::from_slice(body).map(Self::BatchGet),
            "Query" => serde_json::from_slice(body).map(Self::Query),
            "UpdateItem" => serde_json::from_slice(body).map(Self::Update),
            "PutItem" => serde_json::from_slice(body).map(Self::Put),
            "TransactWriteItems" => serde_json::from_slice(body).map(Self::Transact),
            other => bail!("the bench cannot make a {other} call"),
        };
        read.with_context(|| format!("the bench cannot make such a {} call", call.operation))
    }

    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        match self {
            Self::Get(get) => get.send(client, ids).await,
            Self::BatchGet(get) => get.send(client, ids).await,
            Self::Query(query) => query.send(client, ids).await,
            Self::Update(update) => update.send(client, ids).await,
            Self::Put(put) => put.send(client, ids).await,
            Self::Transact(transact) => transact.send(client, ids).await,
        }
    }
}

impl GetItem {
    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let call = client.get_item().table_name(&self.table_name);
        call.set_key(Some(self.key.with(ids)))
            .set_consistent_read(self.consistent_read)
            .send()
            .await?;
        Ok(())
    }
}

impl BatchGetItem {
    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let mut call = client.batch_get_item();
        for (table, wanted) in &self.request_items {
            let keys = wanted.keys.iter().map(|key| key.with(ids)).collect();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .set_consistent_read(wanted.consistent_read)
                .build()?;
            call = call.request_items(table, wanted);
        }
        call.send().await?;
        Ok(())
    }
}

impl Query {
    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let call = client.query().table_name(&self.table_name);
        call.set_index_name(self.index_name.clone())
            .key_condition_expression(&self.key_condition_expression)
            .set_expression_attribute_values(Some(self.expression_attribute_values.with(ids)))
            .set_scan_index_forward(self.scan_index_forward)
            .set_limit(self.limit)
            .set_select(self.select.as_deref().map(Select::from))
            .set_projection_expression(self.projection_expression.clone())
            .set_consistent_read(self.consistent_read)
            .send()
            .await?;
        Ok(())
    }
}

impl UpdateItem {
    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let call = client.update_item().table_name(&self.table_name);
        call.set_key(Some(self.key.with(ids)))
            .update_expression(&self.update_expression)
            .set_condition_expression(self.condition_expression.clone())
            .set_expression_attribute_values(Some(self.expression_attribute_values.with(ids)))
            .set_return_values(self.return_values.as_deref().map(ReturnValue::from))
            .send()
            .await?;
        Ok(())
    }
}

impl UpdateItem {
    fn in_transaction(&self, ids: &FreshIds) -> anyhow::Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.table_name)
            .set_key(Some(self.key.with(ids)))
            .update_expression(&self.update_expression)
            .set_condition_expression(self.condition_expression.clone())
            .set_expression_attribute_values(Some(self.expression_attribute_values.with(ids)))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

impl PutItem {
    fn values(&self, ids: &FreshIds) -> Option<Item> {
        let values = self.expression_attribute_values.as_ref();
        values.map(|values| values.with(ids))
    }

    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let call = client.put_item().table_name(&self.table_name);
        call.set_item(Some(self.item.with(ids)))
            .set_condition_expression(self.condition_expression.clone())
            .set_expression_attribute_values(self.values(ids))
            .send()
            .await?;
        Ok(())
    }

    fn in_transaction(&self, ids: &FreshIds) -> anyhow::Result<TransactWriteItem> {
        let put = Put::builder().table_name(&self.table_name);
        let put = put
            .set_item(Some(self.item.with(ids)))
            .set_condition_expression(self.condition_expression.clone())
            .set_expression_attribute_values(self.values(ids))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

impl TransactWriteItems {
    async fn send(&self, client: &Client, ids: &FreshIds) -> anyhow::Result<()> {
        let writes = self.transact_items.iter();
        let writes = writes.map(|write| match write {
            Write::Put(put) => put.in_transaction(ids),
            Write::Update(update) => update.in_transaction(ids),
        });
        let writes = writes.collect::<anyhow::Result<Vec<_>>>()?;
        let call = client.transact_write_items();
        call.set_transact_items(Some(writes)).send().await?;
        Ok(())
    }
}
