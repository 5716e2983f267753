//! What a worker reads of a run that it takes on, besides the head.

use domain::Result;
use domain::agent::{Agent, AgentVersion};
use domain::deletion::DeletionTarget;
use domain::run::Run;
use futures::future::join;

use crate::agents::read_agent;
use crate::item::{Item, entity, readable};
use crate::keys::{self, Key};
use crate::{LoadedRun, Store};

/// What a run follows.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The version of its agent.
    pub version: Option<AgentVersion>,
    /// The agent as it is now, unless it cannot be read.
    pub agent: Option<Agent>,
    /// The deletion of its agent or its workspace, which keeps it from going on.
    pub deletion: Option<DeletionTarget>,
}

impl Store {
    /// What a run follows, and its journal and input as they were when its head was `run`. Of a run that no worker has had yet, this is
    /// one call. A journal that cannot be read keeps no run from being stopped, so its error stands apart.
    pub async fn run_with_context(&self, run: &Run) -> Result<(RunContext, Result<LoadedRun>)> {
        let is_new = run.started_at.is_none() && run.steps == 0;
        if !is_new || run.input.is_some() {
            let context = async {
                let items = self.get_items(&self.tables.records, context_keys(run));
                context(run, items.await?)
            };
            if is_new {
                return Ok((context.await?, Ok(without_journal(run.clone()))));
            }
            let (context, journal) = join(context, self.load_journal(run.clone())).await;
            return Ok((context?, journal));
        }
        let [version, workspace, deletion, agent] = context_keys(run);
        let input = keys::run_input(run.workspace_id, run.id);
        let wanted = [version, workspace, deletion, agent, input];
        let found = self.get_items(&self.tables.records, wanted).await?;
        let [version, workspace, deletion, agent, input] = found;
        let context = context(run, [version, workspace, deletion, agent])?;
        Ok((context, self.with_input(run, input).await))
    }

    /// A run without a journal, with the input that has an item of its own.
    async fn with_input(&self, run: &Run, input: Option<Item>) -> Result<LoadedRun> {
        let input = self.resolve_objects(input.into_iter().collect()).await?;
        Ok(without_journal(Run {
            input: input.first().map(entity).transpose()?,
            ..run.clone()
        }))
    }
}

fn without_journal(run: Run) -> LoadedRun {
    LoadedRun {
        run,
        steps: Vec::new(),
        chunks: Vec::new(),
    }
}

fn context_keys(run: &Run) -> [Key; 4] {
    [
        keys::agent_version(run.workspace_id, run.agent_version_id),
        keys::workspace(run.organization_id, run.workspace_id),
        keys::deletion(deletion_of_agent(run)),
        keys::agent(run.workspace_id, run.agent_id),
    ]
}

fn context(
    run: &Run,
    [version, workspace, deletion, agent]: [Option<Item>; 4],
) -> Result<RunContext> {
    let deletion = match (workspace, deletion) {
        (None, _) => Some(DeletionTarget::Workspace {
            organization_id: run.organization_id,
            workspace_id: run.workspace_id,
        }),
        (Some(_), Some(_)) => Some(deletion_of_agent(run)),
        (Some(_), None) => None,
    };
    Ok(RunContext {
        version: version.as_ref().map(entity).transpose()?,
        agent: agent.and_then(|agent| readable(&agent, read_agent)),
        deletion,
    })
}

fn deletion_of_agent(run: &Run) -> DeletionTarget {
    DeletionTarget::Agent {
        organization_id: run.organization_id,
        workspace_id: run.workspace_id,
        agent_id: run.agent_id,
    }
}
