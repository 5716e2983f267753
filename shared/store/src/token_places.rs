//! Places for the live tokens and keys of a workspace: each is an item that a token holds until it is revoked or deleted, and that
//! is free again once the token has run out. So there are never more live tokens than places, however many are made at once, and
//! no count that could go wrong.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::ids::{TokenId, WorkspaceId};
use domain::token::Token;
use domain::{Error, Result};
use rand::seq::IndexedRandom;
use serde::Serialize;

use crate::attributes::{ENDS, HOLDER};
use crate::item::{Item, NewItem, number, sort_key, text};
use crate::keys::{self, TOKEN_PLACES};
use crate::transaction::Condition;
use crate::{Store, Transaction};

/// The error when a place is another token's by now.
const TAKEN: &str = "the place is taken";

/// The entity of a place.
#[derive(Serialize)]
struct Place {
    token_id: TokenId,
    expires_at: Option<DateTime<Utc>>,
}

/// Returns `true` if a write failed because another token has the place, and may succeed with another place or without one.
pub(crate) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Conflict(text) if text == TAKEN)
}

fn taken() -> Error {
    Error::Conflict(TAKEN.to_owned())
}

impl Store {
    /// A place for a token: the one that it has, or any that is free at `now`.
    ///
    /// # Errors
    /// `LimitReached` when there is none.
    pub(crate) async fn place_for(
        &self,
        workspace: WorkspaceId,
        token: TokenId,
        now: DateTime<Utc>,
    ) -> Result<u8> {
        let partition = keys::token_places(workspace);
        let items = self.collection(&self.tables.records, &partition, "", "");
        let held: BTreeMap<u8, Item> = items
            .await?
            .into_iter()
            .filter_map(|item| Some((sort_key(&item).parse().ok()?, item)))
            .collect();
        let holder = token.to_string();
        let own = held
            .iter()
            .find(|(_, item)| text(item, HOLDER) == Some(&holder));
        if let Some((place, _)) = own {
            return Ok(*place);
        }
        let is_free = |place: &u8| {
            held.get(place).is_none_or(|item| {
                item.contains_key(ENDS) && number(item, ENDS) <= now.timestamp_millis()
            })
        };
        let free: Vec<u8> = (0..TOKEN_PLACES).filter(is_free).collect();
        // Any of them: those who look at the same time would all take the first.
        free.choose(&mut rand::rng()).copied().ok_or_else(|| {
            let most = TOKEN_PLACES;
            Error::LimitReached(format!(
                "a workspace has at most {most} live tokens and keys"
            ))
        })
    }
}

impl Transaction<'_> {
    /// Has the token hold its place until it runs out; see [`is_taken`].
    pub(crate) fn hold_place(&mut self, token: &Token, now: DateTime<Utc>) {
        let Some(place) = token.place else { return };
        let entity = Place {
            token_id: token.id,
            expires_at: token.expires_at,
        };
        let key = keys::token_place(token.workspace_id, place);
        let holder = token.id.to_string();
        let item = NewItem::new(key, "token_place", &entity).map(|item| {
            let item = item.text_if(HOLDER, Some(&holder));
            match token.expires_at {
                Some(at) => item.number(ENDS, at.timestamp_millis()).expires(at),
                None => item,
            }
        });
        let condition = Condition::that(format!(
            "attribute_not_exists({}) OR {ENDS} <= :now OR {HOLDER} = :holder",
            keys::PARTITION
        ));
        let condition = condition
            .number(":now", now.timestamp_millis())
            .text(":holder", &holder);
        let records = self.store().tables.records.clone();
        self.put(&records, item, condition, taken);
    }

    /// Gives a token's place back; see [`is_taken`].
    pub(crate) fn free_place(&mut self, token: &Token) {
        let Some(place) = token.place else { return };
        let condition =
            Condition::that(format!("{HOLDER} = :holder")).text(":holder", &token.id.to_string());
        let records = self.store().tables.records.clone();
        let key = keys::token_place(token.workspace_id, place);
        self.delete(&records, &key, condition, taken);
    }
}
