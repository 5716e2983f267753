//! `/swagger.json`, which describes everything, and `/api/v1/openapi.json`, which describes AgentPlatform's part.

use std::sync::{Arc, OnceLock};

use axum::extract::State as Extract;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::Error;
use groups::GROUPS;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;
use web::openapi::{Collision, DocumentInfo, document};
use web::{PublicLimit, Result, RoutePolicy, Routes};

/// The introduction of the document of all operations.
const DIALECTS: &str = "\
One platform, three published APIs. Each path follows the rules of one of them.

| Paths | API | Credentials | Success | Error |
|---|---|---|---|---|
| `/api/v1/…` | AgentPlatform | `Authorization: Bearer ap_live_…` | `{data}`, lists with `meta` | `{errors}` |
| `/api/agent-base…`, `/api/api-token…` | Prodgy | `X-API-Token: prodgy_…`, or the same or a session as bearer | \
`{success, message, data}`, lists with `pagination` | `{success, error, message}` |
| `/api/auth…`, `/api/workspaces…`, `/api/organization…` | ours, for accounts | a session as bearer | as Prodgy | as Prodgy |
| others | Prowpt | `X-API-Key: pk_live_…`, or the same or a session as bearer | bare, lists as `{items, total, …}` | `{detail}` |

";
/// The rules that hold for all paths.
const COMMON: &str = "\
Every answer carries `X-Request-Id`. A trailing slash makes no difference. A query parameter that is empty counts as absent, and \
one that is not described is ignored. A `POST` with an `Idempotency-Key` is done once, however often it is sent.";

/// The tags of operations.
const TAGS: [(&str, &str); 15] = [
    (
        "Account",
        "Registering, signing in and out, and who is signed in.",
    ),
    ("Organization", "The tenant, its members and its plan."),
    (
        "Workspaces",
        "The parts of an organization. Agents, runs and keys belong to one; Prodgy calls it a product.",
    ),
    ("API Tokens", "Credentials for Prodgy's paths."),
    (
        "API Keys",
        "Credentials for Prowpt's and AgentPlatform's paths, with scopes, and what was requested with them.",
    ),
    (
        "Agents",
        "What is installed or written: instructions, models, tools and schedules.",
    ),
    (
        "Executions",
        "Runs of agents as Prodgy has them: started, watched in server-sent events, paused, continued and stopped.",
    ),
    ("Signals", "Events that start runs."),
    ("Runs", "Runs of agents as AgentPlatform has them."),
    (
        "Messages",
        "What agents had to say, and were told, in their runs.",
    ),
    (
        "Credentials",
        "Keys for the providers of models, stored sealed.",
    ),
    (
        "Usage",
        "Runs, tokens and cost, and the limits of the plan.",
    ),
    ("Audit Logs", "Who changed what, and when."),
    ("Documents", "These documents, and pages that show them."),
    ("Platform", "Whether the platform is up."),
];

/// The state of the handlers.
#[derive(Clone)]
pub struct State {
    documents: Arc<Documents>,
}

impl State {
    pub(crate) fn new(documents: Documents) -> Self {
        Self {
            documents: Arc::new(documents),
        }
    }
}

/// The documents as they are sent, each made once.
pub(crate) struct Documents {
    public_url: Option<String>,
    /// Describes this group, which is not in the list of the others.
    own: fn() -> OpenApi,
    everything: OnceLock<Result<String, Collision>>,
    agentplatform: OnceLock<Result<String, Collision>>,
}

impl Documents {
    pub(crate) fn new(public_url: Option<String>, own: fn() -> OpenApi) -> Self {
        Self {
            public_url,
            own,
            everything: OnceLock::new(),
            agentplatform: OnceLock::new(),
        }
    }

    fn make(
        &self,
        title: &str,
        description: &str,
        root: &str,
        is_wanted: fn(&str) -> bool,
    ) -> Result<String, Collision> {
        let operations = GROUPS.iter().filter_map(|group| group.operations);
        let groups = operations
            .map(|operations| (operations.describe)())
            .chain([(self.own)()]);
        let info = DocumentInfo {
            title,
            description,
            root,
            public_url: self.public_url.as_deref(),
            tags: &TAGS,
        };
        Ok(document(groups, &info, is_wanted)?.to_string())
    }
}

/// Describes every operation of the platform, in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/swagger.json", tag = "Documents",
    extensions(("x-bare" = json!(true))), security(()),
    responses((status = 200, body = Object)),
)]
async fn get_document(Extract(state): Extract<State>) -> Result<Response> {
    let documents = &state.documents;
    let text = documents
        .everything
        .get_or_init(|| documents.make("Signalbox", &format!("{DIALECTS}{COMMON}"), ".", |_| true));
    sent(text)
}

/// Describes AgentPlatform's operations, in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "Documents",
    extensions(("x-bare" = json!(true))), security(()),
    responses((status = 200, body = Object)),
)]
async fn get_agentplatform_document(Extract(state): Extract<State>) -> Result<Response> {
    let documents = &state.documents;
    let text = documents.agentplatform.get_or_init(|| {
        let is_wanted = |path: &str| path.starts_with("/api/v1/");
        documents.make("Signalbox: AgentPlatform API", COMMON, "../..", is_wanted)
    });
    sent(text)
}

fn sent(text: &Result<String, Collision>) -> Result<Response> {
    let text = text
        .as_ref()
        .map_err(|collision| Error::internal(collision.clone()))?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=60"),
    ];
    Ok((headers, text.clone()).into_response())
}

pub(crate) fn routes() -> Routes<State> {
    Routes::new()
        .with(
            RoutePolicy::public(PublicLimit::Memory),
            routes!(get_document),
        )
        .with(
            RoutePolicy::public(PublicLimit::Memory),
            routes!(get_agentplatform_document),
        )
}
