//! The worker: takes the runs of a batch of messages as far as they go.
//!
//! A message that fails is delivered again, and after five times ends in the dead-letter queue, whose function ends its run. A
//! message for a run that is in another worker's hands is acknowledged: should that worker die, the sweep sees the lease run out.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Result;
use domain::message::RunMessage;
use engine::{Models, Progress, Runner, Starter, WorkspaceTools};
use outbound::OutboundClient;
use runtime::{Invocation, Lambda, Services, queue};
use store::Store;
use tools::{ToolSettings, Toolbox};

use crate::provider_keys::SealedKeys;

/// Builds the function that carries runs out.
///
/// # Errors
/// `RUN_QUEUE_URL` is not set.
pub async fn worker(services: Services) -> Result<Lambda, runtime::Error> {
    let config = &services.config;
    let store = Store::new(&services);
    let queue_url = config
        .run_queue_url
        .clone()
        .ok_or("RUN_QUEUE_URL is not set")?;
    let starter = Starter::new(
        store.clone(),
        services.sqs.clone(),
        queue_url,
        services.clock.clone(),
    );
    let workspace = WorkspaceTools::new(store.clone(), starter.clone(), services.clock.clone());
    let settings = &config.outbound;
    let outbound = OutboundClient::guarding(settings.allow_loopback, settings.own_ports.clone());
    let toolbox = Toolbox::new(ToolSettings {
        outbound: outbound.clone(),
        geocoding_url: config.outbound.open_meteo_geocoding_url.clone(),
        forecast_url: config.outbound.open_meteo_forecast_url.clone(),
    })
    .with_workspace(Arc::new(workspace));
    let lease = TimeDelta::seconds(config.run_lease_seconds.into());
    let models = Models::new(
        outbound,
        Arc::new(SealedKeys::new(services.clone(), store.clone())),
        Duration::from_secs(config.outbound.model_timeout_seconds.into()),
    );
    let clock = services.clock.clone();
    let runner = Runner::new(store, clock, toolbox, models, lease);
    Ok(Lambda::queue(move |batch, invocation| {
        let (runner, starter) = (runner.clone(), starter.clone());
        async move {
            queue::each_message(batch, |message| {
                advance(&runner, &starter, message, invocation)
            })
            .await
        }
    }))
}

async fn advance(
    runner: &Runner,
    starter: &Starter,
    message: RunMessage,
    invocation: Invocation,
) -> Result<()> {
    let RunMessage::Advance {
        workspace_id,
        run_id,
        abandoned_before,
    } = message;
    match runner
        .advance(workspace_id, run_id, abandoned_before, invocation.deadline)
        .await?
    {
        // A fresh message, not a failure of this one: the redeliveries that end in the dead-letter queue are for faults.
        Progress::Yielded => {
            starter
                .enqueue(workspace_id, run_id, Duration::ZERO, abandoned_before)
                .await
        }
        Progress::Finished | Progress::Paused | Progress::Idle => Ok(()),
    }
}
