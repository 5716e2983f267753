//! The values of `Ref` and `Fn::GetAtt` on this machine.

use serde_json::Value;

use super::deployment::{ACCOUNT_ID, REGION, STACK_NAME};
use super::evaluate::Evaluator;
use super::source_path::{Problem, SourcePath};

impl Evaluator<'_> {
    /// `Ref`: a pseudo parameter, a parameter or a resource. `None` is `AWS::NoValue`.
    pub(super) fn reference(
        &self,
        name: &str,
        place: &SourcePath<'_>,
    ) -> Result<Option<Value>, Problem> {
        if let Some(pseudo) = name.strip_prefix("AWS::") {
            return match pseudo {
                "NoValue" => Ok(None),
                "Region" => Ok(Some(REGION.into())),
                "AccountId" => Ok(Some(ACCOUNT_ID.into())),
                "StackName" => Ok(Some(STACK_NAME.into())),
                "StackId" => Ok(Some(
                    arn("cloudformation", &format!("stack/{STACK_NAME}/local")).into(),
                )),
                "Partition" => Ok(Some("aws".into())),
                "URLSuffix" => Ok(Some("amazonaws.com".into())),
                "NotificationARNs" => Ok(Some(Value::Array(Vec::new()))),
                _ => Err(place.problem(format!("there is no pseudo parameter {name}"))),
            };
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(value.clone()));
        }
        let resource_type = self.referenced_type(name, place)?;
        let value = match resource_type {
            "AWS::SQS::Queue" => self.queue_url(&self.physical_name(name, place)?),
            "AWS::SecretsManager::Secret" => secret_arn(&self.physical_name(name, place)?),
            // An API is known by its logical id, which is how an event finds it again.
            "AWS::Serverless::Api" => name.to_owned(),
            _ => self.physical_name(name, place)?,
        };
        Ok(Some(Value::String(value)))
    }

    /// `Fn::GetAtt`.
    pub(super) fn attribute(
        &self,
        id: &str,
        attribute: &str,
        place: &SourcePath<'_>,
    ) -> Result<Value, Problem> {
        let resource_type = self.referenced_type(id, place)?;
        let name = self.physical_name(id, place)?;
        let value = match (resource_type, attribute) {
            ("AWS::SQS::Queue", "Arn") => arn("sqs", &name),
            ("AWS::SQS::Queue", "QueueName") => name,
            ("AWS::SQS::Queue", "QueueUrl") => self.queue_url(&name),
            ("AWS::DynamoDB::Table", "Arn") => arn("dynamodb", &format!("table/{name}")),
            ("AWS::SecretsManager::Secret", "Id") => secret_arn(&name),
            ("AWS::Serverless::Function" | "AWS::Lambda::Function", "Arn") => {
                arn("lambda", &format!("function:{name}"))
            }
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{name}"),
            ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{ACCOUNT_ID}:role/{name}"),
            ("AWS::Logs::LogGroup", "Arn") => arn("logs", &format!("log-group:{name}:*")),
            ("AWS::SNS::Topic", "Arn" | "TopicArn") => arn("sns", &name),
            _ => {
                return Err(place.problem(format!(
                    "{id}.{attribute} of a {resource_type} has no value on this machine"
                )));
            }
        };
        Ok(Value::String(value))
    }

    /// The name that a resource has in its service: as the template says, else made of stack and logical id.
    pub(super) fn physical_name(
        &self,
        id: &str,
        origin: &SourcePath<'_>,
    ) -> Result<String, Problem> {
        let property = match self.document.resource_type(id) {
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::SecretsManager::Secret" => "Name",
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => "FunctionName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::Logs::LogGroup" => "LogGroupName",
            _ => return Ok(format!("{STACK_NAME}-{id}")),
        };
        let properties = self.document.properties(id);
        let place = SourcePath::section_from("Resources", origin);
        let place = place.at(id);
        let place = place.at("Properties");
        let place = place.at(property);
        let given = match properties.get(property) {
            Some(value) => self.evaluate(value, &place)?,
            None => None,
        };
        match given {
            Some(Value::String(name)) if !name.is_empty() => Ok(name),
            Some(_) => Err(place.problem("must be a text")),
            None if properties.get("FifoQueue").is_some() => Ok(format!("{STACK_NAME}-{id}.fifo")),
            // Buckets have no capitals.
            None if property == "BucketName" => Ok(format!("{STACK_NAME}-{}", id.to_lowercase())),
            None => Ok(format!("{STACK_NAME}-{id}")),
        }
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT_ID}/{name}", self.endpoints.sqs)
    }

    fn referenced_type(&self, id: &str, place: &SourcePath<'_>) -> Result<&str, Problem> {
        if self.document.resource(id).is_none() {
            return Err(place.problem(format!("{id} is neither a parameter nor a resource")));
        }
        if !self.exists(id)? {
            return Err(place.problem(format!("{id} does not exist, as its condition is false")));
        }
        Ok(self.document.resource_type(id))
    }
}

/// An ARN of this machine's account and region.
pub(super) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}")
}

/// Secrets Manager ends its ARNs in six characters of its own.
pub(super) fn secret_arn(name: &str) -> String {
    arn("secretsmanager", &format!("secret:{name}-local0"))
}
