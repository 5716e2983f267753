//! Signing out and changing the password.

use auth::{
    Guess, Policy, begin_session, hash_password, issue_device_token, network_of, verify_password,
};
use axum::extract::State as Extract;
use domain::Error;
use domain::audit::AuditEntry;
use domain::identity::{Member, NewPassword, User};
use keyring::Keyring;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use web::access::Session;
use web::{
    ApiResponse, AppContext, Authorized, Client, Json, NoContent, Result, Routes, Store, found,
};

use crate::State;
use crate::sign_in::{SessionResponse, signed_in};

#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"current_password": "Correct-horse-7", "new_password": "Battery-staple-8"}))]
struct ChangePassword {
    current_password: String,
    new_password: NewPassword,
}

/// Ends the session: its access token is refused from the next request on.
#[utoipa::path(post, path = "/api/auth/logout", tag = "Account", security(("Session" = [])), responses((status = 200)))]
async fn logout(Extract(state): Extract<State>, caller: Authorized<Session>) -> Result<NoContent> {
    state
        .context
        .store
        .end_session(caller.require_session()?)
        .await?;
    Ok(NoContent)
}

/// Changes the password. This ends all sessions of the user; the answer has a fresh one.
#[utoipa::path(post, path = "/api/auth/password", tag = "Account", request_body = ChangePassword, security(("Session" = [])), responses((status = 200, body = SessionResponse)))]
async fn change_password(
    Extract(state): Extract<State>,
    Extract(context): Extract<AppContext>,
    Extract(store): Extract<Store>,
    caller: Authorized<Session>,
    client: Client,
    Json(body): Json<ChangePassword>,
) -> Result<ApiResponse<SessionResponse>> {
    let services = &context.services;
    let now = services.clock.now();
    let user = found(store.user(caller.user()?)).await?;
    let limiter = context.authenticator.limiter().clone();
    let mut guess = Guess::new(limiter, now);
    let policy = Policy::password_change(&services.config.limits, user.id);
    guess.count(policy).await?;
    let is_right = body.current_password.len() <= 1024
        && verify_password(body.current_password, Some(user.password_hash.clone())).await?;
    guess.was(is_right).await;
    if !is_right {
        return Err(Error::invalid("current_password", "is wrong").into());
    }
    let member = found(store.member(user.organization_id, user.id)).await?;
    let user = User {
        password_hash: hash_password(body.new_password.expose().to_owned()).await?,
        ..user
    };
    let member = Member {
        password_version: member.password_version + 1,
        ..member
    };
    let keyring = Keyring::load(services).await?;
    let network = Some(network_of(&client.ip));
    let (session, tokens) = begin_session(&keyring, &member, network, now)?;
    let audit = AuditEntry::new(
        &caller.audit_context,
        "user.password_changed",
        "user",
        user.id,
        now,
    );
    let device_token = issue_device_token(&context.vault, &user).await?;
    let signed_in = signed_in(&state, &user, &member, tokens, device_token).await?;
    store
        .change_password(&user, &member, Some(&session), &audit)
        .await?;
    Ok(ApiResponse::ok(signed_in))
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .authenticated(routes!(logout))
        .authenticated(routes!(change_password))
}
