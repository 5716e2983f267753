//! The request context that API Gateway hands to a function.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use http::{Request, header};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayProxyRequestContext, ApiGatewayRequestIdentity,
};
use uuid::Uuid;

use crate::template::ACCOUNT_ID;

/// The context of a request before it is routed.
pub(crate) fn context<B>(
    request: &Request<B>,
    peer: SocketAddr,
    stage: &str,
    now: DateTime<Utc>,
) -> ApiGatewayProxyRequestContext {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut identity = ApiGatewayRequestIdentity::default();
    // The connection's peer and never a header, which any client could set.
    identity.source_ip = Some(peer.ip().to_canonical().to_string());
    identity.user_agent = header(header::USER_AGENT);

    let mut context = ApiGatewayProxyRequestContext::default();
    context.account_id = Some(ACCOUNT_ID.to_owned());
    context.apiid = Some("local".to_owned());
    context.stage = Some(stage.to_owned());
    context.domain_name = header(header::HOST);
    context.request_id = Some(Uuid::new_v4().to_string());
    context.protocol = Some("HTTP/1.1".to_owned());
    context.identity = identity;
    context.path = Some(format!("/{stage}{}", request.uri().path()));
    context.http_method = request.method().clone();
    context.request_time = Some(now.format("%d/%b/%Y:%H:%M:%S +0000").to_string());
    context.request_time_epoch = now.timestamp_millis();
    context
}
