//! `AWS::Serverless::Api`: the stage, and what the gateway answers by itself.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::deployment::{GatewayHeader, GatewayResponse, Names};
use super::evaluate::Evaluator;
use super::properties::{Properties, lenient};
use super::source_path::{Problem, SourcePath};

pub(super) struct Api {
    pub(super) logical_id: String,
    pub(super) stage: String,
    pub(super) responses: BTreeMap<String, GatewayResponse>,
    pub(super) binary_media_types: Vec<String>,
    pub(super) names: Names,
}

/// `Metadata`: what only a machine that is not AWS has to be told. Lists are comma-separated.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default)]
    allowed_hosts: String,
    #[serde(default)]
    allowed_origins: String,
    #[serde(default)]
    public_url: String,
}

impl Properties for Metadata {
    const NAMES: &'static [&'static str] = &["AllowedHosts", "AllowedOrigins", "PublicUrl"];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiProperties {
    stage_name: String,
    #[serde(default)]
    gateway_responses: BTreeMap<String, ResponseProperties>,
    #[serde(default)]
    binary_media_types: Vec<String>,
}

impl Properties for ApiProperties {
    const NAMES: &'static [&'static str] = &["StageName", "GatewayResponses", "BinaryMediaTypes"];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseProperties {
    #[serde(default, deserialize_with = "lenient")]
    status_code: Option<StatusCode>,
    #[serde(default)]
    response_parameters: ResponseParameters,
    #[serde(default)]
    response_templates: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseParameters {
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl Evaluator<'_> {
    /// The template's API, if it has one.
    pub(super) fn api(&self) -> Result<Option<Api>, Problem> {
        let resources = SourcePath::section("Resources");
        let ids = self.resources_of_type("AWS::Serverless::Api")?;
        let id = match ids.as_slice() {
            [] => return Ok(None),
            [id] => *id,
            [first, second, ..] => {
                return Err(resources.at(second).problem(format!(
                    "one API is enough on this machine, and {first} is one"
                )));
            }
        };
        let resource = resources.at(id);
        let place = resource.at("Properties");
        for definition in ["DefinitionBody", "DefinitionUri"] {
            if self.document.properties(id).get(definition).is_some() {
                return Err(place.at(definition).problem(
                    "routes come from the functions' Api events; here they lead to no function",
                ));
            }
        }
        let properties: ApiProperties = self.resource(id)?;
        let metadata = self.document.resource(id).and_then(|it| it.get("Metadata"));
        let metadata: Metadata =
            self.read(metadata.unwrap_or(&Value::Null), &resource.at("Metadata"))?;
        let place = place.at("GatewayResponses");
        let responses = properties
            .gateway_responses
            .into_iter()
            .map(|(kind, response)| {
                let response = response.into_response(&place.at(&kind))?;
                Ok((kind, response))
            });
        Ok(Some(Api {
            logical_id: id.to_owned(),
            stage: properties.stage_name,
            responses: responses.collect::<Result<_, Problem>>()?,
            // SAM also takes them with `~1` for the slash, as JSON pointers have it.
            binary_media_types: properties
                .binary_media_types
                .into_iter()
                .map(|kind| kind.replace("~1", "/"))
                .collect(),
            names: Names {
                allowed_hosts: listed(&metadata.allowed_hosts),
                allowed_origins: listed(&metadata.allowed_origins),
                public_url: Some(metadata.public_url).filter(|url| !url.is_empty()),
            },
        }))
    }
}

impl ResponseProperties {
    fn into_response(self, place: &SourcePath<'_>) -> Result<GatewayResponse, Problem> {
        let parameters = place.at("ResponseParameters");
        let place = parameters.at("Headers");
        let headers = self
            .response_parameters
            .headers
            .into_iter()
            .map(|(name, source)| {
                let header = header(&source).ok_or_else(|| {
                    place.at(&name).problem(format!(
                        "{source} is neither 'text', context.… nor method.request.header.…"
                    ))
                })?;
                Ok((name, header))
            });
        Ok(GatewayResponse {
            status: self.status_code,
            headers: headers.collect::<Result<_, Problem>>()?,
            body: self.response_templates.get("application/json").cloned(),
        })
    }
}

fn listed(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

fn header(source: &str) -> Option<GatewayHeader> {
    if let Some(text) = source
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return Some(GatewayHeader::Literal(text.to_owned()));
    }
    if let Some(name) = source.strip_prefix("method.request.header.") {
        return Some(GatewayHeader::RequestHeader(name.to_ascii_lowercase()));
    }
    source
        .strip_prefix("context.")
        .map(|variable| GatewayHeader::Context(variable.to_owned()))
}
