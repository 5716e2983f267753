//! The models that answer a run, and the rules that they are asked to keep to.

use domain::ids::CredentialId;
use domain::model::ModelName;
use domain::schema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The number of tokens that a hosted model may write in one answer when its agent does not say.
const DEFAULT_MAX_OUTPUT_TOKENS: u32 = 4096;

/// An agent's parameters about models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelChoice {
    pub name: ModelName,
    /// Asked in this order when those before it do not answer.
    pub fallbacks: Vec<ModelName>,
    /// The key for models of its provider. Models of others use the workspace's newest, else the organization's default.
    pub credential_id: Option<CredentialId>,
    /// The number of tokens that a hosted model may write in one answer.
    pub max_output_tokens: u32,
    /// JSON Schema of the result.
    pub output_schema: Option<Value>,
    /// Directives that are carried out before any of the models is asked.
    pub directives: Option<String>,
}

impl Default for ModelChoice {
    fn default() -> Self {
        Self {
            name: ModelName::Extractive,
            fallbacks: Vec::new(),
            credential_id: None,
            max_output_tokens: DEFAULT_MAX_OUTPUT_TOKENS,
            output_schema: None,
            directives: None,
        }
    }
}

impl ModelChoice {
    /// The choice that an agent's parameters make.
    ///
    /// # Errors
    /// The text for people: which name is none, or which bound a stored schema breaks.
    pub fn of(parameters: &Map<String, Value>) -> Result<Self, String> {
        let name = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            text.parse()
                .map_err(|_| format!("there is no model called {text}"))
        };
        let default = Self::default();
        let fallbacks = parameters.get("fallbacks").and_then(Value::as_array);
        let credential = parameters.get("credential_id").and_then(Value::as_str);
        let limit = parameters.get("max_output_tokens").and_then(Value::as_u64);
        let output_schema = parameters.get("output_schema").cloned();
        // It was checked when it was taken, by a version that may have taken more.
        if let Some(schema) = &output_schema {
            schema::check(schema).map_err(|why| format!("output_schema {why}"))?;
        }
        Ok(Self {
            name: parameters.get("model").map_or(Ok(default.name), name)?,
            fallbacks: fallbacks
                .into_iter()
                .flatten()
                .map(name)
                .collect::<Result<_, _>>()?,
            credential_id: credential.and_then(|id| id.parse().ok()),
            max_output_tokens: limit
                .and_then(|limit| u32::try_from(limit).ok())
                .unwrap_or(default.max_output_tokens),
            output_schema,
            directives: None,
        })
    }

    /// All models, in the order in which they are asked.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ModelName> {
        let names: Vec<_> = std::iter::once(&self.name).chain(&self.fallbacks).collect();
        names.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_choose_models_and_limits() {
        let id = "0190f5a0-b1c2-7d3e-8f4a-5b6c7d8e9f00";
        let parameters = json!({
            "model": "openai/gpt-5-mini", "fallbacks": ["anthropic/claude-haiku-4-5", "builtin/extractive"],
            "credential_id": id, "max_output_tokens": 100,
        });
        let choice = ModelChoice::of(parameters.as_object().unwrap()).unwrap();
        let names: Vec<_> = choice.names().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "openai/gpt-5-mini",
                "anthropic/claude-haiku-4-5",
                "builtin/extractive"
            ]
        );
        assert_eq!(
            (choice.credential_id, choice.max_output_tokens),
            (Some(id.parse().unwrap()), 100)
        );
        assert_eq!(ModelChoice::of(&Map::new()), Ok(ModelChoice::default()));
        let wrong = json!({ "model": "gpt-5" });
        assert!(ModelChoice::of(wrong.as_object().unwrap()).is_err());
    }
}
