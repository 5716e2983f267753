//! How each dialect asks for a part of a list.

use std::num::NonZeroU32;

use auth::Dialect;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::Error;
use domain::page::{MAX_OFFSET, PageRequest};
use utoipa::IntoParams;

use crate::{ApiError, Params};

/// The most rows of a page.
const MAX_ROWS: u32 = 200;
/// The rows of a page that names no size.
const DEFAULT_ROWS: u32 = 50;

/// The paging parameters of a request, read by its dialect: `page`, `pageSize` and `limit` in Prodgy, `limit` and `offset` in
/// Prowpt, `limit` in AgentPlatform, and `cursor` in all.
#[derive(Clone, Debug)]
pub struct PageParams {
    /// What the store is asked.
    pub request: PageRequest,
    /// From 1; Prodgy's.
    pub(crate) page: u32,
}

impl PageParams {
    fn read(dialect: Dialect, params: &Params) -> Result<Self, Error> {
        let cursor = params
            .get("cursor")
            .map(|text| match text.parse::<CursorId>() {
                Ok(id) => Ok(id.to_string()),
                Err(_) => Err(Error::invalid_query("cursor", "is not one of ours")),
            });
        let cursor = cursor.transpose()?;
        let rows = |name: &'static str| params.number(name, 1, MAX_ROWS);
        let (limit, offset, page) = match dialect {
            Dialect::Prodgy | Dialect::Account => {
                let (page, size, limit) = (
                    params.number("page", 1, u32::MAX)?,
                    rows("pageSize")?,
                    rows("limit")?,
                );
                // `limit` alone asks for the first rows; beside `page` or `pageSize` it is ignored.
                let size = size
                    .or(limit.filter(|_| page.is_none()))
                    .unwrap_or(DEFAULT_ROWS);
                let page = page.unwrap_or(1);
                (size, (page - 1).saturating_mul(size), page)
            }
            Dialect::Prowpt => (
                rows("limit")?.unwrap_or(DEFAULT_ROWS),
                params.number("offset", 0, u32::MAX)?.unwrap_or(0),
                1,
            ),
            Dialect::AgentPlatform => (rows("limit")?.unwrap_or(DEFAULT_ROWS), 0, 1),
        };
        if offset > 0 && cursor.is_some() {
            return Err(Error::invalid_query(
                "cursor",
                "cannot be combined with a page or offset",
            ));
        }
        if offset.saturating_add(limit) > MAX_OFFSET && offset > 0 {
            let name = if dialect == Dialect::Prowpt {
                "offset"
            } else {
                "page"
            };
            return Err(Error::invalid_query(
                name,
                format!("reaches the first {MAX_OFFSET} rows; go on with cursor"),
            ));
        }
        let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
        Ok(Self {
            request: PageRequest {
                limit,
                offset,
                cursor,
                wants_total: dialect != Dialect::AgentPlatform,
            },
            page,
        })
    }
}

/// How a Prodgy list is asked for, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProdgyPaging {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    pub page: Option<u32>,
    /// Rows of a page.
    #[param(rename = "pageSize", minimum = 1, maximum = 200, default = 50)]
    pub page_size: Option<u32>,
    /// The first so many rows. Ignored beside `page` or `pageSize`.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before. Not together with `page`.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}

/// How a Prowpt list is asked for, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProwptPaging {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Rows to skip, within the first 1,000.
    #[param(minimum = 0, default = 0)]
    pub offset: Option<u32>,
    /// The `next_cursor` of the page before. Not together with `offset`.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}

/// How an AgentPlatform list is asked for, for its description.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CursorPaging {
    /// Rows of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(format = "uuid")]
    pub cursor: Option<String>,
}

/// Cursors are ids; that is all that is checked of them, since they only ever name a place within the caller's own rows.
type CursorId = domain::ids::AuditId;

impl<S: Send + Sync> FromRequestParts<S> for PageParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = Params::from_request_parts(parts, state).await?;
        Ok(Self::read(Dialect::of(parts.uri.path()), &params)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_reads_its_own_parameters_and_names_the_wrong_one() {
        let read = |dialect, query: &str| PageParams::read(dialect, &Params::parse(query).unwrap());
        let rows = |params: Result<PageParams, Error>| {
            params
                .map(|params| (params.request.limit.get(), params.request.offset))
                .unwrap()
        };
        assert_eq!(
            rows(read(Dialect::Prodgy, "page=3&pageSize=20&limit=7")),
            (20, 40)
        );
        assert_eq!(rows(read(Dialect::Prodgy, "limit=7")), (7, 0));
        assert_eq!(
            rows(read(Dialect::Prowpt, "limit=10&offset=990")),
            (10, 990)
        );
        assert_eq!(rows(read(Dialect::AgentPlatform, "")), (50, 0));

        for (dialect, query, field) in [
            (Dialect::Prodgy, "page=0", "page"),
            (Dialect::Prodgy, "pageSize=-1", "pageSize"),
            (Dialect::Prodgy, "pageSize=201", "pageSize"),
            (Dialect::Prodgy, "page=99999999999999", "page"),
            (Dialect::Prodgy, "page=22", "page"),
            (Dialect::Prowpt, "offset=1000", "offset"),
            (Dialect::Prowpt, "limit=x", "limit"),
            (Dialect::AgentPlatform, "cursor=../../x", "cursor"),
        ] {
            match read(dialect, query) {
                Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, field, "{query}"),
                other => panic!("{query}: {other:?}"),
            }
        }
    }
}
