//! The response to a request.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A response, read whole.
#[derive(Clone, Debug)]
pub struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

impl TestResponse {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a whole response");
        Self::new(status, headers, text)
    }

    pub(crate) fn new(status: StatusCode, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self {
            status,
            headers,
            text,
            body,
        }
    }

    /// The body, after checking the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// Checks that a request was refused in the form of its dialect, and returns the message or messages as one text.
    #[track_caller]
    pub fn expect_refused(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert!(!self.headers.contains_key("location"), "no redirects");
        let body = &self.body;
        if body["success"] == false {
            assert!(
                body["error"].is_string() && body["message"].is_string(),
                "{}",
                self.text
            );
            format!("{} {}", body["message"], body["errors"])
        } else if !body["detail"].is_null() {
            for item in body["detail"].as_array().into_iter().flatten() {
                assert!(
                    item["loc"].as_array().is_some_and(|loc| !loc.is_empty())
                        && item["msg"].is_string(),
                    "{}",
                    self.text
                );
            }
            body["detail"].to_string()
        } else {
            assert!(
                body["errors"].is_object(),
                "not an error body of any dialect: {}",
                self.text
            );
            body["errors"].to_string()
        }
    }

    /// A header's text, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}
