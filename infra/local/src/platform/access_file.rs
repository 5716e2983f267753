//! A file in the data directory with which its owner's own AWS tools reach the embedded services while the platform runs.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;

use crate::embedded::access_keys::AccessKey;
use crate::template::{Endpoints, REGION};

/// The file, which is removed when this is dropped.
pub(super) struct AccessFile(PathBuf);

impl AccessFile {
    /// Writes the variables that AWS's command line and SDKs read, over those of an earlier start.
    pub(super) fn write(
        path: PathBuf,
        endpoints: &Endpoints,
        key: &AccessKey,
    ) -> anyhow::Result<Self> {
        let mut text = String::new();
        for (name, value) in [
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &key.id),
            ("AWS_SECRET_ACCESS_KEY", &key.secret),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamodb),
            ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
            ("AWS_ENDPOINT_URL_SQS", &endpoints.sqs),
            (
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                &endpoints.secrets_manager,
            ),
        ] {
            writeln!(text, "{name}={value}")?;
        }
        let unwritable = || format!("cannot write {}", path.display());
        // A new file is its owner's alone; one that is left of an earlier start may have been opened to others.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(unwritable);
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.create_new(true).write(true).mode(0o600);
        let mut file = options.open(&path).with_context(unwritable)?;
        file.write_all(text.as_bytes()).with_context(unwritable)?;
        Ok(Self(path))
    }
}

impl Drop for AccessFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, "{} stays", self.0.display());
        }
    }
}
