//! Functions that die between their work and their answer.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::TestApp;

impl TestApp {
    /// Makes it look as though functions had died between their work and the answer to each request that had an idempotency
    /// key, and sets the clock two minutes on, to when they are given up.
    pub async fn lose_answers(&self) {
        let services = self.platform.services();
        let table = &services.config.tables.counters;
        #[expect(
            clippy::disallowed_methods,
            reason = "looks at everything, once, in a test"
        )]
        let scan = services.dynamodb.scan().table_name(table);
        let items = scan.send().await.expect("items").items.unwrap_or_default();
        let is_kept = |item: &&HashMap<_, AttributeValue>| {
            item["PK"]
                .as_s()
                .is_ok_and(|key| key.starts_with("idempotency#"))
        };
        for item in items.iter().filter(is_kept) {
            // The response comes last. The order counts: the next attempt must see what is stored.
            let data = item["data"].as_s().expect("a text");
            let (attempt, _) = data.split_once("\"response\":").expect("an attempt");
            let attempt = format!("{attempt}\"response\":null}}");
            let mut item = item.clone();
            item.insert("data".to_owned(), AttributeValue::S(attempt));
            let put = services.dynamodb.put_item().table_name(table);
            let put = put.set_item(Some(item)).send().await;
            put.expect("an item that is written");
        }
        self.clock.advance(chrono::TimeDelta::minutes(2));
    }
}
