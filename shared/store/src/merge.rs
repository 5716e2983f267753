//! Reading a list that is spread over partitions: side by side, and merged by age.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::Select;
use domain::Result;
use futures::future::try_join_all;

use crate::Store;
use crate::aws_calls::{Call, aws_error};
use crate::item::{Item, text};
use crate::list::List;

/// Rows that a partition of several gives beyond its share: ids spread evenly, but not exactly.
const SPREAD: usize = 8;

/// Reads the rows of a list's partitions as one list.
pub(crate) struct Reader<'a> {
    store: &'a Store,
    list: &'a List<'a>,
    cursor: Option<String>,
    merge: Merge<'a>,
}

/// The rows at hand of several partitions.
struct Merge<'a> {
    sort: &'static str,
    shards: Vec<Shard<'a>>,
    /// The sort key of the last row given: a row that moves between partitions may be seen in both.
    last: Option<String>,
}

struct Shard<'a> {
    partition: &'a str,
    rows: VecDeque<Item>,
    /// The key to read on from.
    start: Option<Item>,
    is_read: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a Store, list: &'a List<'a>, cursor: Option<String>) -> Self {
        let shards = list.partitions.iter().map(|partition| Shard {
            partition,
            rows: VecDeque::new(),
            start: None,
            is_read: false,
        });
        let merge = Merge {
            sort: list.attributes().1,
            shards: shards.collect(),
            // The cursor's own row lies within the bounds.
            last: cursor
                .as_ref()
                .map(|cursor| format!("{}{cursor}", list.prefix)),
        };
        Self {
            store,
            list,
            cursor,
            merge,
        }
    }

    /// The next row. When one of the partitions has to be read for it, `wanted` rows are hoped for.
    pub(crate) async fn next(&mut self, wanted: usize) -> Result<Option<Item>> {
        loop {
            self.fill(wanted).await?;
            match self.merge.pop() {
                Some(row) => return Ok(Some(row)),
                None if self.merge.shards.iter().all(Shard::is_over) => return Ok(None),
                None => {}
            }
        }
    }

    /// Passes over the first `count` rows; `false` when there are not more than that.
    pub(crate) async fn skip(&mut self, count: u32) -> Result<bool> {
        if let [shard] = &mut self.merge.shards[..] {
            // What is skipped is not carried here: only the last key of it is.
            let mut left = count;
            while left > 0 {
                let Some(query) = self.store.query(self.list, shard.partition, None) else {
                    return Ok(false);
                };
                let query = query
                    .select(Select::Count)
                    .limit(i32::try_from(left).unwrap_or(i32::MAX))
                    .set_exclusive_start_key(shard.start.take());
                let output = query.sent().await.map_err(aws_error)?;
                left = left.saturating_sub(u32::try_from(output.count).unwrap_or(0));
                shard.start = output.last_evaluated_key;
                if shard.start.is_none() {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        for left in (1..=count).rev() {
            if self.next(left as usize).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads on, side by side, in those partitions of which nothing is at hand.
    async fn fill(&mut self, wanted: usize) -> Result<()> {
        let (store, list) = (self.store, self.list);
        let cursor = self.cursor.as_deref();
        // One more for the cursor's own row.
        let mut limit = wanted + usize::from(cursor.is_some());
        if list.partitions.len() > 1 {
            limit = limit.min(2 * wanted / list.partitions.len() + SPREAD);
        }
        let shards = self.merge.shards.iter_mut();
        let empty = shards.filter(|shard| shard.rows.is_empty() && !shard.is_read);
        try_join_all(empty.map(|shard| shard.read(store, list, cursor, limit))).await?;
        Ok(())
    }
}

impl Merge<'_> {
    /// Takes the newest row, as long as no partition that is not read to its end has run out of rows.
    fn pop(&mut self) -> Option<Item> {
        let sort = self.sort;
        loop {
            if self.shards.iter().any(Shard::is_empty_for_now) {
                return None;
            }
            let key = |shard: &Shard<'_>| {
                let row = shard.rows.front()?;
                text(row, sort).map(str::to_owned)
            };
            let newest = self.shards.iter_mut().max_by_key(|shard| key(shard))?;
            let row = newest.rows.pop_front()?;
            let key = text(&row, sort).map(str::to_owned);
            if key != self.last {
                self.last = key;
                return Some(row);
            }
        }
    }
}

impl Shard<'_> {
    fn is_empty_for_now(&self) -> bool {
        self.rows.is_empty() && !self.is_read
    }

    fn is_over(&self) -> bool {
        self.rows.is_empty() && self.is_read
    }

    async fn read(
        &mut self,
        store: &Store,
        list: &List<'_>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<()> {
        while self.is_empty_for_now() {
            let Some(query) = store.query(list, self.partition, cursor) else {
                self.is_read = true;
                return Ok(());
            };
            let query = query
                .consistent_read(list.index.is_none())
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(self.start.take());
            let output = query.sent().await.map_err(aws_error)?;
            self.rows.extend(output.items.unwrap_or_default());
            self.start = output.last_evaluated_key;
            self.is_read = self.start.is_none();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;
    use crate::keys::SORT;

    fn shard(keys: &[&str], is_read: bool) -> Shard<'static> {
        let row =
            |key: &&str| Item::from([(SORT.to_owned(), AttributeValue::S((*key).to_owned()))]);
        Shard {
            partition: "",
            rows: keys.iter().map(row).collect(),
            start: None,
            is_read,
        }
    }

    fn popped(merge: &mut Merge<'_>) -> Vec<String> {
        let rows = std::iter::from_fn(|| merge.pop());
        rows.map(|row| text(&row, SORT).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn partitions_are_one_list_in_which_no_row_is_twice() {
        let mut merge = Merge {
            sort: SORT,
            shards: vec![
                shard(&["9", "5", "4", "1"], true),
                shard(&["8", "5"], false),
                shard(&[], true),
            ],
            last: Some("9".to_owned()),
        };
        // What comes below 5 in the second one is not known yet.
        assert_eq!(popped(&mut merge), ["8", "5"]);
        merge.shards[1] = shard(&["3", "1"], true);
        assert_eq!(popped(&mut merge), ["4", "3", "1"]);
    }
}
