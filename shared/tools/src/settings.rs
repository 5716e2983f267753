//! Settings of the built-in tools.

use outbound::OutboundClient;

/// Settings of the built-in tools.
#[derive(Clone, Debug)]
pub struct ToolSettings {
    /// The client for outbound requests.
    pub outbound: OutboundClient,
    /// Base of Open-Meteo's geocoding API, without a trailing slash.
    pub geocoding_url: String,
    /// Base of Open-Meteo's forecast API, without a trailing slash.
    pub forecast_url: String,
}
