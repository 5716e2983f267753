//! `get_weather`: the weather now and today's forecast, from Open-Meteo.

use futures::future::BoxFuture;
use llm::ToolSpec;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::geocoding::{Place, Query};
use crate::settings::ToolSettings;
use crate::tool::{Tool, ToolError, ToolInvocation};
use outbound::{OutboundClient, OutboundRequest};

pub(crate) struct GetWeather {
    spec: ToolSpec,
    outbound: OutboundClient,
    geocoding_url: String,
    forecast_url: String,
}

impl GetWeather {
    pub(crate) fn new(settings: &ToolSettings) -> Self {
        Self {
            spec: spec(),
            outbound: settings.outbound.clone(),
            geocoding_url: settings.geocoding_url.clone(),
            forecast_url: settings.forecast_url.clone(),
        }
    }

    async fn report(&self, arguments: &Value) -> Result<Value, ToolError> {
        let Arguments { location, units } = Arguments::deserialize(arguments)
            .map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
        let place = find_place(&self.outbound, &self.geocoding_url, &location).await?;
        let forecast = forecast(&self.outbound, &self.forecast_url, &place, units).await?;
        Ok(report(&place, units, &forecast))
    }
}

impl Tool for GetWeather {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn call<'a>(&'a self, call: &'a ToolInvocation<'a>) -> BoxFuture<'a, Result<Value, ToolError>> {
        Box::pin(self.report(call.arguments))
    }
}

fn spec() -> ToolSpec {
    ToolSpec {
        name: "get_weather".to_owned(),
        description: "The current weather and today's forecast for a place.".to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "location": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 200,
                    "description": "A city, a postal code, or a city with its state or country, such as Portland, Maine."
                },
                "units": { "type": "string", "enum": ["metric", "imperial"], "default": "metric" }
            },
            "required": ["location"],
            "additionalProperties": false
        }),
        idempotent: true,
    }
}

#[derive(Deserialize)]
struct Arguments {
    location: String,
    #[serde(default)]
    units: Units,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Units {
    #[default]
    Metric,
    Imperial,
}

#[derive(Deserialize)]
struct Places {
    /// Absent when nothing was found.
    #[serde(default)]
    results: Vec<Place>,
}

#[derive(Deserialize)]
struct Forecast {
    timezone: String,
    current: Current,
    daily: Daily,
}

#[derive(Deserialize)]
struct Current {
    /// Local to the place, without an offset.
    time: String,
    temperature_2m: Option<f64>,
    relative_humidity_2m: Option<f64>,
    apparent_temperature: Option<f64>,
    precipitation: Option<f64>,
    weather_code: Option<u8>,
    wind_speed_10m: Option<f64>,
}

/// A column per variable, a row per day; the first is today.
#[derive(Deserialize)]
struct Daily {
    time: Vec<String>,
    weather_code: Vec<Option<u8>>,
    temperature_2m_max: Vec<Option<f64>>,
    temperature_2m_min: Vec<Option<f64>>,
    precipitation_probability_max: Vec<Option<f64>>,
}

async fn find_place(
    outbound: &OutboundClient,
    base: &str,
    location: &str,
) -> Result<Place, ToolError> {
    let query = Query::parse(location);
    let count = if query.is_qualified() { "20" } else { "1" };
    let parameters = [
        ("name", query.name),
        ("count", count),
        ("language", "en"),
        ("format", "json"),
    ];
    let places: Places = get(outbound, base, "/v1/search", &parameters).await?;
    query
        .choose(places.results)
        .ok_or_else(|| ToolError::Failed(format!("no place called {location:?} was found")))
}

async fn forecast(
    outbound: &OutboundClient,
    base: &str,
    place: &Place,
    units: Units,
) -> Result<Forecast, ToolError> {
    let (latitude, longitude) = (place.latitude.to_string(), place.longitude.to_string());
    let mut parameters = vec![
        ("latitude", latitude.as_str()),
        ("longitude", longitude.as_str()),
        (
            "current",
            "temperature_2m,relative_humidity_2m,apparent_temperature,precipitation,weather_code,wind_speed_10m",
        ),
        (
            "daily",
            "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max",
        ),
        ("timezone", "auto"),
        ("forecast_days", "1"),
    ];
    if let Units::Imperial = units {
        parameters.extend([
            ("temperature_unit", "fahrenheit"),
            ("wind_speed_unit", "mph"),
            ("precipitation_unit", "inch"),
        ]);
    }
    get(outbound, base, "/v1/forecast", &parameters).await
}

async fn get<T: DeserializeOwned>(
    outbound: &OutboundClient,
    base: &str,
    path: &str,
    parameters: &[(&str, &str)],
) -> Result<T, ToolError> {
    let mut url = Url::parse(&format!("{base}{path}"))
        .map_err(|_| ToolError::Failed("the weather service's address is not a URL".to_owned()))?;
    url.query_pairs_mut().extend_pairs(parameters);
    let response = outbound.send(OutboundRequest::get(url)).await?;
    let status = response.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(ToolError::Unavailable(format!(
            "the weather service answered {status}"
        )));
    }
    if !status.is_success() {
        return Err(ToolError::Failed(format!(
            "the weather service answered {status}"
        )));
    }
    serde_json::from_slice(&response.body)
        .map_err(|_| ToolError::Failed("the weather service's answer could not be read".to_owned()))
}

fn report(place: &Place, units: Units, forecast: &Forecast) -> Value {
    let units = match units {
        Units::Metric => {
            json!({ "system": "metric", "temperature": "°C", "wind_speed": "km/h", "precipitation": "mm" })
        }
        Units::Imperial => {
            json!({ "system": "imperial", "temperature": "°F", "wind_speed": "mph", "precipitation": "in" })
        }
    };
    let Forecast {
        timezone,
        current,
        daily,
    } = forecast;
    let mut location = json!({
        "name": place.name,
        "country": place.country,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "timezone": timezone,
    });
    if let Some(region) = &place.admin1 {
        location["admin1"] = json!(region);
    }
    json!({
        "location": location,
        "units": units,
        "current": {
            "time": current.time,
            "conditions": current.weather_code.map(conditions),
            "temperature": current.temperature_2m,
            "apparent_temperature": current.apparent_temperature,
            "relative_humidity": current.relative_humidity_2m,
            "precipitation": current.precipitation,
            "wind_speed": current.wind_speed_10m,
        },
        "today": {
            "date": daily.time.first(),
            "conditions": first(&daily.weather_code).map(conditions),
            "temperature_min": first(&daily.temperature_2m_min),
            "temperature_max": first(&daily.temperature_2m_max),
            "precipitation_probability": first(&daily.precipitation_probability_max),
        },
    })
}

fn first<T: Copy>(column: &[Option<T>]) -> Option<T> {
    column.first().copied().flatten()
}

/// WMO code table 4677, as far as Open-Meteo uses it.
fn conditions(code: u8) -> &'static str {
    match code {
        0 => "clear sky",
        1 => "mainly clear",
        2 => "partly cloudy",
        3 => "overcast",
        45 => "fog",
        48 => "freezing fog",
        51 => "light drizzle",
        53 => "drizzle",
        55 => "heavy drizzle",
        56 => "light freezing drizzle",
        57 => "freezing drizzle",
        61 => "light rain",
        63 => "rain",
        65 => "heavy rain",
        66 => "light freezing rain",
        67 => "freezing rain",
        71 => "light snow",
        73 => "snow",
        75 => "heavy snow",
        77 => "snow grains",
        80 => "light rain showers",
        81 => "rain showers",
        82 => "violent rain showers",
        85 => "light snow showers",
        86 => "heavy snow showers",
        95 => "thunderstorm",
        96 => "thunderstorm with light hail",
        99 => "thunderstorm with heavy hail",
        _ => "unknown conditions",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::extract::Query;
    use axum::routing::get;
    use axum::{Json, Router};

    use super::*;
    use outbound::testing::FakeServer;

    use crate::testing::{catalog, resolve_all};
    use crate::{ToolPermissions, call};

    type Parameters = Query<HashMap<String, String>>;

    async fn search(Query(parameters): Parameters) -> Json<Value> {
        let place = |admin1, longitude| {
            json!({ "name": "Portland", "latitude": 45.5, "longitude": longitude, "country": "United States",
                    "country_code": "US", "admin1": admin1 })
        };
        Json(match parameters["name"].as_str() {
            "Portland" => json!({ "results": [place("Oregon", -122.6), place("Maine", -70.2)] }),
            _ => json!({ "generationtime_ms": 0.1 }),
        })
    }

    async fn forecast(Query(parameters): Parameters) -> Json<Value> {
        let fahrenheit = parameters
            .get("temperature_unit")
            .is_some_and(|unit| unit == "fahrenheit");
        Json(json!({
            "timezone": if parameters["longitude"] == "-70.2" { "America/New_York" } else { "America/Los_Angeles" },
            "current": { "time": "2026-03-01T09:15", "temperature_2m": if fahrenheit { 50.0 } else { 10.0 },
                         "relative_humidity_2m": 81, "apparent_temperature": 8.1, "precipitation": 0.0,
                         "weather_code": 61, "wind_speed_10m": 14.4 },
            "daily": { "time": ["2026-03-01"], "weather_code": [3], "temperature_2m_max": [12.5],
                       "temperature_2m_min": [4.0], "precipitation_probability_max": [null] }
        }))
    }

    async fn weather(server: &FakeServer, arguments: Value) -> Result<Value, ToolError> {
        let catalog = catalog(ToolSettings {
            outbound: OutboundClient::new(true),
            geocoding_url: server.url(),
            forecast_url: server.url(),
        });
        let permissions = ToolPermissions {
            tools: vec!["get_weather".to_owned()],
            ..ToolPermissions::default()
        };
        let invocation = ToolInvocation {
            tool: "get_weather",
            arguments: &arguments,
            permissions: &permissions,
            run: None,
            idempotency_key: "k",
        };
        call(&resolve_all(&catalog).await, &invocation).await
    }

    #[tokio::test]
    async fn a_place_has_weather() {
        let server = FakeServer::start(
            Router::new()
                .route("/v1/search", get(search))
                .route("/v1/forecast", get(forecast)),
        )
        .await;

        let report = weather(&server, json!({ "location": "Portland" }))
            .await
            .unwrap();
        assert_eq!(
            report,
            json!({
                "location": { "name": "Portland", "country": "United States", "admin1": "Oregon", "latitude": 45.5,
                              "longitude": -122.6, "timezone": "America/Los_Angeles" },
                "units": { "system": "metric", "temperature": "°C", "wind_speed": "km/h", "precipitation": "mm" },
                "current": { "time": "2026-03-01T09:15", "conditions": "light rain", "temperature": 10.0,
                             "apparent_temperature": 8.1, "relative_humidity": 81.0, "precipitation": 0.0,
                             "wind_speed": 14.4 },
                "today": { "date": "2026-03-01", "conditions": "overcast", "temperature_min": 4.0,
                           "temperature_max": 12.5, "precipitation_probability": null },
            })
        );

        let report = weather(
            &server,
            json!({ "location": "Portland, me, USA", "units": "imperial" }),
        )
        .await
        .unwrap();
        assert_eq!(report["location"]["admin1"], "Maine");
        assert_eq!(report["units"]["temperature"], "°F");
        assert_eq!(report["current"]["temperature"], 50.0);

        for location in ["Atlantis", "Portland, Texas"] {
            let error = weather(&server, json!({ "location": location }))
                .await
                .unwrap_err();
            assert_eq!(
                error,
                ToolError::Failed(format!("no place called {location:?} was found"))
            );
        }
    }

    #[tokio::test]
    async fn a_service_that_is_down_is_unavailable() {
        let down = || async { (axum::http::StatusCode::SERVICE_UNAVAILABLE, "<html>") };
        let server = FakeServer::start(Router::new().route("/v1/search", get(down))).await;
        let error = weather(&server, json!({ "location": "Portland" }))
            .await
            .unwrap_err();
        assert!(matches!(error, ToolError::Unavailable(_)), "{error:?}");
    }
}
