//! The definition of a run: an agent's version and the run's input, made into instructions and rules.

use std::sync::Arc;

use domain::model::ModelName;
use serde::Serialize;

use crate::limits::Limits;
use crate::model_choice::ModelChoice;
use crate::result::{RunResult, Text};

/// The number of model answers that a run may take when its agent does not say.
pub(crate) const DEFAULT_MAX_STEPS: u32 = 20;

/// The instructions of a run, and its limits.
#[derive(Clone, Debug, Serialize)]
pub struct Definition {
    pub model: ModelChoice,
    pub instructions: String,
    /// The first message to the model: the run's input.
    pub opening: String,
    /// The pictures that go with it, to a hosted model.
    pub images: Vec<String>,
    /// The tools that the run may call.
    pub tools: Vec<String>,
    /// The hosts that they may reach.
    pub allowed_hosts: Vec<String>,
    /// The agents that they may start, by id; `*` for any.
    pub allowed_agents: Vec<String>,
    /// The number of answers that the model may give.
    pub max_steps: u32,
    pub limits: Limits,
    /// The sources of the run's result.
    #[serde(skip)]
    pub(crate) result: Arc<dyn RunResult>,
}

impl Definition {
    /// A definition without instructions and tools.
    pub(crate) fn new(model: ModelChoice, result: impl RunResult + 'static) -> Self {
        Self {
            model,
            instructions: String::new(),
            opening: String::new(),
            images: Vec::new(),
            tools: Vec::new(),
            allowed_hosts: Vec::new(),
            allowed_agents: Vec::new(),
            max_steps: DEFAULT_MAX_STEPS,
            limits: Limits::default(),
            result: Arc::new(result),
        }
    }

    /// A definition for looking at a journal, without going on with it.
    pub(crate) fn unknown() -> Self {
        Self::new(ModelChoice::default(), Text)
    }

    /// Returns `true` if the model answers within this process, at once and at no cost: its answer can be had again at any time.
    pub fn model_is_in_process(&self) -> bool {
        self.model.name == ModelName::Extractive
    }
}
