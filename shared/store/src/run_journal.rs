//! Reads of a run's journal and of partially streamed model responses, for event streams.

use chrono::TimeDelta;
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Run, Step, StreamChunk};
use domain::{Error, Result};
use serde::Serialize;

use crate::attributes::{HOLDER, PLACE, TYPE};
use crate::item::{Item, NewItem, entity, sort_key, text};
use crate::keys::{self, RUN_HEAD_ITSELF, RUN_STEP};
use crate::large::LargeOwner;
use crate::read_consistent::read_consistent;
use crate::run_heads::{read_head, stale_run};
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// One thing that has happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalEntry {
    Step(Step),
    StreamChunk(StreamChunk),
}

impl JournalEntry {
    pub fn cursor(&self) -> EventCursor {
        match self {
            Self::Step(step) => EventCursor::Step(step.index),
            Self::StreamChunk(chunk) => EventCursor::StreamChunk {
                position: chunk.position,
                sequence: chunk.sequence,
            },
        }
    }
}

/// The position that a watcher has read to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventCursor {
    #[default]
    Start,
    /// Up to this step of the journal.
    Step(u32),
    /// Up to this piece of the answer that becomes the step of `position`.
    StreamChunk { position: u32, sequence: u32 },
}

impl EventCursor {
    /// The index of the first step that the watcher has not seen.
    fn next_step(self) -> u32 {
        match self {
            Self::Start => 0,
            Self::Step(index) => index + 1,
            Self::StreamChunk { position, .. } => position,
        }
    }
}

/// The events of a run after a cursor, and its head now.
#[derive(Clone, Debug)]
pub struct RunEvents {
    /// Large inputs and outputs are left out.
    pub run: Run,
    /// In order.
    pub entries: Vec<JournalEntry>,
}

impl Store {
    /// The events of a run since `after`, in one consistent read.
    pub async fn run_events(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        after: EventCursor,
    ) -> Result<Option<RunEvents>> {
        let first = after.next_step();
        read_consistent(|| async {
            let events = self.try_run_events(workspace, id, after).await?;
            let is_whole = events.as_ref().is_none_or(|events| {
                let steps = events.entries.iter().filter_map(|entry| match entry {
                    JournalEntry::Step(step) => Some(step.index),
                    JournalEntry::StreamChunk(_) => None,
                });
                steps.eq(first..events.run.steps)
            });
            Ok(is_whole.then_some(events))
        })
        .await
    }

    async fn try_run_events(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        after: EventCursor,
    ) -> Result<Option<RunEvents>> {
        let first = after.next_step();
        let low = match after {
            EventCursor::Start => RUN_STEP.to_owned(),
            EventCursor::Step(index) => keys::successor(&keys::step_sort_key(index)),
            EventCursor::StreamChunk { position, sequence } => {
                keys::successor(&keys::partial_place(position, sequence))
            }
        };
        let items = self
            .collection(
                &self.tables.records,
                &keys::run(workspace, id),
                &low,
                RUN_HEAD_ITSELF,
            )
            .await?;
        let Some(head) = items
            .last()
            .filter(|item| sort_key(item) == RUN_HEAD_ITSELF)
        else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for item in &items {
            found.extend(entries(item)?);
        }
        // An item may begin with steps that are seen already.
        found.retain(|entry| match entry {
            JournalEntry::Step(step) => step.index >= first,
            JournalEntry::StreamChunk(_) => true,
        });
        Ok(Some(RunEvents {
            run: read_head(head)?,
            entries: found,
        }))
    }

    /// Shows the first piece of an answer: writes the head `run`, which says so in `showing`, over the one that was `read`, and the
    /// fence behind which [`Self::append_chunk`] shows the others. `false` when the piece's place is taken.
    ///
    /// # Errors
    /// `Conflict` when the run has been written since, or something is wanted of its worker that `read` does not know of.
    pub async fn show_answer(&self, read: &Run, run: &Run, chunk: &StreamChunk) -> Result<bool> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.replace_head(read, run);
        let fence = Fence {
            holder: holder(run),
            position: chunk.position,
        };
        let key = keys::run_fence(run.workspace_id, run.id);
        let item = NewItem::new(key, "run_fence", &fence).map(|item| {
            item.number(HOLDER, fence.holder)
                .number(PLACE, fence.position)
                .expires(chunk.at + FENCED_FOR)
        });
        transaction.overwrite(records, item);
        transaction.show(run, chunk).await
    }

    /// Shows another piece of an answer, as long as the worker of `run` holds it and the answer is not over. `false` when the
    /// piece's place is taken.
    ///
    /// # Errors
    /// `Conflict` when another worker has the run by now, or it has gone on.
    pub async fn append_chunk(&self, run: &Run, chunk: &StreamChunk) -> Result<bool> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        // `position` is a reserved word.
        let condition = Condition::that(format!("{HOLDER} = :holder AND {PLACE} = :place"))
            .number(":holder", holder(run))
            .number(":place", chunk.position);
        let fence = keys::run_fence(run.workspace_id, run.id);
        transaction.check(records, &fence, condition, stale_run);
        transaction.show(run, chunk).await
    }
}

impl Transaction<'_> {
    /// Appends steps to the journal of `run`: one item, whose key is that of the last of them.
    pub(crate) fn append_steps(&mut self, run: &Run, steps: &[Step]) {
        let Some(last) = steps.last() else {
            return;
        };
        let key = keys::run_step(run.workspace_id, run.id, last.index);
        let item = match steps {
            [step] => NewItem::new(key, "run_step", step),
            steps => NewItem::new(key, SEVERAL, &steps),
        };
        let owner = LargeOwner::run(run.workspace_id, run.id);
        let item = item.map(|item| item.may_be_large(&owner));
        let records = self.store().tables.records.clone();
        self.create(&records, item, stale_run);
    }

    /// Does it all with a piece of an answer, or nothing, which is `false` when the piece's place is taken.
    async fn show(mut self, run: &Run, chunk: &StreamChunk) -> Result<bool> {
        let records = self.store().tables.records.clone();
        let key = keys::run_partial(run.workspace_id, run.id, chunk.position, chunk.sequence);
        let item = NewItem::new(key, "run_partial", chunk);
        self.create(&records, item, || {
            Error::Refused("there is a piece already".to_owned())
        });
        match self.commit().await {
            Err(Error::Refused(_)) => Ok(false),
            result => result.map(|()| true),
        }
    }
}

/// The type of an item with several steps, as a list.
const SEVERAL: &str = "run_steps";

/// The time that a fence is kept: longer than an answer can take, or a late piece of it can be on its way.
const FENCED_FOR: TimeDelta = TimeDelta::days(1);

/// The worker that may add to an answer. It is made with the answer's first piece and loses its holder with the write that ends the answer, so it
/// costs nothing in runs whose answers come at once.
#[derive(Serialize)]
struct Fence {
    holder: u64,
    position: u32,
}

fn holder(run: &Run) -> u64 {
    run.lease.map_or(0, |lease| lease.holder)
}

/// The journal entries in an item of a run; none in an item that is no part of the journal.
pub(crate) fn entries(item: &Item) -> Result<Vec<JournalEntry>> {
    let sort = sort_key(item);
    if !sort.starts_with(RUN_STEP) {
        return Ok(Vec::new());
    }
    if !keys::is_step(sort) {
        return Ok(vec![JournalEntry::StreamChunk(entity(item)?)]);
    }
    let steps = if text(item, TYPE) == Some(SEVERAL) {
        entity(item)?
    } else {
        vec![entity(item)?]
    };
    Ok(steps.into_iter().map(JournalEntry::Step).collect())
}
