//! Users that tests act as.

use domain::access::Role;
use domain::audit::{AuditEntry, Caller};
use domain::identity::Member;
use domain::ids::{OrganizationId, UserId};
use serde_json::{Value, json};
use store::Store;

use crate::TestApp;

/// A user with a session, an organization and a workspace.
#[derive(Clone, Debug)]
pub struct Account {
    pub email: String,
    pub access_token: String,
    pub refresh_token: String,
    pub user_id: String,
    pub organization_id: String,
    pub workspace_id: String,
}

impl Account {
    /// Every account's password.
    pub const PASSWORD: &str = "Correct-horse-7";

    pub(crate) fn from_answer(email: String, data: Value) -> Self {
        let text = |value: &Value| {
            value
                .as_str()
                .unwrap_or_else(|| panic!("a text in {data}"))
                .to_owned()
        };
        Self {
            email,
            access_token: text(&data["access_token"]),
            refresh_token: text(&data["refresh_token"]),
            user_id: text(&data["user"]["id"]),
            organization_id: text(&data["organization"]["id"]),
            workspace_id: text(&data["workspace"]["id"]),
        }
    }

    /// Makes the user a super admin, as `signalbox admin grant` does.
    pub async fn make_super_admin(&self, app: &TestApp) {
        let store = Store::new(&app.platform.services());
        let organization: OrganizationId = self.organization_id.parse().expect("an id");
        let user: UserId = self.user_id.parse().expect("an id");
        let member = store.member(organization, user).await.expect("an answer");
        let member = Member {
            role: Role::SuperAdmin,
            ..member.expect("a member")
        };
        let found = store.organization(organization).await.expect("an answer");
        let caller = Caller::system(organization, member.default_workspace_id);
        let now = app.clock.now();
        let audit = AuditEntry::new(&caller, "member.updated", "user", user, now);
        let found = found.expect("an organization");
        let updated = store.update_member(&found, &member, &audit);
        updated.await.expect("a super admin");
    }

    /// A colleague who joins the organization with this role, kept to `workspaces` where any are named.
    pub async fn colleague(&self, app: &TestApp, role: &str, workspaces: &[&str]) -> Self {
        let email = app.new_email();
        let workspaces = Some(workspaces).filter(|named| !named.is_empty());
        let body = json!({"email": email, "role": role, "workspaces": workspaces});
        let invite = app.post("/api/organization/members", body);
        let invited = invite.bearer(&self.access_token).send().await.expect(201);
        let body = json!({
            "email": email, "password": Self::PASSWORD, "name": "Grace", "invitation": invited["data"]["invitation"],
        });
        let joined = app.post("/api/auth/register", body).send().await;
        Self::from_answer(email, joined.expect(201)["data"].clone())
    }

    /// Another workspace of the organization; its id.
    pub async fn second_workspace(&self, app: &TestApp) -> String {
        let create = app.post("/api/workspaces", json!({"name": "Second"}));
        let created = create.bearer(&self.access_token).send().await.expect(201);
        created["data"]["id"].as_str().expect("an id").to_owned()
    }

    /// A session of its own: for when the first has run out with the clock.
    pub async fn sign_in(&self, app: &TestApp) -> String {
        let body = json!({"email": self.email, "password": Self::PASSWORD});
        let answer = app.post("/api/auth/login", body).send().await;
        answer.expect(200)["data"]["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// A Prodgy token of the account's workspace.
    pub async fn prodgy_token(&self, app: &TestApp) -> String {
        let answer = app
            .post("/api/api-tokens", json!({"name": "test"}))
            .bearer(&self.access_token)
            .send()
            .await;
        answer.expect(201)["data"]["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// An AgentPlatform key with these scopes.
    pub async fn agentplatform_key(&self, app: &TestApp, scopes: &[&str]) -> String {
        self.key(app, "agentplatform", scopes).await
    }

    /// A Prowpt key with these scopes.
    pub async fn prowpt_key(&self, app: &TestApp, scopes: &[&str]) -> String {
        self.key(app, "prowpt", scopes).await
    }

    async fn key(&self, app: &TestApp, kind: &str, scopes: &[&str]) -> String {
        let body = json!({"name": "test", "kind": kind, "scopes": scopes});
        let answer = app
            .post("/api/settings/api-keys", body)
            .bearer(&self.access_token)
            .send()
            .await;
        answer.expect(201)["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    }
}
