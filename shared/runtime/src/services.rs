//! The clients that a function works with, built from its configuration.
//!
//! Every call has time limits: the SDK by itself waits for an answer for ever. An attempt that takes too long is given up and
//! repeated on another connection; the limit of the whole call leaves a request time for three of them within the 29 seconds of
//! API Gateway.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::retries::TransactionConflicts;
use crate::{BackgroundTasks, Clock, Config, Secrets};

/// The time that DynamoDB and Secrets Manager may take: for one attempt, for a call with all of its attempts.
const SMALL_CALL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(7));
/// The time that SQS may take, for an attempt and a call. A send can be slow where its queue is encrypted.
const QUEUE_CALL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(11));
/// The time that S3 may take, for an attempt and a call, without the transfer of a body: the caller that transfers one sets limits by its
/// size.
const OBJECT_CALL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(16));
/// The number of times that a call to DynamoDB is tried. Its throttling is that of one partition, which mostly passes in a moment.
const ATTEMPTS: u32 = 5;
/// The time that the SDK waits before the second attempt, at most; it doubles each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Configuration, clock and AWS clients. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub secrets: Secrets,
    /// Work that is done once a response is on its way. Held until the host finishes it, unless the host puts in its own.
    pub background: BackgroundTasks,
}

impl Services {
    /// Builds the clients. No I/O happens here: connections are made by the first call.
    pub fn new(config: Config, clock: Clock) -> Self {
        let http = http_client(&config);
        Self::with_http_client(config, clock, http)
    }

    /// Like [`Self::new`], over a connection pool that several functions of one process share.
    pub fn with_http_client(config: Config, clock: Clock, http: SharedHttpClient) -> Self {
        let aws = &config.aws;
        let credentials = aws.credentials();
        let region = aws_sdk_dynamodb::config::Region::new(aws.region.clone());

        let mut dynamodb = aws_sdk_dynamodb::Config::builder()
            .region(region.clone())
            .credentials_provider(credentials.clone())
            // Small answers, which are there or are not: watching their pace costs more than it tells.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(time_limits(SMALL_CALL))
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF),
            )
            .retry_classifier(TransactionConflicts)
            .http_client(http.clone());
        dynamodb.set_endpoint_url(aws.dynamodb_endpoint.clone());
        let mut s3 = aws_sdk_s3::Config::builder()
            .region(region.clone())
            .credentials_provider(credentials.clone())
            .timeout_config(time_limits(OBJECT_CALL))
            .http_client(http.clone())
            // An endpoint that is named has no name of its own for every bucket.
            .force_path_style(aws.s3_endpoint.is_some());
        s3.set_endpoint_url(aws.s3_endpoint.clone());
        let mut sqs = aws_sdk_sqs::Config::builder()
            .region(region.clone())
            .credentials_provider(credentials.clone())
            .timeout_config(time_limits(QUEUE_CALL))
            .http_client(http.clone());
        sqs.set_endpoint_url(aws.sqs_endpoint.clone());
        let mut secrets_manager = aws_sdk_secretsmanager::Config::builder()
            .region(region)
            .credentials_provider(credentials)
            .timeout_config(time_limits(SMALL_CALL))
            .http_client(http);
        secrets_manager.set_endpoint_url(aws.secrets_manager_endpoint.clone());

        let secrets_manager = aws_sdk_secretsmanager::Client::from_conf(secrets_manager.build());
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            secrets: Secrets::new(secrets_manager, config.secret_arn.clone(), clock.clone()),
            clock,
            config: Arc::new(config),
            background: BackgroundTasks::deferred(),
        }
    }
}

fn time_limits((attempt, call): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}

/// An HTTP client for AWS: without TLS where all endpoints are plain HTTP, which spares a local process the trust store.
pub fn http_client(config: &Config) -> SharedHttpClient {
    let aws = &config.aws;
    let endpoints = [
        &aws.dynamodb_endpoint,
        &aws.s3_endpoint,
        &aws.sqs_endpoint,
        &aws.secrets_manager_endpoint,
    ];
    if endpoints.iter().all(|endpoint| {
        endpoint
            .as_deref()
            .is_some_and(|url| url.starts_with("http://"))
    }) {
        aws_smithy_http_client::Builder::new().build_http()
    } else {
        aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::AwsLc,
            ))
            .build_https()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::net::TcpListener;
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test]
    async fn no_service_that_stays_silent_is_waited_for_longer_than_a_request_lasts() {
        // Connections are accepted by the operating system, and nothing ever answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let endpoints = ["DYNAMODB", "S3", "SQS", "SECRETS_MANAGER"];
        let endpoints = endpoints.map(|name| (format!("AWS_ENDPOINT_URL_{name}"), url.clone()));
        let named = [
            "RECORDS_TABLE",
            "COUNTERS_TABLE",
            "LOGS_TABLE",
            "FILES_BUCKET",
            "SECRET_ARN",
        ]
        .map(|name| (name.to_owned(), "x".to_owned()));
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
            .map(|name| (name.to_owned(), "us-east-1".to_owned()));
        let variables: HashMap<_, _> = endpoints.into_iter().chain(named).chain(keys).collect();
        let config = Config::from_map(&variables).unwrap();
        let services = Services::new(config, Clock::system());
        let begun = Instant::now();
        let all = async {
            tokio::join!(
                async { services.dynamodb.list_tables().send().await.is_err() },
                async { services.s3.list_buckets().send().await.is_err() },
                async { services.sqs.list_queues().send().await.is_err() },
                async { services.secrets.master_keys().await.is_err() },
            )
        };
        let failed = timeout(Duration::from_secs(25), Box::pin(all)).await;
        assert_eq!(
            failed,
            Ok((true, true, true, true)),
            "{:?}",
            begun.elapsed()
        );
    }
}
