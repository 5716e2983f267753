//! Parameters that several types of agents take.

use domain::agent::{ParameterKind, ParameterSpec};
use domain::model;

/// The models that an agent asks.
pub(super) fn models() -> [ParameterSpec; 4] {
    use ParameterKind::{Json, Number, Text};
    [
        ParameterSpec::new(
            "model",
            "Model",
            Text,
            "Which model answers: `builtin/extractive`, which quotes and does not generate, `openai/<model>`, `anthropic/<model>` or `bedrock/<model>`.",
        )
        .default(model::EXTRACTIVE)
        .check(model::check_name),
        ParameterSpec::new(
            "fallbacks",
            "Fallback models",
            Json,
            "At most 5 models to ask, in this order, when those before do not answer.",
        )
        .check(model::check_fallbacks),
        ParameterSpec::new(
            "credential_id",
            "Credential",
            Text,
            "The key for the model's provider; the organization's newest when left out.",
        )
        .check(model::check_credential),
        ParameterSpec::new(
            "max_output_tokens",
            "Output limit",
            Number,
            "Tokens that a hosted model may write in one answer, 1 to 128000; 4096 when left out.",
        )
        .check(model::check_max_output_tokens),
    ]
}

/// The units of the weather.
pub(super) fn units() -> ParameterSpec {
    ParameterSpec::new(
        "units",
        "Units",
        ParameterKind::Selection {
            options: &["metric", "imperial"],
        },
        "Celsius and km/h, or Fahrenheit and mph.",
    )
    .default("metric")
}
