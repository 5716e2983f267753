//! The function as it is deployed: its binary, behind the Lambda Runtime API and a stage.

use http::Method;
use testkit::{RestRequest, TestApp, TestFunction};

#[tokio::test]
async fn pages_below_a_stage_name_what_they_need_relative_to_themselves() {
    let app = TestApp::start().await;
    let binary = env!("CARGO_BIN_EXE_docs");
    let function = TestFunction::start(&app, "DocsFunction", binary).await;
    let get = async |path: &str| {
        let request = RestRequest::new(Method::GET, path).stage("dev");
        let answer = function.send(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    };
    for (page, root) in [
        ("/swagger", ""),
        ("/swagger/", "../"),
        ("/api/v1/docs", "../../"),
        ("/api/v1/docs/", "../../../"),
    ] {
        let text = get(page).await;
        let script = format!("src=\"{root}swagger/start.js\"");
        assert!(text.contains(&script), "{page}: {text}");
    }
    // What the gateway sends, byte for byte.
    for path in [
        "/swagger/swagger-ui-bundle.js",
        "/swagger.json",
        "/api/v1/openapi.json",
    ] {
        assert_eq!(get(path).await, app.get(path).send().await.text, "{path}");
    }
}
