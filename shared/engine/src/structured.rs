//! Checking a model's answer against an output schema.
//!
//! A schema is bounded before it is compiled, so that the check ends; all the same it is done by a thread of its own, which keeps
//! no other run waiting, and whose result is waited for only so long.

use std::thread;
use std::time::Duration;

use domain::payload::{self, MAX_DEPTH};
use domain::schema::{STACK, Schema};
use futures::channel::oneshot;
use serde_json::Value;
use tokio::time::timeout;

/// How long a check may take.
const TIME: Duration = Duration::from_secs(2);

/// The JSON that a text is, if it fits the schema.
///
/// # Errors
/// The text for people: why it does not.
pub(crate) async fn check(schema: &Value, text: &str) -> Result<Value, String> {
    let (schema, text) = (schema.clone(), text.to_owned());
    let checked = within(TIME, move || structured(&schema, &text)).await;
    checked.unwrap_or_else(|why| Err(why.to_owned()))
}

/// Does work on a thread of its own, which goes on by itself if it takes longer than it may.
async fn within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, &'static str> {
    let (done, waiting) = oneshot::channel();
    let thread = thread::Builder::new().stack_size(STACK);
    let started = thread.spawn(move || drop(done.send(work())));
    started.map_err(|_| "the model's answer could not be checked against output_schema")?;
    match timeout(time, waiting).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err("the model's answer could not be checked against output_schema"),
        Err(_) => Err("checking the model's answer against output_schema took too long"),
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
        assert!(slow.await.unwrap_err().contains("took too long"));
        assert!(start.elapsed() < Duration::from_secs(10));
        let broken = within(Duration::from_secs(20), || panic!("on purpose"));
        assert!(broken.await.unwrap_err().contains("could not be checked"));
    }
}
