//! The prices of AWS, in US dollars, in us-east-1 without any free tier. From general knowledge: compare with AWS's price pages
//! before relying on it.

/// A request to a REST API of API Gateway.
pub const API_REQUEST: f64 = 3.50 / 1e6;
/// An invocation of a function.
pub const INVOCATION: f64 = 0.20 / 1e6;
/// A second of a function on arm64, for each GB of its memory.
pub const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
/// Request units of on-demand tables.
pub const WRITE_UNIT: f64 = 0.625 / 1e6;
pub const READ_UNIT: f64 = 0.125 / 1e6;
/// A request to a standard queue.
pub const QUEUE_REQUEST: f64 = 0.40 / 1e6;
/// A byte of logs taken in.
pub const LOG_BYTE: f64 = 0.50 / 1e9;
/// A byte sent to the internet.
pub const BYTE_OUT: f64 = 0.09 / 1e9;
