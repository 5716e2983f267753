//! The directory that a platform keeps its data in, and that only one platform may use.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const DYNAMODB: &str = "dynamodb.sqlite";

/// A directory that is locked for as long as this lives.
pub(crate) struct DataDirectory {
    path: PathBuf,
    is_new: bool,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if it is not there, for its owner alone, and locks it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let unusable = || format!("data directory {shown} cannot be used");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                is_new: !Self::has_data(path),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!("data directory {shown} is in use by another signalbox")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
        }
    }

    /// Returns `true` if a platform has kept data in this directory.
    pub(crate) fn has_data(path: &Path) -> bool {
        path.join(DYNAMODB).exists()
    }

    /// Returns `true` if nothing was kept here before.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(crate) fn dynamodb(&self) -> PathBuf {
        self.path.join(DYNAMODB)
    }

    pub(crate) fn s3(&self) -> PathBuf {
        self.path.join("s3")
    }

    pub(crate) fn access_file(&self) -> PathBuf {
        self.path.join("aws.env")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.path.join("secrets.json")
    }
}
