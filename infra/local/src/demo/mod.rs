//! `signalbox demo`: the main job end to end, on an ephemeral platform, over HTTP as clients do it.

mod account;
mod agent;
mod client;
mod killed;
mod records;
mod runs;
mod screen;

use std::time::Instant;

use crate::{Options, Platform};
use account::{register, use_each_credential};
use agent::{install_reader, keep_out_strangers};
use client::Client;
use killed::outlive_a_kill;
use records::{read_audit_log, read_messages, read_run};
use runs::{ask_by_signal, sum_up_by_rest};
use screen::Screen;

/// Runs the demo and shows every step.
///
/// # Errors
/// The first step that did not go as it should, and how.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    let started = Instant::now();
    match steps(options, &mut screen).await {
        Ok(()) => {
            screen.end(started.elapsed())?;
            Ok(())
        }
        Err(error) => Err(error.context(screen.failed_step())),
    }
}

async fn steps(options: Options, screen: &mut Screen) -> anyhow::Result<()> {
    screen.step("Start a platform from the template, in memory")?;
    let started = Instant::now();
    let template = options.template.clone();
    let platform = Platform::start(options).await?;
    screen.result("listening", platform.url())?;
    screen.result("took", format!("{} ms", started.elapsed().as_millis()))?;

    let mut client = Client::new(platform.url(), screen)?;
    let account = register(&mut client).await?;
    let keys = use_each_credential(&mut client, &account).await?;
    let agent = install_reader(&mut client, &keys).await?;
    sum_up_by_rest(&mut client, &keys, &agent).await?;
    let run = ask_by_signal(&mut client, &keys, &agent).await?;
    read_run(&mut client, &keys, &run).await?;
    read_messages(&mut client, &keys, &run).await?;
    read_audit_log(&mut client, &keys, &agent).await?;
    keep_out_strangers(&mut client, &agent).await?;
    platform.stop().await;
    outlive_a_kill(&template, screen).await
}
