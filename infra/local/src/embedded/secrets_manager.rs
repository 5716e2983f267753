//! Secrets Manager's `GetSecretValue`, for secrets that are made up here and kept in the data directory.

use std::collections::BTreeMap;
use std::fs;
use std::future::ready;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use super::authenticator::{Authenticator, Protocol};
use super::passwords;
use crate::template::{Secret, SecretContent};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
/// The number of versions without a stage that are kept. In AWS a secret has about a hundred versions.
const EARLIER: usize = 98;
/// A request is an id and a stage.
pub(crate) const PROTOCOL: Protocol = Protocol {
    service: "secretsmanager",
    largest_body: 64 * 1024,
};
/// The time that requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A secret as it is stored.
#[derive(Clone, Deserialize, Serialize)]
struct Stored {
    current: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Version>,
    /// Versions without a stage, newest first. AWS keeps them for a while, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Version>,
}

impl Stored {
    fn new(text: String) -> Self {
        Self {
            current: Version::new(text),
            previous: None,
            earlier: Vec::new(),
        }
    }

    /// Makes `text` the current version, and the one that was it the previous one.
    fn rotate(&mut self, text: String) {
        let replaced = std::mem::replace(&mut self.current, Version::new(text));
        if let Some(previous) = self.previous.replace(replaced) {
            self.earlier.insert(0, previous);
            self.earlier.truncate(EARLIER);
        }
    }

    fn versions(&self) -> impl Iterator<Item = (&Version, Option<&'static str>)> {
        let previous = self
            .previous
            .iter()
            .map(|version| (version, Some(PREVIOUS)));
        let earlier = self.earlier.iter().map(|version| (version, None));
        std::iter::once((&self.current, Some(CURRENT)))
            .chain(previous)
            .chain(earlier)
    }
}

#[derive(Clone, Deserialize, Serialize)]
struct Version {
    id: Uuid,
    text: String,
}

impl Version {
    fn new(text: String) -> Self {
        Self {
            id: Uuid::new_v4(),
            text,
        }
    }
}

/// The secrets of this process.
pub(crate) struct Secrets {
    by_name: Mutex<BTreeMap<String, Stored>>,
    declared: Vec<Secret>,
    file: Option<PathBuf>,
}

impl Secrets {
    /// Reads what `file` has and makes up the rest, which is then written there. Without a file nothing is kept.
    pub(crate) fn load(secrets: &[Secret], file: Option<&Path>) -> anyhow::Result<Self> {
        let mut by_name = match file {
            Some(file) => read(file)?,
            None => BTreeMap::new(),
        };
        let mut is_new = false;
        for secret in secrets {
            if !by_name.contains_key(&secret.name) {
                by_name.insert(secret.name.clone(), Stored::new(made_up(secret)?));
                is_new = true;
            }
        }
        let secrets = Self {
            by_name: Mutex::new(by_name),
            declared: secrets.to_vec(),
            file: file.map(Path::to_path_buf),
        };
        if is_new {
            secrets.keep(&secrets.by_name())?;
        }
        Ok(secrets)
    }

    /// Replaces every secret by another one, as `PutSecretValue` does.
    pub(crate) fn rotate(&self) -> anyhow::Result<()> {
        let mut by_name = self.by_name();
        let mut rotated = by_name.clone();
        for secret in &self.declared {
            if let Some(stored) = rotated.get_mut(&secret.name) {
                stored.rotate(made_up(secret)?);
            }
        }
        self.keep(&rotated)?;
        *by_name = rotated;
        Ok(())
    }

    fn keep(&self, by_name: &BTreeMap<String, Stored>) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        write(file, by_name).with_context(|| format!("cannot write {}", file.display()))
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut declared = self.declared.iter();
        let found = declared
            .find(|secret| request.secret_id == secret.arn || request.secret_id == secret.name);
        let Some(Secret { arn, name, .. }) = found else {
            return refusal(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret.",
            );
        };
        let by_name = self.by_name();
        let wanted = request.version_stage.as_deref().unwrap_or(CURRENT);
        let mut versions = by_name.get(name).into_iter().flat_map(Stored::versions);
        let version = versions.find(|(version, stage)| match request.version_id {
            Some(id) => version.id == id,
            None => *stage == Some(wanted),
        });
        let Some((version, stage)) = version else {
            return refusal(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value.",
            );
        };
        let stages = Vec::from_iter(stage);
        let value = json!({ "ARN": arn, "Name": name, "SecretString": version.text, "VersionId": version.id, "VersionStages": stages });
        (StatusCode::OK, value)
    }
}

fn made_up(secret: &Secret) -> anyhow::Result<String> {
    match &secret.content {
        SecretContent::Text(text) => Ok(text.clone()),
        SecretContent::Generated(wanted) => {
            passwords::generate(wanted).with_context(|| format!("secret {}", secret.logical_id))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue {
    secret_id: String,
    version_id: Option<Uuid>,
    version_stage: Option<String>,
}

/// Serves the secrets to those whom `authenticator` lets through, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    authenticator: Authenticator,
    secrets: Arc<Secrets>,
    stop: CancellationToken,
) {
    let answer = move |head: Parts, body: Bytes| ready(respond(&secrets, &head, &body));
    authenticator
        .serve(listener, answer, stop, STOP_WITHIN)
        .await;
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
