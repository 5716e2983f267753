//! The head of a run: one item with how the run stands, which is also the run's place in the indexes.
//!
//! Writes of it are updates, and an index is written only when the run's place in it changes: by age when the run is created, by
//! status when that changes, in the due index when the write changes when it is due. A worker that renews its lease writes the head
//! alone.

use chrono::{DateTime, Utc};
use domain::audit::AuditEntry;
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, RunStatus};
use domain::{Error, Result};
use serde_json::Value;

use crate::attributes::{HOLDER, VERSION, WANTED};
use crate::item::{Item, NewItem, entity, number, text};
use crate::keys::{self, Index, PARTITION};
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// The most that may stay in the head, in bytes of JSON, of input and output each.
const INLINE: usize = 4 * 1024;
/// The bytes of a head's place in the due index, which most writes leave alone.
const DUE_PLACE: usize = 128;
/// The one value of [`WANTED`].
const PAUSE: &str = "pause";

impl Store {
    /// A run's head, without large inputs and outputs.
    pub async fn run_head(&self, workspace: WorkspaceId, id: RunId) -> Result<Option<Run>> {
        let head = self
            .get_item(&self.tables.records, &keys::run_head(workspace, id))
            .await?;
        head.as_ref().map(read_head).transpose()
    }

    /// Requests a pause of the worker that holds `run`, or withdraws the request. The head's version stays as it is.
    ///
    /// # Errors
    /// `Conflict` when the run, or the request, has been written since `run` was read.
    pub async fn request_pause(
        &self,
        run: &Run,
        is_requested: bool,
        audit: &AuditEntry,
    ) -> Result<()> {
        let mut seen = unchanged(run);
        let change = if is_requested {
            seen = seen.text(":next", PAUSE);
            format!("SET {WANTED} = :next")
        } else {
            format!("REMOVE {WANTED}")
        };
        let mut transaction = self.transaction();
        transaction.update(
            &self.tables.records,
            &keys::run_head(run.workspace_id, run.id),
            change,
            seen,
            stale_run,
        );
        transaction.audit(audit);
        transaction.commit().await
    }

    /// Lets the tick look after `run` at another time than when it is due. The head's version stays as it is, so that no worker is
    /// disturbed.
    ///
    /// # Errors
    /// `Conflict` when the run is due at another time by now, or not at all any more.
    pub async fn postpone(&self, run: &Run, until: DateTime<Utc>) -> Result<()> {
        let due = |at| keys::due(at, "run", run.workspace_id, run.id).key;
        let seen = run.due_at.map(due).ok_or_else(stale_run)?;
        let sort = Index::Due.sort();
        // Where it says what it shall say, this write was done, and its answer got lost.
        let condition = Condition::that(format!("{sort} IN (:seen, :until)"))
            .text(":seen", &seen.sort)
            .text(":until", &due(until).sort);
        let mut transaction = self.transaction();
        transaction.update(
            &self.tables.records,
            &keys::run_head(run.workspace_id, run.id),
            format!("SET {sort} = :until"),
            condition,
            stale_run,
        );
        transaction.commit().await
    }
}

impl Transaction<'_> {
    /// Writes the head `run` over the one that was `read`, and takes the fence down when the answer behind it is over.
    pub(crate) fn change_head(&mut self, read: &Run, run: &Run) {
        let next = Run {
            showing: run.showing.filter(|_| is_same_answer(read, run)),
            ..run.clone()
        };
        self.replace_head(read, &next);
        if read.showing.is_some() && next.showing.is_none() {
            let records = self.store().tables.records.clone();
            let fence = keys::run_fence(run.workspace_id, run.id);
            self.update(
                &records,
                &fence,
                format!("REMOVE {HOLDER}"),
                Condition::none(),
                || Error::internal("an unconditional write failed"),
            );
        }
    }

    /// Writes the head `run` over the one that was `read`.
    pub(crate) fn replace_head(&mut self, read: &Run, run: &Run) {
        let records = self.store().tables.records.clone();
        let next = Run {
            version: read.version + 1,
            ..run.clone()
        };
        let mut removed = Vec::new();
        let mut item = head_item(&next);
        if run.due_at != read.due_at || run.status.is_final() {
            match due(run) {
                Some(place) => item = item.map(|item| item.indexed(place)),
                None => removed.extend([Index::Due.partition(), Index::Due.sort()]),
            }
        }
        if !run.pause_requested {
            removed.push(WANTED);
        }
        self.change(&records, item, &removed, unchanged(read), stale_run);
    }
}

/// Returns `true` if the same worker still waits for the same answer.
fn is_same_answer(read: &Run, run: &Run) -> bool {
    let holder = |run: &Run| run.lease.map(|lease| lease.holder);
    run.status == RunStatus::Running && run.steps == read.steps && holder(run) == holder(read)
}

/// The run has not been written since it was read, and neither has its pause request.
pub(crate) fn unchanged(read: &Run) -> Condition {
    let seen = |rest: String| {
        Condition::that(format!("{VERSION} = :seen AND {rest}")).number(":seen", read.version)
    };
    if read.pause_requested {
        seen(format!("{WANTED} = :wanted")).text(":wanted", PAUSE)
    } else {
        seen(format!("attribute_not_exists({WANTED})"))
    }
}

pub(crate) fn stale_run() -> Error {
    Error::Conflict("the run has moved on".to_owned())
}

/// The head of a run that is not there yet.
pub(crate) fn new_head(run: &Run) -> Result<NewItem> {
    Ok(head_item(run)?.indexed_if(due(run)))
}

/// The head but for its place in the due index.
fn head_item(run: &Run) -> Result<NewItem> {
    let mut head = run.clone();
    head.input = head.input.filter(is_inline);
    head.output = head.output.filter(is_inline);
    let key = keys::run_head(run.workspace_id, run.id);
    let by_age = keys::run_of_agent(run.workspace_id, run.agent_id, run.id);
    let in_workspace = keys::run_of_workspace(run.workspace_id, run.id);
    let by_status = keys::run_in_status(run.workspace_id, run.status, run.agent_id, run.id);
    Ok(NewItem::new(key, "run", &head)?
        .indexed(by_age)
        .indexed(in_workspace)
        .indexed(by_status)
        .number(VERSION, run.version)
        .text_if(WANTED, run.pause_requested.then_some(PAUSE))
        .packed_beside(DUE_PLACE))
}

/// The place of a run in the due index: by when it is due, or once it has ended, by its end.
fn due(run: &Run) -> Option<keys::IndexKey> {
    if run.status.is_final() {
        let at = run.finished_at?;
        return Some(keys::ended_run(at, run.workspace_id, run.id));
    }
    let at = run.due_at?;
    Some(keys::due(at, "run", run.workspace_id, run.id))
}

pub(crate) fn is_inline(value: &Value) -> bool {
    serde_json::to_vec(value).is_ok_and(|json| json.len() <= INLINE)
}

pub(crate) fn read_head(item: &Item) -> Result<Run> {
    let head: Run = entity(item)?;
    let (workspace_id, id) = text(item, PARTITION)
        .and_then(keys::run_of_partition)
        .ok_or_else(|| Error::internal("a head in a partition that is no run's"))?;
    let agent_id = text(item, Index::Children.partition())
        .and_then(keys::agent_of_runs)
        .ok_or_else(|| Error::internal("a head that is no agent's"))?;
    let due = text(item, Index::Due.sort()).filter(|_| !head.status.is_final());
    Ok(Run {
        id,
        workspace_id,
        agent_id,
        version: u64::try_from(number(item, VERSION)).unwrap_or(0),
        pause_requested: text(item, WANTED) == Some(PAUSE),
        due_at: due.and_then(keys::due_from).map(|(at, ..)| at),
        ..head
    })
}
