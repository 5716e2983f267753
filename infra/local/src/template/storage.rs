//! Tables, buckets, queues and secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::deployment::{
    Attribute, Bucket, GeneratedSecret, Index, KeyElement, Queue, Redrive, Secret, SecretContent,
    Table,
};
use super::evaluate::Evaluator;
use super::properties::{Properties, lenient};
use super::references::{arn, secret_arn};
use super::source_path::{Problem, SourcePath};

/// The properties of a queue that are attributes of the same name in `CreateQueue`.
const QUEUE_ATTRIBUTES: [&str; 9] = [
    "VisibilityTimeout",
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// The properties of a bucket that change nothing about how this machine keeps objects. Any other would promise something
/// that is not done here: versions, notifications, a website.
const BUCKET_PROPERTIES: [&str; 7] = [
    "BucketName",
    "BucketEncryption",
    "LifecycleConfiguration",
    "OwnershipControls",
    "PublicAccessBlockConfiguration",
    "Tags",
    "VersioningConfiguration",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketProperties {
    versioning_configuration: Option<Versioning>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versioning {
    status: String,
}

impl Properties for BucketProperties {
    const NAMES: &'static [&'static str] = &["VersioningConfiguration"];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableProperties {
    key_schema: Vec<KeyElement>,
    attribute_definitions: Vec<Attribute>,
    #[serde(default)]
    global_secondary_indexes: Vec<Index>,
    #[serde(default)]
    local_secondary_indexes: Vec<Index>,
    time_to_live_specification: Option<TimeToLive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    enabled: Option<bool>,
}

impl Properties for TableProperties {
    const NAMES: &'static [&'static str] = &[
        "KeySchema",
        "AttributeDefinitions",
        "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
        "TimeToLiveSpecification",
    ];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueueProperties {
    redrive_policy: Option<RedrivePolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    #[serde(default, deserialize_with = "lenient")]
    max_receive_count: Option<u32>,
}

impl Properties for QueueProperties {
    const NAMES: &'static [&'static str] = &["RedrivePolicy"];
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretProperties {
    secret_string: Option<String>,
    generate_secret_string: Option<GenerateSecretString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateSecretString {
    #[serde(default, deserialize_with = "lenient")]
    password_length: Option<usize>,
    #[serde(default)]
    exclude_characters: String,
    #[serde(default, deserialize_with = "lenient")]
    exclude_lowercase: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    exclude_uppercase: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    exclude_numbers: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    exclude_punctuation: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    include_space: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    require_each_included_type: Option<bool>,
    secret_string_template: Option<String>,
    generate_string_key: Option<String>,
}

impl Properties for SecretProperties {
    const NAMES: &'static [&'static str] = &["SecretString", "GenerateSecretString"];
}

impl Evaluator<'_> {
    pub(super) fn tables(&self) -> Result<Vec<Table>, Problem> {
        let tables = self
            .resources_of_type("AWS::DynamoDB::Table")?
            .into_iter()
            .map(|id| {
                let properties: TableProperties = self.resource(id)?;
                Ok(Table {
                    logical_id: id.to_owned(),
                    name: self.physical_name(id, &SourcePath::section("Resources"))?,
                    key_schema: properties.key_schema,
                    attributes: properties.attribute_definitions,
                    global_indexes: properties.global_secondary_indexes,
                    local_indexes: properties.local_secondary_indexes,
                    ttl_attribute: properties
                        .time_to_live_specification
                        .filter(|ttl| ttl.enabled == Some(true))
                        .and_then(|ttl| ttl.attribute_name),
                })
            });
        tables.collect()
    }

    pub(super) fn buckets(&self) -> Result<Vec<Bucket>, Problem> {
        self.resources_of_type("AWS::S3::Bucket")?
            .into_iter()
            .map(|id| self.bucket(id))
            .collect()
    }

    fn bucket(&self, id: &str) -> Result<Bucket, Problem> {
        let resources = SourcePath::section("Resources");
        let resource = resources.at(id);
        let place = resource.at("Properties");
        let given = self.document.properties(id).as_object();
        let unknown = given
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !BUCKET_PROPERTIES.contains(&name.as_str()));
        if let Some(name) = unknown {
            return Err(place
                .at(name)
                .problem("does not exist for buckets of this machine"));
        }
        let properties: BucketProperties = self.resource(id)?;
        if properties
            .versioning_configuration
            .is_some_and(|versioning| versioning.status != "Suspended")
        {
            return Err(place
                .at("VersioningConfiguration")
                .at("Status")
                .problem("must be Suspended: this machine keeps no versions"));
        }
        let name = self.physical_name(id, &resources)?;
        if !is_bucket_name(&name) {
            return Err(place.at("BucketName").problem(format!(
                "{name} must have 3 to 63 lower-case letters, digits, hyphens and dots"
            )));
        }
        Ok(Bucket {
            logical_id: id.to_owned(),
            name,
        })
    }

    pub(super) fn queues(&self) -> Result<Vec<Queue>, Problem> {
        self.resources_of_type("AWS::SQS::Queue")?
            .into_iter()
            .map(|id| self.queue(id))
            .collect()
    }

    fn queue(&self, id: &str) -> Result<Queue, Problem> {
        let resources = SourcePath::section("Resources");
        let resource = resources.at(id);
        let place = resource.at("Properties");
        let name = self.physical_name(id, &resources)?;
        let mut attributes = BTreeMap::new();
        for attribute in QUEUE_ATTRIBUTES {
            if let Some(value) = self.document.properties(id).get(attribute) {
                attributes.insert(
                    attribute.to_owned(),
                    self.text(value, &place.at(attribute))?,
                );
            }
        }
        let properties: QueueProperties = self.resource(id)?;
        let place = place.at("RedrivePolicy");
        let redrive = match properties.redrive_policy {
            None => None,
            Some(policy) => Some(Redrive {
                dead_letter_queue_arn: policy.dead_letter_target_arn,
                max_receive_count: policy
                    .max_receive_count
                    .ok_or_else(|| place.at("maxReceiveCount").problem("is missing"))?,
            }),
        };
        let url = self
            .reference(id, &resource)?
            .and_then(|url| url.as_str().map(str::to_owned))
            .unwrap_or_default();
        Ok(Queue {
            logical_id: id.to_owned(),
            url,
            arn: arn("sqs", &name),
            name,
            attributes,
            redrive,
        })
    }

    pub(super) fn secrets(&self) -> Result<Vec<Secret>, Problem> {
        self.resources_of_type("AWS::SecretsManager::Secret")?
            .into_iter()
            .map(|id| self.secret(id))
            .collect()
    }

    fn secret(&self, id: &str) -> Result<Secret, Problem> {
        let resources = SourcePath::section("Resources");
        let resource = resources.at(id);
        let place = resource.at("Properties");
        let name = self.physical_name(id, &resources)?;
        let properties: SecretProperties = self.resource(id)?;
        let content = match (properties.secret_string, properties.generate_secret_string) {
            (Some(text), None) => SecretContent::Text(text),
            (None, Some(generate)) => SecretContent::Generated(
                generate.into_generated(&place.at("GenerateSecretString"))?,
            ),
            _ => return Err(place.problem("must have either SecretString or GenerateSecretString")),
        };
        Ok(Secret {
            logical_id: id.to_owned(),
            arn: secret_arn(&name),
            name,
            content,
        })
    }
}

fn is_bucket_name(name: &str) -> bool {
    let is_part = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "-.".contains(character)
    };
    let is_end = |character: char| character.is_ascii_alphanumeric();
    (3..=63).contains(&name.len())
        && name.chars().all(is_part)
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && !name.contains("..")
}

impl GenerateSecretString {
    fn into_generated(self, place: &SourcePath<'_>) -> Result<GeneratedSecret, Problem> {
        let template = match (self.secret_string_template, self.generate_string_key) {
            (Some(template), Some(key)) => {
                let object: Map<String, Value> =
                    serde_json::from_str(&template).map_err(|error| {
                        place
                            .at("SecretStringTemplate")
                            .problem(format!("is not a JSON object: {error}"))
                    })?;
                Some((object, key))
            }
            (None, None) => None,
            _ => {
                return Err(place.problem("SecretStringTemplate and GenerateStringKey go together"));
            }
        };
        let flag = |flag: Option<bool>| flag.unwrap_or(false);
        Ok(GeneratedSecret {
            length: self.password_length.unwrap_or(32),
            exclude_characters: self.exclude_characters,
            exclude_lowercase: flag(self.exclude_lowercase),
            exclude_uppercase: flag(self.exclude_uppercase),
            exclude_numbers: flag(self.exclude_numbers),
            exclude_punctuation: flag(self.exclude_punctuation),
            include_space: flag(self.include_space),
            require_each_included_type: self.require_each_included_type.unwrap_or(true),
            template,
        })
    }
}
