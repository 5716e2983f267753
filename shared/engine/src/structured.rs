//! Output schemas: whether one can be taken from a client, and whether a model's answer fits one.
//!
//! A schema is bounded before it is compiled, so that both end; all the same they are done by a thread of its own, which keeps no
//! other request and no other run waiting, and whose result is waited for only so long.

use std::thread;
use std::time::Duration;

use domain::payload::{self, MAX_DEPTH};
use domain::schema::{STACK, Schema};
use futures::channel::oneshot;
use serde_json::Value;
use tokio::time::timeout;

/// The time that compiling a schema and applying it may take.
const TIME: Duration = Duration::from_secs(2);

/// Checks that a schema that a client sends can be compiled.
///
/// # Errors
/// The text for the client: why it is no schema, or which bound it breaks.
pub async fn accept_output_schema(schema: &Value) -> Result<(), String> {
    let schema = schema.clone();
    let compiled = within(TIME, move || Schema::compile(&schema).map(drop)).await;
    compiled.unwrap_or_else(|unfinished| {
        Err(match unfinished {
            Unfinished::Late => "takes too long to compile".to_owned(),
            Unfinished::Broken => "cannot be compiled".to_owned(),
        })
    })
}

/// The JSON that a text is, if it fits the schema.
///
/// # Errors
/// The text for people: why it does not.
pub(crate) async fn check(schema: &Value, text: &str) -> Result<Value, String> {
    let (schema, text) = (schema.clone(), text.to_owned());
    let checked = within(TIME, move || structured(&schema, &text)).await;
    checked.unwrap_or_else(|unfinished| {
        Err(match unfinished {
            Unfinished::Late => "checking the model's answer against output_schema took too long",
            Unfinished::Broken => "the model's answer could not be checked against output_schema",
        }
        .to_owned())
    })
}

/// The reason why there is no result.
#[derive(Debug, PartialEq, Eq)]
enum Unfinished {
    Late,
    Broken,
}

/// Does work on a thread of its own, which goes on by itself if it takes longer than it may.
async fn within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let (done, waiting) = oneshot::channel();
    let thread = thread::Builder::new().stack_size(STACK);
    let started = thread.spawn(move || drop(done.send(work())));
    started.map_err(|_| Unfinished::Broken)?;
    match timeout(time, waiting).await {
        Ok(done) => done.map_err(|_| Unfinished::Broken),
        Err(_) => Err(Unfinished::Late),
    }
}

fn structured(schema: &Value, text: &str) -> Result<Value, String> {
    let schema = Schema::compile(schema).map_err(|why| format!("output_schema {why}"))?;
    if payload::depth(text.as_bytes()) > MAX_DEPTH {
        return Err(format!(
            "the model's answer is nested more than {MAX_DEPTH} levels deep"
        ));
    }
    let value = serde_json::from_str(text)
        .map_err(|_| "the model's answer is not JSON, as output_schema asks".to_owned())?;
    match schema.accept(&value) {
        Ok(()) => Ok(value),
        Err(why) => Err(format!(
            "the model's answer does not fit output_schema: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_result_fits_its_schema_or_says_where_not() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        assert_eq!(check(&schema, " {\"n\": 3}").await, Ok(json!({ "n": 3 })));
        for (schema, text, expected) in [
            (&schema, "three", "not JSON"),
            (&schema, "{\"n\": \"three\"}", "/n"),
            (&schema, "{}", "required"),
            (&schema, &"[".repeat(100), "more than 64 levels"),
            (
                &json!({ "type": 7 }),
                "{}",
                "output_schema is not a JSON Schema",
            ),
        ] {
            let error = check(schema, text).await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn work_that_takes_too_long_or_breaks_is_left_alone() {
        let start = Instant::now();
        let slow = within(Duration::from_millis(50), || {
            thread::sleep(Duration::from_secs(20))
        });
        assert_eq!(slow.await, Err(Unfinished::Late));
        assert!(start.elapsed() < Duration::from_secs(10));
        let broken = within(Duration::from_secs(20), || panic!("on purpose"));
        assert_eq!(broken.await, Err::<(), _>(Unfinished::Broken));
    }
}
