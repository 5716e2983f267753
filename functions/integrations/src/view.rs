//! Views of credentials for their callers. They see those of their own workspace whole, and all of the organization if they administer all
//! workspaces. Of the organization's defaults, the others see the name alone.

use auth::Principal;
use chrono::{DateTime, Utc};
use domain::Error;
use domain::access::Role;
use domain::credential::{self, CredentialStatus, DefaultCredentials};
use domain::ids::{CredentialId, WorkspaceId};
use domain::model::Provider;
use domain::page::{Page, PageRequest};
use domain::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The owner of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// For the agents of its workspace alone.
    #[default]
    Workspace,
    /// For those of all workspaces.
    Organization,
}

/// A credential without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credential)]
pub(crate) struct CredentialResponse {
    id: CredentialId,
    name: Name,
    provider: Provider,
    scope: Scope,
    /// `null` for one of the organization.
    workspace_id: Option<WorkspaceId>,
    /// `true` if runs use it that name no credential, in workspaces without one of their own.
    default: bool,
    /// The beginning and the end of the secret; `…` where the caller sees the name alone.
    #[schema(example = "sk-…abcd")]
    masked: String,
    /// The address of the provider; `null` for its own address, and where the caller sees the name alone.
    base_url: Option<String>,
    status: CredentialStatus,
    created_at: DateTime<Utc>,
    /// To the minute; `null` where the caller sees the name alone.
    last_used_at: Option<DateTime<Utc>>,
}

impl web::Entity for CredentialResponse {
    const NAME: &'static str = "credential";
}

/// The credentials that one caller sees.
pub(crate) struct View<'a> {
    caller: &'a Principal,
    defaults: &'a DefaultCredentials,
}

impl<'a> View<'a> {
    pub(crate) fn new(caller: &'a Principal, defaults: &'a DefaultCredentials) -> Self {
        Self { caller, defaults }
    }

    /// Returns `true` if the caller sees all credentials of the organization.
    pub(crate) fn is_whole(caller: &Principal) -> bool {
        caller.require_role_everywhere(Role::Admin).is_ok()
    }

    /// Returns `true` if the caller sees the credential at all.
    pub(crate) fn shows(&self, credential: &credential::Credential) -> bool {
        self.shows_whole(credential) || self.defaults.has(credential)
    }

    fn shows_whole(&self, credential: &credential::Credential) -> bool {
        credential.workspace_id == Some(self.caller.workspace_id) || Self::is_whole(self.caller)
    }

    /// The credential as the caller sees it.
    pub(crate) fn of(&self, credential: credential::Credential) -> Option<CredentialResponse> {
        if self.shows_whole(&credential) {
            return Some(self.credential(credential));
        }
        self.shows(&credential).then(|| CredentialResponse {
            masked: "…".to_owned(),
            base_url: None,
            last_used_at: None,
            ..self.credential(credential)
        })
    }

    /// The credential, for a caller who sees all of it.
    pub(crate) fn credential(&self, credential: credential::Credential) -> CredentialResponse {
        CredentialResponse {
            id: credential.id,
            scope: match credential.workspace_id {
                Some(_) => Scope::Workspace,
                None => Scope::Organization,
            },
            workspace_id: credential.workspace_id,
            default: self.defaults.has(&credential),
            status: credential.status(),
            name: credential.name,
            provider: credential.provider,
            masked: credential.masked,
            base_url: credential.base_url,
            created_at: credential.created_at,
            last_used_at: credential.last_used_at,
        }
    }

    /// A page of the workspace's own credentials with the organization's defaults among them, each at its place by age.
    pub(crate) fn page(
        &self,
        own: Page<credential::Credential>,
        mut defaults: Vec<credential::Credential>,
        request: &PageRequest,
    ) -> Result<Page<CredentialResponse>, Error> {
        if own.next_cursor.is_some() {
            // The older ones are on a later page.
            let last = own.items.last().map(|credential| credential.id);
            defaults.retain(|credential| Some(credential.id) > last);
        }
        let mut all = own.items;
        all.extend(defaults);
        all.sort_by_key(|credential| std::cmp::Reverse(credential.id));
        let page = request.paginate(all, |credential| credential.id)?;
        Ok(Page {
            next_cursor: page.next_cursor.or(own.next_cursor),
            items: page
                .items
                .into_iter()
                .filter_map(|credential| self.of(credential))
                .collect(),
            total: None,
        })
    }
}
