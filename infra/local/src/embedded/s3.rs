//! S3 by s3s, which keeps objects as files by s3s-fs.
//!
//! The file system is what limits keys: 140 bytes at most, no key that is a folder of another, no `..`. Functions make their
//! keys of ids and fixed words, never of a user's text, so they stay within that.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use s3s::S3Result;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections;
use crate::template::Bucket;

/// How long requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Where objects are kept: a folder for each bucket. A temporary one goes when this is dropped.
pub(crate) struct Objects {
    root: PathBuf,
    _temporary: Option<TempDir>,
}

impl Objects {
    /// In a directory that is made if it is not there, for its owner alone.
    pub(crate) fn in_directory(root: &Path) -> anyhow::Result<Self> {
        make(root)?;
        Ok(Self {
            root: root.to_owned(),
            _temporary: None,
        })
    }

    /// In a directory of the system's that goes with the platform.
    pub(crate) fn temporary() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("signalbox-s3-")
            .tempdir()
            .context("there is no room for temporary files")?;
        Ok(Self {
            root: directory.path().to_owned(),
            _temporary: Some(directory),
        })
    }

    /// Makes the buckets that are not there. Whoever signs with `secret` may do everything, under any access key id.
    pub(crate) fn open(&self, buckets: &[Bucket], secret: &str) -> anyhow::Result<S3Service> {
        for bucket in buckets {
            make(&self.root.join(&bucket.name))?;
        }
        let files = FileSystem::new(&self.root)
            .map_err(|error| anyhow!("{}: {error:?}", self.root.display()))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(AnyoneWith(SecretKey::from(secret)));
        Ok(service.build())
    }
}

/// Serves the buckets until `stop`.
pub(crate) async fn serve(listener: TcpListener, buckets: S3Service, stop: CancellationToken) {
    connections::serve(listener, move |_| buckets.clone(), stop, STOP_WITHIN).await;
}

/// Checks signatures by one secret: the access key id only tells which function calls.
struct AnyoneWith(SecretKey);

#[async_trait::async_trait]
impl S3Auth for AnyoneWith {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        Ok(self.0.clone())
    }
}

fn make(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))
}
