//! What hosted models cost.

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

/// List prices without discounts, from general knowledge as of the end of 2025 and not checked against the providers' pages:
/// check yours before you rely on a cost. A model that is not here is counted in tokens and costs nothing.
const PRICES: [Price; 20] = [
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
];

/// What `usage` of a model costs, in millionths of a US dollar, rounded up.
pub(crate) fn cost_micros(name: &ModelName, usage: TokenUsage) -> u64 {
    let ModelName::Hosted { provider, model } = name else {
        return 0;
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

/// Whether `model` is `known`, with or without the date of a release: `gpt-5-2025-08-07` is `gpt-5`, `gpt-5-mini` is not.
fn is_release_of(known: &str, model: &str) -> bool {
    model.strip_prefix(known).is_some_and(|rest| {
        let date = rest.strip_prefix(['-', '@']).unwrap_or_default();
        rest.is_empty() || (date.starts_with("20") && date.len() >= 8)
    })
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
        ] {
            assert_eq!(
                cost_micros(&name.parse().unwrap(), usage),
                expected,
                "{name}"
            );
        }
    }
}
