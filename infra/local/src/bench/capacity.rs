//! What calls to DynamoDB are billed as: request units, by the rules of on-demand tables.

use serde_json::Value;

use crate::Call;

/// Bytes that one unit covers.
const WRITE_BYTES: usize = 1024;
const READ_BYTES: usize = 4096;

/// Request units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Units {
    pub(super) read: f64,
    pub(super) write: f64,
    /// Items that were written, indexes not counted.
    pub(super) items: usize,
}

impl std::iter::Sum for Units {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            read: sum.read + one.read,
            write: sum.write + one.write,
            items: sum.items + one.items,
        })
    }
}

impl Units {
    /// What a call is billed as. Item sizes are those of its JSON, which has a little more to it than DynamoDB counts.
    pub(super) fn of(call: &Call) -> Self {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        match call.operation.as_str() {
            "GetItem" | "Query" | "BatchGetItem" => {
                let strong = body["ConsistentRead"] == true;
                let units = call.answered.div_ceil(READ_BYTES).max(1) as f64;
                Self {
                    read: if strong { units } else { units / 2.0 },
                    ..Self::default()
                }
            }
            // Both phases of a transaction are billed.
            "TransactWriteItems" => {
                let items = body["TransactItems"].as_array().into_iter().flatten();
                let once: Self = items
                    .filter_map(Value::as_object)
                    .flatten()
                    .map(|(_, write)| written(write))
                    .sum();
                Self {
                    write: once.write * 2.0,
                    ..once
                }
            }
            "PutItem" | "UpdateItem" | "DeleteItem" => written(&body),
            _ => Self::default(),
        }
    }
}

/// One write: the item, and once more for every index that it stands in.
fn written(write: &Value) -> Units {
    let size = |value: &Value| value.to_string().len().div_ceil(WRITE_BYTES).max(1);
    let item = &write["Item"];
    let indexes = ["GSI1PK", "GSI2PK", "GSI3PK"];
    let indexes = indexes
        .iter()
        .filter(|name| item.get(**name).is_some())
        .count();
    let units = if item.is_null() {
        size(&write["ExpressionAttributeValues"])
    } else {
        size(item)
    };
    Units {
        read: 0.0,
        write: (units * (1 + indexes)) as f64,
        items: 1,
    }
}
