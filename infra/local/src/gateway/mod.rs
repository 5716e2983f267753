//! The HTTP front: routes requests to the functions' routers as API Gateway's REST APIs do.

pub(crate) mod context;
mod responses;
mod routing;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{EXPECT, HeaderName};
use http::{HeaderValue, Request, Response, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use lambda_http::request::RequestContext;
use runtime::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::responses::{Responses, Situation};
use self::routing::Routing;
use crate::embedded::connections;
use crate::invocation::{Failure, Invoker};
use crate::template::{Deployment, Route};

/// How long the rest of a body that is too large is read and thrown away, so that the client gets to see the answer.
const DISCARD_FOR: Duration = Duration::from_secs(2);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A function that answers requests.
pub(crate) struct HttpFunction {
    pub(crate) logical_id: String,
    pub(crate) router: Router,
    pub(crate) timeout: Duration,
}

/// The gateway of one API.
pub(crate) struct Gateway {
    routing: Routing,
    functions: Vec<HttpFunction>,
    responses: Responses,
    stage: String,
    body_limit: usize,
    clock: Clock,
    invoker: Invoker,
}

impl Gateway {
    /// Routes the deployment's requests to `functions`, which must have every function of its routes; `Err` is the route
    /// of which that is not true.
    pub(crate) fn new(
        deployment: &Deployment,
        functions: Vec<HttpFunction>,
        body_limit: usize,
        clock: Clock,
        invoker: Invoker,
    ) -> Result<Self, (Route, anyhow::Error)> {
        let mut routing = Routing::default();
        for route in &deployment.routes {
            let function = functions
                .iter()
                .position(|function| function.logical_id == route.function);
            let added = match function {
                Some(function) => routing.add(route, function),
                None => Err(anyhow::anyhow!(
                    "{} does not answer requests",
                    route.function
                )),
            };
            added.map_err(|error| (route.clone(), error))?;
        }
        let responses = Responses::new(deployment.gateway_responses.clone());
        Ok(Self {
            routing,
            functions,
            responses,
            stage: deployment.stage.clone(),
            body_limit,
            clock,
            invoker,
        })
    }

    /// Serves until `stop`, then lets running requests finish for at most `drain`.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        drain: Duration,
    ) {
        let gateway = Arc::new(self);
        let service_for = move |peer| {
            let gateway = gateway.clone();
            service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.answer(request, peer).await) }
            })
        };
        connections::serve(listener, service_for, stop, drain).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut context = context::context(&request, peer, &self.stage, self.clock.now());
        let id = context
            .request_id
            .as_deref()
            .and_then(|id| HeaderValue::from_str(id).ok());
        let (head, body) = request.into_parts();
        let answered = self.integrate(&head, body, &mut context).await;
        let mut response = answered.unwrap_or_else(|situation| {
            self.responses.response(situation, &context, &head.headers)
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
    ) -> Result<Response<Body>, Situation> {
        let matched = self
            .routing
            .find(head.uri.path(), &head.method)
            .ok_or(Situation::MissingAuthenticationToken)?;
        context.resource_path = Some(matched.resource_path.to_owned());
        let function = &self.functions[matched.function];
        // Lambda gets whole bodies: one that breaks off never reaches a function.
        let body = self.whole_body(head, body).await?;

        let mut request = Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        request
            .extensions_mut()
            .insert(RequestContext::ApiGatewayV1(context.clone()));

        match self
            .invoker
            .run(function.timeout, function.router.clone().oneshot(request))
            .await
        {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(failure) => {
                tracing::error!(function = function.logical_id, path = matched.resource_path, error = %failure, "request failed");
                Err(match failure {
                    Failure::Panicked => Situation::IntegrationFailure,
                    Failure::TimedOut => Situation::IntegrationTimeout,
                })
            }
        }
    }

    async fn whole_body(
        &self,
        head: &request::Parts,
        mut body: Incoming,
    ) -> Result<Bytes, Situation> {
        let announced = body.size_hint().lower();
        if announced > self.body_limit as u64 {
            // A client that asked first has sent nothing yet.
            if !head.headers.contains_key(EXPECT) {
                discard(&mut body).await;
            }
            return Err(Situation::RequestTooLarge);
        }
        match Limited::new(&mut body, self.body_limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                discard(&mut body).await;
                Err(Situation::RequestTooLarge)
            }
            // The client went away, so nobody reads this answer.
            Err(_) => Err(Situation::IntegrationFailure),
        }
    }
}

async fn discard(body: &mut Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DISCARD_FOR, rest).await.is_err() {
        tracing::debug!("the rest of a body was not waited for");
    }
}
