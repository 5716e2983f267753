//! Everything of a tenant, in tables and bucket.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use testkit::TestApp;

/// All items, as `table/PK/SK`, and all objects, as `s3/key`, with their text. The counters table is left out, all of
/// whose items expire.
pub(super) struct Everything(BTreeMap<String, String>);

impl Everything {
    pub(super) async fn of(app: &TestApp) -> Self {
        let services = app.platform.services();
        let tables = &services.config.tables;
        let mut found = BTreeMap::new();
        for table in [&tables.records, &tables.counters, &tables.logs] {
            let mut start = None;
            loop {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "looks at everything, once, in a test"
                )]
                let scan = services.dynamodb.scan().table_name(table);
                let page = scan.set_exclusive_start_key(start).send().await.unwrap();
                for item in page.items.unwrap_or_default() {
                    let text = |name: &str| item[name].as_s().unwrap().clone();
                    let (partition, sort) = (text("PK"), text("SK"));
                    if *table == tables.counters {
                        assert!(item.contains_key("expires"), "{partition} stays for ever");
                        continue;
                    }
                    found.insert(format!("{table}/{partition}/{sort}"), shown(&item));
                }
                start = page.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
        }
        let list = services.s3.list_objects_v2();
        let listed = list.bucket(&services.config.files_bucket).send().await;
        for object in listed.unwrap().contents.unwrap_or_default() {
            let key = object.key.unwrap();
            found.insert(format!("s3/{key}"), key);
        }
        Self(found)
    }

    /// Those of which some part names one of `ids`.
    pub(super) fn naming(&self, ids: &BTreeSet<String>) -> Self {
        let names = |(key, text): &(&String, &String)| {
            let mut words = key
                .split(|c: char| !is_of_id(c))
                .chain(text.split(|c: char| !is_of_id(c)));
            words.any(|word| ids.contains(word))
        };
        let found = self.0.iter().filter(names);
        Self(
            found
                .map(|(key, text)| (key.clone(), text.clone()))
                .collect(),
        )
    }

    /// Every id and every hash that is named anywhere.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        let texts = self.0.iter().flat_map(|(key, text)| [key, text]);
        let words = texts.flat_map(|text| text.split(|c: char| !is_of_id(c)));
        let is_id =
            |word: &&str| word.len() == 36 && word.matches('-').count() == 4 || word.len() == 64;
        words.filter(is_id).map(str::to_owned).collect()
    }

    pub(super) fn keys(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The kinds of items: their keys without what is different in each.
    pub(super) fn kinds(&self) -> BTreeSet<String> {
        let kind = |key: &String| {
            let words = key.split(['/', '#']);
            let fixed = words.filter(|word| {
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    && !word.is_empty()
            });
            fixed.collect::<Vec<_>>().join(" ")
        };
        self.0.keys().map(kind).collect()
    }
}

fn is_of_id(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '-'
}

fn shown(item: &std::collections::HashMap<String, AttributeValue>) -> String {
    let values = item.values().map(|value| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
        value => format!("{value:?}"),
    });
    values.collect::<Vec<_>>().join(" ")
}
