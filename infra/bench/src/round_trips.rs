//! The calls to DynamoDB that a request makes, and the number of them that wait for one another.

use serde_json::json;

use super::Measured;
use super::capture::{Capture, Recorded};
use super::table::Table;
use super::tenant::text;
use crate::dynamodb_recorder::Call;

pub(super) async fn measure(capture: &Capture) -> anyhow::Result<Measured> {
    let tenant = &capture.tenant;
    let accepted = tenant.send(&tenant.signal(json!({}))).await?;
    let run = text(&accepted, "/data/run_id")?;
    let requests = [
        tenant.get(),
        tenant.list(),
        tenant.create(),
        tenant.execute(),
        tenant.signal(json!({"text": "It rained."})),
        tenant.run(&run),
    ];
    let mut table = Table::new(
        "DynamoDB calls of an authenticated request: `+` side by side, `>` one waiting for the other",
        ["request", "round trips", "calls", "which"],
    );
    let mut values = Vec::new();
    for request in requests {
        let recorded = capture.record(&request).await?;
        let (round_trips, calls) = (recorded.waves.len(), recorded.waves.concat().len());
        let which = chain(&recorded);
        values.push(json!({"request": request.name, "round_trips": round_trips, "calls": calls, "which": which}));
        table.row([
            request.name.to_owned(),
            round_trips.to_string(),
            calls.to_string(),
            which,
        ]);
    }
    Ok(Measured {
        name: "round_trips",
        table,
        value: json!(values),
    })
}

fn chain(recorded: &Recorded) -> String {
    let names = |wave: &Vec<Call>| {
        let mut names: Vec<&str> = wave.iter().map(|call| call.operation.as_str()).collect();
        names.sort_unstable();
        names.join(" + ")
    };
    let waves: Vec<String> = recorded.waves.iter().map(names).collect();
    waves.join(" > ")
}
