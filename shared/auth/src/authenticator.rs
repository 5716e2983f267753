//! From a request's headers to its principal, in one round trip.

use chrono::{DateTime, Utc};
use domain::access::Role;
use domain::audit::{Actor, Caller};
use domain::error::RateLimit;
use domain::identity::{Member, Workspace};
use domain::ids::{OrganizationId, TokenId, WorkspaceId};
use domain::token::{Token, TokenSecret};
use domain::{Error, Result};
use futures::future::{OptionFuture, join, try_join3};
use http::HeaderMap;
use keyring::Keyring;
use runtime::Services;
use store::Store;

use crate::credential::refused;
use crate::limits::Count;
use crate::limits::Counting;
use crate::session::{AUDIENCE, AccessClaims};
use crate::{
    Credential, CredentialPolicy, Identity, Limiter, OrganizationGuard, Policy, Principal,
    RateSubject,
};

/// The parts of a request that authentication looks at.
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// The rules of the request's path.
    pub policy: &'static CredentialPolicy,
    /// `true` when the request counts against the stricter limit.
    pub strict: bool,
    pub headers: &'a HeaderMap,
    /// As the gateway saw it; never from a header.
    pub ip: &'a str,
    /// The `product_id` of the query, which a session chooses its workspace by.
    pub product_id: Option<WorkspaceId>,
    pub counting: Counting,
}

/// The outcome of authentication. The limit is known, and goes into the response's headers, also when the request is refused.
#[derive(Debug)]
pub struct AuthResult {
    pub outcome: Result<Principal>,
    pub limit: Option<RateLimit>,
    /// The token that was used, whose first use of the hour is still to be logged.
    pub used: Option<Token>,
    /// The key that the request showed, if it exists, also when it is over its limit or has ended.
    pub key: Option<TokenRef>,
}

/// A key that exists, and the workspace that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct TokenRef {
    pub id: TokenId,
    pub organization_id: OrganizationId,
    pub workspace_id: WorkspaceId,
    /// The request was let in with it.
    pub is_accepted: bool,
}

/// Checks credentials and rate limits.
#[derive(Clone)]
pub struct Authenticator {
    pub(crate) services: Services,
    pub(crate) store: Store,
    limiter: Limiter,
    guard: OrganizationGuard,
}

impl AuthResult {
    fn refused(error: Error, limit: Option<RateLimit>) -> Self {
        Self {
            outcome: Err(error),
            limit,
            used: None,
            key: None,
        }
    }
}

impl Authenticator {
    pub fn new(services: Services, store: Store) -> Self {
        Self {
            limiter: Limiter::new(store.clone()),
            guard: OrganizationGuard::new(store.clone(), services.config.limits.organization),
            services,
            store,
        }
    }

    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The limit of whole organizations, which [`Self::authenticate`] does not look at.
    pub fn guard(&self) -> &OrganizationGuard {
        &self.guard
    }

    /// Finds out who calls, and whether they may call now. Malformed credentials are refused without any I/O.
    pub async fn authenticate(&self, request: AuthRequest<'_>) -> AuthResult {
        match Credential::read(request.policy, request.headers) {
            Err(error) => AuthResult::refused(error, None),
            Ok(Credential::Token(secret)) => self.token(request, &secret).await,
            Ok(Credential::Session(token)) => self.session(request, &token).await,
        }
    }

    /// The workspace that `principal` means by `requested`; its own when it names none. Another one of the organization is open
    /// only to a session whose member may use it.
    ///
    /// # Errors
    /// `NotFound` when the workspace does not exist, belongs to another tenant, or is closed to the principal.
    pub async fn workspace_for(
        &self,
        principal: &Principal,
        requested: Option<WorkspaceId>,
    ) -> Result<WorkspaceId> {
        let Some(requested) = requested.filter(|requested| *requested != principal.workspace_id)
        else {
            return Ok(principal.workspace_id);
        };
        if principal.token_id().is_some() {
            return Err(Error::NotFound("product"));
        }
        let workspace = self.store.workspace(principal.organization_id, requested);
        workspace
            .await?
            .filter(|workspace| principal.may_use(workspace.id))
            .map(|workspace| workspace.id)
            .ok_or(Error::NotFound("product"))
    }

    /// Counts a request as [`AuthRequest::counting`] says. `credential` names the credential that the request shows.
    async fn count(
        &self,
        request: AuthRequest<'_>,
        policy: &Policy,
        credential: impl ToString,
        now: DateTime<Utc>,
    ) -> Option<Count> {
        match request.counting {
            Counting::Never => return None,
            Counting::UnlessItComesBack(run) => {
                let credential = credential.to_string();
                match self.store.spend_comeback(&credential, run, now).await {
                    Ok(true) => return None,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "a request that comes back was counted"),
                }
            }
            Counting::Always => {}
        }
        self.limiter.count(policy, now).await
    }

    async fn token(&self, request: AuthRequest<'_>, secret: &TokenSecret) -> AuthResult {
        let now = self.services.clock.now();
        let limits = &self.services.config.limits;
        let hash = secret.hash();
        let by = request.policy.limit_of_tokens;
        let policy = by.policy(limits, request.strict, request.ip, hash);
        let (count, token) = join(
            self.count(request, &policy, hash, now),
            self.store.token_by_hash(hash),
        )
        .await;
        let token = match token {
            // A secret that was replaced and whose grace is over is as good as one that never was.
            Ok(token) => token.filter(|token| token.accepts(hash, now)),
            Err(error) => return AuthResult::refused(error, None),
        };
        let key = token.as_ref().map(|token| TokenRef {
            id: token.id,
            organization_id: token.organization_id,
            workspace_id: token.workspace_id,
            is_accepted: false,
        });
        let limit = token.as_ref().map_or(policy.limit, |token| {
            token.requests_per_minute(policy.limit)
        });
        let (state, over) = measured(count, limit);
        // An address over its limit learns nothing else. Over the limit of a key, only callers with an existing key learn that.
        if let Some(limit) = over
            && (by.subject == RateSubject::Address || token.is_some())
        {
            return AuthResult {
                key,
                ..limited(limit)
            };
        }
        let Some(token) = token else {
            return self.unknown(request, state, now).await;
        };
        let (token, outcome) = match self.usable(token, now).await {
            Ok(token) => {
                let outcome = self.token_principal(request, &token).await;
                (token, outcome)
            }
            Err(error) => {
                return AuthResult {
                    outcome: Err(error),
                    limit: state,
                    used: None,
                    key,
                };
            }
        };
        let is_accepted = outcome.is_ok();
        let is_logged = is_accepted && token.is_first_use(now);
        AuthResult {
            // As it was looked up: by the secret of before while its grace lasts.
            used: is_logged.then_some(Token { hash, ..token }),
            outcome,
            limit: state,
            key: key.map(|key| TokenRef { is_accepted, ..key }),
        }
    }

    async fn token_principal(&self, request: AuthRequest<'_>, token: &Token) -> Result<Principal> {
        // The keys of the other dialects have scopes, which say nothing of other organizations.
        let own = (token.organization_id, token.workspace_id);
        let crosses = token.kind.has_role() && token.role == Role::SuperAdmin;
        let (organization, workspace) = match chosen_organization(request, crosses)? {
            Some(chosen) if chosen != token.organization_id => {
                self.workspace_in(chosen, request.product_id).await?
            }
            _ if request
                .product_id
                .is_some_and(|product| product != token.workspace_id) =>
            {
                return Err(Error::NotFound("product"));
            }
            _ => own,
        };
        Ok(Principal {
            identity: Identity::Token(token.id, token.kind),
            user_id: Some(token.user_id),
            organization_id: organization,
            home_organization_id: token.organization_id,
            member_revision: None,
            workspace_id: workspace,
            role: token.role,
            workspaces: (!token.all_workspaces).then(|| vec![workspace]),
            scopes: token.scopes.clone(),
            expires_at: token.expires_at,
            audit_context: caller(request, Actor::ApiKey(token.id), organization, workspace),
        })
    }

    async fn session(&self, request: AuthRequest<'_>, token: &str) -> AuthResult {
        let now = self.services.clock.now();
        let refuse = |error| AuthResult::refused(error, None);
        let keyring = match Keyring::load_for(&self.services, token).await {
            Ok(keyring) => keyring,
            Err(error) => return refuse(error),
        };
        let claims = keyring
            .verify::<AccessClaims>(AUDIENCE, token)
            .filter(|claims| claims.exp > now.timestamp());
        let Some(claims) = claims else {
            return refuse(refused());
        };

        let limits = &self.services.config.limits;
        let by = request.policy.limit_of_sessions;
        let policy = by.policy(limits, request.strict, request.ip, claims.sub);
        let workspace = OptionFuture::from(
            request
                .product_id
                .map(|id| self.store.workspace(claims.org, id)),
        );
        let rows = try_join3(
            self.store.session(claims.sid),
            self.store.member(claims.org, claims.sub),
            async { workspace.await.transpose() },
        );
        let (count, rows) = join(self.count(request, &policy, claims.sid, now), rows).await;
        let (state, over) = measured(count, policy.limit);
        if let Some(limit) = over {
            return limited(limit);
        }
        let outcome = match rows {
            Ok((Some(session), Some(member), product)) if session.is_good_for(&member, now) => {
                self.session_principal(request, &claims, &member, product.flatten())
                    .await
            }
            Ok(_) => Err(refused()),
            Err(error) => Err(error),
        };
        AuthResult {
            outcome,
            limit: state,
            used: None,
            key: None,
        }
    }

    /// `product`: the workspace of the user's own organization that the request names, if it exists.
    async fn session_principal(
        &self,
        request: AuthRequest<'_>,
        claims: &AccessClaims,
        member: &Member,
        product: Option<Workspace>,
    ) -> Result<Principal> {
        let crosses = member.role == Role::SuperAdmin;
        let (organization, workspace) = match chosen_organization(request, crosses)? {
            Some(chosen) if chosen != claims.org => {
                self.workspace_in(chosen, request.product_id).await?
            }
            _ if request.product_id.is_some() => {
                let product = product.filter(|product| member.may_use(product.id));
                (claims.org, product.ok_or(Error::NotFound("product"))?.id)
            }
            _ => (
                claims.org,
                member
                    .default_workspace()
                    .ok_or(Error::NotFound("workspace"))?,
            ),
        };
        Ok(Principal {
            identity: Identity::Session(claims.sid),
            user_id: Some(claims.sub),
            organization_id: organization,
            home_organization_id: claims.org,
            member_revision: Some(member.revision),
            workspace_id: workspace,
            role: member.role,
            workspaces: member.workspaces.clone().filter(|_| !crosses),
            scopes: Vec::new(),
            expires_at: DateTime::from_timestamp(claims.exp, 0),
            audit_context: caller(request, Actor::User(claims.sub), organization, workspace),
        })
    }

    /// Another organization and the workspace of it that a super admin names, or its oldest.
    async fn workspace_in(
        &self,
        organization: OrganizationId,
        product: Option<WorkspaceId>,
    ) -> Result<(OrganizationId, WorkspaceId)> {
        let workspace = match product {
            Some(product) => {
                let found = self.store.workspace(organization, product).await?;
                found.ok_or(Error::NotFound("product"))?.id
            }
            None => {
                let found = self.store.organization(organization).await?;
                found
                    .ok_or(Error::NotFound("organization"))?
                    .default_workspace_id
            }
        };
        Ok((organization, workspace))
    }

    /// An unknown key costs its sender's address a request, so that keys cannot be guessed at full speed.
    async fn unknown(
        &self,
        request: AuthRequest<'_>,
        state: Option<RateLimit>,
        now: DateTime<Utc>,
    ) -> AuthResult {
        if request.counting == Counting::Never {
            return AuthResult::refused(refused(), None);
        }
        let policy = Policy::unauthenticated(&self.services.config.limits, request.ip);
        let limited_to = match self.limiter.require(&policy, now).await {
            Err(error @ Error::RateLimited(limit)) => {
                return AuthResult::refused(error, Some(limit));
            }
            _ if request.policy.limit_of_tokens.subject == RateSubject::Address => state,
            _ => None,
        };
        AuthResult::refused(refused(), limited_to)
    }
}

/// The organization that a super admin names in `X-Organization-Id` (Prodgy's authentication page). The header of all other
/// callers is ignored.
fn chosen_organization(request: AuthRequest<'_>, crosses: bool) -> Result<Option<OrganizationId>> {
    let Some(value) = request.headers.get("x-organization-id").filter(|_| crosses) else {
        return Ok(None);
    };
    let chosen = value.to_str().ok().and_then(|text| text.parse().ok());
    chosen
        .map(Some)
        .ok_or_else(|| Error::invalid_header("X-Organization-Id", "must be a UUID"))
}

/// The window, and the same again when this request is over its limit.
fn measured(count: Option<Count>, limit: u32) -> (Option<RateLimit>, Option<RateLimit>) {
    match count.map(|count| count.against(limit)) {
        Some((state, over)) => (Some(state), over.then_some(state)),
        None => (None, None),
    }
}

fn limited(limit: RateLimit) -> AuthResult {
    AuthResult::refused(Error::RateLimited(limit), Some(limit))
}

fn caller(
    request: AuthRequest<'_>,
    actor: Actor,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
) -> Caller {
    let user_agent = request
        .headers
        .get(http::header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    Caller {
        actor,
        organization_id,
        workspace_id,
        ip: Some(request.ip.to_owned()),
        user_agent: user_agent.map(|text| text.chars().take(256).collect()),
    }
}
