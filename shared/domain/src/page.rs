//! Lists: a cursor underneath, and the page or offset that a dialect shows on top.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::{Error, Result};

/// Up to where `page` and `offset` reach, and up to where a total is counted.
pub const MAX_OFFSET: u32 = 1_000;

/// The longest cursor, in bytes.
const MAX_CURSOR: usize = 100;

/// A place in a list, as a client gives it back. Only the list knows the ids that its cursors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor from a request.
    ///
    /// # Errors
    /// `Invalid` for a text that no list gives: cursors are letters, digits and hyphens, at most 100 of them.
    pub fn read(text: &str) -> Result<Self> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || text.len() > MAX_CURSOR || !text.bytes().all(is_known) {
            return Err(Self::invalid());
        }
        Ok(Self(text.to_owned()))
    }

    /// The id of the last row that was seen.
    ///
    /// # Errors
    /// `Invalid` when it is no such id.
    pub fn id<T: FromStr>(&self) -> Result<T> {
        self.0.parse().map_err(|_| Self::invalid())
    }

    fn invalid() -> Error {
        Error::invalid_query("cursor", "is not a valid cursor")
    }
}

/// The cursor that a list has given itself.
impl From<String> for Cursor {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// The part of a list that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows.
    pub limit: NonZeroU32,
    /// Rows to skip, below [`MAX_OFFSET`]; not together with a cursor.
    pub offset: u32,
    /// The place to go on from, as the last page's `next_cursor` gave it.
    pub cursor: Option<Cursor>,
    /// `true` if the dialect shows a total, which costs one more query.
    pub wants_total: bool,
}

impl PageRequest {
    /// The first `limit` rows, without a total.
    pub fn first(limit: u32) -> Self {
        Self {
            limit: NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN),
            offset: 0,
            cursor: None,
            wants_total: false,
        }
    }

    /// The part of a short list that is at hand as a whole, newest first.
    ///
    /// # Errors
    /// `Invalid` when the cursor is no id of the list's.
    pub fn paginate<T, I: Display + FromStr + Ord>(
        &self,
        items: Vec<T>,
        id_of: impl Fn(&T) -> I,
    ) -> Result<Page<T>> {
        let cursor = self.cursor.as_ref().map(Cursor::id::<I>).transpose()?;
        let total = self.wants_total.then(|| {
            u32::try_from(items.len())
                .unwrap_or(MAX_OFFSET)
                .min(MAX_OFFSET)
        });
        let after_cursor = items
            .into_iter()
            .filter(|item| cursor.as_ref().is_none_or(|cursor| id_of(item) < *cursor));
        let mut items: Vec<T> = after_cursor.skip(self.offset as usize).collect();
        let more = items.len() > self.limit.get() as usize;
        items.truncate(self.limit.get() as usize);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|last| id_of(last).to_string());
        Ok(Page {
            items,
            next_cursor,
            total,
        })
    }
}

/// A part of a list, and what a client needs to ask for the next one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The id of the last row, when there are more.
    pub next_cursor: Option<String>,
    /// The number of rows in all, counted to [`MAX_OFFSET`]; `None` when it was not asked for.
    pub total: Option<u32>,
}

impl<T> Page<T> {
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(convert).collect(),
            next_cursor: self.next_cursor,
            total: self.total,
        }
    }
}
