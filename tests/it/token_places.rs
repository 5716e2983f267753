//! A workspace has at most 100 live tokens and keys.

use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Account, Answer, TestApp};

const TOKENS: &str = "/api/api-tokens";
const KEYS: &str = "/api/settings/api-keys";
const MOST: usize = 100;

async fn make(app: &TestApp, session: &str, path: &str, more: Value) -> Answer {
    let mut body = if path == KEYS {
        json!({"name": "k", "scopes": ["projects:read"]})
    } else {
        json!({"name": "t"})
    };
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    app.post(path, body).bearer(session).send().await
}

/// Makes so many at once, tokens and keys in turns, and gives what became of them.
async fn make_at_once(app: &TestApp, session: &str, count: usize) -> Vec<(&'static str, Answer)> {
    let one = async |index: usize| {
        let path = [TOKENS, KEYS][index % 2];
        (path, make(app, session, path, json!({})).await)
    };
    join_all((0..count).map(one)).await
}

fn id(answer: Answer) -> String {
    let body = answer.expect(201);
    let id = body["data"]["id"].as_str().or(body["id"].as_str());
    id.unwrap().to_owned()
}

async fn is_refused(app: &TestApp, account: &Account) {
    let session = account.sign_in(app).await;
    let told = make(app, &session, TOKENS, json!({})).await;
    assert!(told.expect_refused(400).contains("at most 100"));
    let told = make(app, &session, KEYS, json!({})).await;
    assert!(told.expect_refused(403).contains("at most 100"));
}

#[tokio::test]
async fn of_many_made_at_once_exactly_a_hundred_live_and_the_ended_make_room() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let session = account.access_token.clone();
    let tomorrow = (app.clock.now() + TimeDelta::days(1)).to_rfc3339();
    let expiring = json!({ "expires_at": tomorrow });
    let expiring = id(make(&app, &session, TOKENS, expiring).await);
    let mut made = Vec::new();
    for (path, answer) in make_at_once(&app, &session, MOST + 30).await {
        match answer.status.as_u16() {
            201 => made.push((path, id(answer))),
            status => assert_eq!(status, if path == TOKENS { 400 } else { 403 }),
        }
    }
    assert_eq!(made.len(), MOST - 1, "beside the one from before");
    is_refused(&app, &account).await;
    let second = account.second_workspace(&app).await;
    let elsewhere = json!({ "product_id": second });
    make(&app, &session, TOKENS, elsewhere).await.expect(201);

    // Revoked, deleted and expired ones count no more; switched off, they do.
    let token = made.iter().find(|(path, _)| *path == TOKENS).unwrap();
    let token = format!("{TOKENS}/{}", token.1);
    let key = made.iter().find(|(path, _)| *path == KEYS).unwrap();
    let key = format!("{KEYS}/{}", key.1);
    let call = async |method: Method, path: &str, body: Value| {
        let session = account.sign_in(&app).await;
        let request = app.request(method, path).json(body).bearer(&session);
        request.send().await
    };
    call(Method::PATCH, &key, json!({"is_active": false}))
        .await
        .expect(200);
    is_refused(&app, &account).await;
    for (method, path) in [
        (Method::POST, format!("{token}/revoke")),
        (Method::DELETE, token.clone()),
        (Method::DELETE, key),
    ] {
        let makes_room = method == Method::POST || path != token;
        assert!(call(method, &path, json!({})).await.status.is_success());
        if makes_room {
            make(&app, &session, KEYS, json!({})).await.expect(201);
        }
        is_refused(&app, &account).await;
    }

    app.clock.advance(TimeDelta::hours(25));
    let session = account.sign_in(&app).await;
    let later = make(&app, &session, KEYS, json!({})).await.expect(201);
    is_refused(&app, &account).await;
    let renew = format!("{TOKENS}/{expiring}/renew");
    let renewal = json!({"expires_at": null});
    let told = call(Method::POST, &renew, renewal.clone()).await;
    assert!(told.expect_refused(400).contains("at most 100"));
    let later = format!("{KEYS}/{}", later["id"].as_str().unwrap());
    call(Method::DELETE, &later, json!({})).await;
    call(Method::POST, &renew, renewal.clone())
        .await
        .expect(200);
    is_refused(&app, &account).await;
    // It has its place, so it may be renewed as often as one likes.
    call(Method::POST, &renew, renewal).await.expect(200);
}

#[tokio::test]
async fn a_lost_answer_is_repeated_also_when_there_is_no_room_any_more() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    make_at_once(&app, &account.access_token, MOST - 1).await;
    let once = || {
        let post = app.post(TOKENS, json!({"name": "once"}));
        let post = post.bearer(&account.access_token);
        post.header("idempotency-key", "once").send()
    };
    let first = once().await.expect(201);
    is_refused(&app, &account).await;
    let again = once().await.expect(201);
    assert_eq!(again["data"]["id"], first["data"]["id"]);
}
