//! Removing rows and objects: of runs past their retention, and of everything that a deleted workspace or organization had.
//!
//! There is no cursor to store: what is still there is what is left to do, every deletion of an item can be repeated, and an item
//! that leads to others goes after them. So a job that is killed anywhere goes on by starting again, and one that has run a
//! pass to its end runs another, until a pass finds nothing: by then the indexes have caught up as well.
//!
//! Of a **workspace**:
//!
//! | items | found by |
//! |---|---|
//! | runs: journal, pieces of answers, input, output, messages, and the head last | the index of runs by status |
//! | objects in S3, those included that no item names | their prefix, `v/<workspace>/` |
//! | usage of agents | the versions of the workspace's agents, deleted agents included |
//! | versions, agents, deletions of agents | their partitions |
//! | log of each token; its rows under the hash of its secret and among those of its maker; the token or its tombstone | the organization's tokens |
//! | places of live tokens | their partition |
//! | audit log, request log and its counts | their partitions: 13 months, 91 days, four shards |
//! | the count of its agents | the organization's plan |
//!
//! Of an **organization**, once its workspaces are deletions of their own: members, users and addresses, tokens as above,
//! credentials, plan and usage, each by its partition.
//!
//! What is left runs out by itself, and names nothing that could be read: counters of rate limits (three minutes), responses
//! kept for an `Idempotency-Key` (a day), sessions, and invitations (seven days).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use chrono::{DateTime, Days, Months, TimeDelta, Utc};
use domain::ids::{AgentId, OrganizationId, RunId, WorkspaceId};
use domain::run::RunStatus;
use domain::token::Token;
use domain::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use rand::RngExt;
use tokio::time::Instant;

use crate::Store;
use crate::audit::start_of_month;
use crate::deletions::key_of;
use crate::ending::ways_to;
use crate::item::{Item, aws_error, entity, low, sent, sort_key, text};
use crate::keys::{self, Index, Key, PARTITION, RUN_HEAD_ITSELF, SORT};
use crate::large::{REFERENCE, objects_of_run, objects_of_workspace};

/// How many items one call deletes: DynamoDB's limit.
const BATCH: usize = 25;
/// How many calls are under way at a time.
const CONCURRENCY: usize = 8;
/// How often a batch is sent of which DynamoDB leaves something undone.
const ATTEMPTS: u32 = 8;
/// How many rows one query names.
const PAGE: i32 = 500;
/// How far ahead the clock of another machine may be.
const AHEAD: TimeDelta = TimeDelta::hours(1);

impl Store {
    /// Removes everything that a deleted workspace had; `true` once nothing is left, `false` when the time was over before.
    pub async fn remove_workspace(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
        until: Instant,
    ) -> Result<bool> {
        loop {
            let pass = Pass::new(self, until);
            if !pass.workspace(organization, workspace, now).await? {
                return Ok(false);
            }
            if pass.found_nothing() {
                return Ok(true);
            }
        }
    }

    /// Removes what a deleted organization had beside its workspaces; the result is that of [`Self::remove_workspace`].
    pub async fn remove_organization(
        &self,
        organization: OrganizationId,
        until: Instant,
    ) -> Result<bool> {
        loop {
            let pass = Pass::new(self, until);
            if !pass.organization(organization).await? {
                return Ok(false);
            }
            if pass.found_nothing() {
                return Ok(true);
            }
        }
    }

    /// Removes a run with its journal, messages and large values; `false` when the time was over before.
    pub async fn remove_run(
        &self,
        workspace: WorkspaceId,
        run: RunId,
        until: Instant,
    ) -> Result<bool> {
        let pass = Pass::new(self, until);
        let objects = objects_of_run(workspace, run);
        pass.run(&keys::run(workspace, run), Some(&objects)).await
    }

    /// Deletes items by their keys, whether or not they are there.
    pub(crate) async fn remove_keys(&self, table: &str, keys: Vec<Key>) -> Result<()> {
        let batches: Vec<_> = keys
            .chunks(BATCH)
            .map(|batch| self.remove_batch(table, batch))
            .collect();
        stream::iter(batches)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn remove_batch(&self, table: &str, keys: &[Key]) -> Result<()> {
        let delete = |key: &Key| {
            let delete = DeleteRequest::builder().set_key(Some(key.attributes()));
            let delete = delete.build().map_err(Error::internal)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let mut left = keys.iter().map(delete).collect::<Result<Vec<_>>>()?;
        for attempt in 0..ATTEMPTS {
            let write = self.dynamodb.batch_write_item().request_items(table, left);
            let output = sent(write.send()).await.map_err(aws_error)?;
            let unprocessed = output.unprocessed_items.unwrap_or_default();
            left = unprocessed.into_values().flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
            let wait = rand::rng().random_range(1..=(20 << attempt));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        Err(Error::unavailable(
            "DynamoDB kept leaving deletions of a batch undone",
        ))
    }

    /// A page of a partition and where the next page begins: these attributes, or all where none are named.
    pub(crate) async fn partition_page(
        &self,
        table: &str,
        partition: &str,
        attributes: &[&str],
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        // Some are reserved words.
        let names = (0..).zip(attributes);
        let names: Vec<(String, String)> = names
            .map(|(position, name)| (format!("#a{position}"), (*name).to_owned()))
            .collect();
        let aliases: Vec<&str> = names.iter().map(|(alias, _)| alias.as_str()).collect();
        let projection = (!aliases.is_empty()).then(|| aliases.join(", "));
        let query = self
            .dynamodb
            .query()
            .table_name(table)
            .key_condition_expression(format!("{PARTITION} = :partition"))
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .set_projection_expression(projection)
            .set_expression_attribute_names(
                Some(names.into_iter().collect()).filter(|_| !attributes.is_empty()),
            )
            .consistent_read(true)
            .limit(PAGE)
            .set_exclusive_start_key(start);
        let output = sent(query.send()).await.map_err(aws_error)?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }

    /// The keys of a page of an index, of rows whose sort key begins with `prefix`, and where the next page begins.
    pub(crate) async fn index_page(
        &self,
        index: Index,
        partition: &str,
        prefix: &str,
        start: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        let sort = index.sort();
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(index.name())
            .key_condition_expression(format!(
                "{} = :partition AND {sort} BETWEEN :low AND :high",
                index.partition()
            ))
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .expression_attribute_values(":low", AttributeValue::S(low(prefix)))
            .expression_attribute_values(":high", AttributeValue::S(format!("{prefix}~")))
            .projection_expression(format!("{PARTITION}, {SORT}, {sort}"))
            .limit(PAGE)
            .set_exclusive_start_key(start);
        let output = sent(query.send()).await.map_err(aws_error)?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }
}

/// One way through everything that there is to remove. Its methods say `false` when the time was over before their end.
struct Pass<'a> {
    store: &'a Store,
    until: Instant,
    removed: AtomicUsize,
}

impl<'a> Pass<'a> {
    fn new(store: &'a Store, until: Instant) -> Self {
        Self {
            store,
            until,
            removed: AtomicUsize::new(0),
        }
    }

    fn found_nothing(&self) -> bool {
        self.removed.load(Ordering::Relaxed) == 0
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn records(&self) -> &'a str {
        &self.store.tables.records
    }

    fn logs(&self) -> &'a str {
        &self.store.tables.logs
    }

    async fn workspace(
        &self,
        organization: OrganizationId,
        workspace: WorkspaceId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(self.runs(workspace).await?
            && self
                .objects(&objects_of_workspace(workspace), false)
                .await?
            && self.versions(workspace).await?
            && self
                .partition(self.records(), &keys::agents(workspace))
                .await?
            && self.tokens(organization, Some(workspace)).await?
            && self
                .partition(self.records(), &keys::token_places(workspace))
                .await?
            && self.log_partitions(workspace, now).await?
            && self
                .partition(self.records(), &keys::deletions_in(workspace))
                .await?
            && self.store.forget_workspace(organization, workspace).await?)
    }

    async fn organization(&self, organization: OrganizationId) -> Result<bool> {
        let usage = (0..keys::USAGE_SHARDS)
            .map(|shard| keys::organization_usage_shard(organization, shard));
        let own = keys::organization(organization).partition;
        Ok(self.tokens(organization, None).await?
            && self.partition(self.records(), &own).await?
            && self
                .partition(self.records(), &keys::credentials(organization))
                .await?
            && self.partitions(self.logs(), usage.collect()).await?)
    }

    async fn keys(&self, table: &str, keys: Vec<Key>) -> Result<()> {
        self.removed.fetch_add(keys.len(), Ordering::Relaxed);
        self.store.remove_keys(table, keys).await
    }

    /// Removes a whole partition.
    async fn partition(&self, table: &str, partition: &str) -> Result<bool> {
        loop {
            let page = self
                .store
                .partition_page(table, partition, &[PARTITION, SORT], None);
            let (items, next) = page.await?;
            self.keys(table, items.iter().filter_map(key_of).collect())
                .await?;
            if next.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes whole partitions, several at a time.
    async fn partitions(&self, table: &str, partitions: Vec<String>) -> Result<bool> {
        let removals: Vec<_> = partitions
            .iter()
            .map(|partition| self.partition(table, partition))
            .collect();
        all(removals).await
    }

    async fn runs(&self, workspace: WorkspaceId) -> Result<bool> {
        for status in RunStatus::ALL {
            let partition = keys::runs_in_status(workspace, status);
            let mut start = None;
            loop {
                let page = self.store.index_page(Index::Status, &partition, "", start);
                let (rows, next) = page.await?;
                let runs: BTreeSet<&str> =
                    rows.iter().filter_map(|row| text(row, PARTITION)).collect();
                // Their objects go with the workspace's.
                let removals: Vec<_> = runs.into_iter().map(|run| self.run(run, None)).collect();
                if !all(removals).await? {
                    return Ok(false);
                }
                start = next;
                if start.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Removes a run, whose partition this is: the objects whose keys begin with `objects` before the rows that lead to them,
    /// and the head, which leads to all, at the end.
    async fn run(&self, partition: &str, objects: Option<&str>) -> Result<bool> {
        let attributes = [PARTITION, SORT, REFERENCE];
        let (mut start, mut head) = (None, None);
        loop {
            if self.is_over() {
                return Ok(false);
            }
            let page = self
                .store
                .partition_page(self.records(), partition, &attributes, start);
            let (items, next) = page.await?;
            let has_large = items.iter().any(|item| item.contains_key(REFERENCE));
            if let Some(objects) = objects.filter(|_| has_large)
                && !self.objects(objects, true).await?
            {
                return Ok(false);
            }
            let (heads, rest): (Vec<_>, Vec<_>) = items
                .iter()
                .partition(|item| sort_key(item) == RUN_HEAD_ITSELF);
            head = head.or_else(|| heads.first().copied().and_then(key_of));
            self.keys(
                self.records(),
                rest.into_iter().filter_map(key_of).collect(),
            )
            .await?;
            start = next;
            if start.is_none() {
                break;
            }
        }
        self.keys(self.records(), head.into_iter().collect())
            .await?;
        Ok(true)
    }

    /// Removes the objects whose keys begin with `prefix`, which ends with a slash; `alone`: none has another slash behind it.
    async fn objects(&self, prefix: &str, alone: bool) -> Result<bool> {
        let (s3, bucket) = (&self.store.s3, &*self.store.bucket);
        loop {
            if self.is_over() {
                return Ok(false);
            }
            let list = s3
                .list_objects_v2()
                .bucket(bucket)
                .prefix(prefix)
                .set_delimiter(alone.then(|| "/".to_owned()));
            let listed = sent(list.send()).await.map_err(aws_error)?;
            let objects = listed.contents.unwrap_or_default();
            if objects.is_empty() {
                return Ok(true);
            }
            self.removed.fetch_add(objects.len(), Ordering::Relaxed);
            let named = objects.into_iter().filter_map(|object| {
                let object = ObjectIdentifier::builder().set_key(object.key);
                object.build().ok()
            });
            let delete = Delete::builder()
                .set_objects(Some(named.collect()))
                .quiet(true)
                .build()
                .map_err(Error::internal)?;
            let delete = s3.delete_objects().bucket(bucket).delete(delete);
            let deleted = sent(delete.send()).await.map_err(aws_error)?;
            if let Some(error) = deleted.errors().first() {
                let why = error.message().unwrap_or("no reason given").to_owned();
                return Err(Error::unavailable(format!(
                    "an object is not deleted: {why}"
                )));
            }
        }
    }

    /// Removes the versions of all agents that a workspace has had, and before them what is found by them.
    async fn versions(&self, workspace: WorkspaceId) -> Result<bool> {
        let partition = keys::agent_versions(workspace);
        let of = Index::Children.partition();
        let attributes = [PARTITION, SORT, of];
        loop {
            let page = self
                .store
                .partition_page(self.records(), &partition, &attributes, None);
            let (items, next) = page.await?;
            let agents: BTreeSet<AgentId> = items
                .iter()
                .filter_map(|item| keys::agent_of_versions(text(item, of)?))
                .collect();
            let usage = agents
                .into_iter()
                .map(|agent| keys::agent_usage_days(workspace, agent));
            if !self.partitions(self.logs(), usage.collect()).await? {
                return Ok(false);
            }
            self.keys(self.records(), items.iter().filter_map(key_of).collect())
                .await?;
            if next.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes the tokens of an organization, or of one workspace of it, tombstones and logs included.
    async fn tokens(
        &self,
        organization: OrganizationId,
        workspace: Option<WorkspaceId>,
    ) -> Result<bool> {
        let partition = keys::tokens_of_organization(organization);
        let mut start = None;
        loop {
            let page = self
                .store
                .partition_page(self.records(), &partition, &[], start);
            let (items, next) = page.await?;
            let tokens = items.iter().map(entity).collect::<Result<Vec<Token>>>()?;
            let tokens: Vec<Token> = tokens
                .into_iter()
                .filter(|token| workspace.is_none_or(|workspace| token.workspace_id == workspace))
                .collect();
            let logs = tokens.iter().map(|token| keys::token_audit(token.id));
            if !self.partitions(self.logs(), logs.collect()).await? {
                return Ok(false);
            }
            let ways = tokens.iter().flat_map(ways_to).collect();
            self.store.remove_keys(self.records(), ways).await?;
            let owned = tokens
                .iter()
                .map(|token| keys::token(organization, token.id));
            self.keys(self.records(), owned.collect()).await?;
            start = next;
            if start.is_none() {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
        }
    }

    /// Removes the audit log and the request log of a workspace.
    async fn log_partitions(&self, workspace: WorkspaceId, now: DateTime<Utc>) -> Result<bool> {
        let last = now + AHEAD;
        let first = workspace.created_at().max(now - TimeDelta::days(400));
        let months =
            (0..).map_while(|month| start_of_month(first).checked_add_months(Months::new(month)));
        let months = months.take_while(|month| *month <= last);
        let audit = months.map(|month| keys::audit_month(workspace, month));
        let first = workspace
            .created_at()
            .max(now - TimeDelta::days(92))
            .date_naive();
        let days = (0..).map_while(|day| first.checked_add_days(Days::new(day)));
        let days = days.take_while(|day| *day <= last.date_naive());
        let requests = days.map(|day| keys::activity_day(workspace, day));
        let counts =
            (0..keys::ACTIVITY_SHARDS).map(|shard| keys::activity_count_shard(workspace, shard));
        let partitions = audit.chain(requests).chain(counts).collect();
        self.partitions(self.logs(), partitions).await
    }
}

/// Whether all have come to their end.
async fn all<F: Future<Output = Result<bool>>>(removals: Vec<F>) -> Result<bool> {
    stream::iter(removals)
        .buffer_unordered(CONCURRENCY)
        .try_fold(true, async |all, one| Ok(all && one))
        .await
}
