//! Requests through API Gateway's REST API, version 1.0 of its proxy events.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use runtime::Clock;
use serde_json::{Value, json};

use crate::lambda_events::context::context;
use crate::lambda_events::proxy;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct RestRequest {
    request: Request<Bytes>,
    stage: String,
    resource: Option<String>,
    source: IpAddr,
}

impl RestRequest {
    /// A request of `path_and_query`, which begins with a slash and has no stage in it.
    ///
    /// # Panics
    /// When that is not a path.
    pub fn new(method: Method, path_and_query: &str) -> Self {
        let request = Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(HOST, "api.example.com")
            .body(Bytes::new());
        Self {
            request: request.unwrap_or_else(|error| panic!("{path_and_query}: {error}")),
            stage: "dev".to_owned(),
            resource: None,
            source: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Adds a header, beside those of the same name.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let value: HeaderValue = value
            .parse()
            .unwrap_or_else(|error| panic!("header {name}: {error}"));
        self.request.headers_mut().append(name, value);
        self
    }

    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", &format!("Bearer {credential}"))
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// The API's stage, which prefixes the path in the request context; `dev` unless said otherwise.
    #[must_use]
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = stage.into();
        self
    }

    /// The route as the template has it, such as `/api/agent-base/{id}`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// The source of the request.
    #[must_use]
    pub fn source(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    /// The event that API Gateway makes of the request.
    pub fn into_event(self) -> Value {
        let peer = SocketAddr::new(self.source, 0);
        let mut context = context(&self.request, peer, &self.stage, Clock::system().now());
        context.resource_path = self.resource.or_else(|| Some("/{proxy+}".to_owned()));
        // What is text goes into the event as text.
        let is_text = std::str::from_utf8(self.request.body()).is_ok();
        let binary: &[String] = if is_text { &[] } else { &["*/*".to_owned()] };
        let (head, body) = self.request.into_parts();
        json!(proxy::event(&head, context, HashMap::new(), &body, binary))
    }
}

/// The response of a function to a [`RestRequest`].
#[derive(Clone, Debug)]
pub struct RestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl RestResponse {
    /// Reads a function's result.
    ///
    /// # Errors
    /// It is none that API Gateway would understand.
    pub fn read(result: Value) -> anyhow::Result<Self> {
        let (head, body) = proxy::parsed(result.to_string().as_bytes())?;
        let body = match body {
            Some((base64, true)) => proxy::decode(&base64)?.into(),
            Some((text, false)) => text,
            None => Bytes::new(),
        };
        Ok(Self {
            status: head.status(),
            headers: head.headers().clone(),
            body,
        })
    }
}
