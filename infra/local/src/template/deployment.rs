//! The evaluated template.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::endpoints::Endpoints;
use super::evaluate::Evaluator;
use super::source_path::Problem;
use super::{Template, TemplateError, parameters};

/// `AWS::Region`
pub const REGION: &str = "us-east-1";
/// `AWS::AccountId`
pub const ACCOUNT_ID: &str = "000000000000";
/// `AWS::StackName`
pub const STACK_NAME: &str = "signalbox";

/// A template evaluated for one set of parameters. Resources whose condition is false are not in it.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub functions: Vec<Function>,
    /// By path and method.
    pub routes: Vec<Route>,
    pub queue_sources: Vec<QueueSource>,
    pub schedules: Vec<Schedule>,
    pub tables: Vec<Table>,
    pub buckets: Vec<Bucket>,
    pub queues: Vec<Queue>,
    pub secrets: Vec<Secret>,
    /// The gateway's own responses, by API Gateway's response type.
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// The API's stage.
    pub stage: String,
    /// The media types whose bodies functions get in base64, such as `audio/*`.
    pub binary_media_types: Vec<String>,
    /// The names of the API, and the origins of its callers.
    pub names: Names,
}

impl Deployment {
    /// Evaluates a template. Nothing is started and nothing but the arguments is looked at.
    ///
    /// # Errors
    /// A parameter that is unknown or not allowed, an unknown intrinsic function in a property that matters here, or a
    /// resource that cannot run on this machine. The error names the place.
    pub fn evaluate(
        template: &Template,
        parameters: &BTreeMap<String, String>,
        endpoints: &Endpoints,
    ) -> Result<Self, TemplateError> {
        let document = &template.document;
        let evaluate = || -> Result<Self, Problem> {
            let parameters = parameters::resolve(document, parameters)?;
            let evaluator = Evaluator::new(document, endpoints, parameters);
            let api = evaluator.api()?;
            let queues = evaluator.queues()?;
            let events =
                evaluator.events(api.as_ref().map(|api| api.logical_id.as_str()), &queues)?;
            let (mut stage, mut gateway_responses) = ("local".to_owned(), BTreeMap::new());
            let (mut binary_media_types, mut names) = (Vec::new(), Names::default());
            if let Some(api) = api {
                (stage, gateway_responses) = (api.stage, api.responses);
                (binary_media_types, names) = (api.binary_media_types, api.names);
            }
            Ok(Self {
                functions: evaluator.functions()?,
                routes: events.routes,
                queue_sources: events.queue_sources,
                schedules: events.schedules,
                tables: evaluator.tables()?,
                buckets: evaluator.buckets()?,
                queues,
                secrets: evaluator.secrets()?,
                gateway_responses,
                stage,
                binary_media_types,
                names,
            })
        };
        evaluate().map_err(|problem| template.error(problem))
    }

    /// The function of this logical id.
    pub fn function(&self, logical_id: &str) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| function.logical_id == logical_id)
    }
}

/// The `Metadata` of the API: its names, and the origins of the pages that may call it. API Gateway and S3 have settings of their
/// own for that.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Names in requests' `Host` beside those that this machine has anyway; `*.` stands for all below one.
    pub allowed_hosts: Vec<String>,
    /// The web pages that may call, by their origins.
    pub allowed_origins: Vec<String>,
    /// The name that clients have for the API, if that is not what their requests say.
    pub public_url: Option<String>,
}

/// An `AWS::Serverless::Function`.
#[derive(Clone, Debug)]
pub struct Function {
    pub logical_id: String,
    pub name: String,
    /// The binary that is its code: `CodeUri` is `target/lambda/<bin>/`.
    pub bin: String,
    /// The variables that the template declares, those of `Globals` included. Lambda's own are not among them.
    pub environment: BTreeMap<String, String>,
    pub memory_megabytes: u32,
    pub timeout: Duration,
    /// The number of invocations that may run side by side, if the template says so.
    pub reserved_concurrency: Option<usize>,
    /// `Text` or `JSON`, if the template says so.
    pub log_format: Option<String>,
    /// The least severe events to log, if the template says so.
    pub log_level: Option<String>,
}

/// An `Api` event: requests that go to a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In upper case; `ANY` stands for all of them.
    pub method: String,
    /// In API Gateway's notation: `/things/{id}`, `/{proxy+}`.
    pub path: String,
    /// The function's logical id.
    pub function: String,
    /// The event's name.
    pub event: String,
    /// `true` if the response reaches the client as it is made: `ResponseTransferMode: RESPONSE_STREAM`.
    pub streamed: bool,
    /// `TimeoutInMillis`: how long the gateway waits for the function, if the template says so.
    pub timeout: Option<Duration>,
}

/// An `SQS` event: a queue whose messages go to a function.
#[derive(Clone, Debug)]
pub struct QueueSource {
    pub function: String,
    pub event: String,
    /// The queue's name.
    pub queue: String,
    pub batch_size: usize,
    /// The time that a batch that is not full waits for more.
    pub window: Duration,
    /// `true` if the function says which messages failed; else all of a batch share one fate.
    pub report_batch_item_failures: bool,
    /// The number of batches that are handled side by side, if the template says so.
    pub maximum_concurrency: Option<usize>,
}

/// A `ScheduleV2` event.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub function: String,
    pub event: String,
    /// `rate(…)` or `cron(…)`.
    pub expression: String,
    /// `ScheduleExpressionTimezone`, which `cron(…)` is read in.
    pub timezone: Option<String>,
    pub input: Value,
    pub enabled: bool,
}

/// An `AWS::DynamoDB::Table`.
#[derive(Clone, Debug)]
pub struct Table {
    pub logical_id: String,
    pub name: String,
    pub key_schema: Vec<KeyElement>,
    pub attributes: Vec<Attribute>,
    pub global_indexes: Vec<Index>,
    pub local_indexes: Vec<Index>,
    /// The attribute that says when an item expires.
    pub ttl_attribute: Option<String>,
}

/// `HASH` or `RANGE`, and of which attribute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyElement {
    pub attribute_name: String,
    pub key_type: String,
}

/// An attribute that is part of a key, and its type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    pub attribute_name: String,
    pub attribute_type: String,
}

/// A secondary index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Index {
    pub index_name: String,
    pub key_schema: Vec<KeyElement>,
    pub projection: Projection,
}

/// The attributes that an index holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Projection {
    pub projection_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_key_attributes: Option<Vec<String>>,
}

/// An `AWS::S3::Bucket`.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub logical_id: String,
    pub name: String,
}

/// An `AWS::SQS::Queue`.
#[derive(Clone, Debug)]
pub struct Queue {
    pub logical_id: String,
    pub name: String,
    pub url: String,
    pub arn: String,
    /// The queue's attributes as `CreateQueue` takes them, redrive aside.
    pub attributes: BTreeMap<String, String>,
    pub redrive: Option<Redrive>,
}

/// The queue of messages that failed too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    pub dead_letter_queue_arn: String,
    pub max_receive_count: u32,
}

/// An `AWS::SecretsManager::Secret`.
#[derive(Clone, Debug)]
pub struct Secret {
    pub logical_id: String,
    pub name: String,
    pub arn: String,
    pub content: SecretContent,
}

/// The value that a secret has when it is made.
#[derive(Clone, Debug)]
pub enum SecretContent {
    /// `SecretString`
    Text(String),
    /// `GenerateSecretString`
    Generated(GeneratedSecret),
}

/// `GenerateSecretString`: how to make up a secret.
#[derive(Clone, Debug)]
pub struct GeneratedSecret {
    pub length: usize,
    pub exclude_characters: String,
    pub exclude_lowercase: bool,
    pub exclude_uppercase: bool,
    pub exclude_numbers: bool,
    pub exclude_punctuation: bool,
    pub include_space: bool,
    pub require_each_included_type: bool,
    /// A JSON object, and the member of it that gets the generated text. Without it the text is the secret.
    pub template: Option<(serde_json::Map<String, Value>, String)>,
}

/// The gateway's response in one situation.
#[derive(Clone, Debug, Default)]
pub struct GatewayResponse {
    /// `None` leaves the situation's usual status.
    pub status: Option<StatusCode>,
    pub headers: Vec<(String, GatewayHeader)>,
    /// The template of the `application/json` body, with `$context` variables.
    pub body: Option<String>,
}

/// The source of a header's value in a gateway response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayHeader {
    /// `'text'`
    Literal(String),
    /// `context.…`
    Context(String),
    /// `method.request.header.…`
    RequestHeader(String),
}
