//! The event sources of functions: their `Api`, `SQS` and `ScheduleV2` events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::deployment::{Queue, QueueSource, Route, Schedule};
use super::evaluate::Evaluator;
use super::properties::{Properties, lenient};
use super::source_path::{Problem, SourcePath};

/// The only word that makes a response stream.
const STREAMED: &str = "RESPONSE_STREAM";
/// The time that API Gateway may be told to wait for a function.
const SHORTEST_INTEGRATION_MILLIS: u64 = 50;
const LONGEST_INTEGRATION_MILLIS: u64 = 29_000;
const LONGEST_STREAM_MILLIS: u64 = 900_000;

/// All events of all functions, by what they are.
#[derive(Default)]
pub(super) struct Events {
    pub(super) routes: Vec<Route>,
    pub(super) queue_sources: Vec<QueueSource>,
    pub(super) schedules: Vec<Schedule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiEvent {
    rest_api_id: Option<String>,
    path: String,
    method: String,
    response_transfer_mode: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    timeout_in_millis: Option<u64>,
}

impl Properties for ApiEvent {
    const NAMES: &'static [&'static str] = &[
        "RestApiId",
        "Path",
        "Method",
        "ResponseTransferMode",
        "TimeoutInMillis",
    ];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsEvent {
    queue: String,
    #[serde(default, deserialize_with = "lenient")]
    batch_size: Option<usize>,
    #[serde(default, deserialize_with = "lenient")]
    maximum_batching_window_in_seconds: Option<u64>,
    #[serde(default)]
    function_response_types: Vec<String>,
    #[serde(default)]
    scaling_config: ScalingConfig,
    #[serde(default, deserialize_with = "lenient")]
    enabled: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScalingConfig {
    #[serde(default, deserialize_with = "lenient")]
    maximum_concurrency: Option<usize>,
}

impl Properties for SqsEvent {
    const NAMES: &'static [&'static str] = &[
        "Queue",
        "BatchSize",
        "MaximumBatchingWindowInSeconds",
        "FunctionResponseTypes",
        "ScalingConfig",
        "Enabled",
    ];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduleEvent {
    schedule_expression: String,
    schedule_expression_timezone: Option<String>,
    input: Option<String>,
    state: Option<String>,
}

impl Properties for ScheduleEvent {
    const NAMES: &'static [&'static str] = &[
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "Input",
        "State",
    ];
}

impl Evaluator<'_> {
    /// All events. `api` is the logical id of the template's API.
    pub(super) fn events(&self, api: Option<&str>, queues: &[Queue]) -> Result<Events, Problem> {
        let mut events = Events::default();
        for function in self.resources_of_type("AWS::Serverless::Function")? {
            let resources = SourcePath::section("Resources");
            let resource = resources.at(function);
            let properties = resource.at("Properties");
            let place = properties.at("Events");
            let declared = match self.document.properties(function).get("Events") {
                None => continue,
                Some(declared) => declared
                    .as_object()
                    .ok_or_else(|| place.problem("must be a map"))?,
            };
            for (event, declaration) in declared {
                let place = place.at(event);
                let source = declaration.get("Properties").unwrap_or(&Value::Null);
                let inside = place.at("Properties");
                match declaration.get("Type").and_then(Value::as_str) {
                    Some("Api") => {
                        let route = self.route(function, event, source, api, &inside)?;
                        check_route(&route, &events.routes, &inside)?;
                        events.routes.push(route);
                    }
                    Some("SQS") => events
                        .queue_sources
                        .extend(self.queue_source(function, event, source, queues, &inside)?),
                    Some("ScheduleV2") => events
                        .schedules
                        .push(self.schedule(function, event, source, &inside)?),
                    Some(other) => {
                        return Err(place
                            .at("Type")
                            .problem(format!("{other} events do not exist on this machine")));
                    }
                    None => return Err(place.at("Type").problem("is missing")),
                }
            }
        }
        events
            .routes
            .sort_by(|left, right| (&left.path, &left.method).cmp(&(&right.path, &right.method)));
        Ok(events)
    }

    fn route(
        &self,
        function: &str,
        event: &str,
        source: &Value,
        api: Option<&str>,
        place: &SourcePath<'_>,
    ) -> Result<Route, Problem> {
        let properties: ApiEvent = self.read(source, place)?;
        // Without RestApiId, SAM makes up an API of its own, which is another one than the template's.
        if properties.rest_api_id.as_deref() != api {
            let named = properties
                .rest_api_id
                .as_deref()
                .unwrap_or("an API that the template does not declare");
            return Err(place.at("RestApiId").problem(format!(
                "the route belongs to {named}, so it leads to no function"
            )));
        }
        let streamed = match properties.response_transfer_mode.as_deref() {
            None => false,
            Some(STREAMED) => true,
            // SAM lets any other word pass and makes a buffered route of it.
            Some(other) => {
                return Err(place
                    .at("ResponseTransferMode")
                    .problem(format!("{other} is not {STREAMED}")));
            }
        };
        let longest = if streamed {
            LONGEST_STREAM_MILLIS
        } else {
            LONGEST_INTEGRATION_MILLIS
        };
        let range = SHORTEST_INTEGRATION_MILLIS..=longest;
        if let Some(millis) = properties.timeout_in_millis
            && !range.contains(&millis)
        {
            return Err(place.at("TimeoutInMillis").problem(format!(
                "must be between {} and {}",
                range.start(),
                range.end()
            )));
        }
        Ok(Route {
            method: properties.method.to_uppercase(),
            path: properties.path,
            function: function.to_owned(),
            event: event.to_owned(),
            streamed,
            timeout: properties.timeout_in_millis.map(Duration::from_millis),
        })
    }

    fn queue_source(
        &self,
        function: &str,
        event: &str,
        source: &Value,
        queues: &[Queue],
        place: &SourcePath<'_>,
    ) -> Result<Option<QueueSource>, Problem> {
        let properties: SqsEvent = self.read(source, place)?;
        let Some(queue) = queues.iter().find(|queue| queue.arn == properties.queue) else {
            return Err(place
                .at("Queue")
                .problem(format!("the template has no queue {}", properties.queue)));
        };
        let batch_size = properties.batch_size.unwrap_or(10);
        if !(1..=10_000).contains(&batch_size) {
            return Err(place.at("BatchSize").problem("must be between 1 and 10000"));
        }
        Ok(properties.enabled.unwrap_or(true).then(|| QueueSource {
            function: function.to_owned(),
            event: event.to_owned(),
            queue: queue.name.clone(),
            batch_size,
            window: Duration::from_secs(properties.maximum_batching_window_in_seconds.unwrap_or(0)),
            report_batch_item_failures: properties
                .function_response_types
                .iter()
                .any(|kind| kind == "ReportBatchItemFailures"),
            maximum_concurrency: properties.scaling_config.maximum_concurrency,
        }))
    }

    fn schedule(
        &self,
        function: &str,
        event: &str,
        source: &Value,
        place: &SourcePath<'_>,
    ) -> Result<Schedule, Problem> {
        let properties: ScheduleEvent = self.read(source, place)?;
        let input = match properties.input {
            None => Value::Object(Map::new()),
            Some(json) => serde_json::from_str(&json)
                .map_err(|error| place.at("Input").problem(format!("is not JSON: {error}")))?,
        };
        let schedule = Schedule {
            function: function.to_owned(),
            event: event.to_owned(),
            expression: properties.schedule_expression,
            timezone: properties.schedule_expression_timezone,
            input,
            enabled: properties.state.as_deref() != Some("DISABLED"),
        };
        crate::schedules::Timetable::parse(&schedule)
            .map_err(|error| place.at("ScheduleExpression").problem(error))?;
        Ok(schedule)
    }
}

/// Refuses what API Gateway refuses: a second owner of a route, a variable that is not a whole segment, and two variable
/// names beside each other.
fn check_route(route: &Route, others: &[Route], place: &SourcePath<'_>) -> Result<(), Problem> {
    let place = place.at("Path");
    let Some(segments) = route
        .path
        .strip_prefix('/')
        .map(|path| path.split('/').collect::<Vec<_>>())
    else {
        return Err(place.problem(format!("{} does not begin with a slash", route.path)));
    };
    let bare = segments.as_slice() == [""];
    for (index, segment) in segments.iter().enumerate() {
        let variable = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let name = variable.unwrap_or(segment).trim_end_matches('+');
        let greedy = variable.is_some_and(|variable| variable.ends_with('+'));
        if (name.is_empty() && !bare)
            || name.contains(['{', '}', '*'])
            || (greedy && index + 1 < segments.len())
        {
            return Err(place.problem(format!("{} is not a path of API Gateway", route.path)));
        }
    }
    if let Some(other) = others
        .iter()
        .find(|other| other.path == route.path && other.method == route.method)
    {
        return Err(place.problem(format!(
            "{} {} already leads to {}",
            route.method, route.path, other.function
        )));
    }
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for path in others
        .iter()
        .map(|other| other.path.as_str())
        .chain([route.path.as_str()])
    {
        let mut prefix = String::new();
        for segment in path.split('/').skip(1) {
            if segment.starts_with('{') {
                let first = names.entry(prefix.clone()).or_insert(segment);
                if *first != segment {
                    return Err(
                        place.problem(format!("API Gateway refuses {segment} beside {first}"))
                    );
                }
            }
            prefix.extend(["/", segment]);
        }
    }
    Ok(())
}
