//! Deleting an agent.

use std::time::Duration;

use testkit::fakes::Target;
use testkit::{TestApp, eventually};

use super::{Tenant, text};

#[tokio::test]
async fn a_deleted_agents_runs_are_stopped_and_stay_readable() {
    let target = Target::start().await;
    // Few workers, so that runs wait.
    let app = TestApp::with(|options| options.parameter("WorkerConcurrency", "2")).await;
    let tenant = Tenant::of(&app, app.register().await, &target).await;
    let paused = tenant.start(&app).await;
    eventually("a request", async || !target.hits().is_empty()).await;
    assert_eq!(tenant.control(&app, &paused, "pause").await, 200);
    let is_paused = async || tenant.run(&app, &paused).await["status"] == "paused";
    eventually("a pause", is_paused).await;

    let mut runs = Vec::new();
    for _ in 0..40 {
        runs.push(tenant.start(&app).await);
    }
    runs.push(paused);
    let mut statuses = Vec::new();
    for run in &runs {
        statuses.push(text(&tenant.run(&app, run).await["status"]));
    }
    for status in ["queued", "running", "paused"] {
        assert!(statuses.iter().any(|found| found == status), "{statuses:?}");
    }
    let path = format!("/api/v1/agents/{}", tenant.agent);
    let delete = app.request(reqwest::Method::DELETE, &path);
    delete.bearer(&tenant.key).send().await.expect(204);

    let before = target.hits().len();
    for run in &runs {
        let shown = tenant.run(&app, run).await;
        assert_eq!(shown["status"], "stopped", "{shown}");
        let error = text(&shown["error"]);
        assert!(
            error.starts_with("stopped because its agent was deleted"),
            "{error}"
        );
        assert_eq!(tenant.control(&app, run, "continue").await, 400);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(target.hits().len(), before, "no run went on");
    let by_id = app
        .get(&format!("/api/v1/runs/{}", runs[0]))
        .bearer(&tenant.key);
    assert_eq!(
        by_id.send().await.expect(200)["data"]["status"],
        "cancelled"
    );
}
