//! The environment of a function.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::embedded::access_keys::AccessKeys;
use crate::template::{Endpoints, Function, REGION};

/// Everything that a function finds in its environment: what the template declares, and what Lambda sets. The endpoints
/// make the AWS SDK talk to this machine, and the access key makes the embedded services answer.
pub(super) fn environment(
    function: &Function,
    endpoints: &Endpoints,
    gateway: SocketAddr,
    keys: &AccessKeys,
) -> HashMap<String, String> {
    let (id, secret) = keys
        .of(&function.logical_id)
        .map_or(("", ""), |key| (&key.id, &key.secret));
    let of_lambda = [
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamodb),
        ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
        ("AWS_ENDPOINT_URL_SQS", &endpoints.sqs),
        (
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            &endpoints.secrets_manager,
        ),
        ("OUTBOUND_OWN_PORTS", &gateway.port().to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            &function.memory_megabytes.to_string(),
        ),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME",
            &format!("/aws/lambda/{}", function.name),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let logging = [
        ("AWS_LAMBDA_LOG_FORMAT", &function.log_format),
        ("AWS_LAMBDA_LOG_LEVEL", &function.log_level),
    ];
    let logging = logging
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    function
        .environment
        .clone()
        .into_iter()
        .chain(of_lambda)
        .chain(logging)
        .collect()
}
