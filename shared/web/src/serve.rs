//! The path of a request: trailing slash, CORS, route, admission, handler, envelope, access log.

use std::sync::Arc;
use std::time::Instant;

use auth::{AuthRequest, AuthResult, Batch, Counting, Policy, Principal, TokenRef};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::Error;
use domain::activity::{RequestLogEntry, kept_path};
use domain::error::RateLimit;
use domain::ids::{ActivityId, OrganizationId, RunId, WorkspaceId};
use domain::token::Token;
use futures::future::{OptionFuture, join};

use crate::context::AppContext;
use crate::dialects::{self, dialect_of};
use crate::dispatch::call;
use crate::error::ApiError;
use crate::extract::{LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER};
use crate::params::Params;
use crate::response::Payload;
use crate::routes::{
    EndpointLimit, Matched, PublicLimit, RouteAccess, RoutePolicies, RoutePolicy, Routes,
};
use crate::scope::RequestScope;
use crate::{cors, idempotency};

/// A group that is served.
struct Server {
    context: AppContext,
    policies: RoutePolicies,
    routes: Router,
}

/// Facts about a request that are learned on the way down, for its response and its log lines.
#[derive(Default)]
struct RequestInfo {
    limit: Option<RateLimit>,
    organization: Option<OrganizationId>,
    token: Option<TokenRef>,
    /// The batch of an organization's requests that this request completes.
    batch: Option<Batch>,
}

/// A request whose caller may send it.
struct Admitted {
    principal: Option<Arc<Principal>>,
    /// The token whose first use of the hour is to be logged beside the handler.
    used: Option<Token>,
}

/// Builds a function's router.
pub fn serve<S: Clone + Send + Sync + 'static>(
    context: AppContext,
    routes: Routes<S>,
    state: S,
) -> Router {
    let (routes, policies) = routes.into_parts();
    let routes = routes
        .fallback(async || ApiError(Error::NotFound("resource")))
        .method_not_allowed_fallback(async || ApiError(Error::MethodNotAllowed))
        .with_state(state);
    server(context, routes, policies)
}

/// The same for every group, and therefore compiled once.
fn server(context: AppContext, routes: Router, policies: RoutePolicies) -> Router {
    let server = Arc::new(Server {
        context,
        policies,
        routes,
    });
    // Outside the routes, since a path must be put right before it is matched.
    Router::new().fallback(handle).with_state(server)
}

/// The answer to a request at `path` that the gateway in front of a function refuses before it reaches a route.
pub fn refusal(path: &str, error: &Error, request_id: &str) -> Response {
    let mut response = dialect_of(path).failure(error, request_id);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let started = Instant::now();
    let received_at = server.context.services.clock.now();
    let (mut parts, body) = request.into_parts();
    if let Some(trimmed) = without_trailing_slash(&parts.uri) {
        parts.uri = trimmed;
    }
    let mut scope = RequestScope::new(&parts);
    let method = parts.method.clone();
    let path = kept_path(parts.uri.path()).to_owned();
    let is_preflight = method == Method::OPTIONS;
    let wanted = cors::requested_method(&parts).filter(|_| is_preflight);
    let route = server
        .policies
        .find(wanted.as_ref().unwrap_or(&method), parts.uri.path());
    let policy = route.and_then(|route| route.policy);
    let origin = cors::allowed_origin(&server.context.services.config, policy, &parts.headers);

    let mut info = RequestInfo::default();
    let mut response = match (is_preflight, route, policy) {
        (true, ..) => cors::preflight(),
        (false, Some(route), Some(policy)) => {
            scope.max_body = policy.max_body;
            parts.extensions.insert(scope.clone());
            server
                .respond(&scope, route, policy, parts, body, &mut info)
                .await
        }
        // No operation: the routes tell which of path and method there is not.
        _ => call(&server.routes, Request::from_parts(parts, body)).await,
    };

    let failed = response.extensions_mut().remove::<Arc<Error>>();
    if let Some(error) = &failed {
        let headers = std::mem::take(response.headers_mut());
        response = scope.dialect.failure(error, &scope.client.request_id);
        response
            .headers_mut()
            .extend(headers.into_iter().filter_map(|(name, value)| {
                name.filter(|name| name == "allow")
                    .map(|name| (name, value))
            }));
    } else if let Some(payload) = response.extensions_mut().remove::<Payload>() {
        response = scope.dialect.success(response.status(), payload);
    }
    if let Some(batch) = info.batch {
        let guard = server.context.authenticator.guard().clone();
        let write = async move { guard.write(batch).await };
        server.context.services.background.run(write);
    }
    let over = match failed.as_deref() {
        Some(Error::RateLimited(limit)) => Some(*limit),
        _ => None,
    };
    let headers = response.headers_mut();
    if let Some(limit) = over.or(info.limit) {
        dialects::add_rate_limit(scope.dialect, &limit, over.is_some(), headers);
    }
    if let Ok(id) = HeaderValue::from_str(&scope.client.request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    cors::annotate(headers, origin, is_preflight);

    let entry = AccessLogEntry {
        method: &method,
        path,
        // A preflight is no request of the operation that it asks about.
        route: route
            .filter(|_| !is_preflight)
            .map_or("", |route| route.pattern),
        status: response.status().as_u16(),
        error: failed.as_deref(),
        organization: info.organization,
        started,
    };
    entry.log(&scope.client.request_id);
    if let Some(token) = info.token {
        server.log_activity(entry, token, &scope, received_at);
    }
    response
}

impl Server {
    /// Admits a request of a route and has its handler answer it.
    async fn respond(
        &self,
        scope: &RequestScope,
        route: Matched<'_>,
        policy: RoutePolicy,
        mut parts: Parts,
        body: Body,
        info: &mut RequestInfo,
    ) -> Response {
        let admitted = match policy.access {
            RouteAccess::Public(limit) => self.admit_public(scope, limit).await,
            RouteAccess::Signed(limit) => {
                parts.extensions.insert(EndpointLimit(limit));
                Ok(Admitted::anonymous())
            }
            RouteAccess::Authenticated => self.admit(scope, route, policy, &mut parts, info).await,
        };
        let Admitted { principal, used } = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return ApiError(error).into_response(),
        };
        let recording = OptionFuture::from(used.as_ref().zip(principal.as_ref()).map(
            |(token, principal)| {
                let authenticator = &self.context.authenticator;
                authenticator.record_first_use(token, &principal.audit_context)
            },
        ));
        let request = Request::from_parts(parts, body);
        let handled = async {
            match &principal {
                Some(principal) => {
                    idempotency::apply(&self.context, scope, principal, request, &self.routes).await
                }
                None => call(&self.routes, request).await,
            }
        };
        join(handled, recording).await.0
    }

    async fn admit_public(
        &self,
        scope: &RequestScope,
        limit: PublicLimit,
    ) -> Result<Admitted, Error> {
        if let PublicLimit::PerAddress(limit) = limit {
            let services = &self.context.services;
            let policy = Policy::of_address(limit, &services.config.limits, &scope.client.ip);
            let limiter = self.context.authenticator.limiter();
            limiter
                .require_counted(&policy, services.clock.now())
                .await?;
        }
        Ok(Admitted::anonymous())
    }

    /// Finds out who calls, and whether they may call now.
    async fn admit(
        &self,
        scope: &RequestScope,
        route: Matched<'_>,
        policy: RoutePolicy,
        parts: &mut Parts,
        info: &mut RequestInfo,
    ) -> Result<Admitted, Error> {
        // A wrong one is told once it is known who asks.
        let product_id = if scope.dialect.takes_product_id() {
            Params::parse(parts.uri.query().unwrap_or_default())
                .and_then(|params| params.parsed::<WorkspaceId>("product_id"))
        } else {
            Ok(None)
        };
        let request = AuthRequest {
            policy: scope.dialect.credentials(),
            strict: policy.is_strict,
            headers: &parts.headers,
            ip: &scope.client.ip,
            product_id: product_id.as_ref().ok().copied().flatten(),
            counting: counting(parts, route.streams),
        };
        let authenticator = &self.context.authenticator;
        let AuthResult {
            outcome,
            limit,
            used,
            key,
        } = authenticator.authenticate(request).await;
        (info.limit, info.token) = (limit, key);
        let principal = Arc::new(outcome?);
        product_id?;
        info.organization = Some(principal.organization_id);
        // What a super admin does in another organization counts for the super admin's own.
        let organization = principal.home_organization_id;
        let now = self.context.services.clock.now();
        info.batch = authenticator.guard().admit(organization, now)?;
        parts.extensions.insert(principal.clone());
        if let Some(scope) = parts.extensions.get_mut::<RequestScope>() {
            scope.is_resumed = limit.is_none();
        }
        Ok(Admitted {
            principal: Some(principal),
            used,
        })
    }

    /// Has a request kept in the request log once its answer is on the way. The answer does not depend on it.
    fn log_activity(
        &self,
        entry: AccessLogEntry<'_>,
        token: TokenRef,
        scope: &RequestScope,
        received_at: DateTime<Utc>,
    ) {
        let duration = entry.started.elapsed().as_micros();
        let row = RequestLogEntry {
            id: ActivityId::new(received_at),
            key_id: token.id,
            workspace_id: token.workspace_id,
            method: entry.method.to_string(),
            path: entry.path,
            route: entry.route.to_owned(),
            status: entry.status,
            duration_micros: u64::try_from(duration).unwrap_or(u64::MAX),
            project_id: None,
            ip: scope.client.ip.clone(),
            user_agent: scope.client.user_agent.clone(),
            request_id: scope.client.request_id.clone(),
            created_at: received_at,
            is_use: token.is_accepted,
            counted_by_tick: false,
        };
        let store = self.context.store.clone();
        let now = self.context.services.clock.now();
        self.context.services.background.run(async move {
            let request_id = row.request_id.clone();
            let recorded = store.record_activity(row, token.organization_id, now);
            if let Err(error) = recorded.await {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, request.id = request_id, "a request was not kept in the request log");
            }
        });
    }
}

impl Admitted {
    fn anonymous() -> Self {
        Self {
            principal: None,
            used: None,
        }
    }
}

/// The limit that a request counts against. A client names the last event that it has seen in a header or, where it cannot set headers,
/// in the query.
fn counting(parts: &Parts, streams: Option<RunId>) -> Counting {
    let header = parts.headers.get(LAST_EVENT_ID);
    let in_query = || {
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        params.is_ok_and(|params| params.get(LAST_EVENT_ID_PARAMETER).is_some())
    };
    match streams {
        Some(run) if header.is_some_and(|id| !id.is_empty()) || in_query() => {
            Counting::UnlessItComesBack(run)
        }
        _ => Counting::Always,
    }
}

/// `/x/` is `/x`, without a redirect: clients of these APIs take redirects for errors (prowpt-mcp-server 0.3.1).
fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return None;
    }
    let text = uri
        .query()
        .map_or_else(|| trimmed.to_owned(), |query| format!("{trimmed}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// The one log line of a request: never its body, query, ids of people or credentials.
struct AccessLogEntry<'a> {
    method: &'a Method,
    /// For the request log alone, since a path has ids in it.
    path: String,
    route: &'a str,
    status: u16,
    error: Option<&'a Error>,
    organization: Option<OrganizationId>,
    started: Instant,
}

impl AccessLogEntry<'_> {
    fn log(&self, request_id: &str) {
        let duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        let organization = self.organization.map(tracing::field::display);
        match self.error {
            Some(error) if self.status >= 500 => {
                let source = std::error::Error::source(error).map(tracing::field::display);
                tracing::error!(http.method = %self.method, http.route = self.route, http.status = self.status, duration_ms, request.id = request_id, organization.id = organization, error = %error, source, "request failed");
            }
            _ => {
                tracing::info!(http.method = %self.method, http.route = self.route, http.status = self.status, duration_ms, request.id = request_id, organization.id = organization, "request handled");
            }
        }
    }
}
