//! The gateway's own responses, in the template's words.

use std::collections::BTreeMap;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode, request};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use serde_json::{Value, json};

use crate::template::{GatewayHeader, GatewayResponse};

/// API Gateway's body where the template has none.
const DEFAULT_BODY: &str = r#"{"message":$context.error.messageString}"#;

/// The situations in which no function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GatewayResponseType {
    /// API Gateway's name for a route that does not exist.
    MissingAuthenticationToken,
    RequestTooLarge,
    /// The body has more bytes than are read without a credential.
    TooLargeUnauthenticated {
        limit: usize,
    },
    /// The body breaks off, or is not in the form that its headers say.
    BadBody,
    /// The body does not arrive in time.
    SlowBody,
    /// `Host` is none of the gateway's names.
    ForeignHost,
    /// API Gateway has no type of its own for it.
    HeadersTooLarge,
    IntegrationFailure,
    IntegrationTimeout,
}

impl GatewayResponseType {
    /// API Gateway's name of it, the response that stands in when the template has none of that name, the usual status
    /// and the usual message.
    fn description(self) -> (&'static str, &'static str, StatusCode, &'static str) {
        match self {
            Self::MissingAuthenticationToken => (
                "MISSING_AUTHENTICATION_TOKEN",
                "DEFAULT_4XX",
                StatusCode::FORBIDDEN,
                "Missing Authentication Token",
            ),
            Self::RequestTooLarge => (
                "REQUEST_TOO_LARGE",
                "DEFAULT_4XX",
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request Too Long",
            ),
            Self::BadBody => (
                "BAD_REQUEST_BODY",
                "DEFAULT_4XX",
                StatusCode::BAD_REQUEST,
                "Invalid request body",
            ),
            // API Gateway has none of these; what they are answered is not in the template.
            Self::TooLargeUnauthenticated { .. } => (
                "",
                "",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request body is too large",
            ),
            Self::SlowBody => (
                "",
                "",
                StatusCode::REQUEST_TIMEOUT,
                "The request body did not arrive in time",
            ),
            Self::ForeignHost => (
                "",
                "",
                StatusCode::FORBIDDEN,
                "The host of this request is none of this platform's. The parameter AllowedHosts adds names",
            ),
            Self::HeadersTooLarge => (
                "REQUEST_TOO_LARGE",
                "DEFAULT_4XX",
                StatusCode::PAYLOAD_TOO_LARGE,
                "HTTP header is larger than 10240 bytes.",
            ),
            Self::IntegrationFailure => (
                "INTEGRATION_FAILURE",
                "DEFAULT_5XX",
                StatusCode::BAD_GATEWAY,
                "Internal server error",
            ),
            Self::IntegrationTimeout => (
                "INTEGRATION_TIMEOUT",
                "DEFAULT_5XX",
                StatusCode::GATEWAY_TIMEOUT,
                "Endpoint request timed out",
            ),
        }
    }
}

/// The gateway responses of an API.
pub(super) struct Responses {
    declared: BTreeMap<String, GatewayResponse>,
}

impl Responses {
    pub(super) fn new(declared: BTreeMap<String, GatewayResponse>) -> Self {
        Self { declared }
    }

    /// The answer to a request of this type.
    pub(super) fn response(
        &self,
        response_type: GatewayResponseType,
        context: &ApiGatewayProxyRequestContext,
        request: &request::Parts,
    ) -> Response<Body> {
        let (name, fallback, status, message) = response_type.description();
        let id = context.request_id.as_deref().unwrap_or_default();
        if let GatewayResponseType::TooLargeUnauthenticated { limit } = response_type {
            // As the function would refuse it.
            return web::refusal(request.uri.path(), &domain::Error::TooLarge { limit }, id);
        }
        if name.is_empty() {
            return own(status, message, id);
        }
        let usual = GatewayResponse::default();
        let declared = self
            .declared
            .get(name)
            .or_else(|| self.declared.get(fallback))
            .unwrap_or(&usual);
        let facts = Facts {
            context,
            name,
            message,
        };
        let mut response = Response::new(Body::from(
            facts.fill_in(declared.body.as_deref().unwrap_or(DEFAULT_BODY)),
        ));
        *response.status_mut() = declared.status.unwrap_or(status);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (header, source) in &declared.headers {
            let value = match source {
                GatewayHeader::Literal(text) => HeaderValue::from_str(text).ok(),
                GatewayHeader::Context(variable) => facts
                    .variable(variable)
                    .and_then(|value| HeaderValue::from_str(&value).ok()),
                GatewayHeader::RequestHeader(name) => request.headers.get(name).cloned(),
            };
            if let (Ok(header), Some(value)) = (HeaderName::try_from(header), value) {
                response.headers_mut().insert(header, value);
            }
        }
        response
    }
}

/// An answer with the members that each dialect looks for.
fn own(status: StatusCode, message: &str, request_id: &str) -> Response<Body> {
    let body = json!({
        "success": false, "error": message, "message": message, "detail": message,
        "errors": {"detail": message}, "request_id": request_id,
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

struct Facts<'a> {
    context: &'a ApiGatewayProxyRequestContext,
    name: &'a str,
    message: &'a str,
}

impl Facts<'_> {
    fn fill_in(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("$context.") {
            text.push_str(before);
            let end = after
                .find(|character: char| !character.is_ascii_alphanumeric() && character != '.')
                .unwrap_or(after.len());
            let name = after[..end].trim_end_matches('.');
            text.push_str(&self.variable(name).unwrap_or_default());
            rest = &after[name.len()..];
        }
        text.push_str(rest);
        text
    }

    fn variable(&self, name: &str) -> Option<String> {
        let context = self.context;
        match name {
            "requestId" | "extendedRequestId" => context.request_id.clone(),
            "error.message" => Some(self.message.to_owned()),
            "error.messageString" => Some(Value::from(self.message).to_string()),
            "error.responseType" => Some(self.name.to_owned()),
            "accountId" => context.account_id.clone(),
            "apiId" => context.apiid.clone(),
            "domainName" => context.domain_name.clone(),
            "httpMethod" => Some(context.http_method.to_string()),
            "identity.sourceIp" => context.identity.source_ip.clone(),
            "path" => context.path.clone(),
            "protocol" => context.protocol.clone(),
            "requestTime" => context.request_time.clone(),
            "requestTimeEpoch" => Some(context.request_time_epoch.to_string()),
            "resourcePath" => context.resource_path.clone(),
            "stage" => context.stage.clone(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_situation_without_a_response_takes_the_default_one_and_keeps_its_status() {
        let default = GatewayResponse {
            status: None,
            headers: vec![("X-Request-Id".to_owned(), GatewayHeader::Context("requestId".to_owned()))],
            body: Some(r#"{"error":$context.error.messageString,"id":"$context.requestId.","type":"$context.error.responseType"}"#.to_owned()),
        };
        let responses = Responses::new(BTreeMap::from([("DEFAULT_5XX".to_owned(), default)]));
        let mut context = ApiGatewayProxyRequestContext::default();
        context.request_id = Some("r1".to_owned());
        let (request, ()) = http::Request::new(()).into_parts();
        let response =
            responses.response(GatewayResponseType::IntegrationTimeout, &context, &request);
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.headers()["x-request-id"], "r1");
        let facts = Facts {
            context: &context,
            name: "INTEGRATION_TIMEOUT",
            message: "too \"late\"",
        };
        assert_eq!(
            facts.fill_in("$context.error.messageString, $context.requestId. $context.nothing$"),
            r#""too \"late\"", r1. $"#
        );
        let missing = responses.response(
            GatewayResponseType::MissingAuthenticationToken,
            &context,
            &request,
        );
        assert_eq!(
            (missing.status(), missing.headers().get("x-request-id")),
            (StatusCode::FORBIDDEN, None)
        );
    }
}
