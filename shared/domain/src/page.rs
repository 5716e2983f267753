//! Lists: a cursor underneath, and the page or offset that a dialect shows on top.

use std::num::NonZeroU32;

/// Up to where `page` and `offset` reach, and up to where a total is counted.
pub const MAX_OFFSET: u32 = 1_000;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows.
    pub limit: NonZeroU32,
    /// Rows to skip, below [`MAX_OFFSET`]; not together with a cursor.
    pub offset: u32,
    /// The id after which to go on, as the last page's `next_cursor` gave it.
    pub cursor: Option<String>,
    /// Whether the dialect shows a total, which costs one more query.
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
    pub fn paginate<T>(&self, items: Vec<T>, id_of: impl Fn(&T) -> String) -> Page<T> {
        let total = self.wants_total.then(|| {
            u32::try_from(items.len())
                .unwrap_or(MAX_OFFSET)
                .min(MAX_OFFSET)
        });
        let after_cursor = items.into_iter().filter(|item| {
            self.cursor
                .as_ref()
                .is_none_or(|cursor| id_of(item) < *cursor)
        });
        let mut items: Vec<T> = after_cursor.skip(self.offset as usize).collect();
        let more = items.len() > self.limit.get() as usize;
        items.truncate(self.limit.get() as usize);
        let next_cursor = if more { items.last().map(id_of) } else { None };
        Page {
            items,
            next_cursor,
            total,
        }
    }
}

/// A part of a list, and what a client needs to ask for the next one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The id of the last row, when there are more.
    pub next_cursor: Option<String>,
    /// How many rows there are in all, counted to [`MAX_OFFSET`]; `None` when it was not asked for.
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
