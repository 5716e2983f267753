//! The way of a request: trailing slash, CORS, routing, authentication, handler, shape, one log line.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use auth::{
    AuthRequest, AuthResult, Authenticator, Batch, Counting, Dialect, TokenRef, Vault, is_strict,
};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use domain::Error;
use domain::activity::{RequestLogEntry, kept_path};
use domain::error::RateLimit;
use domain::ids::{ActivityId, WorkspaceId};
use domain::token::Token;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, join};
use runtime::Services;
use store::Store;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use crate::extract::{Client, ComesBack, LAST_EVENT_ID, LAST_EVENT_ID_PARAMETER, Params};
use crate::response::Payload;
use crate::{ApiError, cors, encode, idempotency};

/// What serving takes, beside the routes.
#[derive(Clone)]
pub struct AppContext {
    pub services: Services,
    pub store: Store,
    pub authenticator: Authenticator,
    pub vault: Vault,
}

impl AppContext {
    pub fn new(services: Services) -> Self {
        let store = Store::new(&services);
        Self {
            authenticator: Authenticator::new(services.clone(), store.clone()),
            vault: Vault::new(services.clone(), store.clone()),
            store,
            services,
        }
    }
}

/// Builds a function's router: `open` routes for all callers, `guarded` ones for authenticated callers.
pub fn serve<S: Clone + Send + Sync + 'static>(
    host: AppContext,
    open: OpenApiRouter<S>,
    guarded: OpenApiRouter<S>,
    state: S,
) -> Router {
    let (open, _) = open.split_for_parts();
    let (mut guarded, _) = guarded.split_for_parts();
    if guarded.has_routes() {
        guarded = guarded.route_layer(from_fn_with_state(host.clone(), authenticate));
    }
    let routes = open
        .merge(guarded)
        .route_layer(axum::middleware::from_fn(note_route))
        .fallback(async || ApiError(Error::NotFound("resource")))
        .method_not_allowed_fallback(async || ApiError(Error::MethodNotAllowed))
        .with_state(state);
    // Outside the routes, since a path must be put right before it is matched.
    Router::new().fallback(handle).with_state((host, routes))
}

/// The answer to a request at `path` that the gateway in front of a function refuses before it reaches a route.
pub fn refusal(path: &str, error: &Error, request_id: &str) -> Response {
    let mut response = encode::failure(Dialect::of(path), error, request_id);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// What is learned of a request on the way, for its response and its log line.
#[derive(Clone, Default)]
struct Facts(Arc<Mutex<Learned>>);

#[derive(Default)]
struct Learned {
    limit: Option<RateLimit>,
    route: Option<MatchedPath>,
    organization: Option<domain::ids::OrganizationId>,
    key: Option<TokenRef>,
    /// The batch of an organization's requests that this request completes.
    batch: Option<Batch>,
    /// Takes the work that runs beside the handler.
    beside: Option<oneshot::Sender<BoxFuture<'static, ()>>>,
}

impl Facts {
    fn with<T>(&self, change: impl FnOnce(&mut Learned) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn handle(State((host, routes)): State<(AppContext, Router)>, request: Request) -> Response {
    let started = Instant::now();
    let received_at = host.services.clock.now();
    let (mut parts, body) = request.into_parts();
    let client = Client::of(&parts);
    let method = parts.method.clone();
    let origin = cors::allowed_origin(&host.services.config, parts.uri.path(), &parts.headers);
    let is_preflight = method == Method::OPTIONS;
    if let Some(trimmed) = without_trailing_slash(&parts.uri) {
        parts.uri = trimmed;
    }
    let dialect = Dialect::of(parts.uri.path());
    let path = kept_path(parts.uri.path()).to_owned();
    let facts = Facts::default();

    let mut response = if is_preflight {
        cors::preflight()
    } else {
        let (sender, beside) = oneshot::channel();
        facts.with(|learned| learned.beside = Some(sender));
        parts.extensions.insert(facts.clone());
        let facts = facts.clone();
        let handled = async move {
            let outcome = AssertUnwindSafe(routes.oneshot(Request::from_parts(parts, body)))
                .catch_unwind()
                .await;
            // An unused sender would be waited for.
            facts.with(|learned| learned.beside = None);
            match outcome {
                Ok(Ok(response)) => response,
                Err(_) => ApiError(Error::internal("a handler panicked")).into_response(),
            }
        };
        let beside = async {
            if let Ok(work) = beside.await {
                work.await;
            }
        };
        join(handled, beside).await.0
    };

    let failed = response.extensions_mut().remove::<Arc<Error>>();
    if let Some(error) = &failed {
        let headers = std::mem::take(response.headers_mut());
        response = encode::failure(dialect, error, &client.request_id);
        response
            .headers_mut()
            .extend(headers.into_iter().filter_map(|(name, value)| {
                name.filter(|name| name == "allow")
                    .map(|name| (name, value))
            }));
    } else if let Some(payload) = response.extensions_mut().remove::<Payload>() {
        response = encode::success(dialect, response.status(), payload);
    }
    let (limit, route, organization, key) = facts.with(|learned| {
        let route = learned.route.take();
        (learned.limit, route, learned.organization, learned.key)
    });
    if let Some(batch) = facts.with(|learned| learned.batch.take()) {
        let guard = host.authenticator.guard().clone();
        let write = async move { guard.write(batch).await };
        host.services.background.run(write);
    }
    let over = match failed.as_deref() {
        Some(Error::RateLimited(limit)) => Some(*limit),
        _ => None,
    };
    let headers = response.headers_mut();
    if let Some(limit) = over.or(limit) {
        encode::rate_limit_headers(dialect, &limit, over.is_some(), headers);
    }
    if let Ok(id) = HeaderValue::from_str(&client.request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    cors::annotate(headers, origin, is_preflight);

    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let status = response.status().as_u16();
    if let Some(key) = key {
        let duration = started.elapsed().as_micros();
        keep(
            &host,
            RequestLogEntry {
                id: ActivityId::new(received_at),
                key_id: key.id,
                workspace_id: key.workspace_id,
                method: method.to_string(),
                path,
                route: route.to_owned(),
                status,
                duration_micros: u64::try_from(duration).unwrap_or(u64::MAX),
                project_id: None,
                ip: client.ip,
                user_agent: client.user_agent,
                request_id: client.request_id.clone(),
                created_at: received_at,
            },
        );
    }
    log(&Line {
        method: &method,
        route,
        status,
        error: failed.as_deref(),
        request_id: &client.request_id,
        organization,
        started,
    });
    response
}

/// Finds out who calls. It runs for routes that exist, so that every caller is told of a wrong path as such.
async fn authenticate(
    State(host): State<AppContext>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let (parts, body) = request.into_parts();
    let client = Client::of(&parts);
    // A wrong one is told once it is known who asks.
    let product_id = if matches!(dialect, Dialect::Prodgy | Dialect::Prowpt) {
        Params::parse(parts.uri.query().unwrap_or_default())
            .and_then(|params| params.parsed::<WorkspaceId>("product_id"))
    } else {
        Ok(None)
    };
    let strict = is_strict(&parts.method, parts.uri.path());
    let auth_request = AuthRequest {
        dialect,
        strict,
        headers: &parts.headers,
        ip: &client.ip,
        product_id: product_id.as_ref().ok().copied().flatten(),
        counting: counting(&parts),
    };
    let AuthResult {
        outcome,
        limit,
        used,
        key,
    } = host.authenticator.authenticate(auth_request).await;
    let facts = parts.extensions.get::<Facts>().cloned().unwrap_or_default();
    facts.with(|learned| {
        learned.limit = limit;
        learned.key = key;
    });
    let principal = match outcome.and_then(|principal| product_id.map(|_| principal)) {
        Ok(principal) => principal,
        Err(error) => return ApiError(error).into_response(),
    };
    facts.with(|learned| learned.organization = Some(principal.organization_id));
    // What a super admin does in another organization counts for the super admin's own.
    let organization = principal.home_organization_id;
    let guard = host.authenticator.guard();
    match guard.admit(organization, host.services.clock.now()) {
        Ok(batch) => facts.with(|learned| learned.batch = batch),
        Err(error) => return ApiError(error).into_response(),
    }
    if let Some(token) = used {
        record_use_beside(&host, &facts, token, &principal);
    }
    request = Request::from_parts(parts, body);
    request.extensions_mut().insert(principal.clone());
    request.extensions_mut().insert(ComesBack(limit.is_none()));
    idempotency::apply(&host, &principal, dialect, request, next).await
}

/// How a request counts. A client names the last event that it has seen in a header or, where it cannot set headers, in the query.
fn counting(parts: &Parts) -> Counting {
    let header = parts.headers.get(LAST_EVENT_ID);
    let in_query = || {
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        params.is_ok_and(|params| params.get(LAST_EVENT_ID_PARAMETER).is_some())
    };
    let has_seen_events = header.is_some_and(|id| !id.is_empty()) || in_query();
    Counting::of(&parts.method, parts.uri.path(), has_seen_events)
}

/// Has the use of a token written while the handler works.
fn record_use_beside(host: &AppContext, facts: &Facts, token: Token, principal: &auth::Principal) {
    let (authenticator, caller) = (host.authenticator.clone(), principal.audit_context.clone());
    let work: BoxFuture<'static, ()> =
        Box::pin(async move { authenticator.record_use(&token, &caller).await });
    if let Some(sender) = facts.with(|learned| learned.beside.take()) {
        // The receiver lives as long as the request.
        drop(sender.send(work));
    }
}

/// Has a request kept in the request log once its answer is on the way. The answer does not depend on it.
fn keep(host: &AppContext, row: RequestLogEntry) {
    let store = host.store.clone();
    host.services.background.run(async move {
        if let Err(error) = store.record_activity(&row).await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, request.id = row.request_id, "a request was not kept in the request log");
        }
    });
}

/// Keeps the route's pattern for the log: a path has ids in it, a pattern does not.
async fn note_route(route: MatchedPath, request: Request, next: Next) -> Response {
    if let Some(facts) = request.extensions().get::<Facts>() {
        facts.with(|learned| learned.route = Some(route));
    }
    next.run(request).await
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

struct Line<'a> {
    method: &'a Method,
    route: &'a str,
    status: u16,
    error: Option<&'a Error>,
    request_id: &'a str,
    organization: Option<domain::ids::OrganizationId>,
    started: Instant,
}

/// The one log line of a request: never its body, query, ids of people or credentials.
fn log(line: &Line<'_>) {
    let duration_ms = line.started.elapsed().as_secs_f64() * 1000.0;
    let organization = line.organization.map(tracing::field::display);
    match line.error {
        Some(error) if line.status >= 500 => {
            let source = std::error::Error::source(error).map(tracing::field::display);
            tracing::error!(http.method = %line.method, http.route = line.route, http.status = line.status, duration_ms, request.id = line.request_id, organization.id = organization, error = %error, source, "request failed");
        }
        _ => {
            tracing::info!(http.method = %line.method, http.route = line.route, http.status = line.status, duration_ms, request.id = line.request_id, organization.id = organization, "request handled");
        }
    }
}
