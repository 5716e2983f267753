//! Signalbox's state in DynamoDB, and in S3 where that has no room: one [`Store`], one file for each aggregate.
//!
//! * Every method names the tenant whose rows it may touch. What has no tenant is people, what is found by a hash, and the work of
//!   the platform itself: a test lists these methods.
//! * `keys` alone knows how keys are made and read, and `attributes` names what stands beside them. An item is its keys, a `type`, the entity as JSON in `data` (a document in
//!   one attribute: no depth or number limits but JSON's), and the few attributes that conditions and updates need.
//! * What changes together is one [`Transaction`], the audit row included.
//! * Uniqueness is a companion item in the same transaction; a write names the revision that it has seen.

mod activity;
mod agent_statuses;
mod agents;
mod attributes;
mod audit;
mod aws_calls;
mod batches;
mod counters;
mod credentials;
mod data_keys;
mod deflate;
mod deletions;
mod due;
mod ending;
mod event_streams;
mod fresh_id;
mod idempotency;
mod item;
mod keys;
mod large;
mod list;
mod members;
mod merge;
mod organizations;
mod packing;
mod pages;
mod plan;
mod read_consistent;
mod reads;
mod removal;
mod request_counts;
mod run_context;
mod run_heads;
mod run_journal;
mod run_places;
mod runs;
mod sessions;
#[cfg(test)]
mod signatures;
mod token_log;
mod token_places;
mod tokens;
mod totals;
mod touched_checkpoints;
mod transaction;
mod usage;
mod users;

use std::sync::Arc;

use domain::plan::PlanLimits;
use runtime::Services;
use runtime::config::Tables;

use crate::touched_checkpoints::TouchedCheckpoints;

pub use activity::ActivityFilter;
pub use agent_statuses::AgentWithStatus;
pub use audit::AuditFilter;
pub use counters::{Tries, Window};
pub use data_keys::{WrappedDataKey, WrappedDataKeys};
pub use due::{DueItem, DueKind};
pub use event_streams::{Opening, StreamPlace};
pub use fresh_id::with_fresh_id;
pub use idempotency::{Attempt, StoredResponse};
pub use members::Invitation;
pub use request_counts::RequestCheckpoint;
pub use run_context::RunContext;
pub use run_journal::{EventCursor, JournalEntry, RunEvents};
pub use run_places::{Left, RunPlace, RunPlaces, Waiting, WantedPlace};
pub use runs::{LoadedRun, RunFilter, RunWrite};
pub use token_log::TokenAuditEntry;
pub use transaction::Transaction;
pub use usage::DayUsage;

/// Everything that Signalbox remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    tables: Arc<Tables>,
    /// The limits of organizations for which no others were set.
    plan: PlanLimits,
    bucket: Arc<str>,
    touched: TouchedCheckpoints,
}

impl Store {
    pub fn new(services: &Services) -> Self {
        Self {
            dynamodb: services.dynamodb.clone(),
            s3: services.s3.clone(),
            tables: Arc::new(services.config.tables.clone()),
            plan: services.config.plan,
            bucket: services.config.files_bucket.as_str().into(),
            touched: TouchedCheckpoints::default(),
        }
    }

    /// A set of writes that happen all or not at all.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::new(self)
    }
}
