//! Runs: journal, head and messages in one partition.
//!
//! Head, input and output are read together; workers and watchers read the journal. A small input or output is kept
//! in the head, so that lists can show it; a larger one has an item of its own, and beyond 100 KB that item is in S3.

use chrono::{DateTime, Utc};
use domain::agent::Agent;
use domain::audit::AuditEntry;
use domain::ids::{AgentId, MessageId, RunId, WorkspaceId};
use domain::page::{Cursor, Page, PageRequest};
use domain::run::{DisplayMessage, Run, RunStatus, RunTrigger, Step, StreamChunk};
use domain::{Error, Result};
use futures::future::join;

use crate::Store;
use crate::item::{Item, NewItem, entity, sort_key};
use crate::keys::{
    self, Index, RUN_HEAD, RUN_HEAD_ITSELF, RUN_INPUT, RUN_MESSAGE, RUN_OUTPUT, RUN_STEP,
};
use crate::large::LargeOwner;
use crate::list::List;
use crate::list::Total;
use crate::read_consistent::read_consistent;
use crate::run_heads::{is_inline, new_head, read_head, stale_run};
use crate::run_journal::{JournalEntry, entries};
use crate::transaction::Transaction;

/// The most runs that one request looks at for a list of a workspace's runs.
const MAX_EXAMINED: u32 = 250;
/// The least runs that are read at once where a filter leaves some of them out.
const ROWS_AT_ONCE: u32 = 50;

/// The runs of a list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this trigger; of any where there is none.
    pub trigger: Option<RunTrigger>,
    /// In one of these; in any where there are none.
    pub statuses: Vec<RunStatus>,
    /// Created at or after.
    pub from: Option<DateTime<Utc>>,
    /// Created before.
    pub to: Option<DateTime<Utc>>,
}

/// A run with everything that a worker needs to go on.
#[derive(Clone, Debug)]
pub struct LoadedRun {
    /// Input and output included, whatever their size.
    pub run: Run,
    /// In order.
    pub steps: Vec<Step>,
    /// The pieces that a worker of before has shown of the answer that would be the next step.
    pub chunks: Vec<StreamChunk>,
}

/// One step of a run being written: the new head, and what comes with it. All of it is written or nothing, and only if the head
/// has not been written since it was read.
#[derive(Debug)]
pub struct RunWrite<'a> {
    /// The head as it was read. What is the same in `run` is left alone where it has its own place: when the run is due, above all.
    pub read: &'a Run,
    /// The head as it shall be; its `version` is the next one to that of `read`, whatever it says.
    pub run: &'a Run,
    /// The run may have an entry in its agent's status, which goes when the run is not running any more.
    pub is_entered: bool,
    pub steps: &'a [Step],
    pub messages: &'a [DisplayMessage],
    /// The agent with its failure count, read at its `revision`, when the run's end changes it.
    pub agent: Option<&'a Agent>,
    pub audit: &'a [AuditEntry],
}

impl RunFilter {
    fn admits_all(&self) -> bool {
        self.statuses.is_empty() && self.trigger.is_none()
    }

    fn admits(&self, run: &Run) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.trigger.is_none_or(|trigger| trigger == run.trigger)
    }
}

fn listed(items: Vec<Run>, next_cursor: Option<String>) -> Page<Run> {
    Page {
        items,
        next_cursor,
        total: None,
    }
}

impl Store {
    /// Creates a run. It is accepted, and found by the sweep, from here on. `agent` is written with it when given: a firing
    /// moves its schedule on in the same transaction, so it fires once.
    pub async fn create_run(
        &self,
        run: &Run,
        agent: Option<&Agent>,
        audit: &AuditEntry,
    ) -> Result<()> {
        let records = &self.tables.records;
        let mut transaction = self.transaction();
        transaction.create(records, new_head(run), || {
            Error::Conflict("the run exists already".to_owned())
        });
        if let Some(input) = run.input.as_ref().filter(|input| !is_inline(input)) {
            let item = NewItem::new(
                keys::run_input(run.workspace_id, run.id),
                "run_input",
                input,
            )
            .map(|item| item.may_be_large(&LargeOwner::run(run.workspace_id, run.id)));
            transaction.create(records, item, || {
                Error::Conflict("the run exists already".to_owned())
            });
        }
        // Without a firing the agent is not even checked: many runs of one agent that start at once would only collide on it,
        // and a run whose agent is deleted meanwhile still has its version to follow.
        if let Some(agent) = agent {
            transaction.put_agent(agent);
        }
        transaction.audit(audit);
        transaction.commit().await
    }

    /// A run with its input and output, in one read.
    pub async fn run(&self, workspace: WorkspaceId, id: RunId) -> Result<Option<Run>> {
        read_consistent(|| async {
            let items = self
                .collection(
                    &self.tables.records,
                    &keys::run(workspace, id),
                    RUN_HEAD,
                    RUN_HEAD,
                )
                .await?;
            let run = assemble(&items)?;
            let is_whole = run.as_ref().is_none_or(is_whole);
            Ok(is_whole.then_some(run))
        })
        .await
    }

    /// A run with its journal, in one read.
    pub async fn load_run(&self, workspace: WorkspaceId, id: RunId) -> Result<Option<LoadedRun>> {
        read_consistent(|| async {
            let loaded = self.try_load_run(workspace, id).await?;
            let is_whole = loaded.as_ref().is_none_or(|loaded| {
                let steps = loaded.steps.iter().map(|step| step.index);
                is_whole(&loaded.run) && steps.eq(0..loaded.run.steps)
            });
            Ok(is_whole.then_some(loaded))
        })
        .await
    }

    /// The journal and input that a worker needs besides the head of a run, as it was when `run` was that: what was written since is left
    /// out.
    pub(crate) async fn load_journal(&self, run: Run) -> Result<LoadedRun> {
        let (workspace, id) = (run.workspace_id, run.id);
        let loaded = read_consistent(|| async {
            let Some(mut loaded) = self.try_load_run(workspace, id).await? else {
                return Err(Error::NotFound("run"));
            };
            loaded.steps.retain(|step| step.index < run.steps);
            loaded.chunks.retain(|chunk| chunk.position == run.steps);
            let is_whole = loaded.steps.iter().map(|step| step.index).eq(0..run.steps);
            Ok(is_whole.then_some(loaded))
        })
        .await?;
        Ok(LoadedRun {
            run: Run {
                input: loaded.run.input,
                ..run
            },
            ..loaded
        })
    }

    async fn try_load_run(&self, workspace: WorkspaceId, id: RunId) -> Result<Option<LoadedRun>> {
        // From the journal to the head and what belongs to it: the messages behind are not needed.
        let items = self
            .collection(
                &self.tables.records,
                &keys::run(workspace, id),
                RUN_STEP,
                RUN_HEAD,
            )
            .await?;
        let Some(run) = assemble(&items)? else {
            return Ok(None);
        };
        let (mut steps, mut chunks) = (Vec::new(), Vec::new());
        for item in &items {
            for entry in entries(item)? {
                match entry {
                    JournalEntry::Step(step) => steps.push(step),
                    JournalEntry::StreamChunk(chunk) if chunk.position == run.steps => {
                        chunks.push(chunk);
                    }
                    JournalEntry::StreamChunk(_) => {}
                }
            }
        }
        Ok(Some(LoadedRun { run, steps, chunks }))
    }

    /// An agent's runs, newest first. Large inputs and outputs are left out. One whose status changes in this very moment may be
    /// missing from a list of either status.
    pub async fn runs(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        filter: &RunFilter,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<Run>> {
        let records = &self.tables.records;
        let is_whole = filter.from.is_none() && filter.to.is_none();
        let all = List::of_index(records, Index::Children, keys::runs_of(workspace, agent));
        let prefix = keys::runs_of_agent_in_status(agent);
        let statuses = filter.statuses.iter();
        let list = List {
            from: filter.from.map(|from| RunId::first_at(from).to_string()),
            to: filter.to.map(|to| RunId::first_at(to).to_string()),
            ..match filter.statuses.is_empty() {
                true if is_whole => List {
                    total: Total::Growing(now),
                    ..all
                },
                true => all,
                false => List {
                    index: Some(Index::Status),
                    partitions: statuses
                        .flat_map(|status| keys::runs_in_status(workspace, *status))
                        .collect(),
                    prefix: &prefix,
                    ..all
                },
            }
        };
        let read = |item: &Item| {
            let run = read_head(item)?;
            Ok(Some(run).filter(|run| filter.admits(run)))
        };
        self.page_of(&list, page, read).await
    }

    /// A workspace's runs, newest first. Large inputs and outputs are left out.
    ///
    /// One request looks at 250 runs at most. A filter that lets few of them pass gives a short page, or an empty one, with a cursor to
    /// go on from.
    pub async fn runs_of_workspace(
        &self,
        workspace: WorkspaceId,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<Run>> {
        let list = List {
            from: filter.from.map(|from| RunId::first_at(from).to_string()),
            to: filter.to.map(|to| RunId::first_at(to).to_string()),
            ..List::of_index(
                &self.tables.records,
                Index::Recent,
                keys::runs_of_workspace(workspace),
            )
        };
        let wanted = page.limit.get() as usize;
        // With a filter, small pages are not read one after the other.
        let at_once = if filter.admits_all() {
            page.limit.get()
        } else {
            page.limit.get().max(ROWS_AT_ONCE)
        };
        let (mut items, mut examined) = (Vec::new(), 0);
        let mut cursor = page.cursor.clone();
        loop {
            let rows = PageRequest {
                cursor: cursor.take(),
                ..PageRequest::first(at_once)
            };
            let rows = self.page(&list, &rows, read_head).await?;
            examined += at_once;
            let last_row = rows.next_cursor;
            for run in rows.items {
                if items.len() == wanted {
                    // The last one that is shown, behind which the next page begins.
                    let last = items.last().map(|run: &Run| run.id.to_string());
                    return Ok(listed(items, last));
                }
                if filter.admits(&run) {
                    items.push(run);
                }
            }
            match last_row {
                Some(next) if items.len() < wanted && examined < MAX_EXAMINED => {
                    cursor = Some(Cursor::from(next));
                }
                next => return Ok(listed(items, next)),
            }
        }
    }

    /// Writes a step of a run.
    ///
    /// # Errors
    /// `Conflict` when the run has been written since, or when something is wanted of its worker that the head in `write` does
    /// not know of; nothing has happened then.
    pub async fn write_run(&self, write: RunWrite<'_>) -> Result<()> {
        let written = self.run_transaction(&write).commit();
        if !write.is_entered {
            return written.await;
        }
        join(written, self.leave_running(write.read, write.run))
            .await
            .0
    }

    /// The writes of [`Self::write_run`], for more to be written with them.
    pub(crate) fn run_transaction(&self, write: &RunWrite<'_>) -> Transaction<'_> {
        let records = &self.tables.records;
        let run = write.run;
        let (workspace, id) = (run.workspace_id, run.id);
        let owner = LargeOwner::run(workspace, id);
        let mut transaction = self.transaction();
        transaction.change_head(write.read, run);
        transaction.follow_pause(write.read, run);
        if let Some(output) = run.output.as_ref().filter(|output| !is_inline(output)) {
            transaction.overwrite(
                records,
                NewItem::new(keys::run_output(workspace, id), "run_output", output)
                    .map(|item| item.may_be_large(&owner)),
            );
        }
        transaction.append_steps(run, write.steps);
        for message in write.messages {
            let item = NewItem::new(
                keys::run_message(workspace, id, message.id),
                "message",
                message,
            )
            .map(|item| item.may_be_large(&owner))
            .map(|item| {
                item.indexed(keys::message_of_agent(workspace, run.agent_id, message.id))
                    .indexed(keys::message_in_status(workspace, run.status, message.id))
            });
            transaction.create(records, item, stale_run);
        }
        if let Some(agent) = write.agent {
            transaction.put_agent(agent);
        }
        for audit in write.audit {
            transaction.audit(audit);
        }
        transaction
    }

    /// The messages of a run, newest first.
    pub async fn messages_of_run(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        page: &PageRequest,
    ) -> Result<Page<DisplayMessage>> {
        let mut list = List::new(&self.tables.records, keys::run(workspace, id));
        list.prefix = RUN_MESSAGE;
        self.page(&list, page, entity).await
    }

    /// The messages of an agent's runs, newest first.
    pub async fn messages_of_agent(
        &self,
        workspace: WorkspaceId,
        agent: AgentId,
        page: &PageRequest,
    ) -> Result<Page<DisplayMessage>> {
        let list = List::of_index(
            &self.tables.records,
            Index::Children,
            keys::messages_of(workspace, agent),
        );
        self.page(&list, page, entity).await
    }

    /// The messages that the runs of a workspace have shown since `from` on coming to `status`, newest first.
    pub async fn messages_in_status(
        &self,
        workspace: WorkspaceId,
        status: RunStatus,
        from: DateTime<Utc>,
        page: &PageRequest,
    ) -> Result<Page<DisplayMessage>> {
        let mut list = List::of_index(
            &self.tables.records,
            Index::Status,
            keys::messages_in_status(workspace, status),
        );
        list.from = Some(MessageId::first_at(from).to_string());
        self.page(&list, page, entity).await
    }
}

/// Returns `true` if what was written with the head is there. The input is older than that, and may be null.
fn is_whole(run: &Run) -> bool {
    run.status != RunStatus::Completed || run.output.is_some()
}

/// Puts the large input and output back into the head.
fn assemble(items: &[Item]) -> Result<Option<Run>> {
    let find = |sort: &str| items.iter().find(|item| sort_key(item) == sort);
    let Some(head) = find(RUN_HEAD_ITSELF) else {
        return Ok(None);
    };
    let mut run = read_head(head)?;
    if let Some(input) = find(RUN_INPUT) {
        run.input = Some(entity(input)?);
    }
    if let Some(output) = find(RUN_OUTPUT) {
        run.output = Some(entity(output)?);
    }
    Ok(Some(run))
}
