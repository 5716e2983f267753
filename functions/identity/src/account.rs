//! Signing out and changing the password.

use auth::{Keyring, Policy, hash_password, issue_session, verify_password};
use axum::extract::State as Extract;
use domain::Error;
use domain::audit::AuditEntry;
use domain::identity::{Member, NewPassword, User};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::access::Session;
use web::{Json, NoContent, Permitted, Reply, Result};

use crate::State;
use crate::sign_in::{SignedIn, signed_in};

#[derive(Deserialize, ToSchema)]
struct ChangePassword {
    current_password: String,
    new_password: NewPassword,
}

/// Ends the session: its access token is refused from the next request on.
#[utoipa::path(post, path = "/api/auth/logout", tag = "Account", responses((status = 200)))]
async fn logout(Extract(state): Extract<State>, caller: Permitted<Session>) -> Result<NoContent> {
    state
        .host
        .store
        .end_session(caller.require_session()?)
        .await?;
    Ok(NoContent)
}

/// Changes the password. Ends all sessions of the user and answers with a fresh one.
#[utoipa::path(post, path = "/api/auth/password", tag = "Account", request_body = ChangePassword, responses((status = 200, body = SignedIn)))]
async fn change_password(
    Extract(state): Extract<State>,
    caller: Permitted<Session>,
    Json(body): Json<ChangePassword>,
) -> Result<Reply<SignedIn>> {
    let services = &state.host.services;
    let store = &state.host.store;
    let now = services.clock.now();
    let policy = Policy::sign_in_to(&services.config.limits, &caller.user_id.to_string());
    state
        .host
        .authenticator
        .limiter()
        .require(&policy, now)
        .await?;

    let user = store
        .user(caller.user_id)
        .await?
        .ok_or(Error::NotFound("user"))?;
    if body.current_password.len() > 1024
        || !verify_password(body.current_password, Some(user.password_hash.clone())).await?
    {
        return Err(Error::invalid("current_password", "is wrong").into());
    }
    let member = store
        .member(user.organization_id, user.id)
        .await?
        .ok_or(Error::NotFound("member"))?;
    let user = User {
        password_hash: hash_password(body.new_password.expose().to_owned()).await?,
        ..user
    };
    // From here on: whoever signed in with the old password while this one was hashed is signed out too.
    let now = services.clock.now();
    let member = Member {
        sessions_valid_from: Some(now),
        ..member
    };
    let keyring = Keyring::load(services).await?;
    let (session, tokens) = issue_session(
        &keyring,
        None,
        user.id,
        user.organization_id,
        member.role,
        now,
        now,
    )?;
    let audit = AuditEntry::new(
        &caller.caller,
        "user.password_changed",
        "user",
        user.id,
        now,
    );
    store
        .change_password(&user, &member, Some(&session), &audit)
        .await?;
    Ok(Reply::ok(signed_in(&state, &user, &member, tokens).await?))
}

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(logout))
        .routes(routes!(change_password))
}
