//! A run as those see it who watch: its journal, and what models have shown of answers that are on their way.

use domain::audit::AuditEntry;
use domain::ids::{RunId, WorkspaceId};
use domain::run::{Partial, Run, Step, Wanted};
use domain::{Error, Result};

use crate::Store;
use crate::item::{Item, NewItem, entity, sort_key};
use crate::keys::{self, RUN_HEAD_ITSELF, RUN_STEP};
use crate::runs::{read_head, unchanged, whole};

/// One thing that has happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEntry {
    Step(Step),
    Partial(Partial),
}

impl RunEntry {
    pub fn cursor(&self) -> EventCursor {
        match self {
            Self::Step(step) => EventCursor::Step(step.index),
            Self::Partial(partial) => EventCursor::Partial {
                position: partial.position,
                sequence: partial.sequence,
            },
        }
    }
}

/// How far somebody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventCursor {
    #[default]
    Start,
    /// Up to this step of the journal.
    Step(u32),
    /// Up to this piece of the answer that becomes the step of `position`.
    Partial { position: u32, sequence: u32 },
}

/// What has happened in a run after a cursor, and how the run stands now.
#[derive(Clone, Debug)]
pub struct RunEvents {
    /// Large inputs and outputs are left out.
    pub run: Run,
    /// In order.
    pub entries: Vec<RunEntry>,
}

impl Store {
    /// What has happened in a run since `after`, in one consistent read.
    pub async fn run_events(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        after: EventCursor,
    ) -> Result<Option<RunEvents>> {
        let first = match after {
            EventCursor::Start => 0,
            EventCursor::Step(index) => index + 1,
            EventCursor::Partial { position, .. } => position,
        };
        whole(|| async {
            let events = self.try_run_events(workspace, id, after).await?;
            let is_whole = events.as_ref().is_none_or(|events| {
                let steps = events.entries.iter().filter_map(|entry| match entry {
                    RunEntry::Step(step) => Some(step.index),
                    RunEntry::Partial(_) => None,
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
        // A key's shortest successor: '!' sorts before everything that keys go on with.
        let first = match after {
            EventCursor::Start => RUN_STEP.to_owned(),
            EventCursor::Step(index) => format!("{}!", keys::step_place(index)),
            EventCursor::Partial { position, sequence } => {
                format!("{}!", keys::partial_place(position, sequence))
            }
        };
        let items = self
            .collection(
                &self.tables.records,
                &keys::run(workspace, id),
                &first,
                RUN_HEAD_ITSELF,
            )
            .await?;
        let Some(head) = items
            .last()
            .filter(|item| sort_key(item) == RUN_HEAD_ITSELF)
        else {
            return Ok(None);
        };
        let entries = items.iter().filter_map(|item| entry(item).transpose());
        Ok(Some(RunEvents {
            run: read_head(head)?,
            entries: entries.collect::<Result<_>>()?,
        }))
    }

    /// Shows a piece of an answer, as long as `run` is as its worker knows it.
    ///
    /// # Errors
    /// `Conflict` when somebody else has written the run since, or wants something of its worker that `run` does not know of.
    pub async fn add_partial(&self, run: &Run, partial: &Partial) -> Result<()> {
        let records = &self.tables.records;
        let (workspace, id) = (run.workspace_id, run.id);
        let moved_on = || Error::Conflict("the run has moved on".to_owned());
        let key = keys::run_partial(workspace, id, partial.position, partial.sequence);
        let mut transaction = self.transaction();
        transaction.check(
            records,
            &keys::run_head(workspace, id),
            unchanged(run, run.wanted),
            moved_on,
        );
        transaction.create(records, NewItem::new(key, "run_partial", partial), moved_on);
        transaction.commit().await
    }

    /// A run's head, without large inputs and outputs.
    pub async fn run_head(&self, workspace: WorkspaceId, id: RunId) -> Result<Option<Run>> {
        let head = self
            .get_item(&self.tables.records, &keys::run_head(workspace, id))
            .await?;
        head.as_ref().map(read_head).transpose()
    }

    /// Changes what is wanted of the worker that holds `run`, which was read with what is wanted now. The head's version stays as
    /// it is.
    ///
    /// # Errors
    /// `Conflict` when the run, or what is wanted of its worker, has been written since `run` was read.
    pub async fn want(&self, run: &Run, wanted: Option<Wanted>, audit: &AuditEntry) -> Result<()> {
        let mut seen = unchanged(run, run.wanted);
        let change = match wanted {
            Some(wanted) => {
                seen = seen.text(":next", wanted.as_str());
                "SET wanted = :next"
            }
            None => "REMOVE wanted",
        };
        let mut transaction = self.transaction();
        transaction.update(
            &self.tables.records,
            &keys::run_head(run.workspace_id, run.id),
            change,
            seen,
            || Error::Conflict("the run has moved on".to_owned()),
        );
        transaction.audit(audit);
        transaction.commit().await
    }
}

/// What an item of a run tells to those who watch; `None` for what is no part of the journal.
pub(crate) fn entry(item: &Item) -> Result<Option<RunEntry>> {
    let sort = sort_key(item);
    if !sort.starts_with(RUN_STEP) {
        return Ok(None);
    }
    let entry = if sort.ends_with('~') {
        RunEntry::Step(entity(item)?)
    } else {
        RunEntry::Partial(entity(item)?)
    };
    Ok(Some(entry))
}
