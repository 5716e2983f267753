//! Credentials: an organization's keys for the providers of models.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{CredentialId, OrganizationId, WorkspaceId};
use crate::model::Provider;
use crate::text::Name;

/// A provider's secret, as it is given to us. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderSecret(String);

impl ProviderSecret {
    /// The shortest and the longest secret, in characters. Bedrock's short-lived keys have a signature in them.
    pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=4000;

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part that may be shown: enough to tell two keys apart, and nothing of a short one.
    pub fn masked(&self) -> String {
        if self.0.len() < 20 {
            return "…".to_owned();
        }
        format!("{}…{}", &self.0[..3], &self.0[self.0.len() - 4..])
    }
}

impl TryFrom<String> for ProviderSecret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        let (least, most) = (Self::LENGTH.start(), Self::LENGTH.end());
        if !Self::LENGTH.contains(&text.len()) {
            return Err(format!("must have {least} to {most} characters"));
        }
        // It goes into a header.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must have visible ASCII characters alone".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for ProviderSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProviderSecret(…)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    Active,
    Revoked,
    /// The key that its secret was sealed with is lost. It can be revoked, and its secret be stored again.
    Unreadable,
}

/// A key of a workspace, which alone may use it, or of an organization, all of whose workspaces may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub id: CredentialId,
    pub organization_id: OrganizationId,
    /// The workspace that it belongs to; `None` for one of the organization.
    #[serde(default)]
    pub workspace_id: Option<WorkspaceId>,
    pub name: Name,
    pub provider: Provider,
    /// The address of the provider, when it is not its own.
    pub base_url: Option<String>,
    /// The secret, sealed for this organization and this id; gone once revoked.
    pub sealed: Option<String>,
    pub masked: String,
    pub created_at: DateTime<Utc>,
    /// To the minute.
    #[serde(skip)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// The members that its service turned out to refuse in requests, each with the model that it refuses it for. The model client defines the
    /// form of these entries.
    #[serde(skip)]
    pub unsupported: BTreeSet<String>,
    /// `true` if the secret was found to be sealed with a key that is lost.
    #[serde(skip)]
    pub is_lost: bool,
    /// Counts writes of this row; a write names the one that it has seen.
    #[serde(skip)]
    pub revision: u64,
}

impl Credential {
    /// Returns `true` if runs of a workspace of its organization may use it.
    pub fn serves(&self, workspace: WorkspaceId) -> bool {
        self.workspace_id.is_none_or(|own| own == workspace)
    }

    /// A revoked one has no secret. `Unreadable` is given only where opening the secret was tried.
    pub fn status(&self) -> CredentialStatus {
        match (&self.sealed, self.is_lost) {
            (None, _) => CredentialStatus::Revoked,
            (Some(_), true) => CredentialStatus::Unreadable,
            (Some(_), false) => CredentialStatus::Active,
        }
    }

    /// The credential without its secret. There is no way back.
    #[must_use]
    pub fn revoked(self) -> Self {
        Self {
            sealed: None,
            unsupported: BTreeSet::new(),
            ..self
        }
    }
}

/// The credentials of an organization that runs use in workspaces without one of their own: an administrator's choice, one for
/// each provider. One that is revoked stays chosen, so that nothing takes its place by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultCredentials {
    pub chosen: BTreeMap<Provider, CredentialId>,
    /// Counts writes; `None` before the first.
    #[serde(skip)]
    pub revision: Option<u64>,
}

impl DefaultCredentials {
    pub fn has(&self, credential: &Credential) -> bool {
        self.chosen.get(&credential.provider) == Some(&credential.id)
    }

    /// The choice with this credential for its provider.
    #[must_use]
    pub fn with(mut self, credential: &Credential) -> Self {
        self.chosen.insert(credential.provider, credential.id);
        self
    }

    /// The choice without this credential.
    #[must_use]
    pub fn without(mut self, credential: &Credential) -> Self {
        self.chosen.retain(|_, id| *id != credential.id);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_tells_keys_apart_and_keeps_short_ones_to_itself() {
        let masked = |text: &str| ProviderSecret::try_from(text.to_owned()).map(|it| it.masked());
        assert_eq!(
            masked(" sk-proj-0123456789-abcd\n"),
            Ok("sk-…abcd".to_owned())
        );
        assert_eq!(masked("hunter22"), Ok("…".to_owned()));
        for wrong in ["", "short", "with a space", "ünïcödé-secret"] {
            assert!(masked(wrong).is_err(), "{wrong}");
        }
        let secret = ProviderSecret::try_from("sk-0123456789".to_owned()).unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
    }
}
