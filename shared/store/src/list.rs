//! Lists: rows whose sort keys are ids, newest first, in one partition or spread over several.

use chrono::{DateTime, Utc};
use domain::Result;
use domain::ids::AuditId;
use domain::page::Cursor;

use crate::keys::{self, Index, PARTITION, SORT, low};

/// The source of a list's total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    /// Its keys are counted.
    Counted,
    /// It is written with the rows, by [`crate::Transaction::count`]: for lists whose rows come one by one and may go.
    Kept,
    /// For lists that only ever grow, perhaps by many rows at once, so that no item should be written with each of them. How many
    /// rows are older than ten minutes is kept by those who ask, and only what is younger is counted. Without bounds only.
    Growing(DateTime<Utc>),
}

/// A list. One that has an index gives the items that its rows stand for.
#[derive(Clone)]
pub(crate) struct List<'a> {
    pub(crate) table: &'a str,
    pub(crate) index: Option<Index>,
    pub(crate) partitions: Vec<String>,
    /// The prefix of every sort key.
    pub(crate) prefix: &'a str,
    /// Bounds within the prefix, both inclusive; ids of the oldest and the newest row wanted.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) total: Total,
    /// The sort key, behind the prefix, of the row that a cursor names.
    pub(crate) place_of: fn(&Cursor) -> Result<String>,
}

/// That of lists whose rows have UUIDs.
fn place_of_uuid(cursor: &Cursor) -> Result<String> {
    // One type of ids is read like another.
    cursor.id::<AuditId>().map(|id| id.to_string())
}

impl<'a> List<'a> {
    pub(crate) fn new(table: &'a str, partition: String) -> Self {
        Self {
            table,
            index: None,
            partitions: vec![partition],
            prefix: "",
            from: None,
            to: None,
            total: Total::Counted,
            place_of: place_of_uuid,
        }
    }

    pub(crate) fn of_index(table: &'a str, index: Index, partition: String) -> Self {
        Self {
            index: Some(index),
            ..Self::new(table, partition)
        }
    }

    /// The partition and the sort attribute.
    pub(crate) fn attributes(&self) -> (&'static str, &'static str) {
        self.index
            .map_or((PARTITION, SORT), |index| (index.partition(), index.sort()))
    }

    /// The key condition and its values. A cursor is the id of the last row seen, so what follows lies strictly below it;
    /// being only a part of a sort key, it can never lead into another tenant's partition.
    ///
    /// `None` when nothing lies between the bounds: DynamoDB refuses a lower bound above the upper one.
    pub(crate) fn condition(
        &self,
        cursor: Option<&str>,
    ) -> Option<(String, [(&'static str, String); 2])> {
        let (partition, sort) = self.attributes();
        let low = low(&format!(
            "{}{}",
            self.prefix,
            self.from.as_deref().unwrap_or_default()
        ));
        let high = match (cursor, &self.to) {
            (Some(cursor), Some(to)) => cursor.min(to).to_owned(),
            (Some(cursor), None) => cursor.to_owned(),
            (None, Some(to)) => to.clone(),
            (None, None) => keys::AFTER_IDS.to_owned(),
        };
        let high = format!("{}{high}", self.prefix);
        if low > high {
            return None;
        }
        Some((
            format!("{partition} = :partition AND {sort} BETWEEN :low AND :high"),
            [(":low", low), (":high", high)],
        ))
    }
}
