//! The platform around a run: the tables in an embedded DynamoDB, and a server that plays the world outside.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::agent::{Agent, AgentState, AgentType, AgentVersion};
use domain::audit::{Actor, AuditEntry, Caller};
use domain::identity::Workspace;
use domain::ids::{AgentId, AgentVersionId, OrganizationId, RunId, WorkspaceId};
use domain::message::Advance;
use domain::page::PageRequest;
use domain::plan::PlanUsage;
use domain::run::{DisplayMessage, Run, RunTrigger};
use domain::text::{Description, Name};
use engine::{
    Models, Places, Progress, ProviderKeys, RunQueue, Runner, StartRun, Starter, WorkspaceTools,
};
use outbound::OutboundClient;
use runtime::{Clock, Config, Services};
use serde_json::{Value, json};
use store::{RunFilter, Store};
use tools::{ToolCatalog, ToolSettings};

/// The time that the world's `/slow` takes.
pub(crate) const SLOW: Duration = Duration::from_millis(1500);

/// A request that the world has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) request: String,
    pub(crate) key: String,
}

#[derive(Clone, Default)]
struct World {
    hits: Arc<Mutex<Vec<Hit>>>,
    /// The path whose next request fails.
    failing: Arc<Mutex<Option<String>>>,
}

pub(crate) struct Platform {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) runner: Runner,
    pub(crate) starter: Starter,
    pub(crate) address: SocketAddr,
    world: World,
    caller: Caller,
    plan: PlanUsage,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::with_lease(TimeDelta::seconds(30)).await
    }

    pub(crate) async fn with_lease(lease: TimeDelta) -> Self {
        let world = World::default();
        let state = world.clone();
        let address = on_a_thread(async move |listener| {
            let router = Router::new().fallback(answer).with_state(state);
            axum::serve(listener, router).await.unwrap();
        });
        let dynamodb = dynamodb();
        let variables = HashMap::from(
            [
                ("AWS_REGION", "eu-central-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "local".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "local-secret".to_owned()),
                ("AWS_ENDPOINT_URL", format!("http://{address}")),
                ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{dynamodb}")),
                ("RECORDS_TABLE", "records".to_owned()),
                ("COUNTERS_TABLE", "counters".to_owned()),
                ("LOGS_TABLE", "logs".to_owned()),
                ("RUN_QUEUE_URL", format!("http://{address}/queue")),
                ("FILES_BUCKET", "files".to_owned()),
                ("SECRET_ARN", "secret".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let clock = Clock::system();
        let services = Services::new(Config::from_map(&variables).unwrap(), clock.clone());
        let store = Store::new(&services);
        let tools = ToolCatalog::new(ToolSettings {
            outbound: OutboundClient::new(true),
            geocoding_url: format!("http://{address}"),
            forecast_url: format!("http://{address}"),
        });
        let queue = RunQueue::new(&services).unwrap();
        let starter = Starter::new(store.clone(), queue.clone(), clock.clone());
        let places = Places::new(store.clone(), clock.clone(), queue, Some(20));
        let workspace = WorkspaceTools::new(
            store.clone(),
            starter.clone(),
            places.clone(),
            clock.clone(),
        );
        let tools = tools.with_workspace(Arc::new(workspace));
        let models = Models::new(
            OutboundClient::new(true),
            // There are no credentials.
            ProviderKeys::new(services, store.clone()),
            Duration::from_secs(1),
        );
        let now = clock.now();
        let caller = Caller::system(OrganizationId::new(now), WorkspaceId::new(now));
        let workspace = Workspace {
            id: caller.workspace_id,
            organization_id: caller.organization_id,
            name: Name::parse("Tests").unwrap(),
            description: Description::default(),
            created_at: now,
            revision: 0,
        };
        let audit = AuditEntry::new(&caller, "workspace.created", "workspace", workspace.id, now);
        store.create_workspace(&workspace, &audit).await.unwrap();
        Self {
            runner: Runner::new(store.clone(), clock.clone(), tools, models, places, lease),
            starter,
            caller,
            plan: PlanUsage::unlimited(now),
            store,
            clock,
            address,
            world,
        }
    }

    /// The requests of tools that the world has seen.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        let hits = self.world.hits.lock().unwrap();
        hits.iter()
            .filter(|hit| !hit.key.is_empty())
            .cloned()
            .collect()
    }

    /// Makes the world fail the next request to this path.
    pub(crate) fn fail_next(&self, path: &str) {
        *self.world.failing.lock().unwrap() = Some(path.to_owned());
    }

    pub(crate) fn messages_sent(&self) -> usize {
        let hits = self.world.hits.lock().unwrap();
        hits.iter().filter(|hit| hit.request == "POST /").count()
    }

    pub(crate) async fn agent(&self, agent_type: AgentType, parameters: Value) -> Agent {
        let now = self.clock.now();
        let agent = Agent {
            id: AgentId::new(now),
            organization_id: self.caller.organization_id,
            workspace_id: self.caller.workspace_id,
            name: Name::parse("Tester").unwrap(),
            description: Description::default(),
            agent_type,
            parameters: parameters.as_object().unwrap().clone(),
            prompts: Vec::new(),
            schedule: None,
            timezone: "UTC".to_owned(),
            state: AgentState::Active,
            consecutive_failures: 0,
            version_id: AgentVersionId::new(now),
            version: 1,
            latest_version: 1,
            next_run_at: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let version = AgentVersion {
            id: agent.version_id,
            agent_id: agent.id,
            workspace_id: agent.workspace_id,
            number: 1,
            agent_type,
            name: agent.name.clone(),
            parameters: agent.parameters.clone(),
            prompts: Vec::new(),
            created_by: Actor::System,
            created_at: now,
        };
        let audit = self.audit("agent.created");
        self.store
            .create_agent(&agent, &version, &audit)
            .await
            .unwrap();
        agent
    }

    /// An agent that makes one request to the world.
    pub(crate) async fn requester(&self, method: &str, path: &str) -> Agent {
        self.requester_of(&[(method, path)]).await
    }

    /// An agent that makes requests to the world, one after the other.
    pub(crate) async fn requester_of(&self, requests: &[(&str, &str)]) -> Agent {
        let directive = |(method, path): &(&str, &str)| {
            let url = format!("http://{}{path}", self.address);
            format!("@http_request {}", json!({ "method": method, "url": url }))
        };
        let directives: Vec<String> = requests.iter().map(directive).collect();
        let parameters = json!({
            "instructions": directives.join("\n"),
            "tools": ["http_request"],
            "allowed_hosts": ["127.0.0.1"],
        });
        self.agent(AgentType::Freeform, parameters).await
    }

    /// An agent that starts the agent that its input names, and waits for it.
    pub(crate) async fn delegator(&self) -> Agent {
        let parameters = json!({
            "instructions": "@trigger_agent {\"agent\": \"{{input.agent}}\", \"input\": \"{{input.rest}}\", \"wait\": true}",
            "tools": ["trigger_agent"],
            "allowed_agents": "*",
        });
        self.agent(AgentType::Freeform, parameters).await
    }

    pub(crate) async fn runs_of(&self, agent: &Agent) -> Vec<Run> {
        let page = PageRequest::first(100);
        let filter = RunFilter::default();
        let runs = self.store.runs(
            agent.workspace_id,
            agent.id,
            &filter,
            &page,
            self.clock.now(),
        );
        runs.await.unwrap().items
    }

    pub(crate) async fn reread(&self, agent: &Agent) -> Agent {
        let stored = self.store.agent(agent.workspace_id, agent.id).await;
        stored.unwrap().unwrap()
    }

    pub(crate) async fn change(&self, agent: &Agent) -> Agent {
        let audit = self.audit("agent.updated");
        self.store.update_agent(agent, None, &audit).await.unwrap();
        self.reread(agent).await
    }

    pub(crate) fn start_run<'a>(&'a self, agent: &'a Agent, input: Value) -> StartRun<'a> {
        StartRun {
            id: RunId::new(self.clock.now()),
            agent,
            trigger: RunTrigger::Manual,
            signal: None,
            input,
            input_field: "payload",
            caller: &self.caller,
            plan: &self.plan,
        }
    }

    pub(crate) async fn run_of(&self, agent: &Agent, input: Value) -> Run {
        let start = self.start_run(agent, input);
        self.starter.accept(start).await.unwrap()
    }

    /// One delivery of the run's message.
    pub(crate) async fn advance(&self, run: &Run) -> Progress {
        self.deliver(&Advance::of(run)).await
    }

    /// A delivery to a worker that works on nothing else.
    pub(crate) async fn advance_alone(&self, run: &Run) -> Progress {
        let message = Advance {
            alone: true,
            ..Advance::of(run)
        };
        self.deliver(&message).await
    }

    pub(crate) async fn deliver(&self, message: &Advance) -> Progress {
        let progress = self.runner.advance(message, DateTime::<Utc>::MAX_UTC);
        progress.await.unwrap()
    }

    /// A delivery to a worker that dies soon.
    pub(crate) async fn advance_and_crash(&self, run: &Run) {
        let cut = tokio::time::timeout(Duration::from_millis(400), self.advance(run)).await;
        assert!(cut.is_err(), "it was done too early to crash: {cut:?}");
    }

    pub(crate) async fn stored(&self, run: &Run) -> Run {
        let stored = self.store.run(run.workspace_id, run.id).await;
        stored.unwrap().unwrap()
    }

    pub(crate) async fn shown(&self, run: &Run) -> Vec<DisplayMessage> {
        let page = PageRequest::first(10);
        let messages = self
            .store
            .messages_of_run(run.workspace_id, run.id, &page)
            .await;
        messages.unwrap().items
    }

    fn audit(&self, action: &str) -> AuditEntry {
        AuditEntry::new(&self.caller, action, "agent", "x", self.clock.now())
    }
}

/// The world outside: tools' hosts, Open-Meteo, and a queue that takes everything.
async fn answer(State(world): State<World>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let key = request.headers().get("idempotency-key");
    let hit = Hit {
        request: format!("{} {path}", request.method()),
        key: key
            .map(|key| key.to_str().unwrap().to_owned())
            .unwrap_or_default(),
    };
    let before = {
        let mut hits = world.hits.lock().unwrap();
        let before = hits.iter().filter(|other| **other == hit).count();
        hits.push(hit);
        before
    };
    match path.as_str() {
        // The first request hangs, as seen by a worker that dies on it.
        "/hangs-once" if before == 0 => std::future::pending::<()>().await,
        "/slow" => tokio::time::sleep(SLOW).await,
        path if world
            .failing
            .lock()
            .unwrap()
            .take_if(|failing| failing == path)
            .is_some() =>
        {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        _ => {}
    }
    let body = match path.as_str() {
        "/v1/search" => {
            json!({ "results": [{ "name": "Bern", "country": "Switzerland", "latitude": 46.9, "longitude": 7.4 }] })
        }
        "/v1/forecast" => json!({
            "timezone": "Europe/Zurich",
            "current": { "time": "2026-01-01T12:00", "temperature_2m": 21.5, "weather_code": 0 },
            "daily": {
                "time": ["2026-01-01"], "weather_code": [0], "temperature_2m_max": [25.0],
                "temperature_2m_min": [11.0], "precipitation_probability_max": [5.0],
            },
        }),
        "/" => json!({ "MessageId": "m", "MD5OfMessageBody": "x" }),
        _ => json!({ "answer": "pong" }),
    };
    Json(body).into_response()
}

fn dynamodb() -> SocketAddr {
    let database = dynoxide::Database::memory().unwrap();
    for (name, indexes) in [("records", 3), ("counters", 0), ("logs", 0)] {
        let mut attributes = vec!["PK".to_owned(), "SK".to_owned()];
        let key = |partition: &str, sort: &str| {
            json!([
                { "AttributeName": partition, "KeyType": "HASH" },
                { "AttributeName": sort, "KeyType": "RANGE" },
            ])
        };
        let mut table = json!({ "TableName": name, "KeySchema": key("PK", "SK"), "BillingMode": "PAY_PER_REQUEST" });
        let mut secondary = Vec::new();
        for number in 1..=indexes {
            let (partition, sort) = (format!("GSI{number}PK"), format!("GSI{number}SK"));
            secondary.push(json!({
                "IndexName": format!("GSI{number}"),
                "KeySchema": key(&partition, &sort),
                "Projection": { "ProjectionType": "KEYS_ONLY" },
            }));
            attributes.extend([partition, sort]);
        }
        if !secondary.is_empty() {
            table["GlobalSecondaryIndexes"] = secondary.into();
        }
        table["AttributeDefinitions"] = attributes
            .iter()
            .map(|name| json!({ "AttributeName": name, "AttributeType": "S" }))
            .collect();
        database
            .create_table(serde_json::from_value(table).unwrap())
            .unwrap();
    }
    on_a_thread(async move |listener| dynoxide::server::serve_on(listener, database).await)
}

/// Serves until the process ends, on a runtime of its own: a test that blocks or ends does not disturb it.
fn on_a_thread<F>(serve: F) -> SocketAddr
where
    F: AsyncFnOnce(tokio::net::TcpListener) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            serve(tokio::net::TcpListener::from_std(listener).unwrap()).await;
        });
    });
    address
}
