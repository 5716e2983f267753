//! What the built-in tools need.

use outbound::OutboundClient;

/// What the built-in tools need.
#[derive(Clone, Debug)]
pub struct ToolSettings {
    /// What they talk out with.
    pub outbound: OutboundClient,
    /// Base of Open-Meteo's geocoding API, without a trailing slash.
    pub geocoding_url: String,
    /// Base of Open-Meteo's forecast API, without a trailing slash.
    pub forecast_url: String,
}
