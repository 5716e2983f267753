//! Requests that came through the gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, request};
use lambda_http::Context;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
use lambda_http::request::RequestContext;
use runtime::Lambda;
use tower::ServiceExt;

use super::{Code, Failure, FunctionHandle, Pool, QueueWait};
use crate::lambda_events::limits::Limits;
use crate::lambda_events::proxy;
use crate::runtime_api::{BootstrapError, InvocationResponse};

/// A request, whole, and what the gateway says of it.
pub(crate) struct HttpCall {
    pub(crate) head: request::Parts,
    pub(crate) body: Bytes,
    pub(crate) context: ApiGatewayProxyRequestContext,
    pub(crate) path_parameters: HashMap<String, String>,
    /// The media types whose bodies go to functions in base64.
    pub(crate) binary: Arc<[String]>,
    pub(crate) limits: Limits,
    /// The time that the gateway waits, where it does not simply wait for the function.
    pub(crate) patience: Option<Duration>,
}

impl FunctionHandle {
    /// Has the function answer a request. A streamed response is there as soon as its head is.
    pub(crate) async fn respond(&self, call: HttpCall) -> Result<Response<Body>, Failure> {
        match &self.code {
            Code::Library(Lambda::Http(router)) => self.ask(router.clone(), call, false).await,
            Code::Library(Lambda::Stream(router)) => self.ask(router.clone(), call, true).await,
            Code::Library(_) => Err(Failure::WrongKind),
            Code::Processes(pool, _) => {
                let patience = call.patience;
                let answered = invoke(pool, call);
                match patience {
                    None => answered.await,
                    // The function goes on all the same.
                    Some(patience) => tokio::time::timeout(patience, answered)
                        .await
                        .unwrap_or(Err(Failure::GatewayTimedOut)),
                }
            }
        }
    }

    async fn ask(
        &self,
        router: Router,
        call: HttpCall,
        is_streamed: bool,
    ) -> Result<Response<Body>, Failure> {
        let invocation = self.invoker.invocation(self.timeout);
        let mut lambda_context = Context::default();
        lambda_context.request_id = call.context.request_id.clone().unwrap_or_default();
        lambda_context.deadline =
            u64::try_from(invocation.deadline.timestamp_millis()).unwrap_or(0);
        let mut request = Request::from_parts(call.head, Body::from(call.body));
        let extensions = request.extensions_mut();
        extensions.insert(RequestContext::ApiGatewayV1(call.context));
        extensions.insert(lambda_context);

        let _head = if is_streamed {
            self.heads.acquire().await.ok()
        } else {
            None
        };
        let (limits, timeout) = (call.limits, self.timeout);
        let timeout = call.patience.map_or(timeout, |limit| limit.min(timeout));
        let work = async move {
            let Ok(response) = router.oneshot(request).await;
            if is_streamed {
                return Ok(response);
            }
            // Lambda passes whole responses on: one that breaks off is none.
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await;
            let body = body.map_err(|_| Failure::BrokenOff)?;
            if limits.refuse_response(&head, &body) {
                return Err(Failure::ResponseTooLarge);
            }
            Ok(Response::from_parts(head, body.into()))
        };
        self.invoker.run(timeout, work).await?
    }
}

async fn invoke(pool: &Arc<Pool>, call: HttpCall) -> Result<Response<Body>, Failure> {
    let HttpCall {
        head,
        body,
        context,
        path_parameters,
        binary,
        ..
    } = call;
    let event = proxy::event(&head, context, path_parameters, &body, &binary);
    let event = serde_json::to_vec(&event).map_err(BootstrapError::Unreadable)?;
    match pool.invoke(Bytes::from(event), QueueWait::Brief).await? {
        InvocationResponse::Whole(result) => {
            Ok(proxy::whole_response(&result, &head.headers, &binary)?)
        }
        InvocationResponse::Streamed(pieces) => Ok(proxy::streamed_response(pieces).await?),
    }
}
