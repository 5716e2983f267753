//! The return types of handlers: data or an error, without an envelope yet.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::Error;
use domain::page::Page;
use serde::Serialize;

use crate::error::ApiError;
use crate::page::PageParams;

/// One thing: 200, 201 or 202.
#[derive(Debug)]
pub struct ApiResponse<T> {
    status: StatusCode,
    data: T,
    bare: bool,
}

impl<T> ApiResponse<T> {
    pub fn ok(data: T) -> Self {
        Self {
            status: StatusCode::OK,
            data,
            bare: false,
        }
    }

    pub fn created(data: T) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..Self::ok(data)
        }
    }

    pub fn accepted(data: T) -> Self {
        Self {
            status: StatusCode::ACCEPTED,
            ..Self::ok(data)
        }
    }

    /// Outside any envelope, whatever the path.
    pub fn bare(data: T) -> Self {
        Self {
            bare: true,
            ..Self::ok(data)
        }
    }
}

impl<T: Serialize> IntoResponse for ApiResponse<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.data) {
            Ok(data) => carry(
                self.status,
                Payload {
                    data: data.into(),
                    shape: if self.bare { Shape::Bare } else { Shape::One },
                },
            ),
            Err(error) => ApiError(Error::internal(error)).into_response(),
        }
    }
}

/// Done, and nothing to say: 204 in AgentPlatform and Prowpt, an envelope without data in Prodgy.
#[derive(Clone, Copy, Debug)]
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        carry(
            StatusCode::OK,
            Payload {
                data: Bytes::from_static(b"{}"),
                shape: Shape::Nothing,
            },
        )
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct PageResponse<T> {
    page: Page<T>,
    params: PageParams,
}

impl<T> PageResponse<T> {
    /// `page` as it was asked for by `params`.
    pub fn new(page: Page<T>, params: PageParams) -> Self {
        Self { page, params }
    }
}

impl<T: Serialize> IntoResponse for PageResponse<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.page.items) {
            Ok(data) => {
                let shape = Shape::Page {
                    params: self.params,
                    next_cursor: self.page.next_cursor,
                    total: self.page.total,
                };
                carry(
                    StatusCode::OK,
                    Payload {
                        data: data.into(),
                        shape,
                    },
                )
            }
            Err(error) => ApiError(Error::internal(error)).into_response(),
        }
    }
}

/// Data without an envelope, in a response's extensions.
#[derive(Clone, Debug)]
pub struct Payload {
    pub data: Bytes,
    pub shape: Shape,
}

#[derive(Clone, Debug)]
pub enum Shape {
    One,
    Nothing,
    Bare,
    Page {
        params: PageParams,
        next_cursor: Option<String>,
        total: Option<u32>,
    },
}

fn carry(status: StatusCode, payload: Payload) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(payload);
    response
}
