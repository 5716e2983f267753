//! The request log: what came in with which key.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{ActivityId, ProjectId, TokenId, WorkspaceId};

/// The longest path that is kept, in bytes.
const MAX_PATH: usize = 512;

/// One request whose key is known, whatever became of it. Never its query, body or credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestLogEntry {
    pub id: ActivityId,
    pub key_id: TokenId,
    /// The key's workspace.
    pub workspace_id: WorkspaceId,
    pub method: String,
    pub path: String,
    /// The path's pattern: `/api/v1/agents/{id}`.
    pub route: String,
    pub status: u16,
    /// Until the answer was ready.
    pub duration_micros: u64,
    /// The Prowpt project that the request was about.
    pub project_id: Option<ProjectId>,
    /// As the gateway saw it.
    pub ip: String,
    pub user_agent: Option<String>,
    pub request_id: String,
    /// The time when the request came.
    pub created_at: DateTime<Utc>,
    /// The key was accepted, so that the request counts as a use of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_use: bool,
    /// The tick counts the request; else the writer of this row has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted_by_tick: bool,
}

impl RequestLogEntry {
    pub fn duration_ms(&self) -> u64 {
        self.duration_micros.div_ceil(1_000)
    }
}

/// A path as it is kept: its first 512 bytes.
pub fn kept_path(path: &str) -> &str {
    &path[..path.floor_char_boundary(MAX_PATH)]
}

/// The number of requests, and the time that they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivityCount {
    pub requests: u64,
    pub duration_micros: u64,
}

impl ActivityCount {
    /// That of one request.
    pub fn of(row: &RequestLogEntry) -> Self {
        Self {
            requests: 1,
            duration_micros: row.duration_micros,
        }
    }
}

impl std::ops::AddAssign for ActivityCount {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.duration_micros += other.duration_micros;
    }
}
