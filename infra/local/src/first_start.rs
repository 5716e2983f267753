//! The greeting of a new data directory: an account to begin with, and three commands to paste.

use std::io::{self, Write};

use domain::token::TokenKind;

use crate::Platform;
use crate::accounts::Accounts;

/// The owner of the first account.
pub const DEMO_EMAIL: &str = "demo@signalbox.example";

/// Runs once the platform answers requests, before `ready` is printed. Secrets are shown here and never again.
pub async fn welcome(platform: &Platform) -> anyhow::Result<()> {
    if !platform.is_first_start() {
        return Ok(());
    }
    let accounts = Accounts::new(platform.services());
    let (owner, password) = accounts.create_account(DEMO_EMAIL, "Demo").await?;
    let (prodgy, prowpt, agentplatform) = tokio::try_join!(
        accounts.create_token(&owner, TokenKind::Prodgy, "first start"),
        accounts.create_token(&owner, TokenKind::Prowpt, "first start"),
        accounts.create_token(&owner, TokenKind::AgentPlatform, "first start"),
    )?;
    let url = platform.url();
    let mut output = io::stdout().lock();
    write!(
        output,
        "A demo workspace is ready. Its credentials are shown only now; `signalbox token create` makes new ones.

  sign in        {DEMO_EMAIL} / {password}
  Prodgy         {prodgy}
  Prowpt         {prowpt}
  AgentPlatform  {agentplatform}

Three requests to paste, one in each dialect:

  curl -X POST -H 'Authorization: Bearer {agentplatform}' -H 'Content-Type: application/json' -d '{{\"name\": \"NYC Weather\", \"type\": \"weather_check\", \"config\": {{\"location\": \"New York\"}}}}' {url}/api/v1/agents
  curl -H 'X-API-Token: {prodgy}' {url}/api/agent-base
  curl -H 'X-API-Key: {prowpt}' {url}/api/auth/me

",
        prodgy = prodgy.expose(),
        prowpt = prowpt.expose(),
        agentplatform = agentplatform.expose(),
    )?;
    output.flush()?;
    Ok(())
}
