//! The grammar of keys. No other file says PK or SK.
//!
//! Parts are UUIDs, hashes, fixed words and padded numbers: never a user's text, so `#` separates safely.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, NaiveDate, Utc};
use domain::deletion::DeletionTarget;
use domain::digest::sha256_hex;
use domain::ids::{
    AgentId, AgentVersionId, AuditId, CredentialId, OrganizationId, RunId, SessionId, TokenId,
    UserId, WorkspaceId,
};
use domain::model::Provider;
use domain::run::RunStatus;
use domain::token::{TokenHash, TokenKind};

pub(crate) const PARTITION: &str = "PK";
pub(crate) const SORT: &str = "SK";
/// Sorts after all ids.
pub(crate) const AFTER_IDS: &str = "~";
/// The number of partitions that the due index is spread over.
pub(crate) const DUE_SHARDS: u8 = 16;

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) partition: String,
    pub(crate) sort: String,
}

impl Key {
    fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self {
            partition: partition.into(),
            sort: sort.into(),
        }
    }

    pub(crate) fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (
                PARTITION.to_owned(),
                AttributeValue::S(self.partition.clone()),
            ),
            (SORT.to_owned(), AttributeValue::S(self.sort.clone())),
        ])
    }
}

/// The lowest sort key that begins with `prefix`. DynamoDB takes no empty key, and '!' sorts before all of ours.
pub(crate) fn low(prefix: &str) -> String {
    if prefix.is_empty() {
        "!".to_owned()
    } else {
        prefix.to_owned()
    }
}

/// The lowest sort key above `sort` that a key of ours can have: '!' sorts before everything that keys go on with.
pub(crate) fn successor(sort: &str) -> String {
    format!("{sort}!")
}

/// One of the overloaded indexes. They hold keys only: an index is written when an item comes, goes or changes its place in it,
/// and a partition takes 1,000 of these writes a second, whatever the items' size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// Children of something, by age.
    Children,
    /// Runs of a workspace and their messages, by status, and the tokens that are good.
    Status,
    /// Work that must happen later, by time. Sparse.
    Due,
    /// Runs of a workspace, by age. Sparse.
    Recent,
}

impl Index {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Children => "GSI1",
            Self::Status => "GSI2",
            Self::Due => "GSI3",
            Self::Recent => "GSI4",
        }
    }

    pub(crate) fn partition(self) -> &'static str {
        match self {
            Self::Children => "GSI1PK",
            Self::Status => "GSI2PK",
            Self::Due => "GSI3PK",
            Self::Recent => "GSI4PK",
        }
    }

    pub(crate) fn sort(self) -> &'static str {
        match self {
            Self::Children => "GSI1SK",
            Self::Status => "GSI2SK",
            Self::Due => "GSI3SK",
            Self::Recent => "GSI4SK",
        }
    }
}

/// The number of rows of a list. Kept in the transactions that add and remove rows, so that no request counts them.
pub(crate) fn total(list: &str) -> Key {
    Key::new(format!("{list}#total"), "total")
}

/// The place of an item in an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexKey {
    pub(crate) index: Index,
    pub(crate) key: Key,
}

/// The data keys that stored values are sealed with. They belong to the platform, not to a tenant.
pub(crate) fn data_keys() -> Key {
    Key::new("platform", "data_keys")
}

// --- identity

pub(crate) fn user(id: UserId) -> Key {
    Key::new(format!("user#{id}"), "user")
}

/// The companion item that makes an address unique. A hash, since an address is a user's text.
pub(crate) fn email(email: &str) -> Key {
    Key::new(format!("email#{}", sha256_hex(email)), "email")
}

pub(crate) fn organization(id: OrganizationId) -> Key {
    Key::new(format!("organization#{id}"), "organization")
}

/// The plan of an organization, and its usage this month.
pub(crate) fn plan(organization: OrganizationId) -> Key {
    Key::new(format!("organization#{organization}"), "plan")
}

pub(crate) fn workspaces(organization: OrganizationId) -> String {
    format!("organization#{organization}#workspace")
}

pub(crate) fn workspace(organization: OrganizationId, id: WorkspaceId) -> Key {
    Key::new(workspaces(organization), id.to_string())
}

pub(crate) fn members(organization: OrganizationId) -> String {
    format!("organization#{organization}#member")
}

pub(crate) fn member(organization: OrganizationId, user: UserId) -> Key {
    Key::new(members(organization), user.to_string())
}

/// An invitation, by the hash of the code that it was sent with.
pub(crate) fn invitation(code_hash: &str) -> Key {
    Key::new(format!("invitation#{code_hash}"), "invitation")
}

/// In the counters table.
pub(crate) fn session(id: SessionId) -> Key {
    Key::new(format!("session#{id}"), "session")
}

/// In the counters table: that a user has signed in from a network.
pub(crate) fn known_network(user: UserId, network: &str) -> Key {
    Key::new(
        format!("user#{user}#network#{}", sha256_hex(network)),
        "network",
    )
}

// --- tokens

/// The item that a request's token is checked against.
pub(crate) fn token_by_hash(hash: TokenHash) -> Key {
    Key::new(format!("token_hash#{hash}"), "token")
}

pub(crate) fn tokens_of_organization(organization: OrganizationId) -> String {
    format!("organization#{organization}#token")
}

pub(crate) fn token(organization: OrganizationId, id: TokenId) -> Key {
    Key::new(tokens_of_organization(organization), id.to_string())
}

/// The tokens that a user has made, wherever: by which they are found when the user's rights change.
pub(crate) fn tokens_by_maker(user: UserId) -> String {
    format!("user#{user}#token")
}

pub(crate) fn token_by_maker(user: UserId, id: TokenId) -> Key {
    Key::new(tokens_by_maker(user), id.to_string())
}

/// The number of live tokens and keys that a workspace may have: each holds a place.
pub(crate) const TOKEN_PLACES: u8 = 100;

pub(crate) fn token_places(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#token_place")
}

pub(crate) fn token_place(workspace: WorkspaceId, place: u8) -> Key {
    Key::new(token_places(workspace), format!("{place:02}"))
}

/// Tokens with a role are one list, keys with scopes another.
pub(crate) fn tokens_of(workspace: WorkspaceId, kind: TokenKind) -> String {
    let list = if kind.has_role() { "token" } else { "key" };
    format!("workspace#{workspace}#{list}")
}

/// The tokens and keys of a workspace that are good, by when they end.
pub(crate) fn good_tokens(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#good_token")
}

/// One that does not end stands behind all others.
pub(crate) fn good_token(
    workspace: WorkspaceId,
    ends: Option<DateTime<Utc>>,
    id: TokenId,
) -> IndexKey {
    let ends = due_time(ends.unwrap_or(DateTime::<Utc>::MAX_UTC));
    IndexKey {
        index: Index::Status,
        key: Key::new(good_tokens(workspace), format!("{ends}#{id}")),
    }
}

/// Below the sort keys of those that are still good then: one that ends in this very moment is good no more.
pub(crate) fn good_after(time: DateTime<Utc>) -> String {
    above_time(time)
}

pub(crate) fn token_in_workspace(workspace: WorkspaceId, kind: TokenKind, id: TokenId) -> IndexKey {
    IndexKey {
        index: Index::Children,
        key: Key::new(tokens_of(workspace, kind), id.to_string()),
    }
}

pub(crate) fn credentials(organization: OrganizationId) -> String {
    format!("organization#{organization}#credential")
}

pub(crate) fn credential(organization: OrganizationId, id: CredentialId) -> Key {
    Key::new(credentials(organization), id.to_string())
}

/// The credentials that an organization's runs use where a workspace has none of its own.
pub(crate) fn default_credentials(organization: OrganizationId) -> Key {
    Key::new(
        format!("organization#{organization}"),
        "default_credentials",
    )
}

pub(crate) fn credentials_of(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#credential")
}

pub(crate) fn credential_of_workspace(workspace: WorkspaceId, id: CredentialId) -> IndexKey {
    IndexKey {
        index: Index::Children,
        key: Key::new(credentials_of(workspace), id.to_string()),
    }
}

/// A workspace's own active credentials for a provider: what its runs look at first.
pub(crate) fn own_credentials(workspace: WorkspaceId, provider: Provider) -> String {
    format!("workspace#{workspace}#own_credential#{provider}")
}

pub(crate) fn own_credential(workspace: WorkspaceId, provider: Provider, id: CredentialId) -> Key {
    Key::new(own_credentials(workspace, provider), id.to_string())
}

/// In the logs table.
pub(crate) fn token_audit(organization: OrganizationId, token: TokenId) -> String {
    format!("organization#{organization}#token#{token}#audit")
}

// --- agents

pub(crate) fn agents(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#agent")
}

pub(crate) fn agent(workspace: WorkspaceId, id: AgentId) -> Key {
    Key::new(agents(workspace), id.to_string())
}

/// The runs that a workspace's agents are at work on.
pub(crate) fn agent_statuses(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#agent_status")
}

pub(crate) fn agent_status(workspace: WorkspaceId, id: AgentId) -> Key {
    Key::new(agent_statuses(workspace), id.to_string())
}

/// All versions of all agents that a workspace has had.
pub(crate) fn agent_versions(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#agent_version")
}

pub(crate) fn agent_version(workspace: WorkspaceId, id: AgentVersionId) -> Key {
    Key::new(agent_versions(workspace), id.to_string())
}

pub(crate) fn versions_of(workspace: WorkspaceId, agent: AgentId) -> String {
    format!("workspace#{workspace}#agent#{agent}#version")
}

/// The agent whose versions are in this partition of an index.
pub(crate) fn agent_of_versions(partition: &str) -> Option<AgentId> {
    let (_, agent) = partition.strip_suffix("#version")?.rsplit_once('#')?;
    agent.parse().ok()
}

pub(crate) fn version_of_agent(
    workspace: WorkspaceId,
    agent: AgentId,
    id: AgentVersionId,
) -> IndexKey {
    IndexKey {
        index: Index::Children,
        key: Key::new(versions_of(workspace, agent), id.to_string()),
    }
}

// --- runs: one partition holds the journal, the head with what is too large for it, and the messages, in this order, so that
// one query reads how a run has gone on since some step and how it stands now

pub(crate) fn run(workspace: WorkspaceId, id: RunId) -> String {
    format!("workspace#{workspace}#run#{id}")
}

/// The run whose partition this is.
pub(crate) fn run_of_partition(partition: &str) -> Option<(WorkspaceId, RunId)> {
    let (workspace, run) = partition.strip_prefix("workspace#")?.split_once("#run#")?;
    Some((workspace.parse().ok()?, run.parse().ok()?))
}

/// The prefix of the sort keys of a run's journal.
pub(crate) const RUN_STEP: &str = "1#";
/// The prefix of those of its head, input and output.
pub(crate) const RUN_HEAD: &str = "2#";
/// The prefix of those of its messages.
pub(crate) const RUN_MESSAGE: &str = "3#";
/// The fence of the answer that is being shown, behind all that is read of a run.
const RUN_FENCE: &str = "4#fence";

/// The head's own sort key, the first of those that begin with [`RUN_HEAD`].
pub(crate) const RUN_HEAD_ITSELF: &str = "2#head";
pub(crate) const RUN_INPUT: &str = "2#input";
pub(crate) const RUN_OUTPUT: &str = "2#output";

pub(crate) fn run_head(workspace: WorkspaceId, id: RunId) -> Key {
    Key::new(run(workspace, id), RUN_HEAD_ITSELF)
}

pub(crate) fn run_input(workspace: WorkspaceId, id: RunId) -> Key {
    Key::new(run(workspace, id), RUN_INPUT)
}

pub(crate) fn run_output(workspace: WorkspaceId, id: RunId) -> Key {
    Key::new(run(workspace, id), RUN_OUTPUT)
}

pub(crate) fn run_fence(workspace: WorkspaceId, id: RunId) -> Key {
    Key::new(run(workspace, id), RUN_FENCE)
}

pub(crate) fn run_step(workspace: WorkspaceId, id: RunId, index: u32) -> Key {
    Key::new(run(workspace, id), step_sort_key(index))
}

/// The sort key of a step: behind those of the partial answers that led to it.
pub(crate) fn step_sort_key(index: u32) -> String {
    format!("{RUN_STEP}{index:06}~")
}

/// `true` for the sort key of a step, `false` for that of a partial answer.
pub(crate) fn is_step(sort: &str) -> bool {
    sort.starts_with(RUN_STEP) && sort.ends_with('~')
}

pub(crate) fn run_partial(workspace: WorkspaceId, id: RunId, position: u32, sequence: u32) -> Key {
    Key::new(run(workspace, id), partial_place(position, sequence))
}

/// The sort key of a partial answer.
pub(crate) fn partial_place(position: u32, sequence: u32) -> String {
    format!("{RUN_STEP}{position:06}#{sequence:06}")
}

pub(crate) fn run_message(workspace: WorkspaceId, id: RunId, message: impl ToString) -> Key {
    Key::new(
        run(workspace, id),
        format!("{RUN_MESSAGE}{}", message.to_string()),
    )
}

pub(crate) fn runs_of(workspace: WorkspaceId, agent: AgentId) -> String {
    format!("workspace#{workspace}#agent#{agent}#run")
}

/// The agent whose runs are in this partition of an index.
pub(crate) fn agent_of_runs(partition: &str) -> Option<AgentId> {
    let (_, agent) = partition.strip_suffix("#run")?.rsplit_once('#')?;
    agent.parse().ok()
}

pub(crate) fn run_of_agent(workspace: WorkspaceId, agent: AgentId, id: RunId) -> IndexKey {
    IndexKey {
        index: Index::Children,
        key: Key::new(runs_of(workspace, agent), id.to_string()),
    }
}

pub(crate) fn runs_of_workspace(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#run")
}

pub(crate) fn run_of_workspace(workspace: WorkspaceId, id: RunId) -> IndexKey {
    IndexKey {
        index: Index::Recent,
        key: Key::new(runs_of_workspace(workspace), id.to_string()),
    }
}

/// The number of partitions that the runs of a workspace in a status are spread over that every run comes to and leaves again: two writes
/// of the index each.
const PASSING_SHARDS: u8 = 4;

fn status_shards(status: RunStatus) -> u8 {
    match status {
        RunStatus::Queued | RunStatus::Running => PASSING_SHARDS,
        _ => 1,
    }
}

fn status_shard(workspace: WorkspaceId, status: RunStatus, shard: u8) -> String {
    format!("workspace#{workspace}#run#{}#{shard}", status.as_str())
}

/// All partitions of the runs in a status.
pub(crate) fn runs_in_status(
    workspace: WorkspaceId,
    status: RunStatus,
) -> impl Iterator<Item = String> {
    (0..status_shards(status)).map(move |shard| status_shard(workspace, status, shard))
}

/// The run chooses the shard.
pub(crate) fn run_in_status(
    workspace: WorkspaceId,
    status: RunStatus,
    agent: AgentId,
    id: RunId,
) -> IndexKey {
    let shard = shard(&id.to_string(), status_shards(status));
    IndexKey {
        index: Index::Status,
        key: Key::new(
            status_shard(workspace, status, shard),
            format!("{}{id}", runs_of_agent_in_status(agent)),
        ),
    }
}

/// The prefix of the sort keys of an agent's runs in the partitions of a status.
pub(crate) fn runs_of_agent_in_status(agent: AgentId) -> String {
    format!("{agent}#")
}

/// The run of a sort key in the partitions of a status.
pub(crate) fn run_in_status_from(sort: &str) -> Option<RunId> {
    sort.rsplit('#').next()?.parse().ok()
}

pub(crate) fn messages_of(workspace: WorkspaceId, agent: AgentId) -> String {
    format!("workspace#{workspace}#agent#{agent}#message")
}

pub(crate) fn message_of_agent(
    workspace: WorkspaceId,
    agent: AgentId,
    message: impl ToString,
) -> IndexKey {
    IndexKey {
        index: Index::Children,
        key: Key::new(messages_of(workspace, agent), message.to_string()),
    }
}

/// The messages that the runs of a workspace have shown when they were in a status, by age.
pub(crate) fn messages_in_status(workspace: WorkspaceId, status: RunStatus) -> String {
    format!("workspace#{workspace}#message#{}", status.as_str())
}

pub(crate) fn message_in_status(
    workspace: WorkspaceId,
    status: RunStatus,
    message: impl ToString,
) -> IndexKey {
    IndexKey {
        index: Index::Status,
        key: Key::new(messages_in_status(workspace, status), message.to_string()),
    }
}

// --- later

/// `kind` and the owner's ids go into the sort key: the index holds keys only, and a sweep must know what it found.
pub(crate) fn due(
    at: DateTime<Utc>,
    kind: &str,
    tenant: impl ToString,
    id: impl ToString,
) -> IndexKey {
    let id = id.to_string();
    let shard = shard(&id, DUE_SHARDS);
    let sort = format!("{}#{kind}#{}#{id}", due_time(at), tenant.to_string());
    IndexKey {
        index: Index::Due,
        key: Key::new(due_shard(shard), sort),
    }
}

/// The shard that an id belongs to.
fn shard(id: &str, shards: u8) -> u8 {
    id.bytes()
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
        % shards
}

/// The time, kind, tenant and id of a sort key that [`due`] made.
pub(crate) fn due_from(sort: &str) -> Option<(DateTime<Utc>, &str, &str, &str)> {
    let mut parts = sort.split('#');
    let at = DateTime::from_timestamp_millis(parts.next()?.parse().ok()?)?;
    Some((at, parts.next()?, parts.next()?, parts.next()?))
}

pub(crate) fn due_shard(shard: u8) -> String {
    format!("due#{shard:02}")
}

// --- deletions: in partitions of the due index of their own, so that the tick's work and theirs do not delay each other

/// The number of partitions of the due index that hold the deletions under way.
pub(crate) const DELETION_SHARDS: u8 = 4;

/// The deletions of a workspace's agents that are under way.
pub(crate) fn deletions_in(workspace: WorkspaceId) -> String {
    format!("workspace#{workspace}#deletion")
}

/// A deletion under way, by what is deleted.
pub(crate) fn deletion(target: DeletionTarget) -> Key {
    match target {
        DeletionTarget::Agent {
            workspace_id,
            agent_id,
            ..
        } => Key::new(deletions_in(workspace_id), agent_id.to_string()),
        DeletionTarget::Workspace {
            organization_id,
            workspace_id,
        } => Key::new(
            format!("organization#{organization_id}#deletion"),
            workspace_id.to_string(),
        ),
        DeletionTarget::Organization { organization_id } => Key::new(
            format!("organization#{organization_id}#deletion"),
            "organization",
        ),
    }
}

pub(crate) fn deletion_shard(shard: u8) -> String {
    format!("deletion#{shard:02}")
}

pub(crate) fn deletion_due(at: DateTime<Utc>, target: DeletionTarget) -> IndexKey {
    let Key { partition, sort } = deletion(target);
    let shard = shard(&format!("{partition}#{sort}"), DELETION_SHARDS);
    let sort = format!("{}#{partition}#{sort}", due_time(at));
    IndexKey {
        index: Index::Due,
        key: Key::new(deletion_shard(shard), sort),
    }
}

/// The number of partitions of the due index that hold the runs that have ended.
pub(crate) const ENDED_SHARDS: u8 = 16;

pub(crate) fn ended_shard(shard: u8) -> String {
    format!("ended#{shard:02}")
}

/// A run that has ended, by its end: for the retention of runs.
pub(crate) fn ended_run(at: DateTime<Utc>, workspace: WorkspaceId, id: RunId) -> IndexKey {
    let shard = shard(&id.to_string(), ENDED_SHARDS);
    let sort = format!("{}#{workspace}#{id}", due_time(at));
    IndexKey {
        index: Index::Due,
        key: Key::new(ended_shard(shard), sort),
    }
}

/// The run of a sort key that [`ended_run`] made.
pub(crate) fn ended_run_from(sort: &str) -> Option<(WorkspaceId, RunId)> {
    let mut ids = sort.split('#').skip(1);
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

/// Above the sort keys that begin with this millisecond, and below those of the next: '$' follows '#'.
pub(crate) fn above_time(at: DateTime<Utc>) -> String {
    format!("{}$", due_time(at))
}

/// Milliseconds, padded so that text order is time order.
pub(crate) fn due_time(at: DateTime<Utc>) -> String {
    format!("{:015}", at.timestamp_millis().max(0))
}

// --- logs table

/// The number of partitions that a month of a workspace's audit log is spread over. A run has two rows in transactions, so four write units.
const AUDIT_SHARDS: u8 = 8;

fn audit_shard(workspace: WorkspaceId, month: DateTime<Utc>, shard: u8) -> String {
    format!(
        "workspace#{workspace}#audit#{}#{shard}",
        month.format("%Y-%m")
    )
}

/// The partitions of a month of a workspace's audit log.
pub(crate) fn audit_month(
    workspace: WorkspaceId,
    month: DateTime<Utc>,
) -> impl Iterator<Item = String> {
    (0..AUDIT_SHARDS).map(move |shard| audit_shard(workspace, month, shard))
}

/// The row chooses the shard.
pub(crate) fn audit_row(workspace: WorkspaceId, id: AuditId, at: DateTime<Utc>) -> Key {
    let id = id.to_string();
    let shard = shard(&id, AUDIT_SHARDS);
    Key::new(audit_shard(workspace, at, shard), id)
}

/// A month of what concerned an organization as a whole. It happens seldom, so one partition will do.
pub(crate) fn organization_audit_month(
    organization: OrganizationId,
    month: DateTime<Utc>,
) -> String {
    format!(
        "organization#{organization}#audit#{}",
        month.format("%Y-%m")
    )
}

/// A workspace's request log, a day to a partition, so that no partition grows with the workspace's age.
pub(crate) fn activity_day(workspace: WorkspaceId, day: NaiveDate) -> String {
    format!("workspace#{workspace}#activity#{day}")
}

/// The number of partitions that hold the counts of a workspace's requests.
pub(crate) const ACTIVITY_SHARDS: u8 = 4;

pub(crate) fn activity_count_shard(workspace: WorkspaceId, shard: u8) -> String {
    format!("workspace#{workspace}#activity_count#{shard}")
}

/// The count that the tick adds to. All other shards are from before it counted.
pub(crate) fn activity_count(workspace: WorkspaceId, day: NaiveDate) -> Key {
    Key::new(activity_count_shard(workspace, 0), usage_day(day))
}

/// The number of partitions of the checkpoints of request counts. A workspace in use writes its checkpoint once a minute for each
/// instance of a function.
pub(crate) const CHECKPOINT_SHARDS: u8 = 4;

pub(crate) fn checkpoint_shard(shard: u8) -> String {
    format!("request_checkpoint#{shard}")
}

/// In the counters table: up to when the requests of a workspace are counted.
pub(crate) fn checkpoint(workspace: WorkspaceId) -> Key {
    let id = workspace.to_string();
    let shard = shard(&id, CHECKPOINT_SHARDS);
    Key::new(checkpoint_shard(shard), id)
}

/// The number of partitions that the usage of an organization, and of a workspace, is counted in.
pub(crate) const USAGE_SHARDS: u8 = 8;

pub(crate) fn organization_usage_shard(organization: OrganizationId, shard: u8) -> String {
    format!("organization#{organization}#usage#{shard}")
}

/// The run chooses the shard.
pub(crate) fn organization_usage(organization: OrganizationId, run: RunId, day: NaiveDate) -> Key {
    let shard = shard(&run.to_string(), USAGE_SHARDS);
    Key::new(
        organization_usage_shard(organization, shard),
        usage_day(day),
    )
}

/// The usage of a workspace's runs: for those who may not see the organization's.
pub(crate) fn workspace_usage_shard(workspace: WorkspaceId, shard: u8) -> String {
    format!("workspace#{workspace}#usage#{shard}")
}

/// The run chooses the shard.
pub(crate) fn workspace_usage(workspace: WorkspaceId, run: RunId, day: NaiveDate) -> Key {
    let shard = shard(&run.to_string(), USAGE_SHARDS);
    Key::new(workspace_usage_shard(workspace, shard), usage_day(day))
}

pub(crate) fn agent_usage_days(workspace: WorkspaceId, agent: AgentId) -> String {
    format!("workspace#{workspace}#agent#{agent}#usage")
}

pub(crate) fn agent_usage(workspace: WorkspaceId, agent: AgentId, day: NaiveDate) -> Key {
    Key::new(agent_usage_days(workspace, agent), usage_day(day))
}

pub(crate) fn usage_day(day: NaiveDate) -> String {
    day.format("%Y-%m-%d").to_string()
}

pub(crate) fn log_row(partition: String, id: impl ToString) -> Key {
    Key::new(partition, id.to_string())
}

// --- counters table

pub(crate) fn counter(policy: &str, subject: &str, window: i64) -> Key {
    Key::new(
        format!("rate#{policy}#{}#{window}", sha256_hex(subject)),
        "rate",
    )
}

pub(crate) fn event_streams(workspace: WorkspaceId) -> Key {
    Key::new(format!("workspace#{workspace}"), "event-streams")
}

pub(crate) fn stream_comeback(credential: &str, run: RunId) -> Key {
    let hash = sha256_hex(format!("{credential}/{run}"));
    Key::new(format!("comeback#{hash}"), "comeback")
}

/// An organization's places for runs, and the runs that wait for one: the places come first.
pub(crate) fn run_places(organization: OrganizationId) -> String {
    format!("organization#{organization}#place")
}

/// The prefix of the sort keys of places, and that of runs that wait.
pub(crate) const RUN_PLACE: &str = "place#";
pub(crate) const RUN_WAITING: &str = "waiting#";

pub(crate) fn run_place(organization: OrganizationId, number: u16) -> Key {
    Key::new(run_places(organization), format!("{RUN_PLACE}{number:05}"))
}

/// Ids are in the order in which runs were accepted.
pub(crate) fn run_waiting(organization: OrganizationId, run: RunId) -> Key {
    Key::new(run_places(organization), format!("{RUN_WAITING}{run}"))
}

pub(crate) fn idempotency(scope_hash: &str) -> Key {
    Key::new(format!("idempotency#{scope_hash}"), "idempotency")
}
