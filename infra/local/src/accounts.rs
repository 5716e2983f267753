//! Accounts made on this machine, past the API: for a first start, and for owners who lost a credential.

use anyhow::{Context, bail};
use auth::hash_password;
use domain::access::Role;
use domain::audit::{AuditEntry, Caller};
use domain::identity::{Email, Member, Organization, User};
use domain::ids::{TokenId, WorkspaceId};
use domain::plan::{PlanLimits, PlanOverride};
use domain::text::Name;
use domain::token::{Maker, NewToken, TokenAction, TokenKind, TokenSecret};
use identity::{NewAccount, least_of, restrict_tokens_to_member};
use rand::distr::{Alphanumeric, SampleString};
use runtime::Services;
use store::{Store, TokenAuditEntry};

/// The accounts of a platform.
pub(crate) struct Accounts {
    services: Services,
    store: Store,
}

/// A user who can sign in, with the membership.
pub(crate) struct Owner {
    pub(crate) user: User,
    pub(crate) member: Member,
}

impl Accounts {
    pub(crate) fn new(services: Services) -> Self {
        Self {
            store: Store::new(&services),
            services,
        }
    }

    /// Makes an account and its password.
    pub(crate) async fn create_account(
        &self,
        email: &str,
        name: &str,
    ) -> anyhow::Result<(Owner, String)> {
        let password = new_password();
        let hash = hash_password(password.clone()).await?;
        let now = self.services.clock.now();
        let account = NewAccount::new(
            parse_email(email)?,
            parse_name(name)?,
            parse_name(name)?,
            hash,
            now,
        )?;
        let NewAccount {
            user,
            organization,
            workspace,
            member,
        } = account;
        let caller = Caller::system(organization.id, workspace.id);
        let audit = AuditEntry::new(&caller, "user.registered", "user", user.id, now);
        self.store
            .register(&user, &organization, &workspace, &member, None, &audit)
            .await?;
        Ok((Owner { user, member }, password))
    }

    /// The user who has this address.
    pub(crate) async fn find(&self, email: &str) -> anyhow::Result<Owner> {
        let user = self.store.user_by_email(&parse_email(email)?).await?;
        let user = user.with_context(|| format!("there is no user {email}"))?;
        let member = self
            .store
            .member(user.organization_id, user.id)
            .await?
            .context("the user belongs to no organization")?;
        Ok(Owner { user, member })
    }

    /// Makes a token that may do whatever its kind allows.
    pub(crate) async fn create_token(
        &self,
        owner: &Owner,
        kind: TokenKind,
        name: &str,
    ) -> anyhow::Result<TokenSecret> {
        let now = self.services.clock.now();
        let scopes: &[&str] = match kind {
            TokenKind::Prodgy => &[],
            TokenKind::Prowpt => &["*"],
            TokenKind::AgentPlatform => &domain::access::AGENTPLATFORM_SCOPES,
        };
        let organization = owner.member.organization_id;
        let workspace = workspace_of(&owner.member)?;
        let maker = Maker::of(&owner.member, organization, workspace);
        let new = NewToken {
            id: TokenId::new(now),
            kind,
            organization_id: organization,
            workspace_id: workspace,
            user_id: owner.user.id,
            maker: maker.context("the user is no member yet")?,
            name: parse_name(name)?,
            own_role: (kind == TokenKind::Prodgy).then_some(owner.member.role),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            expires_at: None,
            requests_per_minute: None,
            is_raised_by_operator: false,
        };
        let (token, secret) = new.issue(now);
        let caller = Caller::system(token.organization_id, token.workspace_id);
        let log = TokenAuditEntry::new(TokenAction::Created, &caller, now);
        let audit = AuditEntry::new(&caller, "api_key.created", "api_key", token.id, now);
        self.store.create_token(&token, None, &log, &audit).await?;
        Ok(secret)
    }

    /// Gives a user a role: the only way to become a super admin. Tokens of the user follow it, wherever they are.
    pub(crate) async fn grant(&self, owner: &Owner, role: Role) -> anyhow::Result<()> {
        let organization = self.organization(owner).await?;
        let member = Member {
            role,
            ..owner.member.clone()
        };
        let audit = self.audit(owner, "member.updated")?.of_organization();
        let caller = Caller::system(audit.organization_id, audit.workspace_id);
        let now = self.services.clock.now();
        let (store, user) = (&self.store, owner.user.id);
        let least = least_of(&owner.member, &member);
        restrict_tokens_to_member(store, user, Some(&least), &caller, now).await?;
        store.update_member(&organization, &member, &audit).await?;
        restrict_tokens_to_member(store, user, Some(&member), &caller, now).await?;
        Ok(())
    }

    /// Decides what the owner's organization may use, and tells what that comes to.
    pub(crate) async fn set_plan_override(
        &self,
        owner: &Owner,
        own: &PlanOverride,
    ) -> anyhow::Result<PlanLimits> {
        let organization = owner.member.organization_id;
        let now = self.services.clock.now();
        let caller = Caller::system(organization, workspace_of(&owner.member)?);
        let action = "organization.plan_decided";
        let audit =
            AuditEntry::new(&caller, action, "organization", organization, now).of_organization();
        self.store
            .set_plan_override(organization, own, &audit)
            .await?;
        Ok(self.store.plan(organization, now).await?.limits)
    }

    /// Gives a user a new password and ends the sessions of before.
    pub(crate) async fn reset_password(&self, owner: &Owner) -> anyhow::Result<String> {
        let password = new_password();
        let user = User {
            password_hash: hash_password(password.clone()).await?,
            ..owner.user.clone()
        };
        let member = Member {
            password_version: owner.member.password_version + 1,
            ..owner.member.clone()
        };
        let audit = self.audit(owner, "user.password_changed")?;
        self.store
            .change_password(&user, &member, None, &audit)
            .await?;
        Ok(password)
    }

    async fn organization(&self, owner: &Owner) -> anyhow::Result<Organization> {
        match self
            .store
            .organization(owner.member.organization_id)
            .await?
        {
            Some(organization) => Ok(organization),
            None => bail!("the user's organization does not exist"),
        }
    }

    fn audit(&self, owner: &Owner, action: &str) -> anyhow::Result<AuditEntry> {
        let workspace = workspace_of(&owner.member)?;
        let caller = Caller::system(owner.member.organization_id, workspace);
        let now = self.services.clock.now();
        Ok(AuditEntry::new(&caller, action, "user", owner.user.id, now))
    }
}

fn workspace_of(member: &Member) -> anyhow::Result<WorkspaceId> {
    member
        .default_workspace()
        .context("the user may use no workspace")
}

fn parse_email(text: &str) -> anyhow::Result<Email> {
    Email::try_from(text.to_owned()).map_err(|wrong| anyhow::anyhow!("{text:?} {wrong}"))
}

fn parse_name(text: &str) -> anyhow::Result<Name> {
    Name::parse(text).map_err(|wrong| anyhow::anyhow!("the name {wrong}"))
}

/// A password of 20 random characters and one of each kind that the rules ask for.
fn new_password() -> String {
    format!("{}-aA1", Alphanumeric.sample_string(&mut rand::rng(), 20))
}
