//! Once a minute: the rows and objects of what was deleted are removed, and runs whose retention is over.
//!
//! This is a function of its own beside the tick, with a schedule of its own and partitions of the due index of its own, so that
//! nothing here can delay the runs of others. Messages would need a queue with dead letters and alarms, and a schedule needs none of
//! them: the urgent part of a deletion is done in its request, and its row in the due index is all the state there is.

mod job;
mod retention;

use std::time::Duration;

use engine::Endings;
use futures::future::join;
use runtime::{Lambda, Services};
use serde_json::{Value, json};
use store::Store;
use tokio::time::Instant;

use crate::job::Job;
use crate::retention::Retention;

/// The rest of an invocation's time with which no more work is begun: one page of anything is removed within it.
const MARGIN: Duration = Duration::from_secs(10);

/// Builds the function that the schedule invokes.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    Ok(Lambda::event(move |_, invocation| {
        let services = services.clone();
        async move {
            let clock = services.clock.clone();
            let time = (invocation.deadline - clock.now()).to_std();
            let until = Instant::now() + time.unwrap_or_default().saturating_sub(MARGIN);
            let store = Store::new(&services);
            let job = Job {
                endings: Endings::new(store.clone(), clock.clone()),
                store: store.clone(),
                clock: clock.clone(),
            };
            let retention = Retention {
                store,
                clock,
                days: services.config.run_retention_days,
            };
            let (completed, removed) = join(job.run(until), retention.run(until)).await;
            let (completed, removed) = (completed?, removed?);
            tracing::info!(
                deletions.completed = completed,
                runs.removed = removed,
                "deletions"
            );
            Ok::<Value, runtime::Error>(json!({"deletions": completed, "runs": removed}))
        }
    }))
}
