//! The model that an agent asks, by name: `builtin/extractive`, or a provider and its own word for the model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::parameters::integer_in_range;
use crate::ids::CredentialId;
use crate::schema;

/// The name of the model within the process, which an agent uses that names no other.
pub const EXTRACTIVE: &str = "builtin/extractive";

/// The longest name of a model, with its provider.
const MAX_NAME: usize = 200;

/// A service that hosts models and needs a key.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI, and all services that speak its chat completions.
    OpenAi,
    Anthropic,
    /// Amazon Bedrock.
    Bedrock,
}

impl Provider {
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Bedrock];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The region in an address of Bedrock's, `https://bedrock-runtime.eu-central-1.amazonaws.com`; `None` when it is not one.
pub fn bedrock_region(base_url: &str) -> Option<&str> {
    let host = base_url.strip_prefix("https://bedrock-runtime")?;
    let host = host.strip_prefix("-fips").unwrap_or(host);
    let region = host.strip_prefix('.')?.strip_suffix(".amazonaws.com")?;
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!region.is_empty() && region.bytes().all(is_fine)).then_some(region)
}

/// A model by name. Its text form is what agents are told: `openai/gpt-5-mini`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelName {
    /// Within the process: at once, at no cost, the same again at any time.
    Extractive,
    /// Over the network.
    Hosted {
        provider: Provider,
        /// The provider's word for it, which may contain slashes.
        model: String,
    },
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == EXTRACTIVE {
            return Ok(Self::Extractive);
        }
        let unknown = || {
            let providers = Provider::ALL.map(|provider| format!("{provider}/<model>"));
            format!("must be {EXTRACTIVE} or {}", providers.join(" or "))
        };
        let (provider, model) = text.split_once('/').ok_or_else(unknown)?;
        let provider = Provider::ALL
            .into_iter()
            .find(|known| known.as_str() == provider)
            .ok_or_else(unknown)?;
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@+".contains(&byte);
        if model.is_empty() || text.len() > MAX_NAME || !model.bytes().all(is_fine) {
            return Err(format!(
                "must name a model of {provider} with letters, digits and . _ - : / @ + alone, {MAX_NAME} characters in all"
            ));
        }
        Ok(Self::Hosted {
            provider,
            model: model.to_owned(),
        })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extractive => formatter.write_str(EXTRACTIVE),
            Self::Hosted { provider, model } => write!(formatter, "{provider}/{model}"),
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.to_string()
    }
}

/// The most models that an agent may fall back to.
const MAX_FALLBACKS: usize = 5;
/// The most that a model may be asked to write at once, in tokens.
const MAX_OUTPUT_TOKENS: u64 = 128_000;

/// Returns `true` if a parameter names a model.
pub fn check_name(value: &Value) -> Result<(), String> {
    let text = value.as_str().ok_or("must be a text")?;
    text.parse::<ModelName>().map(drop)
}

/// Returns `true` if a parameter is a list of fallback models.
pub fn check_fallbacks(value: &Value) -> Result<(), String> {
    match value.as_array() {
        Some(names) if names.len() <= MAX_FALLBACKS => names.iter().try_for_each(check_name),
        _ => Err(format!("must be a list of at most {MAX_FALLBACKS} models")),
    }
}

/// Returns `true` if a parameter is the id of a credential.
pub fn check_credential(value: &Value) -> Result<(), String> {
    match value.as_str().map(str::parse::<CredentialId>) {
        Some(Ok(_)) => Ok(()),
        _ => Err("must be the id of a credential".to_owned()),
    }
}

/// Returns `true` if a parameter is a limit on the tokens of one answer.
pub fn check_max_output_tokens(value: &Value) -> Result<(), String> {
    integer_in_range(value, MAX_OUTPUT_TOKENS)
}

/// Returns `true` if a parameter is a JSON Schema within bounds. Whether it can be compiled is found out by a thread of its own, which is not
/// for here.
pub fn check_output_schema(value: &Value) -> Result<(), String> {
    if !value.is_object() {
        return Err("must be a JSON Schema object".to_owned());
    }
    schema::check(value)
}

/// The reason why an agent with these parameters cannot have an output schema.
pub fn unfit_schema(parameters: &Map<String, Value>) -> Option<&'static str> {
    let model = parameters.get("model").and_then(Value::as_str);
    (parameters.contains_key("output_schema") && model == Some(EXTRACTIVE))
        .then_some("needs another model: builtin/extractive quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_provider_and_its_word_for_a_model() {
        for name in [
            "builtin/extractive",
            "openai/gpt-5-mini",
            "openai/meta-llama/Llama-3.1-8B:free",
            "anthropic/claude-sonnet-4-5@20250929",
            "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "bedrock/arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123",
        ] {
            assert_eq!(name.parse::<ModelName>().unwrap().to_string(), name);
        }
        let long = format!("openai/{}", "x".repeat(MAX_NAME));
        for wrong in [
            "",
            "gpt-5",
            "openai",
            "openai/",
            "OpenAI/gpt-5",
            "builtin/other",
            "elsewhere/gpt-5",
            "openai/gpt 5",
            "openai/gpt\"5",
            "anthropic/cläude",
            &long,
        ] {
            assert!(wrong.parse::<ModelName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_of_bedrock_is_its_own_alone() {
        for (base_url, expected) in [
            (
                "https://bedrock-runtime.eu-central-1.amazonaws.com",
                Some("eu-central-1"),
            ),
            (
                "https://bedrock-runtime-fips.us-east-1.amazonaws.com",
                Some("us-east-1"),
            ),
            ("http://bedrock-runtime.eu-central-1.amazonaws.com", None),
            (
                "https://bedrock-runtime.eu-central-1.amazonaws.com:8443",
                None,
            ),
            ("https://bedrock-runtime.eu-central-1.amazonaws.com/x", None),
            ("https://bedrock-runtime..amazonaws.com", None),
            ("https://bedrock-runtime.evil.example/.amazonaws.com", None),
            ("https://bedrock-runtime.a.b.amazonaws.com", None),
            ("https://bedrock.eu-central-1.amazonaws.com", None),
            ("https://example.com", None),
        ] {
            assert_eq!(bedrock_region(base_url), expected, "{base_url}");
        }
    }
}
