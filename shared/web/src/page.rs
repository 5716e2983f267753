//! Paging: which part of a list a request asks for.

use std::num::NonZeroU32;

use domain::Error;
use domain::page::{Cursor, MAX_OFFSET, PageRequest};

use crate::params::Params;

/// The most rows of a page.
const MAX_ROWS: u32 = 200;

/// The paging parameters of a request, read by its dialect: `page`, `pageSize` and `limit` in Prodgy, `limit` and `offset` in
/// Prowpt, `limit` in AgentPlatform, and `cursor` in all.
#[derive(Clone, Debug)]
pub struct PageParams {
    /// The page for the store.
    pub request: PageRequest,
    /// From 1; Prodgy's.
    pub(crate) page: u32,
}

impl PageParams {
    /// The rows of a page that names no size.
    pub(crate) const DEFAULT_ROWS: u32 = 50;

    /// A page of `limit` rows, from the parameter `cursor` or from an offset, which is given with the name of its parameter. Lists
    /// that have offsets tell their total.
    ///
    /// # Errors
    /// `Invalid` names the parameter.
    pub(crate) fn new(
        params: &Params,
        limit: u32,
        offset: Option<(&'static str, u32)>,
    ) -> Result<Self, Error> {
        let cursor = params.get("cursor").map(Cursor::read).transpose()?;
        let (name, rows) = offset.unwrap_or(("offset", 0));
        if rows > 0 && cursor.is_some() {
            return Err(Error::invalid_query(
                "cursor",
                "cannot be combined with a page or offset",
            ));
        }
        if rows > 0 && rows.saturating_add(limit) > MAX_OFFSET {
            return Err(Error::invalid_query(
                name,
                format!("reaches the first {MAX_OFFSET} rows; go on with cursor"),
            ));
        }
        Ok(Self {
            request: PageRequest {
                limit: NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN),
                offset: rows,
                cursor,
                wants_total: offset.is_some(),
            },
            page: 1,
        })
    }
}

impl Params {
    /// The number of rows that a parameter names for a page.
    pub(crate) fn rows(&self, name: &'static str) -> Result<Option<u32>, Error> {
        self.number(name, 1, MAX_ROWS)
    }
}
