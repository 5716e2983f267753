//! `AWS::Serverless::Function`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::deployment::Function;
use super::evaluate::Evaluator;
use super::properties::{Properties, lenient};
use super::source_path::{Problem, SourcePath};

/// The defaults that SAM takes for a function.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;
const DEFAULT_MEMORY_MEGABYTES: u32 = 128;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionProperties {
    code_uri: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    memory_size: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    reserved_concurrent_executions: Option<usize>,
}

impl Properties for FunctionProperties {
    const NAMES: &'static [&'static str] = &[
        "CodeUri",
        "MemorySize",
        "Timeout",
        "ReservedConcurrentExecutions",
    ];
}

/// Of `LoggingConfig` only what a function is told; the rest of it names what does not exist here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingProperties {
    log_format: Option<String>,
    application_log_level: Option<String>,
}

impl Properties for LoggingProperties {
    const NAMES: &'static [&'static str] = &["LogFormat", "ApplicationLogLevel"];
}

impl Evaluator<'_> {
    pub(super) fn functions(&self) -> Result<Vec<Function>, Problem> {
        self.resources_of_type("AWS::Serverless::Function")?
            .into_iter()
            .map(|id| self.function(id))
            .collect()
    }

    /// The logical ids of all resources of a type that exist.
    pub(super) fn resources_of_type(&self, resource_type: &str) -> Result<Vec<&str>, Problem> {
        let mut ids = Vec::new();
        for id in self
            .document
            .resource_ids()
            .filter(|id| self.document.resource_type(id) == resource_type)
        {
            if self.exists(id)? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn function(&self, id: &str) -> Result<Function, Problem> {
        let resources = SourcePath::section("Resources");
        let resource = resources.at(id);
        let place = resource.at("Properties");
        let properties: FunctionProperties = self.resource(id)?;
        let Some(code_uri) = properties.code_uri else {
            return Err(place
                .at("CodeUri")
                .problem("is missing, so this function has no code"));
        };
        let logging = match self.document.properties(id).get("LoggingConfig") {
            Some(logging) => self.read(logging, &place.at("LoggingConfig"))?,
            None => LoggingProperties::default(),
        };
        Ok(Function {
            logical_id: id.to_owned(),
            name: self.physical_name(id, &place)?,
            bin: bin_name(&code_uri)
                .ok_or_else(|| {
                    place
                        .at("CodeUri")
                        .problem(format!("{code_uri} is not target/lambda/<bin>/"))
                })?
                .to_owned(),
            environment: self.environment(id, &place)?,
            memory_megabytes: properties.memory_size.unwrap_or(DEFAULT_MEMORY_MEGABYTES),
            timeout: Duration::from_secs(properties.timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            reserved_concurrency: properties.reserved_concurrent_executions,
            log_format: logging.log_format,
            log_level: logging.application_log_level,
        })
    }

    fn environment(
        &self,
        id: &str,
        properties: &SourcePath<'_>,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let environment = properties.at("Environment");
        let place = environment.at("Variables");
        let Some(declared) = self.document.properties(id).get("Environment") else {
            return Ok(BTreeMap::new());
        };
        let declared = declared
            .get("Variables")
            .and_then(Value::as_object)
            .ok_or_else(|| environment.problem("must be a map with Variables"))?;
        let mut variables = BTreeMap::new();
        for (name, value) in declared {
            let place = place.at(name);
            match self.evaluate(value, &place)? {
                None => {}
                Some(Value::Null) => return Err(place.problem("has no value")),
                Some(value) => {
                    variables.insert(name.clone(), self.text(&value, &place)?);
                }
            }
        }
        Ok(variables)
    }
}

fn bin_name(code_uri: &str) -> Option<&str> {
    let path = code_uri.trim_start_matches("./").trim_end_matches('/');
    path.strip_prefix("target/lambda/")
        .filter(|bin| !bin.is_empty() && !bin.contains('/'))
}
