//! An agent that follows its owner's instructions, with the tools that its owner allows.

use domain::agent::parameters::{agents, hosts, integer_in_range, names_within};
use domain::agent::{AgentVersion, ParameterKind, ParameterSpec, TOOLS};
use domain::model::{self, ModelName};
use serde_json::{Map, Value, json};

use super::AgentKind;
use super::instructions::with_prompts;
use super::parameters::models;
use crate::definition::{DEFAULT_MAX_STEPS, Definition};
use crate::limits::Limits;
use crate::model_choice::ModelChoice;
use crate::result::Text;

pub(super) struct Freeform;

impl AgentKind for Freeform {
    fn name(&self) -> &'static str {
        "Freeform"
    }

    fn description(&self) -> &'static str {
        "Follows your instructions, with the tools that you allow."
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        use ParameterKind::{Json, Number, Text};
        let instructions = ParameterSpec::new(
            "instructions",
            "Instructions",
            Text,
            "What the agent shall do, in your words.",
        );
        let rest = [
            ParameterSpec::new(
                "output_schema",
                "Output schema",
                Json,
                "JSON Schema of the result, which a hosted model then writes as JSON.",
            )
            .check(model::check_output_schema),
            ParameterSpec::new(
                "tools",
                "Tools",
                Json,
                "Names of the tools that the agent may call: `get_weather`, `http_request`, `trigger_agent`, `get_activity`.",
            )
            .default(Vec::<Value>::new())
            .check(|value| names_within(value, &TOOLS)),
            ParameterSpec::new(
                "allowed_hosts",
                "Allowed hosts",
                Json,
                "Host names that `http_request` may reach, `*.example.com` for all below one.",
            )
            .default(Vec::<Value>::new())
            .check(hosts),
            ParameterSpec::new(
                "allowed_agents",
                "Allowed agents",
                Json,
                "Ids of the agents that `trigger_agent` may start, at most 20, or `*` for any of the workspace.",
            )
            .default(Vec::<Value>::new())
            .check(agents),
            ParameterSpec::new(
                "max_steps",
                "Step limit",
                Number,
                "Model answers a run may take, 1 to 50.",
            )
            .default(DEFAULT_MAX_STEPS)
            .check(|value| integer_in_range(value, 50)),
            ParameterSpec::new(
                "max_tokens",
                "Token limit",
                Number,
                "Tokens that the models of a run may read and write together, 1 to 1000000000; no limit when left out.",
            )
            .check(|value| integer_in_range(value, 1_000_000_000)),
            ParameterSpec::new(
                "max_seconds",
                "Time limit",
                Number,
                "Seconds that a run may be worked on, pauses excepted, 1 to 86400; 3600 when left out.",
            )
            .check(|value| integer_in_range(value, 86_400)),
            ParameterSpec::new(
                "max_cost_usd",
                "Cost limit",
                Number,
                "US dollars that the models of a run may cost, by the price table, 0.000001 to 10000; no limit when left out.",
            )
            .check(cost_limit),
        ];
        let all = [instructions.required()].into_iter().chain(models());
        all.chain(rest).collect()
    }

    fn check(&self, parameters: &Map<String, Value>) -> Option<(&'static str, String)> {
        let why = model::unfit_schema(parameters)?;
        Some(("output_schema", why.to_owned()))
    }

    fn define(&self, version: &AgentVersion, input: &Value) -> Result<Definition, String> {
        let parameters = &version.parameters;
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let names = |name: &str| {
            let list = parameters.get(name).and_then(Value::as_array);
            let names = list.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let instructions = text("instructions").unwrap_or_default();
        let max_steps = parameters.get("max_steps").and_then(Value::as_u64);
        let model = ModelChoice::of(parameters)?;
        let (opening, images) = match (&model.name, with_images(input)) {
            (ModelName::Hosted { .. }, Some((rest, images))) => (opening(&rest), images),
            _ => (opening(input), Vec::new()),
        };
        Ok(Definition {
            instructions: with_prompts(instructions, &version.prompts),
            opening,
            images,
            tools: names("tools"),
            allowed_hosts: names("allowed_hosts"),
            allowed_agents: match text("allowed_agents") {
                Some(any) => vec![any.to_owned()],
                None => names("allowed_agents"),
            },
            max_steps: max_steps
                .and_then(|steps| u32::try_from(steps).ok())
                .unwrap_or(DEFAULT_MAX_STEPS),
            limits: Limits::of(parameters),
            ..Definition::new(model, Text)
        })
    }
}

fn cost_limit(value: &Value) -> Result<(), String> {
    match value.as_f64() {
        Some(dollars) if (0.000_001..=10_000.0).contains(&dollars) => Ok(()),
        _ => Err("must be from 0.000001 to 10000".to_owned()),
    }
}

/// An input whose `images` are pictures, without them and beside them: `https://` addresses, or `data:` URLs in base64.
pub(super) fn with_images(input: &Value) -> Option<(Value, Vec<String>)> {
    let picture = |value: &Value| {
        let text = value.as_str()?;
        let inline = text.starts_with("data:image/") && text.contains(";base64,");
        (inline || text.starts_with("https://")).then(|| text.to_owned())
    };
    let images = input.get("images")?.as_array()?;
    let images = images.iter().map(picture).collect::<Option<Vec<_>>>()?;
    let mut rest = input.as_object()?.clone();
    rest.remove("images");
    Some((Value::Object(rest), images))
}

/// The input as a model reads it: a text as it is, anything else as JSON, nothing as nothing.
pub(super) fn opening(input: &Value) -> String {
    match input {
        Value::Null => String::new(),
        // Not bare: a line of a sender's text must not pass for a directive.
        Value::String(text) => json!({ "text": text }).to_string(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        other => other.to_string(),
    }
}
