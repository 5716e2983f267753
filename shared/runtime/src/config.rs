//! The configuration of a function: one value, built from one map.
//!
//! In AWS the map is the process's environment, which `template.yaml` declares; locally `signalbox local` evaluates the
//! same declarations. Nothing else of the machine leaks in.

use std::collections::HashMap;
use std::str::FromStr;

use aws_credential_types::Credentials;
use domain::plan::PlanLimits;

/// A variable that is missing or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    #[error("environment variable {name} is {value:?}: {expected}")]
    Unreadable {
        name: &'static str,
        value: String,
        expected: String,
    },
}

/// Everything that a function is told from outside. Secrets are not part of it: see [`crate::Secrets`].
#[derive(Clone, Debug)]
pub struct Config {
    pub aws: Aws,
    pub tables: Tables,
    /// `FILES_BUCKET`: where values are kept that are too large for a table.
    pub files_bucket: String,
    /// `SECRET_ARN`: the secret that all keys are derived from.
    pub secret_arn: String,
    /// `..._QUEUE_URL`: the URLs of the queues that the function sends to, by the names of the variables.
    pub queues: HashMap<String, String>,
    /// `PUBLIC_URL`: what clients call us, without a trailing slash; `None` means: as each request says.
    pub public_url: Option<String>,
    pub registration: Registration,
    /// `ALLOWED_ORIGINS`: the browser origins that may call with credentials, comma-separated.
    pub allowed_origins: Vec<String>,
    pub limits: Limits,
    /// `PLAN_AGENTS`, `PLAN_RUNS_PER_MONTH`, `PLAN_TOKENS_PER_MONTH`: what an organization may use; 0 means no limit.
    pub plan: PlanLimits,
    pub outbound: Outbound,
    /// `RUN_LEASE_SECONDS`: how long a worker owns a run without renewing.
    pub run_lease_seconds: u32,
    /// `RUN_RETENTION_DAYS`: how many days after its end a run is removed; 0 keeps runs.
    pub run_retention_days: u32,
    /// `RUNS_AT_ONCE_PER_ORGANIZATION`: how many runs of an organization are worked on at once; 0 means no limit.
    pub runs_at_once_per_organization: Option<u16>,
}

/// The access to AWS.
#[derive(Clone)]
pub struct Aws {
    /// `AWS_REGION`
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<String>,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`, else the region's own.
    pub dynamodb_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, else as for DynamoDB.
    pub s3_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`, else as for DynamoDB.
    pub sqs_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, else as for DynamoDB.
    pub secrets_manager_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`, else as for DynamoDB.
    pub bedrock_endpoint: Option<String>,
}

impl Aws {
    /// The credentials that the function signs with: its role's.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.clone(),
            None,
            "environment",
        )
    }
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Aws")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// `RECORDS_TABLE`, `COUNTERS_TABLE`, `LOGS_TABLE`.
#[derive(Clone, Debug)]
pub struct Tables {
    pub records: String,
    pub counters: String,
    pub logs: String,
}

/// `REGISTRATION`: who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    Open,
    Invite,
    Closed,
}

/// Requests per minute, where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `PRODGY_LIMIT_PER_MINUTE`, per IP.
    pub prodgy: u32,
    /// `PRODGY_STRICT_LIMIT_PER_MINUTE`, per IP, for heavy operations.
    pub prodgy_strict: u32,
    /// `PROWPT_LIMIT_PER_MINUTE`, per key.
    pub prowpt: u32,
    /// `AGENTPLATFORM_LIMIT_PER_MINUTE`, per key.
    pub agentplatform: u32,
    /// `ACCOUNT_LIMIT_PER_MINUTE`, per session, on the account routes.
    pub account: u32,
    /// `SIGN_IN_LIMIT_PER_MINUTE`: registrations, and wrong passwords, per IP.
    pub sign_in: u32,
    /// `ACCOUNT_SIGN_IN_LIMIT_PER_MINUTE`: wrong passwords per account, wherever from.
    pub sign_in_to_account: u32,
    /// `INVITATION_LIMIT_PER_HOUR`, per organization.
    pub invitations_per_hour: u32,
    /// `ORGANIZATION_LIMIT_PER_MINUTE`, of all keys and sessions of an organization: a guard.
    pub organization: u32,
    /// `UNAUTHENTICATED_LIMIT_PER_MINUTE`, per IP, for requests whose credential is unknown.
    pub unauthenticated: u32,
    /// `EVENT_STREAMS_PER_WORKSPACE`: open streams of events, whose number is not one a minute.
    pub event_streams: u32,
}

/// The settings of requests to the outside.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// `OUTBOUND_ALLOW_LOOPBACK`: lets the outbound guard pass plain HTTP to this machine. For development and tests.
    pub allow_loopback: bool,
    /// The ports of this machine at which the platform itself is, if any are: those of the endpoints
    /// above, of `AWS_LAMBDA_RUNTIME_API` and of `OUTBOUND_OWN_PORTS`. Nothing that a tenant names may lead there.
    pub own_ports: Vec<u16>,
    /// `OPEN_METEO_GEOCODING_URL`: base of Open-Meteo's geocoding API.
    pub open_meteo_geocoding_url: String,
    /// `OPEN_METEO_FORECAST_URL`: base of Open-Meteo's forecast API.
    pub open_meteo_forecast_url: String,
    /// `MODEL_TIMEOUT_SECONDS`: how long a hosted model may take for one answer.
    pub model_timeout_seconds: u32,
    /// `BEDROCK_BY_ROLE`: whether runs without a credential for Bedrock ask it as the function's own role.
    pub bedrock_by_role: bool,
}

impl Config {
    /// Reads the configuration from environment-like variables. Unknown names are ignored, empty values count as absent.
    pub fn from_map(map: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let variables = Variables(map);
        let everywhere = variables.optional("AWS_ENDPOINT_URL");
        let endpoint = |name| variables.optional(name).or_else(|| everywhere.clone());
        Ok(Self {
            aws: Aws {
                region: variables.required("AWS_REGION")?,
                access_key_id: variables.required("AWS_ACCESS_KEY_ID")?,
                secret_access_key: variables.required("AWS_SECRET_ACCESS_KEY")?,
                session_token: variables.optional("AWS_SESSION_TOKEN"),
                dynamodb_endpoint: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
                s3_endpoint: endpoint("AWS_ENDPOINT_URL_S3"),
                sqs_endpoint: endpoint("AWS_ENDPOINT_URL_SQS"),
                secrets_manager_endpoint: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
                bedrock_endpoint: endpoint("AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
            },
            tables: Tables {
                records: variables.required("RECORDS_TABLE")?,
                counters: variables.required("COUNTERS_TABLE")?,
                logs: variables.required("LOGS_TABLE")?,
            },
            files_bucket: variables.required("FILES_BUCKET")?,
            secret_arn: variables.required("SECRET_ARN")?,
            queues: variables.queues(),
            public_url: variables
                .optional("PUBLIC_URL")
                .map(|url| url.trim_end_matches('/').to_owned()),
            registration: match variables.optional("REGISTRATION").as_deref() {
                None | Some("open") => Registration::Open,
                Some("invite") => Registration::Invite,
                Some("closed") => Registration::Closed,
                Some(other) => {
                    return Err(unreadable(
                        "REGISTRATION",
                        other,
                        "must be open, invite or closed",
                    ));
                }
            },
            allowed_origins: variables
                .optional("ALLOWED_ORIGINS")
                .map(|origins| {
                    origins
                        .split(',')
                        .map(|origin| origin.trim().to_owned())
                        .filter(|origin| !origin.is_empty())
                        .collect()
                })
                .unwrap_or_default(),
            limits: Limits {
                prodgy: variables.parsed("PRODGY_LIMIT_PER_MINUTE", 10)?,
                prodgy_strict: variables.parsed("PRODGY_STRICT_LIMIT_PER_MINUTE", 5)?,
                prowpt: variables.parsed("PROWPT_LIMIT_PER_MINUTE", 60)?,
                agentplatform: variables.parsed("AGENTPLATFORM_LIMIT_PER_MINUTE", 100)?,
                account: variables.parsed("ACCOUNT_LIMIT_PER_MINUTE", 120)?,
                sign_in: variables.parsed("SIGN_IN_LIMIT_PER_MINUTE", 5)?,
                sign_in_to_account: variables.parsed("ACCOUNT_SIGN_IN_LIMIT_PER_MINUTE", 100)?,
                invitations_per_hour: variables.parsed("INVITATION_LIMIT_PER_HOUR", 20)?,
                organization: variables.parsed("ORGANIZATION_LIMIT_PER_MINUTE", 6_000)?,
                unauthenticated: variables.parsed("UNAUTHENTICATED_LIMIT_PER_MINUTE", 60)?,
                event_streams: variables.parsed("EVENT_STREAMS_PER_WORKSPACE", 20)?,
            },
            plan: PlanLimits {
                agents: variables.bound("PLAN_AGENTS")?,
                runs: variables.bound("PLAN_RUNS_PER_MONTH")?,
                tokens: variables.bound("PLAN_TOKENS_PER_MONTH")?,
            },
            outbound: Outbound {
                allow_loopback: variables.parsed("OUTBOUND_ALLOW_LOOPBACK", false)?,
                own_ports: variables.own_ports(),
                open_meteo_geocoding_url: variables.url(
                    "OPEN_METEO_GEOCODING_URL",
                    "https://geocoding-api.open-meteo.com",
                ),
                open_meteo_forecast_url: variables
                    .url("OPEN_METEO_FORECAST_URL", "https://api.open-meteo.com"),
                model_timeout_seconds: variables.parsed("MODEL_TIMEOUT_SECONDS", 60)?,
                bedrock_by_role: variables.parsed("BEDROCK_BY_ROLE", false)?,
            },
            run_lease_seconds: variables.parsed("RUN_LEASE_SECONDS", 30)?,
            run_retention_days: variables.parsed("RUN_RETENTION_DAYS", 0)?,
            runs_at_once_per_organization: Some(
                variables.parsed("RUNS_AT_ONCE_PER_ORGANIZATION", 20)?,
            )
            .filter(|limit| *limit > 0),
        })
    }
}

struct Variables<'a>(&'a HashMap<String, String>);

impl Variables<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, ConfigError> {
        match self.optional(name) {
            None => Ok(default),
            Some(value) => value
                .parse()
                .map_err(|error: T::Err| unreadable(name, &value, error.to_string())),
        }
    }

    /// An upper bound; 0 means that there is none.
    fn bound(&self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        Ok(Some(self.parsed(name, 0)?).filter(|bound| *bound > 0))
    }

    /// The ports that are named in the addresses of what the function itself works with, and those of `OUTBOUND_OWN_PORTS`, with
    /// commas between them.
    fn own_ports(&self) -> Vec<u16> {
        let names = [
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL_SQS",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_LAMBDA_RUNTIME_API",
        ];
        let ports = names.iter().filter_map(|name| {
            let address = self.optional(name)?;
            let (_, rest) = address.split_once("://").unwrap_or(("", &address));
            let authority = rest.split('/').next()?;
            authority.rsplit_once(':')?.1.parse().ok()
        });
        let named = self.optional("OUTBOUND_OWN_PORTS").unwrap_or_default();
        let named = named.split(',').filter_map(|port| port.trim().parse().ok());
        ports.chain(named).collect()
    }

    fn queues(&self) -> HashMap<String, String> {
        let set = self.0.iter().filter(|(_, url)| !url.is_empty());
        set.filter(|(name, _)| name.ends_with("_QUEUE_URL"))
            .map(|(name, url)| (name.clone(), url.clone()))
            .collect()
    }

    fn url(&self, name: &'static str, default: &str) -> String {
        self.optional(name)
            .unwrap_or_else(|| default.to_owned())
            .trim_end_matches('/')
            .to_owned()
    }
}

fn unreadable(name: &'static str, value: &str, expected: impl Into<String>) -> ConfigError {
    ConfigError::Unreadable {
        name,
        value: value.to_owned(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_what_a_function_works_with_are_its_own() {
        let ports = |variables: &[(&str, &str)]| {
            let pairs = variables.iter();
            let map = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Variables(&map.collect()).own_ports()
        };
        assert_eq!(
            ports(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")]),
            [9001]
        );
        let local = [
            ("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1:4000/secret"),
            ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:4001"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://[::1]:4002/"),
            ("OUTBOUND_OWN_PORTS", "3000, 3001"),
            (
                "AWS_ENDPOINT_URL_SQS",
                "https://sqs.eu-central-1.amazonaws.com",
            ),
            // Models are asked as a tenant says.
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:4003"),
        ];
        assert_eq!(ports(&local), [4002, 4001, 4000, 3000, 3001]);
    }
}
