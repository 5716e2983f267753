//! Indexes that lag behind their tables, as those of DynamoDB do and the embedded one's do not.
//!
//! A second DynamoDB gets every write some time after the first, as the item that came of it, and answers the queries of
//! indexes. What they find is therefore what a table held some time ago, in every respect.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use dynoxide::Database;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::Upstream;

#[derive(Clone)]
pub(super) struct LaggingIndexes {
    source: Upstream,
    copy: Upstream,
    /// The names of each table's key attributes.
    keys: HashMap<String, Vec<String>>,
    changes: UnboundedSender<Change>,
    /// Held from reading an item to its place in `changes`, which are therefore in the order of the table's own states.
    turn: Arc<Mutex<()>>,
}

/// An item as it stood at a moment.
struct Change {
    seen: Instant,
    table: String,
    key: Value,
    item: Option<Value>,
}

impl LaggingIndexes {
    /// Those of the tables that `source` has. They must be empty.
    pub(super) async fn of(source: Upstream, lag: Duration) -> Self {
        let database = Database::memory().expect("a database in memory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let copy = Upstream::at(listener.local_addr().expect("an address"));
        let mut keys = HashMap::new();
        let tables = source.call("ListTables", &json!({})).await;
        for name in tables["TableNames"].as_array().expect("a list") {
            let described = source
                .call("DescribeTable", &json!({ "TableName": name }))
                .await;
            let table = &described["Table"];
            let mut request = json!({
                "TableName": name,
                "KeySchema": table["KeySchema"],
                "AttributeDefinitions": table["AttributeDefinitions"],
                "BillingMode": "PAY_PER_REQUEST",
            });
            if let Some(indexes) = table["GlobalSecondaryIndexes"].as_array() {
                let indexes = indexes.iter().map(|index| {
                    json!({
                        "IndexName": index["IndexName"],
                        "KeySchema": index["KeySchema"],
                        "Projection": index["Projection"],
                    })
                });
                request["GlobalSecondaryIndexes"] = indexes.collect();
            }
            let request = serde_json::from_value(request).expect("a request");
            database.create_table(request).expect("the same table");
            let schema = table["KeySchema"].as_array().expect("a list").iter();
            let names = schema.map(|part| part["AttributeName"].as_str().expect("a name"));
            let name = name.as_str().expect("a name").to_owned();
            keys.insert(name, names.map(str::to_owned).collect());
        }
        let (changes, mut received) = unbounded_channel::<Change>();
        let applied = database.clone();
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
        tokio::spawn(async move {
            while let Some(change) = received.recv().await {
                tokio::time::sleep_until(change.seen + lag).await;
                apply(&applied, change);
            }
        });
        #[expect(clippy::disallowed_methods, reason = "no Lambda freezes a test")]
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self {
            source,
            copy,
            keys,
            changes,
            turn: Arc::default(),
        }
    }

    /// The answer to a query of an index.
    pub(super) async fn answer(&self, headers: &HeaderMap, body: Bytes) -> Response {
        self.copy.pass(headers, body).await
    }

    /// Takes note of what a call may have written.
    pub(super) async fn written(&self, operation: &str, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for (table, key) in self.touched(operation, &body) {
            let _turn = self.turn.lock().await;
            let read = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
            let mut read = self.source.call("GetItem", &read).await;
            let item = Some(read["Item"].take()).filter(|item| !item.is_null());
            let change = Change {
                seen: Instant::now(),
                table,
                key,
                item,
            };
            // Fails when the test is over.
            let _ = self.changes.send(change);
        }
    }

    fn touched(&self, operation: &str, body: &Value) -> Vec<(String, Value)> {
        let of_item = |table: &str, item: &Value| {
            let names = self.keys[table].iter();
            let key = names.map(|name| (name.clone(), item[name].clone()));
            (table.to_owned(), key.collect::<Value>())
        };
        let one = |write: &Value| {
            let table = write["TableName"].as_str().unwrap_or_default();
            match write.get("Item") {
                Some(item) => of_item(table, item),
                None => (table.to_owned(), write["Key"].clone()),
            }
        };
        match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" => vec![one(body)],
            "TransactWriteItems" => {
                let writes = body["TransactItems"].as_array().into_iter().flatten();
                let writes = writes.filter_map(Value::as_object).flatten();
                let writes = writes.filter(|(verb, _)| *verb != "ConditionCheck");
                writes.map(|(_, write)| one(write)).collect()
            }
            "BatchWriteItem" => {
                let tables = body["RequestItems"].as_object().into_iter().flatten();
                let writes = tables.flat_map(|(table, writes)| {
                    let writes = writes.as_array().into_iter().flatten();
                    writes.map(|write| match write.get("PutRequest") {
                        Some(put) => of_item(table, &put["Item"]),
                        None => (table.clone(), write["DeleteRequest"]["Key"].clone()),
                    })
                });
                writes.collect()
            }
            _ => Vec::new(),
        }
    }
}

fn apply(database: &Database, change: Change) {
    let Change {
        table, key, item, ..
    } = change;
    match item {
        Some(item) => {
            let put = json!({ "TableName": table, "Item": item });
            let put = serde_json::from_value(put).expect("a request");
            database.put_item(put).expect("a copy of an item");
        }
        None => {
            let delete = json!({ "TableName": table, "Key": key });
            let delete = serde_json::from_value(delete).expect("a request");
            database.delete_item(delete).expect("a copy of a deletion");
        }
    }
}
