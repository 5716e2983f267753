//! The output of a process: passed on to this process's own log, and its end kept to tell why the process ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The amount that is kept.
const KEPT: usize = 64 * 1024;
/// The longest line; a longer one comes as several.
const LONGEST_LINE: u64 = 64 * 1024;

/// The end of a process's output.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The owner of the lines; `None` for lines that are not passed on.
    function: Option<Arc<str>>,
    kept: Arc<Mutex<VecDeque<u8>>>,
}

impl Log {
    pub(super) fn new(function: Option<&str>) -> Self {
        Self {
            function: function.map(Arc::from),
            kept: Arc::default(),
        }
    }

    /// Takes all that comes, so that the process never waits for a reader.
    pub(super) async fn follow(self, output: impl AsyncRead + Unpin) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while let Ok(1..) = (&mut output)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            if let Some(function) = &self.function {
                pass_on(function, &String::from_utf8_lossy(&line));
            }
            self.keep(&line);
            line.clear();
        }
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    pub(super) fn text(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous())
            .trim()
            .to_owned()
    }
}

/// The one member of a JSON line that is looked at.
#[derive(Deserialize)]
struct JsonLine {
    #[serde(default)]
    level: String,
}

/// Logs a function's line as it is, at the level that it gives itself.
fn pass_on(function: &str, line: &str) {
    let line = line.trim_end();
    if line.is_empty() {
        return;
    }
    let level = match serde_json::from_str::<JsonLine>(line) {
        Ok(line) => line.level,
        // Plain lines begin with theirs.
        Err(_) => line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    match level.as_str() {
        "ERROR" => tracing::error!(function, "{line}"),
        "WARN" => tracing::warn!(function, "{line}"),
        "DEBUG" => tracing::debug!(function, "{line}"),
        "TRACE" => tracing::trace!(function, "{line}"),
        _ => tracing::info!(function, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_keep_their_level_and_their_form() {
        let output = Output::default();
        let writer = output.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            pass_on(
                "Web",
                "{\"level\":\"WARN\",\"fields\":{\"message\":\"slow\"}}\n",
            );
            pass_on("Web", "ERROR request failed id=7\n");
            pass_on("Web", "said by a library\n");
            pass_on("Web", "\n");
        });
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let expected =
            " WARN {\"level\":\"WARN\",\"fields\":{\"message\":\"slow\"}} function=\"Web\"
ERROR ERROR request failed id=7 function=\"Web\"
 INFO said by a library function=\"Web\"
";
        assert_eq!(text, expected);
    }
}
