//! S3 by s3s, which keeps objects as files by s3s-fs.
//!
//! The file system is what limits keys: 140 bytes at most, no key that is a folder of another, no `..`. Functions make their
//! keys of ids and fixed words, never of a user's text, so they stay within that.

use std::convert::Infallible;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper::service::service_fn;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::access_keys::AccessKeys;
use super::authenticator::Authenticator;
use super::s3_authenticator::{Buckets, Origins, S3Authenticator};
use crate::network::connections;
use crate::template::Bucket;

/// The time that requests may still run after the stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// The largest file of a form, in bytes. s3s holds it in memory before it looks at the form's signature.
const LARGEST_FORM_FILE: u64 = 64_000_000;

/// The storage of objects: a folder for each bucket. A temporary one goes when this is dropped.
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

    /// Makes the buckets that are not there. Requests are signed with one of `keys`, each of which may do everything.
    pub(crate) fn open(&self, buckets: &[Bucket], keys: AccessKeys) -> anyhow::Result<S3Service> {
        for bucket in buckets {
            make(&self.root.join(&bucket.name))?;
        }
        let files = FileSystem::new(&self.root)
            .map_err(|error| anyhow!("{}: {error:?}", self.root.display()))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(keys);
        let mut config = S3Config::default();
        config.post_object_max_file_size = LARGEST_FORM_FILE;
        service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Ok(service.build())
    }
}

/// Serves the buckets to those whom `authenticator` lets through, until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    authenticator: Authenticator,
    origins: Origins,
    buckets: Buckets,
    stop: CancellationToken,
) {
    let authenticator_of_buckets = Arc::new(S3Authenticator {
        authenticator,
        origins,
        buckets,
    });
    let service_for = move |_| {
        let authenticator_of_buckets = authenticator_of_buckets.clone();
        service_fn(move |request| {
            let authenticator_of_buckets = authenticator_of_buckets.clone();
            async move { Ok::<_, Infallible>(authenticator_of_buckets.answer(request).await) }
        })
    };
    connections::serve(listener, service_for, stop, STOP_WITHIN).await;
}

fn make(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))
}
