//! `signalbox token` and `signalbox admin`: what the owner of a data directory may do to it while no platform runs on it.

use std::io::{self, Write};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use domain::access::Role;
use domain::plan::PlanOverride;
use domain::token::TokenKind;
use keyring::Vault;
use store::Store;

use crate::accounts::Accounts;
use crate::data_directory::DataDirectory;
use crate::first_start::DEMO_EMAIL;
use crate::{Data, Options, Platform};

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token and show its secret
    Create {
        /// The token's owner
        #[arg(long, default_value = DEMO_EMAIL)]
        email: String,
        /// For which product's clients
        #[arg(long, value_enum, default_value_t = Kind::Prodgy)]
        kind: Kind,
        #[arg(long, default_value = "command line")]
        name: String,
    },
}

#[derive(Subcommand)]
pub enum AdminCommand {
    /// Give a user a role in their organization
    Grant(Grant),
    /// Decide what a user's organization may use; what is left out is as for all organizations, 0 means no limit
    Plan {
        /// The organization's administrator
        #[arg(long, default_value = DEMO_EMAIL)]
        email: String,
        #[arg(long)]
        agents: Option<u64>,
        /// Started in a calendar month (UTC)
        #[arg(long)]
        runs: Option<u64>,
        /// Used in a calendar month (UTC)
        #[arg(long)]
        tokens: Option<u64>,
    },
    /// Give the master secret another value; what is sealed stays readable
    RotateSecret,
    /// Give a user a new password and show it
    ResetPassword {
        #[arg(long, default_value = DEMO_EMAIL)]
        email: String,
    },
}

#[derive(Args)]
pub struct Grant {
    #[arg(long)]
    email: String,
    #[arg(long, value_enum, default_value_t = GrantedRole::Superadmin)]
    role: GrantedRole,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    Prodgy,
    Prowpt,
    Agentplatform,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum GrantedRole {
    User,
    Admin,
    Superadmin,
}

/// Carries out `signalbox token …`.
pub async fn token(command: TokenCommand, options: Options) -> anyhow::Result<()> {
    let platform = offline(options).await?;
    let accounts = Accounts::new(platform.services());
    let TokenCommand::Create { email, kind, name } = command;
    let kind = match kind {
        Kind::Prodgy => TokenKind::Prodgy,
        Kind::Prowpt => TokenKind::Prowpt,
        Kind::Agentplatform => TokenKind::AgentPlatform,
    };
    let owner = accounts.find(&email).await?;
    let secret = accounts.create_token(&owner, kind, &name).await?;
    platform.stop().await;
    show(secret.expose())
}

/// Carries out `signalbox admin …`.
pub async fn admin(command: AdminCommand, options: Options) -> anyhow::Result<()> {
    let platform = offline(options).await?;
    let accounts = Accounts::new(platform.services());
    let shown = match command {
        AdminCommand::Grant(Grant { email, role }) => {
            let role = match role {
                GrantedRole::User => Role::User,
                GrantedRole::Admin => Role::Admin,
                GrantedRole::Superadmin => Role::SuperAdmin,
            };
            let owner = accounts.find(&email).await?;
            accounts.grant(&owner, role).await?;
            format!("{email} is {} now", role.as_str())
        }
        AdminCommand::Plan {
            email,
            agents,
            runs,
            tokens,
        } => {
            let owner = accounts.find(&email).await?;
            let own = PlanOverride {
                agents,
                runs,
                tokens,
            };
            let limits = accounts.set_plan_override(&owner, &own).await?;
            let shown =
                |limit: Option<u64>| limit.map_or("any".to_owned(), |limit| limit.to_string());
            let (agents, runs) = (shown(limits.agents), shown(limits.runs));
            let tokens = shown(limits.tokens);
            format!("agents: {agents}, runs a month: {runs}, tokens a month: {tokens}")
        }
        AdminCommand::RotateSecret => {
            platform.rotate_secrets()?;
            // Now, since it may be rotated again before a platform runs.
            let services = platform.services();
            let vault = Vault::new(services.clone(), Store::new(&services));
            vault.keep_wrapped().await?;
            "the master secret is rotated".to_owned()
        }
        AdminCommand::ResetPassword { email } => {
            let owner = accounts.find(&email).await?;
            accounts.reset_password(&owner).await?
        }
    };
    platform.stop().await;
    show(&shown)
}

/// The data directory's platform, on any free port and with nothing running by itself.
async fn offline(options: Options) -> anyhow::Result<Platform> {
    // To make the directory here would take the greeting from the platform's first start.
    if let Data::Directory(path) = &options.data
        && !DataDirectory::has_data(path)
    {
        bail!(
            "data directory {} has no data yet: start `signalbox` on it first",
            path.display()
        );
    }
    Platform::start(Options {
        port: 0,
        schedules: false,
        event_sources: false,
        ..options
    })
    .await
}

fn show(line: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    Ok(())
}
