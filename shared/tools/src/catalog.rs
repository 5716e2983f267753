//! The tools that there are, by name.

use std::sync::{Arc, OnceLock};

use domain::Result;
use domain::ids::{OrganizationId, WorkspaceId};
use jsonschema::Validator;
use llm::ToolSpec;
use serde_json::Value;

use crate::calling_run::CallingRun;
use crate::get_activity::GetActivity;
use crate::get_weather::GetWeather;
use crate::http_request::HttpRequest;
use crate::settings::ToolSettings;
use crate::tool::Tool;
use crate::trigger_agent::TriggerAgent;
use crate::workspace::Workspace;

/// Up to this size all that is wrong with a call's arguments is told, in bytes of JSON; of larger ones the first that is found.
const MAX_EXPLAINED: usize = 4096;

/// For whom tools are looked up.
#[derive(Clone, Copy, Debug)]
pub struct ToolScope<'a> {
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    /// The run that calls; `None` for other callers, for whom the tools that act with other runs do not exist.
    pub run: Option<&'a CallingRun>,
}

/// All tools of the platform. Cheap to clone: connections and schemas are set up when first needed.
#[derive(Clone)]
pub struct ToolCatalog {
    /// For all callers.
    general: Arc<[Registered]>,
    /// For runs.
    of_runs: Arc<[Registered]>,
}

impl ToolCatalog {
    pub fn new(settings: ToolSettings) -> Self {
        let general: [Arc<dyn Tool>; 2] = [
            Arc::new(GetWeather::new(&settings)),
            Arc::new(HttpRequest::new(settings.outbound)),
        ];
        Self {
            general: general.into_iter().map(Registered::new).collect(),
            of_runs: Arc::default(),
        }
    }

    /// Adds the tools that act on the agents and runs of their run's workspace.
    #[must_use]
    pub fn with_workspace(self, workspace: Arc<dyn Workspace>) -> Self {
        let of_runs: [Arc<dyn Tool>; 2] = [
            Arc::new(TriggerAgent::new(workspace.clone())),
            Arc::new(GetActivity::new(workspace)),
        ];
        Self {
            of_runs: of_runs.into_iter().map(Registered::new).collect(),
            ..self
        }
    }

    /// The tools of these names that exist for `scope`, in this order. Unknown names are left out.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be told now which tools there are.
    pub async fn resolve(&self, scope: ToolScope<'_>, names: &[String]) -> Result<ToolSet> {
        let of_runs = scope.run.map_or(&[][..], |_| &*self.of_runs);
        let find = |name: &String| {
            let mut all = self.general.iter().chain(of_runs);
            all.find(|tool| tool.name() == *name).cloned()
        };
        Ok(ToolSet {
            tools: names.iter().filter_map(find).collect(),
        })
    }
}

impl std::fmt::Debug for ToolCatalog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.general.iter().chain(&*self.of_runs);
        formatter
            .debug_list()
            .entries(all.map(Registered::name))
            .finish()
    }
}

/// The tools that a caller has.
#[derive(Clone)]
pub struct ToolSet {
    tools: Vec<Registered>,
}

impl ToolSet {
    /// The descriptions of the tools, for a model.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools
            .iter()
            .map(|tool| tool.0.tool.spec().clone())
            .collect()
    }

    /// The tool of a name.
    pub fn get(&self, name: &str) -> Option<&dyn Tool> {
        self.find(name).map(|tool| &*tool.0.tool)
    }

    /// Checks `arguments` against the tool's input schema.
    ///
    /// # Errors
    /// A text for the model, which names the argument that does not fit.
    pub fn validate(&self, tool: &str, arguments: &Value) -> Result<(), String> {
        self.find(tool)
            .ok_or_else(|| unknown(tool))?
            .validate(arguments)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Registered> {
        self.tools.iter().find(|tool| tool.name() == name)
    }
}

/// A tool with the validator of its input schema, which is compiled once.
#[derive(Clone)]
pub(crate) struct Registered(Arc<Entry>);

struct Entry {
    tool: Arc<dyn Tool>,
    validator: OnceLock<Validator>,
}

impl Registered {
    fn new(tool: Arc<dyn Tool>) -> Self {
        Self(Arc::new(Entry {
            tool,
            validator: OnceLock::new(),
        }))
    }

    fn name(&self) -> &str {
        &self.0.tool.spec().name
    }

    pub(crate) fn tool(&self) -> &dyn Tool {
        &*self.0.tool
    }

    pub(crate) fn validate(&self, arguments: &Value) -> Result<(), String> {
        let validator = self.0.validator.get_or_init(|| {
            jsonschema::validator_for(&self.0.tool.spec().input_schema)
                .expect("the schemas of our own tools compile")
        });
        if validator.is_valid(arguments) {
            return Ok(());
        }
        // Every error takes up memory, and large arguments may be wrong in every part.
        let errors = if arguments.to_string().len() > MAX_EXPLAINED {
            Vec::from_iter(validator.validate(arguments).err())
        } else {
            validator.iter_errors(arguments).collect()
        };
        let mut messages = Vec::new();
        for error in errors {
            let path = error
                .instance_path()
                .as_str()
                .trim_start_matches('/')
                .replace('/', ".");
            // Masked: an argument may be long, or a secret.
            let fault = error.masked();
            messages.push(if path.is_empty() {
                fault.to_string()
            } else {
                format!("{path}: {fault}")
            });
        }
        Err(messages.join("; "))
    }
}

pub(crate) fn unknown(tool: &str) -> String {
    format!(
        "there is no tool called {}",
        tool.chars().take(100).collect::<String>()
    )
}
