//! How large a value may be that travels with a request or a response.
//!
//! Lambda takes and gives 6 MB, with the body as a text inside of a JSON document: every quote and every backslash of the body
//! costs one more byte there. Sizes are counted that way, so that what is accepted can also be shown.

use std::io::{self, Write};

use serde::Serialize;

/// The largest input or output of a run. A response shows an input twice, where it is a signal's payload, and an output.
pub const MAX_PAYLOAD: usize = 2_000_000;

/// The bytes that a JSON text takes up inside of another one.
pub fn carried(json: &str) -> usize {
    json.len() + escapes(json.as_bytes())
}

/// Whether a value, as JSON, is larger than [`MAX_PAYLOAD`]. One that has no JSON is.
pub fn is_too_large(value: &impl Serialize) -> bool {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).is_err() || count.0 > MAX_PAYLOAD
}

/// What to say of an input that is.
pub fn too_large() -> String {
    format!(
        "must be at most {MAX_PAYLOAD} bytes of JSON, in which quotes and backslashes count twice"
    )
}

fn escapes(bytes: &[u8]) -> usize {
    let escaped = bytes.iter().filter(|byte| matches!(byte, b'"' | b'\\'));
    escaped.count()
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() + escapes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_value_counts_as_a_text_inside_of_json() {
        for value in [json!({"a\"b": ["\\", 1]}), json!("ß\n\u{1}"), Value::Null] {
            let json = value.to_string();
            let inside = Value::String(json.clone()).to_string();
            assert_eq!(carried(&json), inside.len() - 2, "{json}");
        }
        // The quotes around a text count twice.
        let text = |length: usize| "x".repeat(length);
        assert!(!is_too_large(&text(MAX_PAYLOAD - 4)));
        assert!(is_too_large(&text(MAX_PAYLOAD - 3)));
        assert!(is_too_large(&"\"".repeat(MAX_PAYLOAD / 4)));
    }
}
