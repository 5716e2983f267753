//! Prices of hosted models.

use domain::model::{ModelName, Provider};
use domain::run::TokenUsage;

/// A model's price, in thousandths of a US dollar per million tokens.
struct Price {
    provider: Provider,
    model: &'static str,
    input: u64,
    output: u64,
}

const fn openai(model: &'static str, input: u64, output: u64) -> Price {
    Price {
        provider: Provider::OpenAi,
        model,
        input,
        output,
    }
}

const fn anthropic(model: &'static str, input: u64, output: u64) -> Price {
    Price {
        provider: Provider::Anthropic,
        model,
        input,
        output,
    }
}

/// A model of Bedrock, without an area in front of it and a version behind it.
const fn bedrock(model: &'static str, input: u64, output: u64) -> Price {
    Price {
        provider: Provider::Bedrock,
        model,
        input,
        output,
    }
}

/// List prices without discounts, from general knowledge as of the end of 2025 and not checked against the providers' pages:
/// check yours before you rely on a cost. A model that is not here is counted in tokens and costs nothing.
const PRICES: [Price; 31] = [
    openai("gpt-5", 1_250, 10_000),
    openai("gpt-5.1", 1_250, 10_000),
    openai("gpt-5-mini", 250, 2_000),
    openai("gpt-5-nano", 50, 400),
    openai("gpt-4.1", 2_000, 8_000),
    openai("gpt-4.1-mini", 400, 1_600),
    openai("gpt-4.1-nano", 100, 400),
    openai("gpt-4o", 2_500, 10_000),
    openai("gpt-4o-mini", 150, 600),
    openai("o3", 2_000, 8_000),
    openai("o3-mini", 1_100, 4_400),
    openai("o4-mini", 1_100, 4_400),
    anthropic("claude-opus-4-5", 5_000, 25_000),
    anthropic("claude-opus-4-1", 15_000, 75_000),
    anthropic("claude-opus-4", 15_000, 75_000),
    anthropic("claude-sonnet-4-5", 3_000, 15_000),
    anthropic("claude-sonnet-4", 3_000, 15_000),
    anthropic("claude-haiku-4-5", 1_000, 5_000),
    anthropic("claude-3-5-haiku", 800, 4_000),
    anthropic("claude-3-haiku", 250, 1_250),
    bedrock("anthropic.claude-opus-4-5", 5_000, 25_000),
    bedrock("anthropic.claude-sonnet-4-5", 3_000, 15_000),
    bedrock("anthropic.claude-sonnet-4", 3_000, 15_000),
    bedrock("anthropic.claude-haiku-4-5", 1_000, 5_000),
    bedrock("anthropic.claude-3-haiku", 250, 1_250),
    bedrock("amazon.nova-pro", 800, 3_200),
    bedrock("amazon.nova-lite", 60, 240),
    bedrock("amazon.nova-micro", 35, 140),
    bedrock("meta.llama3-3-70b-instruct", 720, 720),
    bedrock("openai.gpt-oss-120b", 150, 600),
    bedrock("openai.gpt-oss-20b", 70, 300),
];

/// The cost of `usage` of a model, in millionths of a US dollar, rounded up.
pub(crate) fn cost_micros(name: &ModelName, usage: TokenUsage) -> u64 {
    let ModelName::Hosted { provider, model } = name else {
        return 0;
    };
    let model = match provider {
        Provider::Bedrock => bedrock_model(model),
        Provider::OpenAi | Provider::Anthropic => model,
    };
    let price = PRICES
        .iter()
        .find(|price| price.provider == *provider && is_release_of(price.model, model));
    price.map_or(0, |price| {
        let thousandths = usage
            .input
            .saturating_mul(price.input)
            .saturating_add(usage.output.saturating_mul(price.output));
        thousandths.div_ceil(1_000)
    })
}

/// Returns `true` if `model` is `known`, with or without the date of a release: `gpt-5-2025-08-07` is `gpt-5`, `gpt-5-mini` is not.
fn is_release_of(known: &str, model: &str) -> bool {
    model.strip_prefix(known).is_some_and(|rest| {
        let date = rest.strip_prefix(['-', '@']).unwrap_or_default();
        rest.is_empty() || (date.starts_with("20") && date.len() >= 8)
    })
}

/// Bedrock's id of a model without what it has before and behind it: `eu.anthropic.claude-haiku-4-5-20251001-v1:0` is
/// `anthropic.claude-haiku-4-5-20251001`. ARNs of models and of AWS's own inference profiles end with an id.
fn bedrock_model(id: &str) -> &str {
    let id = id.rsplit('/').next().unwrap_or(id);
    let areas = [
        "us.", "eu.", "apac.", "jp.", "au.", "ca.", "us-gov.", "global.",
    ];
    let id = areas
        .iter()
        .find_map(|area| id.strip_prefix(area))
        .unwrap_or(id);
    let id = id.split_once(':').map_or(id, |(id, _)| id);
    match id.rsplit_once("-v") {
        Some((model, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => model,
        // gpt-oss has a dash before its only number.
        _ => id.strip_suffix("-1").unwrap_or(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_that_of_the_model_or_nothing() {
        let usage = TokenUsage {
            input: 1_000,
            output: 101,
        };
        for (name, expected) in [
            ("openai/gpt-5", 2_260),
            ("openai/gpt-5-2025-08-07", 2_260),
            ("openai/gpt-5-mini", 452),
            ("openai/gpt-5-nano", 91),
            ("anthropic/claude-sonnet-4-5-20250929", 4_515),
            ("anthropic/claude-sonnet-4-5@20250929", 4_515),
            ("anthropic/gpt-5", 0),
            ("openai/gpt-5-preview", 0),
            ("openai/llama-4", 0),
            ("builtin/extractive", 0),
            (
                "bedrock/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
                4_515,
            ),
            (
                "bedrock/global.anthropic.claude-sonnet-4-20250514-v1:0",
                4_515,
            ),
            ("bedrock/amazon.nova-lite-v1:0", 85),
            ("bedrock/openai.gpt-oss-20b-1:0", 101),
            (
                "bedrock/arn:aws:bedrock:eu-central-1:1:inference-profile/eu.amazon.nova-micro-v1:0",
                50,
            ),
            (
                "bedrock/arn:aws:bedrock:eu-central-1:1:application-inference-profile/abc",
                0,
            ),
            ("bedrock/claude-sonnet-4-5", 0),
        ] {
            assert_eq!(
                cost_micros(&name.parse().unwrap(), usage),
                expected,
                "{name}"
            );
        }
    }
}
