//! Billing of calls to DynamoDB: request units, by the rules of on-demand tables.

use serde_json::Value;

use crate::dynamodb_recorder::Call;

/// Request units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Units {
    pub(super) read: f64,
    pub(super) write: f64,
    /// Items that were written, indexes not counted.
    pub(super) items: f64,
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

impl std::ops::Div<u32> for Units {
    type Output = Self;

    fn div(self, count: u32) -> Self {
        let count = f64::from(count);
        Self {
            read: self.read / count,
            write: self.write / count,
            items: self.items / count,
        }
    }
}

impl Units {
    /// The units that a call has consumed, indexes and both phases of a transaction included, as DynamoDB says.
    pub(super) fn of(call: &Call) -> Self {
        let tables = call.consumed.iter();
        let units: f64 = tables
            .filter_map(|table| table["CapacityUnits"].as_f64())
            .sum();
        match call.operation.as_str() {
            "GetItem" | "Query" | "BatchGetItem" => Self {
                read: units,
                ..Self::default()
            },
            "TransactWriteItems" => {
                let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
                Self {
                    write: units,
                    items: body["TransactItems"]
                        .as_array()
                        .map_or(0.0, |items| items.len() as f64),
                    ..Self::default()
                }
            }
            "PutItem" | "UpdateItem" | "DeleteItem" => Self {
                write: units,
                items: 1.0,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}
