//! The worker: takes the runs of messages as far as they go.
//!
//! A run that cannot go on now, since the store is not available for instance, gets another message soon. A message that fails is
//! delivered again, and after five times ends in the dead-letter queue, whose function ends its run. A message for a run that is
//! in another worker's hands is acknowledged: should that worker die, the sweep sees the lease run out.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Result;
use domain::message::{Advance, RunMessage};
use engine::{Models, Places, Progress, ProviderKeys, RunQueue, Runner, Starter, WorkspaceTools};
use outbound::OutboundClient;
use runtime::{Invocation, Lambda, Services, queue_batch};
use store::Store;
use tools::{ToolCatalog, ToolSettings};

/// The number of times in a row that a run may find something unavailable that it needs: for ten minutes in all. Its message fails then.
const ATTEMPTS: u32 = 14;
/// The time that the first of them waits for the second; it doubles each time.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Builds the function that carries runs out.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set.
pub async fn worker(services: Services) -> Result<Lambda, runtime::Error> {
    let config = &services.config;
    let store = Store::new(&services);
    let queue = RunQueue::new(&services)?;
    let starter = Starter::new(store.clone(), queue.clone(), services.clock.clone());
    let clock = services.clock.clone();
    let limit = config.runs_at_once_per_organization;
    let places = Places::new(store.clone(), clock.clone(), queue.clone(), limit);
    let workspace = WorkspaceTools::new(store.clone(), starter, places.clone(), clock.clone());
    let settings = &config.outbound;
    let outbound = OutboundClient::guarding(settings.allow_loopback, settings.own_ports.clone());
    let tools = ToolCatalog::new(ToolSettings {
        outbound: outbound.clone(),
        geocoding_url: config.outbound.open_meteo_geocoding_url.clone(),
        forecast_url: config.outbound.open_meteo_forecast_url.clone(),
    })
    .with_workspace(Arc::new(workspace));
    let lease = TimeDelta::seconds(config.run_lease_seconds.into());
    let models = Models::new(
        outbound,
        ProviderKeys::new(services.clone(), store.clone()),
        Duration::from_secs(config.outbound.model_timeout_seconds.into()),
    );
    let runner = Runner::new(store, clock, tools, models, places, lease);
    Ok(Lambda::queue(move |batch, invocation| {
        let (runner, queue) = (runner.clone(), queue.clone());
        async move {
            queue_batch::each_message(batch, |message| {
                let RunMessage::Advance(message) = message;
                advance(&runner, &queue, message, invocation)
            })
            .await
        }
    }))
}

async fn advance(
    runner: &Runner,
    queue: &RunQueue,
    message: Advance,
    invocation: Invocation,
) -> Result<()> {
    // What goes on does so by a message of its own, not by a failure of this one: redeliveries come late, and end in the
    // dead-letter queue, which is for faults.
    let (message, delay) = match runner.advance(&message, invocation.deadline).await {
        Ok(Progress::Finished | Progress::Paused | Progress::Idle | Progress::Waiting) => {
            return Ok(());
        }
        Ok(Progress::Yielded { place }) => {
            let again = Advance {
                attempt: 0,
                place,
                ..message
            };
            (again, Duration::ZERO)
        }
        Ok(Progress::Suspected) => {
            let alone = Advance {
                alone: true,
                ..message
            };
            (alone, Duration::ZERO)
        }
        Err(error) if error.is_retryable() && message.attempt < ATTEMPTS => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let attempt = message.attempt + 1;
            tracing::warn!(run.id = %message.run_id, %error, source, attempt, "run cannot go on now");
            let delay = FIRST_DELAY * 2_u32.saturating_pow(message.attempt);
            let again = Advance { attempt, ..message };
            (again, delay.min(LONGEST_DELAY))
        }
        Err(error) => return Err(error),
    };
    queue.send(message, delay).await
}
