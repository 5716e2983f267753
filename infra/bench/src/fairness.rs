//! The delay of an organization's runs by another one that is busy.

use std::time::Duration;

use serde_json::json;

use super::Measured;
use super::runs::{Kind, SLOW, Service, one_by_one, send_signal};
use super::sample::Sample;
use super::table::{Table, milliseconds};
use super::tenant::Tenant;
use local::TemplateSource;

/// The number of runs that the busy organization starts.
const FLOOD: usize = 400;
/// The time that these runs have to reach the workers before the other organization is measured.
const SPREAD: Duration = Duration::from_secs(2);

pub(super) async fn measure(template: &TemplateSource) -> anyhow::Result<Measured> {
    let platform = super::child_with_places(template).await?;
    let quiet = Tenant::found(platform.url()).await?;
    let mut busy = Tenant::found_as(platform.url(), "busy@signalbox.example").await?;
    let service = Service::start().await?;
    busy.agent = Kind::Waiting.agent(&busy, &service).await?;

    let alone = one_by_one(&quiet).await?;
    for _ in 0..FLOOD {
        send_signal(&busy).await?;
    }
    tokio::time::sleep(SPREAD).await;
    let beside = one_by_one(&quiet).await?;

    let mut table = Table::new(
        "A run of one organization, from accepted signal to finished run",
        ["", "runs", "p50", "p99", "longest"],
    );
    let mut row = |name: String, sample: &Sample| {
        table.row([
            name,
            sample.len().to_string(),
            milliseconds(sample.median()),
            milliseconds(sample.percentile(99)),
            milliseconds(sample.percentile(100)),
        ]);
    };
    row("alone".to_owned(), &alone);
    let seconds = SLOW.as_secs();
    row(
        format!("beside {FLOOD} of another's, {seconds} s each"),
        &beside,
    );
    let value = |sample: &Sample| {
        json!({
            "p50_ms": sample.median(),
            "p99_ms": sample.percentile(99),
            "longest_ms": sample.percentile(100),
        })
    };
    Ok(Measured {
        name: "fairness",
        value: json!({"alone": value(&alone), "beside": value(&beside)}),
        table,
    })
}
