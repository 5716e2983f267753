//! Limits on the size and depth of values that travel with a request or a response.
//!
//! Lambda takes and gives 6 MB, with the body as a text inside of a JSON document: every quote and every backslash of the body
//! costs one more byte there. Sizes are counted that way, so that what is accepted can also be shown.
//!
//! Every value that comes in keeps to [`MAX_DEPTH`], checked where it comes in. What is stored has it some levels deeper, inside
//! of its entity, so reading goes further than writing: to [`MAX_DEPTH_READ`].

use std::io::{self, Write};

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

/// The largest input or output of a run. A response shows an input twice, where it is a signal's payload, and an output.
pub const MAX_PAYLOAD: usize = 2_000_000;

/// The number of lists and objects that may stand one inside the other, the value itself included: `[[1]]` has two levels.
pub const MAX_DEPTH: usize = 64;

/// The depth to which a stored document or a reply is read, in levels.
pub const MAX_DEPTH_READ: usize = 256;

/// The bytes that a JSON text takes up inside of another one.
pub fn escaped_len(json: &str) -> usize {
    json.len() + escapes(json.as_bytes())
}

/// Returns `true` if a value, as JSON, is larger than [`MAX_PAYLOAD`]. One that has no JSON is.
pub fn is_too_large(value: &impl Serialize) -> bool {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).is_err() || count.0 > MAX_PAYLOAD
}

/// Returns `true` if a value is deeper than [`MAX_DEPTH`].
pub fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, MAX_DEPTH)
}

/// Returns `true` if a value is deeper than so many levels.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => true,
        Value::Array(items) => items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(fields) => fields.values().any(|field| is_deeper(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Checks a value that a client sends.
///
/// # Errors
/// The text for the client: the value is too large or too deep.
pub fn check(value: &Value) -> Result<(), String> {
    if is_too_deep(value) {
        return Err(too_deep());
    }
    if is_too_large(value) {
        return Err(format!(
            "must be at most {MAX_PAYLOAD} bytes of JSON, in which quotes and backslashes count twice"
        ));
    }
    Ok(())
}

/// The error for a value that is deeper than [`MAX_DEPTH`].
pub fn too_deep() -> String {
    format!("must be nested at most {MAX_DEPTH} levels deep")
}

/// A value that comes from elsewhere, as it is kept: one that is deeper than [`MAX_DEPTH`] as the text that it is.
pub fn kept(value: Value) -> Value {
    if is_too_deep(&value) {
        Value::String(value.to_string())
    } else {
        value
    }
}

/// The value of a text from elsewhere, if it is JSON of at most [`MAX_DEPTH`] levels; else the text.
pub fn read_or_text(text: String) -> Value {
    if depth(text.as_bytes()) > MAX_DEPTH {
        return Value::String(text);
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// The depth of a JSON text, in levels. Any text can be asked about.
pub fn depth(json: &[u8]) -> usize {
    Levels::of(json).deepest
}

/// Reads a JSON text that is at most [`MAX_DEPTH_READ`] levels deep.
///
/// # Errors
/// The text is no JSON, not what `T` asks for, or deeper.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if depth(json) > MAX_DEPTH_READ {
        let message = format!("nested more than {MAX_DEPTH_READ} levels deep");
        return Err(serde_json::Error::custom(message));
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    // The text keeps to a limit of ours.
    reader.disable_recursion_limit();
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The member of a JSON object whose value is deeper than [`MAX_DEPTH`], the first one; looks at no more than brackets and
/// quotes, so that any text can be asked about, at any depth.
pub fn too_deep_member(json: &[u8]) -> Option<String> {
    let name = Levels::of(json).too_deep_member?;
    serde_json::from_slice(name).ok()
}

/// The depth that the brackets of a JSON text show.
#[derive(Default)]
struct Levels<'a> {
    deepest: usize,
    /// The name, with its quotes, of the first member of the outermost object that is too deep.
    too_deep_member: Option<&'a [u8]>,
}

impl<'a> Levels<'a> {
    fn of(json: &'a [u8]) -> Self {
        let mut levels = Self::default();
        let mut depth = 0_usize;
        // The last text of the outermost object: where a bracket follows, the name of its member.
        let mut last_text: Option<&[u8]> = None;
        let mut position = 0;
        while let Some(byte) = json.get(position) {
            match byte {
                b'"' => {
                    let end = end_of_text(json, position);
                    if depth == 1 {
                        last_text = json.get(position..end);
                    }
                    position = end;
                    continue;
                }
                b'[' | b'{' => {
                    depth += 1;
                    levels.deepest = levels.deepest.max(depth);
                    if depth > MAX_DEPTH + 1 && levels.too_deep_member.is_none() {
                        levels.too_deep_member = last_text;
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            position += 1;
        }
        levels
    }
}

/// Behind the closing quote of the text whose opening quote is at `start`.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut position = start + 1;
    while let Some(byte) = json.get(position) {
        match byte {
            b'"' => return position + 1,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    json.len()
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
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::run::{Step, StepEvent, ToolOutcome};

    #[test]
    fn a_value_counts_as_a_text_inside_of_json() {
        for value in [json!({"a\"b": ["\\", 1]}), json!("ß\n\u{1}"), Value::Null] {
            let json = value.to_string();
            let inside = Value::String(json.clone()).to_string();
            assert_eq!(escaped_len(&json), inside.len() - 2, "{json}");
        }
        // The quotes around a text count twice.
        let text = |length: usize| "x".repeat(length);
        assert!(!is_too_large(&text(MAX_PAYLOAD - 4)));
        assert!(is_too_large(&text(MAX_PAYLOAD - 3)));
        assert!(is_too_large(&"\"".repeat(MAX_PAYLOAD / 4)));
    }

    fn lists(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    fn objects(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn depth_counts_lists_and_objects() {
        for of in [lists, objects] {
            let read = |levels| read::<Value>(of(levels).as_bytes()).unwrap();
            assert!(!is_too_deep(&read(MAX_DEPTH)));
            assert!(is_too_deep(&read(MAX_DEPTH + 1)));
            assert_eq!(check(&read(MAX_DEPTH + 1)), Err(too_deep()));
        }
        assert!(!is_too_deep(&json!(7)));
    }

    #[test]
    fn what_is_too_deep_is_kept_as_text() {
        for of in [lists, objects] {
            let (fits, deep) = (of(MAX_DEPTH), of(MAX_DEPTH + 1));
            let value: Value = read(fits.as_bytes()).unwrap();
            assert_eq!(kept(value.clone()), value);
            assert_eq!(read_or_text(fits), value);
            assert_eq!(kept(read(deep.as_bytes()).unwrap()), json!(deep));
            assert_eq!(read_or_text(deep.clone()), json!(deep));
        }
        assert_eq!(read_or_text("{".to_owned()), json!("{"));
    }

    #[test]
    fn the_member_that_is_too_deep_is_named_whatever_stands_before_it() {
        let before = r#""a": "\\\"[[{", "é\"b": {"x": "in"}, "#;
        for (deep, expected) in [
            (lists(MAX_DEPTH), None),
            (lists(MAX_DEPTH + 1), Some("in\"put")),
            (objects(MAX_DEPTH), None),
            (objects(100_000), Some("in\"put")),
        ] {
            let json = format!(r#"{{{before}"in\"put" : {deep}, "c": {deep}}}"#);
            assert_eq!(too_deep_member(json.as_bytes()).as_deref(), expected);
        }
        // None of these is JSON. The parser tells so, not this function.
        for json in ["", "\"", "\"\\", "]]]]", &lists(100), "[[[\"a\\"] {
            assert_eq!(too_deep_member(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn reading_goes_deeper_than_anything_that_was_ever_written_and_has_an_end() {
        // As a journal has it, which stored what a JSON parser would take: 127 levels.
        let entity = |levels: usize| {
            let outcome = serde_json::from_str(&lists(levels)).unwrap();
            let step = Step {
                index: 0,
                at: DateTime::UNIX_EPOCH,
                event: StepEvent::ToolReturned {
                    call_id: "a".to_owned(),
                    outcome: ToolOutcome::Ok(outcome),
                },
            };
            serde_json::to_vec(&step).unwrap()
        };
        let step = entity(127);
        assert!(serde_json::from_slice::<Step>(&step).is_err());
        let back: Step = read(&step).unwrap();
        assert_eq!(serde_json::to_vec(&back).unwrap(), step);

        assert!(read::<Value>(lists(MAX_DEPTH_READ).as_bytes()).is_ok());
        for levels in [MAX_DEPTH_READ + 1, 1_000_000] {
            let error = read::<Value>(lists(levels).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("256 levels"), "{error}");
        }
        assert!(read::<Value>(b"[1] 2").is_err());
    }
}
