//! The events of a run, as they happen: server-sent events.
//!
//! `history` makes events of what is stored about a run, always the same ones; `follow` reads what is stored until the run is
//! over; `place` is what keeps the number of streams down; `events` is the route.

mod events;
mod follow;
mod history;
mod pieces;
mod place;

use std::time::Duration;

use keyring::Keyring;
use runtime::{Lambda, Services};
use web::{AppContext, Routes};

/// The timing of streams.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time that a stream may be silent: proxies take a silent connection for a dead one, API Gateway does so after five minutes.
    pub ping_every: Duration,
    /// The interval at which a stream asks whether its credential is still good, and whether it still has its place.
    pub check_every: Duration,
    /// The time that a stream lasts at least and at most. Each one's time is random between these, so that clients which connected
    /// together do not reconnect together.
    pub lasts: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(15),
            check_every: Duration::from_secs(3),
            lasts: (Duration::from_secs(60), Duration::from_secs(120)),
        }
    }
}

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    context: AppContext,
    pace: Pace,
}

web::app_state!(State);

/// The function, ready to serve.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda(services: Services) -> Result<Lambda, runtime::Error> {
    lambda_at(Pace::default(), services).await
}

/// The function, ready to serve, with streams of another pace.
///
/// # Errors
/// The secret cannot be had.
pub async fn lambda_at(pace: Pace, services: Services) -> Result<Lambda, runtime::Error> {
    Keyring::load(&services).await?;
    let context = AppContext::new(services);
    let state = State {
        context: context.clone(),
        pace,
    };
    Ok(Lambda::Stream(web::serve(context, routes(), state)))
}

/// All operations of the group. Each needs a credential.
pub fn routes() -> Routes<State> {
    events::routes()
}
