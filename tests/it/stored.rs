//! The items of the tables, for tests that find something there or plant it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use testkit::TestApp;

pub(crate) type Item = HashMap<String, AttributeValue>;

const TABLE: &str = "signalbox-RecordsTable";

/// The records of this type, in the order of their keys.
pub(crate) async fn records(app: &TestApp, kind: &str) -> Vec<Item> {
    items(app, TABLE, kind).await
}

/// The items of this type in a table, in the order of their keys.
pub(crate) async fn items(app: &TestApp, table: &str, kind: &str) -> Vec<Item> {
    let dynamodb = app.platform.services().dynamodb;
    // The platform never scans; a test that looks for something has to.
    #[expect(
        clippy::disallowed_methods,
        reason = "looks for a planted item, in a test"
    )]
    let pages = dynamodb.scan().table_name(table).into_paginator();
    let mut items: Vec<Item> = pages.items().send().try_collect().await.unwrap();
    items.retain(|item| text(item, "type") == kind);
    items.sort_by_key(|item| format!("{} {}", text(item, "PK"), text(item, "SK")));
    items
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map_or("", String::as_str)
}

/// The entity of an item.
pub(crate) fn data(item: &Item) -> Value {
    serde_json::from_str(text(item, "data")).unwrap()
}

/// Writes an item with other `data`, whatever that is, past everything that checks it.
pub(crate) async fn plant(app: &TestApp, mut item: Item, data: impl Into<String>) {
    item.insert("data".to_owned(), AttributeValue::S(data.into()));
    let dynamodb = app.platform.services().dynamodb;
    let put = dynamodb.put_item().table_name(TABLE).set_item(Some(item));
    put.send().await.unwrap();
}
