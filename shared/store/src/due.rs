//! The due index: one place to look for everything that must happen later.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use domain::Result;
use domain::ids::{AgentId, OrganizationId, RunId, TokenId, WorkspaceId};
use futures::future::join_all;

use crate::Store;
use crate::aws_calls::{Call, aws_error};
use crate::item::text;
use crate::keys::{self, Index};

/// Something whose time has come, or comes soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueItem {
    pub at: DateTime<Utc>,
    pub kind: DueKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueKind {
    /// A run that may have been forgotten.
    Run(WorkspaceId, RunId),
    /// An agent whose schedule fires.
    Agent(WorkspaceId, AgentId),
    /// A token that runs out.
    Token(OrganizationId, TokenId),
}

impl Store {
    /// The items that are due until `until`, at most `limit` of each of the index's sixteen partitions, oldest first.
    ///
    /// The index may lag behind the items: a caller that acts on a row claims it on the item itself. A partition that cannot be read
    /// now is left out: what is due there is still due the next time.
    ///
    /// # Errors
    /// `Unavailable` when none of the partitions can be read.
    pub async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DueItem>> {
        let shards = (0..keys::DUE_SHARDS).map(|shard| self.due_in_shard(shard, until, limit));
        let mut due = Vec::new();
        let mut failures = Vec::new();
        for (shard, found) in (0..).zip(join_all(shards).await) {
            match found {
                Ok(found) => due.extend::<Vec<DueItem>>(found),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(due.shard = shard, %error, source, "a part of what is due cannot be read");
                    failures.push(error);
                }
            }
        }
        if failures.len() == usize::from(keys::DUE_SHARDS) {
            return Err(failures.swap_remove(0));
        }
        due.sort_by_key(|item| item.at);
        Ok(due)
    }

    async fn due_in_shard(
        &self,
        shard: u8,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DueItem>> {
        let mut due = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .index_name(Index::Due.name())
                .key_condition_expression(format!(
                    "{} = :shard AND {} < :until",
                    Index::Due.partition(),
                    Index::Due.sort()
                ))
                .expression_attribute_values(":shard", AttributeValue::S(keys::due_shard(shard)))
                .expression_attribute_values(":until", AttributeValue::S(keys::above_time(until)))
                .limit(i32::try_from(limit - due.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let output = query.sent().await.map_err(aws_error)?;
            let rows = output.items.unwrap_or_default();
            due.extend(
                rows.iter()
                    .filter_map(|item| text(item, Index::Due.sort()).and_then(parse)),
            );
            start = output.last_evaluated_key;
            if start.is_none() || due.len() >= limit {
                return Ok(due);
            }
        }
    }
}

fn parse(sort: &str) -> Option<DueItem> {
    let (at, kind, tenant, id) = keys::due_from(sort)?;
    let kind = match kind {
        "run" => DueKind::Run(tenant.parse().ok()?, id.parse().ok()?),
        "agent" => DueKind::Agent(tenant.parse().ok()?, id.parse().ok()?),
        "token" => DueKind::Token(tenant.parse().ok()?, id.parse().ok()?),
        _ => return None,
    };
    Some(DueItem { at, kind })
}
