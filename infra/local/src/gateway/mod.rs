//! The HTTP front: routes requests to the functions' routers as API Gateway's REST APIs do.

mod responses;
mod routing;
mod streaming;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{EXPECT, HeaderName};
use http::{HeaderValue, Request, Response, request};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use runtime::Clock;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::responses::{GatewayResponseType, Responses};
use self::routing::Routing;
use self::streaming::{StreamEnd, streamed};
use crate::functions::route_policies;
use crate::hosting::{Failure, FunctionHandle, HttpCall};
use crate::invocation;
use crate::lambda_events::limits::Limits;
use crate::network::connections::{self, Ends};
use crate::network::hosts::Hosts;
use crate::runtime_api::BootstrapError;
use crate::template::{Deployment, Route};
use web::RoutePolicies;

/// The time that the rest of a body that is too large is read and thrown away, so that the client gets to see the answer.
const DISCARD_FOR: Duration = Duration::from_secs(2);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A function that answers requests.
pub(crate) struct HttpFunction {
    pub(crate) logical_id: String,
    pub(crate) hosted: FunctionHandle,
    /// `true` if its responses reach the client as they are made.
    pub(crate) streams: bool,
}

/// The gateway of one API.
pub(crate) struct Gateway {
    routing: Routing,
    functions: Vec<HttpFunction>,
    responses: Responses,
    stage: String,
    binary_media_types: Arc<[String]>,
    limits: Limits,
    policies: RoutePolicies,
    clock: Clock,
    hosts: Hosts,
    /// Ends the streams.
    stop: CancellationToken,
}

impl Gateway {
    /// Routes the deployment's requests to `functions`, which must have every function of its routes; `Err` is the route
    /// of which that is not true. `host` is what was said to listen at.
    pub(crate) fn new(
        host: &str,
        deployment: &Deployment,
        functions: Vec<HttpFunction>,
        limits: Limits,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self, Box<(Route, anyhow::Error)>> {
        let mut routing = Routing::default();
        for route in &deployment.routes {
            let function = functions
                .iter()
                .position(|function| function.logical_id == route.function);
            let added = match function {
                Some(index) => check_transfer(route, &functions[index])
                    .and_then(|()| routing.add(route, index)),
                None => Err(anyhow::anyhow!(
                    "{} does not answer requests",
                    route.function
                )),
            };
            added.map_err(|error| Box::new((route.clone(), error)))?;
        }
        let responses = Responses::new(deployment.gateway_responses.clone());
        Ok(Self {
            routing,
            functions,
            responses,
            stage: deployment.stage.clone(),
            binary_media_types: deployment.binary_media_types.as_slice().into(),
            limits,
            policies: route_policies(),
            clock,
            hosts: Hosts::new(host, &deployment.names),
            stop,
        })
    }

    /// Serves until told to stop, then ends the streams and lets other running requests finish for at most `drain`.
    pub(crate) async fn serve(self, listener: TcpListener, drain: Duration) {
        let stop = self.stop.clone();
        let gateway = Arc::new(self);
        let within = Some(gateway.limits.head);
        let service_for = move |ends| {
            let gateway = gateway.clone();
            service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.answer(request, ends).await) }
            })
        };
        connections::serve_within(within, listener, service_for, stop, drain).await;
    }

    async fn answer(&self, request: Request<Incoming>, ends: Ends) -> Response<Body> {
        let mut context = crate::lambda_events::context::context(
            &request,
            ends.peer,
            &self.stage,
            self.clock.now(),
        );
        let id = context
            .request_id
            .as_deref()
            .and_then(|id| HeaderValue::from_str(id).ok());
        let (head, body) = request.into_parts();
        let answered = if self.hosts.has(&head, ends.local) {
            self.integrate(&head, body, &mut context).await
        } else {
            Err(GatewayResponseType::ForeignHost)
        };
        let mut response = answered.unwrap_or_else(|response_type| {
            self.responses.response(response_type, &context, &head)
        });
        if let Some(id) = id {
            response.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        response
    }

    /// Has a function answer.
    async fn integrate(
        &self,
        head: &request::Parts,
        body: Incoming,
        context: &mut ApiGatewayProxyRequestContext,
    ) -> Result<Response<Body>, GatewayResponseType> {
        if self.limits.refuse_headers(head) {
            return Err(GatewayResponseType::HeadersTooLarge);
        }
        let matched = self
            .routing
            .find(head.uri.path(), &head.method)
            .ok_or(GatewayResponseType::MissingAuthenticationToken)?;
        context.resource_path = Some(matched.resource_path.to_owned());
        let function = &self.functions[matched.function];
        // Lambda gets whole bodies: one that breaks off never reaches a function.
        let body = self.whole_body(head, body).await?;
        let limits = &self.limits;
        if limits.refuse_event(head, context, &body, &self.binary_media_types) {
            return Err(GatewayResponseType::RequestTooLarge);
        }

        let patience = matched.timeout.or(limits.timeout);
        let timeout = function.hosted.timeout();
        let end = StreamEnd {
            at: Instant::now() + patience.map_or(timeout, |limit| limit.min(timeout)),
            stop: self.stop.clone(),
            limit: limits.stream,
        };
        let call = HttpCall {
            head: head.clone(),
            body,
            context: context.clone(),
            path_parameters: matched.parameters,
            binary: self.binary_media_types.clone(),
            limits: self.limits,
            patience,
        };
        match function.hosted.respond(call).await {
            Ok(response) if function.streams => Ok(response.map(|body| streamed(body, end))),
            Ok(response) => Ok(response),
            Err(error) => {
                tracing::error!(function = function.logical_id, path = matched.resource_path, %error, "request failed");
                Err(response_type(&error))
            }
        }
    }

    async fn whole_body(
        &self,
        head: &request::Parts,
        mut body: Incoming,
    ) -> Result<Bytes, GatewayResponseType> {
        let limit = self.limits.body_of(head, &self.policies);
        let too_large = if limit < self.limits.body {
            GatewayResponseType::TooLargeUnauthenticated { limit }
        } else {
            GatewayResponseType::RequestTooLarge
        };
        if body.size_hint().lower() > limit as u64 {
            // A client that asked first has sent nothing yet.
            if !head.headers.contains_key(EXPECT) {
                discard(&mut body).await;
            }
            return Err(too_large);
        }
        let started = Instant::now();
        let mut whole = BytesMut::new();
        loop {
            let until = started + self.limits.arrival_of(whole.len());
            match tokio::time::timeout_at(until, body.frame()).await {
                Err(_) => return Err(GatewayResponseType::SlowBody),
                Ok(None) => return Ok(whole.freeze()),
                // Either it is in no form that there is, or the client went away and does not read this answer.
                Ok(Some(Err(_))) => return Err(GatewayResponseType::BadBody),
                Ok(Some(Ok(frame))) => {
                    // Trailers are nothing that a function gets.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if whole.len() + data.len() > limit {
                        discard(&mut body).await;
                        return Err(too_large);
                    }
                    if whole.is_empty() && body.is_end_stream() {
                        return Ok(data);
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
}

/// `lambda_http` streams every response of a function or none, and a gateway that expects one cannot read the other.
fn check_transfer(route: &Route, function: &HttpFunction) -> anyhow::Result<()> {
    anyhow::ensure!(
        function.streams || !route.streamed,
        "ResponseTransferMode is RESPONSE_STREAM, but the function's code does not stream"
    );
    anyhow::ensure!(
        route.streamed || !function.streams,
        "the function's code streams its responses, which needs ResponseTransferMode: RESPONSE_STREAM"
    );
    Ok(())
}

/// The response to a client when a request fails.
fn response_type(failure: &Failure) -> GatewayResponseType {
    match failure {
        Failure::Library(invocation::Failure::TimedOut)
        | Failure::Process(BootstrapError::TimedOut(_))
        | Failure::GatewayTimedOut => GatewayResponseType::IntegrationTimeout,
        Failure::Process(BootstrapError::EventTooLarge(_)) => GatewayResponseType::RequestTooLarge,
        // Also where Lambda throttles: API Gateway does not pass that on.
        _ => GatewayResponseType::IntegrationFailure,
    }
}

async fn discard(body: &mut Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DISCARD_FOR, rest).await.is_err() {
        tracing::debug!("the rest of a body was not waited for");
    }
}
