//! Platforms to measure.

use std::path::Path;

use local::child::ChildPlatform;
use local::{Options, TemplateSource};

/// The parameters of the template that limit requests. The limiter runs, and its limits are never reached.
const LIMITS: [&str; 8] = [
    "ProdgyLimitPerMinute",
    "ProdgyStrictLimitPerMinute",
    "ProwptLimitPerMinute",
    "AgentPlatformLimitPerMinute",
    "AccountLimitPerMinute",
    "SignInLimitPerMinute",
    "UnauthenticatedLimitPerMinute",
    "OrganizationLimitPerMinute",
];
const RAISED_LIMIT: &str = "600000";
/// The parameter that bounds how many runs of an organization are worked on at once, and what it is raised to.
const PLACES: &str = "RunsAtOncePerOrganization";
const RAISED_PLACES: &str = "200";

/// Options of a platform in this process, with limits that are never reached and nothing running by itself.
pub(super) fn options(template: &TemplateSource) -> Options {
    let quiet = Options {
        schedules: false,
        event_sources: false,
        ..Options::new(template.clone())
    };
    let quiet = quiet
        .parameter(PLACES, RAISED_PLACES)
        .parameter("OutboundAllowLoopback", "true");
    LIMITS.iter().fold(quiet, |options, limit| {
        options.parameter(*limit, RAISED_LIMIT)
    })
}

/// A platform in a process of its own, with limits that are never reached.
pub(super) async fn child(template: &TemplateSource) -> anyhow::Result<ChildPlatform> {
    child_with(template, None, Some(format!("{PLACES}={RAISED_PLACES}"))).await
}

/// The same, with its data in `directory`.
pub(super) async fn child_in(
    template: &TemplateSource,
    directory: &Path,
) -> anyhow::Result<ChildPlatform> {
    child_with(template, Some(directory), None).await
}

/// The same, with the template's own number of places for runs.
pub(super) async fn child_with_places(template: &TemplateSource) -> anyhow::Result<ChildPlatform> {
    child_with(template, None, None).await
}

async fn child_with(
    template: &TemplateSource,
    directory: Option<&Path>,
    more: Option<String>,
) -> anyhow::Result<ChildPlatform> {
    let limits = LIMITS.map(|limit| format!("{limit}={RAISED_LIMIT}"));
    let others = ["OutboundAllowLoopback=true", "EventStreamsPerWorkspace=200"];
    let parameters = limits.into_iter().chain(others.map(str::to_owned));
    let parameters: Vec<_> = parameters.chain(more).collect();
    ChildPlatform::start(template, directory, &parameters).await
}
