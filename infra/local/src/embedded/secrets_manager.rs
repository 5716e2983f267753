//! Secrets Manager's `GetSecretValue`, for secrets that are made up once and kept in the data directory.

use std::collections::BTreeMap;
use std::fs;
use std::future::ready;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::front::{Front, Protocol};
use super::passwords;
use crate::template::{Secret, SecretContent};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
/// A request is an id and a stage.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "secretsmanager",
    largest_body: 64 * 1024,
};
/// How long requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What is stored of a secret.
#[derive(Clone, Deserialize, Serialize)]
struct Stored {
    current: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Version>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Version {
    id: Uuid,
    text: String,
}

/// The secrets of this process.
pub(crate) struct Secrets {
    by_name: BTreeMap<String, Stored>,
    names: Vec<(String, String)>,
}

impl Secrets {
    /// Reads what `file` has and makes up the rest, which is then written there. Without a file nothing is kept.
    pub(crate) fn load(secrets: &[Secret], file: Option<&Path>) -> anyhow::Result<Self> {
        let mut by_name = match file {
            Some(file) => read(file)?,
            None => BTreeMap::new(),
        };
        let mut is_new = false;
        for secret in secrets
            .iter()
            .filter(|secret| !by_name.contains_key(&secret.name))
            .collect::<Vec<_>>()
        {
            let text = match &secret.content {
                SecretContent::Text(text) => text.clone(),
                SecretContent::Generated(wanted) => passwords::generate(wanted)
                    .with_context(|| format!("secret {}", secret.logical_id))?,
            };
            by_name.insert(
                secret.name.clone(),
                Stored {
                    current: Version {
                        id: Uuid::new_v4(),
                        text,
                    },
                    previous: None,
                },
            );
            is_new = true;
        }
        if let Some(file) = file.filter(|_| is_new) {
            write(file, &by_name).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(Self {
            by_name,
            names: secrets
                .iter()
                .map(|secret| (secret.arn.clone(), secret.name.clone()))
                .collect(),
        })
    }

    fn answer(&self, target: &str, body: &[u8]) -> (StatusCode, Value) {
        if target != "secretsmanager.GetSecretValue" {
            return refusal(
                "UnknownOperationException",
                "only GetSecretValue exists on this machine",
            );
        }
        let Ok(request) = serde_json::from_slice::<GetSecretValue>(body) else {
            return refusal("SerializationException", "the request cannot be read");
        };
        let found = self
            .names
            .iter()
            .find(|(arn, name)| request.secret_id == *arn || request.secret_id == *name);
        let Some((arn, name)) = found else {
            return refusal(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret.",
            );
        };
        let stored = self.by_name.get(name);
        let current = stored.map(|stored| (&stored.current, CURRENT));
        let previous = stored
            .and_then(|stored| stored.previous.as_ref())
            .map(|version| (version, PREVIOUS));
        let version = match (&request.version_id, request.version_stage.as_deref()) {
            (Some(id), _) => [current, previous]
                .into_iter()
                .flatten()
                .find(|(version, _)| version.id == *id),
            (None, None | Some(CURRENT)) => current,
            (None, Some(PREVIOUS)) => previous,
            (None, Some(_)) => None,
        };
        let Some((version, stage)) = version else {
            return refusal(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value.",
            );
        };
        let value = json!({ "ARN": arn, "Name": name, "SecretString": version.text, "VersionId": version.id, "VersionStages": [stage] });
        (StatusCode::OK, value)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<Uuid>,
    version_stage: Option<String>,
}

/// Serves the secrets to those whom `front` lets through, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Front,
    secrets: Arc<Secrets>,
    stop: CancellationToken,
) {
    let answer = move |head: Parts, body: Bytes| ready(respond(&secrets, &head, &body));
    front.serve(listener, answer, stop, STOP_WITHIN).await;
}

fn respond(secrets: &Secrets, head: &Parts, body: &[u8]) -> Response<Body> {
    let target = head.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let (status, answer) = secrets.answer(target.unwrap_or_default(), body);
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    response
}

fn refusal(kind: &str, message: &str) -> (StatusCode, Value) {
    (
        StatusCode::BAD_REQUEST,
        json!({ "__type": kind, "Message": message }),
    )
}

fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Stored>> {
    match fs::read(file) {
        Ok(json) => {
            serde_json::from_slice(&json).with_context(|| format!("cannot read {}", file.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Replaces the file as a whole: a half-written one would cost every key that was derived from these secrets.
fn write(file: &Path, secrets: &BTreeMap<String, Stored>) -> anyhow::Result<()> {
    let unfinished = file.with_extension("json.new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    written.write_all(&serde_json::to_vec_pretty(secrets)?)?;
    written.sync_all()?;
    fs::rename(&unfinished, file)?;
    Ok(())
}
