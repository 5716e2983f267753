//! Structured answers of models that have no way of their own to be asked for them.

use crate::ModelRequest;

/// The instructions, with the schema of the answer as one of them. Whether the answer fits is checked in any case.
pub(crate) fn instructions_with_schema(request: &ModelRequest) -> String {
    let mut text = request.instructions.trim().to_owned();
    if let Some(schema) = &request.output_schema {
        if !text.is_empty() {
            text += "\n\n";
        }
        text += &format!(
            "Your final answer is JSON that fits this JSON Schema, and nothing else: no words around it, no code fence.\n{schema}"
        );
    }
    text
}

/// The request with its schema among the instructions and nowhere else.
pub(crate) fn in_words(request: &ModelRequest) -> ModelRequest {
    ModelRequest {
        instructions: instructions_with_schema(request),
        output_schema: None,
        ..request.clone()
    }
}

/// JSON without the code fence that models like to put around it in spite of what they are told.
pub(crate) fn without_frame(text: &str) -> &str {
    let text = text.trim();
    let framed = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .map(|rest| rest.strip_prefix("json").unwrap_or(rest));
    framed.map_or(text, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fence_is_taken_off_and_nothing_else() {
        for (text, expected) in [
            ("{\"n\": 1}", "{\"n\": 1}"),
            ("\n```json\n{\"n\": 1}\n```\n", "{\"n\": 1}"),
            ("```\n[1]\n```", "[1]"),
            ("``` is a fence", "``` is a fence"),
            ("\"```\"", "\"```\""),
        ] {
            assert_eq!(without_frame(text), expected);
        }
    }
}
