//! Waiting for a run to end, or to come to some other state.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Result;
use domain::run::{Run, RunStatus};
use store::Store;
use tokio::time::{Instant, sleep};

/// The time that a caller may have to wait. API Gateway gives up after 29 seconds.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// The time before the host's deadline that is kept for sending a response.
const MARGIN: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The head of the run once `is_settled`, or as it stands when the time is up. The host, if it told its `deadline`, is answered
/// before that.
pub(crate) async fn wait_until(
    store: &Store,
    mut run: Run,
    deadline: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    is_settled: impl Fn(&Run) -> bool,
) -> Result<Run> {
    let until = Instant::now() + patience(deadline, now);
    let mut pause = FIRST_PAUSE;
    while !is_settled(&run) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match store.run_head(run.workspace_id, run.id).await {
            Ok(current) => run = current.unwrap_or(run),
            // The run is accepted whether or not we can look at it now.
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(run)
}

/// A run that is over, as a whole: its head has no room for a large input or output.
pub(crate) async fn with_payloads(store: &Store, run: Run) -> Result<Run> {
    let lacks_output = run.status == RunStatus::Completed && run.output.is_none();
    if run.input.is_some() && !lacks_output {
        return Ok(run);
    }
    let whole = store.run(run.workspace_id, run.id).await?;
    Ok(whole.unwrap_or(run))
}

fn patience(deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    let left = deadline.map(|deadline| (deadline - now).to_std().unwrap_or_default());
    left.map_or(MAX_WAIT, |left| left.saturating_sub(MARGIN).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_host_is_answered_before_its_deadline() {
        let now = DateTime::UNIX_EPOCH;
        let seconds = |left: Option<i64>| {
            patience(left.map(|left| now + TimeDelta::seconds(left)), now).as_secs()
        };
        assert_eq!(seconds(None), 25);
        assert_eq!(seconds(Some(29)), 25);
        assert_eq!(seconds(Some(10)), 9);
        assert_eq!(seconds(Some(-3)), 0);
    }
}
