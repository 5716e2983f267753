//! The resources of an open stream: one of its workspace's places, its credential, and leave to come back.

use auth::Lasting;
use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{RunId, WorkspaceId};
use domain::{Error, Result};
use futures::future::try_join;
use store::{Opening, StreamPlace};
use web::AppContext;

/// The time after which a client that was not counted when it came may come back uncounted: so soon that a connection may break now and then,
/// and so late that no client opens streams faster than its limit allows.
const BACK_AFTER: TimeDelta = TimeDelta::seconds(30);
/// The time after the end of a stream in which its client may come back uncounted.
const BACK_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// The place of an open stream. Dropping it gives the place back.
pub(crate) struct Place {
    context: AppContext,
    lasting: Lasting,
    credential: String,
    run: RunId,
    place: StreamPlace,
    opened: DateTime<Utc>,
    until: DateTime<Utc>,
    is_kept: bool,
}

impl Place {
    /// Takes a place for a stream of this run that ends by `until`.
    ///
    /// # Errors
    /// `Throttled` when the workspace has as many streams open as it may.
    pub(crate) async fn take(
        context: &AppContext,
        lasting: Lasting,
        workspace: WorkspaceId,
        run: RunId,
        until: DateTime<Utc>,
    ) -> Result<Self> {
        let most = context.services.config.limits.event_streams;
        let opened = context.services.clock.now();
        let credential = lasting.credential()?;
        let holder = format!("{}{}", tail(&credential), tail(&run.to_string()));
        let opening = context
            .store
            .take_stream_place(workspace, &holder, most, opened, until);
        match opening.await? {
            Opening::Place(place) => Ok(Self {
                context: context.clone(),
                lasting,
                credential,
                run,
                place,
                opened,
                until,
                is_kept: false,
            }),
            Opening::Full(free_at) => Err(Error::Throttled {
                message: format!("this workspace has {most} event streams open, as many as it may"),
                retry_after: (free_at - opened).num_seconds().max(0) + 1,
            }),
        }
    }

    /// Lets the client come back once without being counted: at once if it was counted this time, else after a while, and in any
    /// case from when the stream is over.
    pub(crate) async fn allow_comeback(&self, was_counted: bool) {
        let from = if was_counted {
            self.opened
        } else {
            self.until.min(self.opened + BACK_AFTER)
        };
        let until = self.until + BACK_WITHIN;
        let store = &self.context.store;
        let allowed = store.allow_comeback(&self.credential, self.run, from, until);
        if let Err(error) = allowed.await {
            tracing::warn!(run.id = %self.run, %error, "could not remember the open stream; coming back to it will count against the limit");
        }
    }

    /// Returns `true` if the stream may go on: its credential is good, and no newer stream has its place.
    ///
    /// # Errors
    /// That cannot be found out now.
    pub(crate) async fn is_good(&self) -> Result<bool> {
        let looked = async {
            match self.context.authenticator.look_again(&self.lasting).await {
                Ok(()) => Ok(true),
                Err(error) if error.is_retryable() => Err(error),
                Err(error) => {
                    tracing::info!(run.id = %self.run, %error, "a stream ends, as its credential did");
                    Ok(false)
                }
            }
        };
        let held = self.context.store.holds_stream_place(&self.place);
        let (is_good, is_held) = try_join(looked, held).await?;
        Ok(is_good && is_held)
    }

    /// Leaves the place to the client, who is told to come back.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let (store, place) = (self.context.store.clone(), self.place.clone());
        self.context.services.background.run(async move {
            if let Err(error) = store.free_stream_place(&place).await {
                tracing::warn!(%error, "the place of a stream stays taken until it runs out");
            }
        });
    }
}

/// The part that tells two of a kind apart: the end of a hash or id, where it is random.
fn tail(text: &str) -> &str {
    &text[text.len().saturating_sub(12)..]
}
