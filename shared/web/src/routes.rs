//! Routes and, beside each, what happens to a request before its handler runs.

use auth::NamedLimit;
use axum::Router;
use axum::http::Method;
use domain::ids::RunId;
use matchit::{InsertError, Params as PathVariables};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// The largest body of a route that does not say otherwise, in bytes. An agent's parameters and a prompt set may have 100 KB each.
pub const MAX_BODY: usize = 512 * 1024;
/// The largest body that starts a run: its input may have 2 MB, and more in a client's spelling. Lambda takes 6 MB.
pub const MAX_INPUT_BODY: usize = 4 * 1024 * 1024;

/// The rules by which requests of a route are admitted.
#[derive(Clone, Copy, Debug)]
pub struct RoutePolicy {
    pub(crate) access: RouteAccess,
    pub(crate) is_strict: bool,
    pub(crate) max_body: usize,
    pub(crate) any_origin: bool,
    pub(crate) is_stream: bool,
}

/// The clients that may send a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RouteAccess {
    /// All clients, up to a limit.
    Public(PublicLimit),
    /// Clients with a credential that the path's dialect takes, up to the dialect's limit.
    Authenticated,
    /// All clients, whose signature the handler verifies. It counts the request for its endpoint, up to this limit.
    Signed(NamedLimit),
}

/// The limit on a public route.
#[derive(Clone, Copy, Debug)]
pub enum PublicLimit {
    /// So many requests a minute from an address, counted before the body is read. What cannot be counted is refused.
    PerAddress(NamedLimit),
    /// The handler counts what is worth counting, such as wrong passwords.
    Handler,
    /// The answer is made from memory alone; the throttle of the gateway in front is enough.
    Memory,
}

impl RoutePolicy {
    const fn with_access(access: RouteAccess) -> Self {
        Self {
            access,
            is_strict: false,
            max_body: MAX_BODY,
            any_origin: false,
            is_stream: false,
        }
    }

    /// A credential is required.
    #[must_use]
    pub const fn authenticated() -> Self {
        Self::with_access(RouteAccess::Authenticated)
    }

    /// No credential is required.
    #[must_use]
    pub const fn public(limit: PublicLimit) -> Self {
        Self::with_access(RouteAccess::Public(limit))
    }

    /// The handler verifies a signature over [`crate::RawBody`], and then counts the request with [`crate::SignedEndpoint`].
    #[must_use]
    pub const fn signed(limit: NamedLimit) -> Self {
        Self::with_access(RouteAccess::Signed(limit))
    }

    /// The operation is heavy: its requests count against the dialect's stricter limit.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self {
            is_strict: true,
            ..self
        }
    }

    /// The largest body, in bytes; beyond it the answer is 413, or 400 in Prodgy.
    #[must_use]
    pub const fn max_body(self, bytes: usize) -> Self {
        Self {
            max_body: bytes,
            ..self
        }
    }

    /// Pages of every origin may read the answer, without credentials.
    #[must_use]
    pub const fn any_origin(self) -> Self {
        Self {
            any_origin: true,
            ..self
        }
    }

    /// The route streams the events of the run that its path names. A client that resumes such a stream is not counted again, as
    /// far as [`store::Store::spend_comeback`] allows: clients resume by themselves, and give up for good when they are refused.
    #[must_use]
    pub const fn event_stream(self) -> Self {
        Self {
            is_stream: true,
            ..self
        }
    }
}

/// The limit of a signed route, for its handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointLimit(pub(crate) NamedLimit);

/// The operations of a group, each with its policy.
#[derive(Clone)]
pub struct Routes<S> {
    router: OpenApiRouter<S>,
    policies: Vec<(String, Method, RoutePolicy)>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            router: OpenApiRouter::new(),
            policies: Vec::new(),
        }
    }

    /// Adds operations of one path that need a credential.
    #[must_use]
    pub fn authenticated(self, operations: UtoipaMethodRouter<S>) -> Self {
        self.with(RoutePolicy::authenticated(), operations)
    }

    /// Adds operations of one path.
    ///
    /// # Panics
    /// An operation is described as open to all clients (`security(())`) and its policy is not, or the reverse.
    #[must_use]
    pub fn with(mut self, policy: RoutePolicy, operations: UtoipaMethodRouter<S>) -> Self {
        for (path, item) in &operations.1.paths {
            for (method, operation) in operations_of(item) {
                let security = operation.security.as_deref();
                let is_open = security.is_some_and(|all| all.len() == 1 && all[0] == open());
                let needs_none = !matches!(policy.access, RouteAccess::Authenticated);
                assert_eq!(
                    is_open, needs_none,
                    "{method} {path}: security(()) and the policy of the route do not agree"
                );
                self.policies.push((path.clone(), method, policy));
            }
        }
        self.router = self.router.routes(operations);
        self
    }

    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.policies.extend(other.policies);
        self
    }

    /// The description of all operations.
    pub fn into_openapi(self) -> OpenApi {
        self.router.into_openapi()
    }

    /// The policies of all operations.
    pub fn policies(&self) -> RoutePolicies {
        RoutePolicies::default().with(&self.policies)
    }

    pub(crate) fn into_parts(self) -> (Router<S>, RoutePolicies) {
        let policies = self.policies();
        (self.router.split_for_parts().0, policies)
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> std::fmt::Debug for Routes<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.policies).finish()
    }
}

/// The policies of routes, by path and method.
#[derive(Clone, Default)]
pub struct RoutePolicies {
    paths: matchit::Router<usize>,
    routes: Vec<Route>,
}

/// The operations of one path.
#[derive(Clone, Debug)]
struct Route {
    pattern: String,
    methods: Vec<(Method, RoutePolicy)>,
}

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched<'a> {
    /// The path with the names of its variables, for logs.
    pub(crate) pattern: &'a str,
    /// `None` where the path has no operation of the method.
    pub(crate) policy: Option<RoutePolicy>,
    /// The run whose events an event stream shows.
    pub(crate) streams: Option<RunId>,
}

impl RoutePolicies {
    fn with(mut self, policies: &[(String, Method, RoutePolicy)]) -> Self {
        for (pattern, method, policy) in policies {
            self.add(pattern, &[(method.clone(), *policy)]);
        }
        self
    }

    /// Adds the routes of another group.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        for route in &other.routes {
            self.add(&route.pattern, &route.methods);
        }
        self
    }

    fn add(&mut self, pattern: &str, methods: &[(Method, RoutePolicy)]) {
        let known = self
            .routes
            .iter()
            .position(|route| route.pattern == pattern);
        let index = known.unwrap_or_else(|| {
            let added: Result<(), InsertError> = self.paths.insert(pattern, self.routes.len());
            added.expect("axum has taken the same patterns");
            self.routes.push(Route {
                pattern: pattern.to_owned(),
                methods: Vec::new(),
            });
            self.routes.len() - 1
        });
        self.routes[index].methods.extend_from_slice(methods);
    }

    /// The route of a path, if there is one.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Matched<'_>> {
        let found = self.paths.at(path).ok()?;
        let route = &self.routes[*found.value];
        // axum answers HEAD with the handler of GET.
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let policy = route
            .methods
            .iter()
            .find(|(known, _)| known == method)
            .map(|(_, policy)| *policy);
        Some(Matched {
            pattern: &route.pattern,
            policy,
            streams: policy
                .filter(|policy| policy.is_stream)
                .and_then(|_| first(&found.params)),
        })
    }

    /// The largest body that a path takes, in bytes: that of a route that says nothing where there is none.
    pub fn max_body(&self, method: &Method, path: &str) -> usize {
        let policy = self.find(method, path).and_then(|route| route.policy);
        policy.map_or(MAX_BODY, |policy| policy.max_body)
    }
}

impl std::fmt::Debug for RoutePolicies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.routes).finish()
    }
}

fn first<T: std::str::FromStr>(variables: &PathVariables<'_, '_>) -> Option<T> {
    variables.iter().next()?.1.parse().ok()
}

/// The meaning of `security(())`: a requirement without schemes.
fn open() -> utoipa::openapi::security::SecurityRequirement {
    utoipa::openapi::security::SecurityRequirement::default()
}

fn operations_of(
    item: &PathItem,
) -> impl Iterator<Item = (Method, &utoipa::openapi::path::Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}
