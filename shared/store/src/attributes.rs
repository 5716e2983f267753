//! The names of attributes beside keys, which `keys` holds. Conditions, updates and readers of an attribute share its name here;
//! what it is for is told where it is written.

// --- every item

/// What an item is, for reading a table by eye and for what holds items of several kinds.
pub(crate) const TYPE: &str = "type";
/// The entity as JSON.
pub(crate) const DATA: &str = "data";
/// The entity's JSON deflated, in place of [`DATA`].
pub(crate) const PACKED: &str = "packed";
/// The object in S3 that holds the JSON, in place of [`DATA`].
pub(crate) const REFERENCE: &str = "large";
/// The number of writes of an item, which the next write names.
pub(crate) const REVISION: &str = "revision";
/// The time when DynamoDB may delete the item, in Unix seconds: the time-to-live attribute of every table.
pub(crate) const EXPIRES: &str = "expires";

// --- totals

/// The number of rows of a list.
pub(crate) const ROW_COUNT: &str = "row_count";
/// The time up to which rows are counted, in Unix milliseconds: of a list, or of a workspace's requests.
pub(crate) const COUNTED_TO: &str = "counted_to";

// --- request counts

/// The time when a checkpoint was last made current, in Unix milliseconds.
pub(crate) const TOUCHED_AT: &str = "touched_at";
/// The organization of a checkpoint's workspace.
pub(crate) const ORGANIZATION: &str = "organization";
/// The number of requests.
pub(crate) const REQUESTS: &str = "requests";
/// The time that requests took, in microseconds.
pub(crate) const DURATION_MICROS: &str = "duration_micros";

// --- rate limits

/// The number of tries.
pub(crate) const COUNTED: &str = "counted";
/// The number of tries that failed.
pub(crate) const WRONG: &str = "wrong";

// --- sessions

/// The hash of the refresh token.
pub(crate) const REFRESH_HASH: &str = "refresh_hash";

// --- tokens

/// The last hour whose first use is logged, in hours since the Unix epoch.
pub(crate) const USED_HOUR: &str = "used_hour";
/// The number of uses.
pub(crate) const USAGE_COUNT: &str = "usage_count";
/// The time of the last use, in Unix milliseconds: of a token or a credential.
pub(crate) const LAST_USED_AT: &str = "last_used_at";
/// The time when the holder of a place ends, in Unix milliseconds.
pub(crate) const ENDS: &str = "ends";

// --- credentials

/// Members of requests that a credential's service refuses.
pub(crate) const UNSUPPORTED: &str = "unsupported";

// --- plans

/// The number of agents that an organization has.
pub(crate) const AGENTS: &str = "agents";
/// The month that runs and tokens are counted in, as `YYYY-MM`.
pub(crate) const COUNTED_MONTH: &str = "counted_month";
/// The number of runs in that month.
pub(crate) const MONTH_RUNS: &str = "month_runs";
/// The number of model tokens in that month.
pub(crate) const MONTH_TOKENS: &str = "month_tokens";
/// The limit of agents that the operator has set.
pub(crate) const MAX_AGENTS: &str = "max_agents";
/// The limit of runs a month that the operator has set.
pub(crate) const MAX_RUNS: &str = "max_runs";
/// The limit of model tokens a month that the operator has set.
pub(crate) const MAX_TOKENS: &str = "max_tokens";

// --- agents

/// The number of runs that are paused.
pub(crate) const PAUSED: &str = "paused";

// --- runs

/// The number of writes of a run's head.
pub(crate) const VERSION: &str = "version";
/// A request to the worker of a run.
pub(crate) const WANTED: &str = "wanted";
/// The position in the journal of the answer that is being shown.
pub(crate) const PLACE: &str = "place";

// --- places

/// The run, token or lease that a place is held by.
pub(crate) const HOLDER: &str = "holder";
/// The time until which a run holds its place, in Unix milliseconds.
pub(crate) const HELD_UNTIL: &str = "held_until";
/// The workspace of the run that holds a place or waits for one.
pub(crate) const WORKSPACE: &str = "workspace";
/// Present in a place that a run was given, not handed over.
pub(crate) const TAKEN: &str = "taken";
/// Present in a place that another run waits for.
pub(crate) const AWAITED: &str = "awaited";
/// The runs that lend their place to the holder.
pub(crate) const LENDERS: &str = "lenders";

// --- event streams

/// The time from which a client may come back, in Unix milliseconds.
pub(crate) const ALLOWED_FROM: &str = "allowed_from";
/// The time until which a client may come back, in Unix milliseconds.
pub(crate) const ALLOWED_UNTIL: &str = "allowed_until";

// --- usage

/// The number of runs.
pub(crate) const RUNS: &str = "runs";
/// Model tokens that were sent.
pub(crate) const INPUT_TOKENS: &str = "input_tokens";
/// Model tokens that were received.
pub(crate) const OUTPUT_TOKENS: &str = "output_tokens";
/// The price of models, in millionths of a dollar.
pub(crate) const COST_MICROS: &str = "cost_micros";
