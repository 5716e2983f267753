//! Making an account and the credentials of the three dialects.

use anyhow::ensure;
use domain::access::AGENTPLATFORM_SCOPES;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::json;

use super::client::{Client, Credential, prefix, text};

const TOKENS: &str = "/api/api-tokens";
const KEYS: &str = "/api/settings/api-keys";

/// The account of the demo.
pub(super) struct Account {
    session: Credential,
    workspace: String,
}

/// One credential for each dialect.
pub(super) struct Keys {
    pub(super) prodgy: Credential,
    pub(super) agentplatform: Credential,
}

pub(super) async fn register(client: &mut Client<'_>) -> anyhow::Result<Account> {
    client.screen.step("Register an organization")?;
    let account = new_account(client, "Noor", "Larkspur Market").await?;
    client.screen.result("workspace", &account.workspace)?;
    Ok(account)
}

/// Makes an account with a random password, which is not kept.
async fn new_account(
    client: &mut Client<'_>,
    name: &str,
    organization: &str,
) -> anyhow::Result<Account> {
    let email = format!("{}@signalbox.example", name.to_lowercase());
    let password = format!("{}-aA1", Alphanumeric.sample_string(&mut rand::rng(), 20));
    let body =
        json!({"email": email, "password": password, "name": name, "organization": organization});
    let path = "/api/auth/register";
    let answer = client.post(path, &Credential::None, &body, 201).await?;
    Ok(Account {
        session: Credential::Session(text(&answer, "/data/access_token")?.to_owned()),
        workspace: text(&answer, "/data/workspace/id")?.to_owned(),
    })
}

/// A token of another organization, which must not see anything of the demo's.
pub(super) async fn stranger(client: &mut Client<'_>) -> anyhow::Result<Credential> {
    let account = new_account(client, "Eve", "Elsewhere").await?;
    prodgy_token(client, &account).await
}

pub(super) async fn use_each_credential(
    client: &mut Client<'_>,
    account: &Account,
) -> anyhow::Result<Keys> {
    client
        .screen
        .step("Make a credential for each of the three APIs")?;
    let prodgy = prodgy_token(client, account).await?;
    let prowpt = key(client, account, "prowpt", &["*"]).await?;
    let agentplatform = key(client, account, "agentplatform", &AGENTPLATFORM_SCOPES).await?;
    let keys = Keys {
        prodgy,
        agentplatform: Credential::AgentPlatform(agentplatform),
    };

    client.screen.step("Use each of them")?;
    let agents = client.get("/api/agent-base", &keys.prodgy, 200).await?;
    ensure!(agents["data"] == json!([]), "a new workspace has no agents");
    let me = client
        .get("/api/auth/me", &Credential::Prowpt(prowpt), 200)
        .await?;
    let workspace = text(&me, "/workspace_id")?;
    ensure!(
        workspace == account.workspace,
        "the key opens the workspace"
    );
    let agents = client
        .get("/api/v1/agents", &keys.agentplatform, 200)
        .await?;
    ensure!(agents["data"] == json!([]), "a new workspace has no agents");
    client.screen.result("all open", workspace)?;
    Ok(keys)
}

async fn prodgy_token(client: &mut Client<'_>, account: &Account) -> anyhow::Result<Credential> {
    let body = json!({"name": "demo"});
    let answer = client.post(TOKENS, &account.session, &body, 201).await?;
    let token = text(&answer, "/data/token")?;
    client.screen.result("Prodgy", prefix(token))?;
    Ok(Credential::Prodgy(token.to_owned()))
}

async fn key(
    client: &mut Client<'_>,
    account: &Account,
    kind: &str,
    scopes: &[&str],
) -> anyhow::Result<String> {
    let body = json!({"name": "demo", "kind": kind, "scopes": scopes});
    let answer = client.post(KEYS, &account.session, &body, 201).await?;
    let key = text(&answer, "/key")?;
    client.screen.result(kind, prefix(key))?;
    Ok(key.to_owned())
}
