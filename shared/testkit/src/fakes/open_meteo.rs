//! Open-Meteo's geocoding and forecast APIs, which know one city: New York.

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;

use super::Server;

/// Both APIs on one address.
#[derive(Debug)]
pub struct OpenMeteo(Server);

impl OpenMeteo {
    pub async fn start() -> Self {
        Self(
            Server::start(
                Router::new()
                    .route("/v1/search", get(search))
                    .route("/v1/forecast", get(forecast)),
            )
            .await,
        )
    }

    /// The base of either API.
    pub fn url(&self) -> &str {
        &self.0.url
    }
}

async fn search(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let known = query
        .get("name")
        .is_some_and(|name| name.to_lowercase().contains("new york"));
    let place = json!({
        "id": 5128581, "name": "New York", "latitude": 40.71427, "longitude": -74.00597, "timezone": "America/New_York",
        "country": "United States", "country_code": "US", "admin1": "New York",
    });
    Json(if known {
        json!({"results": [place], "generationtime_ms": 0.5})
    } else {
        json!({"generationtime_ms": 0.5})
    })
}

async fn forecast() -> Json<Value> {
    Json(json!({
        "latitude": 40.71, "longitude": -74.0, "timezone": "America/New_York", "timezone_abbreviation": "EST",
        "current": {
            "time": "2026-11-22T10:00", "interval": 900, "temperature_2m": 7.4, "relative_humidity_2m": 61,
            "apparent_temperature": 4.9, "precipitation": 0.0, "weather_code": 3, "wind_speed_10m": 14.2,
        },
        "current_units": {"temperature_2m": "°C", "wind_speed_10m": "km/h", "precipitation": "mm"},
        "daily": {
            "time": ["2026-11-22"], "weather_code": [61], "temperature_2m_max": [9.8], "temperature_2m_min": [3.1],
            "precipitation_probability_max": [70],
        },
        "daily_units": {"temperature_2m_max": "°C"},
    }))
}
