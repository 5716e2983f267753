//! Streams of events that are open: how many a workspace has, and who may come back to one. In the counters table; nothing here
//! has to be given back, since all of it ends by itself.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, TimeDelta, Utc};
use domain::Result;
use domain::ids::{RunId, WorkspaceId};

use crate::attributes::{ALLOWED_FROM, ALLOWED_UNTIL, EXPIRES};
use crate::aws_calls::{Call, aws_error, condition_failure};
use crate::item::{Item, number, text};
use crate::{Store, keys};

/// The time that the place of a stream that was ended in the middle is kept for the client to come back to.
const KEPT: TimeDelta = TimeDelta::seconds(10);
/// The number of times that a place is looked for while others take those that are found.
const ATTEMPTS: u32 = 20;
/// For how long rows stay readable after they have lost their meaning.
const SLACK: TimeDelta = TimeDelta::minutes(2);

/// A place among the streams that a workspace may have open at once. It is free again by itself some seconds after `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    workspace: WorkspaceId,
    number: u32,
    /// The owner of the stream: a credential's, of one run.
    holder: String,
    /// The latest end of the stream.
    until: DateTime<Utc>,
}

/// The outcome of opening a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Place(StreamPlace),
    /// Every place is taken, at least until then.
    Full(DateTime<Utc>),
}

impl Store {
    /// Takes one of `most` places for a stream that ends by `until`. `holder` is short, and names who opens it and what; where all
    /// places are taken, the older stream of the same holder gives way, since its client is most likely gone.
    pub async fn take_stream_place(
        &self,
        workspace: WorkspaceId,
        holder: &str,
        most: u32,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Opening> {
        let first = holder.bytes().fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut choice = Choice {
            number: first % most.max(1),
            seen: None,
        };
        for attempt in 1..=ATTEMPTS {
            let place = StreamPlace {
                workspace,
                number: choice.number,
                holder: holder.to_owned(),
                until,
            };
            let Some(taken) = self.try_to_take(&place, choice.seen, now).await? else {
                return Ok(Opening::Place(place));
            };
            // From another one in every attempt, or those who come together meet again.
            let from = first.wrapping_add(attempt.wrapping_mul(attempt));
            choice = match choose(&taken, holder, most, from, now) {
                Ok(choice) => choice,
                Err(free_at) => return Ok(Opening::Full(free_at)),
            };
        }
        Ok(Opening::Full(now))
    }

    /// `None` when the place is taken now, else the places as they are.
    async fn try_to_take(
        &self,
        place: &StreamPlace,
        seen: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Option<Item>> {
        let (until, holder) = names(place.number);
        // A place that gives way is the one that was seen, and no newer one.
        let gives_way = seen.map_or(String::new(), |_| format!(" OR {until} = :seen"));
        let mut update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::event_streams(place.workspace).attributes()))
            .update_expression(format!(
                "SET {until} = :until, {holder} = :holder, {EXPIRES} = :expires"
            ))
            .condition_expression(format!(
                "attribute_not_exists({until}) OR {until} < :free OR ({holder} = :holder AND {until} <= :now){gives_way}"
            ))
            .expression_attribute_values(":until", millis(place.until))
            .expression_attribute_values(":holder", AttributeValue::S(place.holder.clone()))
            .expression_attribute_values(":free", millis(now - KEPT))
            .expression_attribute_values(":now", millis(now))
            .expression_attribute_values(":expires", seconds(place.until + SLACK))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(seen) = seen {
            update =
                update.expression_attribute_values(":seen", AttributeValue::N(seen.to_string()));
        }
        match update.sent().await {
            Ok(_) => Ok(None),
            Err(error) => match condition_failure(&error) {
                // The SDK may have sent it twice, and the first one have got through.
                Some(taken) if is_held(taken, place) => Ok(None),
                Some(taken) => Ok(Some(taken.clone())),
                None => Err(aws_error(error)),
            },
        }
    }

    /// Returns `true` if the place still belongs to the stream that took it.
    pub async fn holds_stream_place(&self, place: &StreamPlace) -> Result<bool> {
        let get = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::event_streams(place.workspace).attributes()));
        let found = get.sent().await.map_err(aws_error)?;
        Ok(found.item.is_some_and(|item| is_held(&item, place)))
    }

    /// Gives a place back. Nothing happens when it belongs to another stream by now.
    pub async fn free_stream_place(&self, place: &StreamPlace) -> Result<()> {
        let (until, holder) = names(place.number);
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::event_streams(place.workspace).attributes()))
            .update_expression(format!("REMOVE {until}, {holder}"))
            .condition_expression(format!("{until} = :until AND {holder} = :holder"))
            .expression_attribute_values(":until", millis(place.until))
            .expression_attribute_values(":holder", AttributeValue::S(place.holder.clone()));
        match update.sent().await {
            Ok(_) => Ok(()),
            Err(error) if condition_failure(&error).is_some() => Ok(()),
            Err(error) => Err(aws_error(error)),
        }
    }

    /// Lets a credential come back to a run's stream once, from one time until another, without being counted.
    pub async fn allow_comeback(
        &self,
        credential: &str,
        run: RunId,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<()> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::stream_comeback(credential, run).attributes()))
            .update_expression(format!(
                "SET {ALLOWED_FROM} = :from, {ALLOWED_UNTIL} = :until, {EXPIRES} = :expires"
            ))
            .expression_attribute_values(":from", millis(from))
            .expression_attribute_values(":until", millis(until))
            .expression_attribute_values(":expires", seconds(until + SLACK));
        update.sent().await.map_err(aws_error)?;
        Ok(())
    }

    /// Spends what [`Self::allow_comeback`] allowed; `false` when there is nothing to spend now.
    pub async fn spend_comeback(
        &self,
        credential: &str,
        run: RunId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.counters)
            .set_key(Some(keys::stream_comeback(credential, run).attributes()))
            .update_expression(format!("REMOVE {ALLOWED_UNTIL}"))
            .condition_expression(format!("{ALLOWED_FROM} <= :now AND {ALLOWED_UNTIL} > :now"))
            .expression_attribute_values(":now", millis(now));
        match update.sent().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failure(&error).is_some() => Ok(false),
            Err(error) => Err(aws_error(error)),
        }
    }
}

/// A place to try to take.
struct Choice {
    number: u32,
    /// The end of the stream that gives way, in milliseconds.
    seen: Option<i64>,
}

/// The best of the places as they are now: one that is kept for the holder, a free one, an open stream of the holder's own. The
/// error is when there will be one.
fn choose(
    taken: &Item,
    holder: &str,
    most: u32,
    from: u32,
    now: DateTime<Utc>,
) -> Result<Choice, DateTime<Utc>> {
    let (now, kept) = (now.timestamp_millis(), KEPT.num_milliseconds());
    let places = (0..most).map(|step| from.wrapping_add(step) % most);
    let (mut free, mut own, mut first_end) = (None, None, i64::MAX);
    for place in places {
        let (until, whose) = names(place);
        let (until, is_own) = (number(taken, &until), text(taken, &whose) == Some(holder));
        let choice = |seen| Choice {
            number: place,
            seen,
        };
        if is_own && until <= now {
            return Ok(choice(None));
        }
        if until < now - kept {
            free.get_or_insert(choice(None));
        }
        if is_own {
            own.get_or_insert(choice(Some(until)));
        }
        first_end = first_end.min(until);
    }
    let free_at = DateTime::from_timestamp_millis(first_end.saturating_add(kept));
    free.or(own).ok_or(free_at.unwrap_or_default())
}

fn is_held(places: &Item, place: &StreamPlace) -> bool {
    let (until, holder) = names(place.number);
    number(places, &until) == place.until.timestamp_millis()
        && text(places, &holder) == Some(&place.holder)
}

/// The attributes of a place: when its stream ends, and whose it is. Short, as there may be hundreds.
fn names(number: u32) -> (String, String) {
    (format!("u{number}"), format!("h{number}"))
}

fn millis(at: DateTime<Utc>) -> AttributeValue {
    AttributeValue::N(at.timestamp_millis().to_string())
}

fn seconds(at: DateTime<Utc>) -> AttributeValue {
    AttributeValue::N(at.timestamp().to_string())
}
