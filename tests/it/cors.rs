//! Browsers: preflights are answered for configured origins alone.

use reqwest::Method;
use testkit::TestApp;

#[tokio::test]
async fn configured_origins_may_call_and_others_may_not() {
    let app =
        TestApp::with(|options| options.parameter("AllowedOrigins", "https://console.example.com"))
            .await;
    let preflight = |origin: &str| {
        app.request(Method::OPTIONS, "/api/v1/agents")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let allowed = preflight("https://console.example.com").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://console.example.com"
    );
    assert!(
        allowed
            .header("access-control-allow-headers")
            .contains("Authorization")
    );
    let other = preflight("https://evil.example.com").await;
    assert_eq!(other.header("access-control-allow-origin"), "");

    let refused = app
        .get("/api/v1/agents")
        .header("origin", "https://console.example.com")
        .send()
        .await;
    assert_eq!(
        (
            refused.status.as_u16(),
            refused.header("access-control-allow-origin")
        ),
        (401, "https://console.example.com")
    );
}
