//! A workspace has at most 100 live tokens and keys.

use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{TestApp, TestResponse};

const TOKENS: &str = "/api/api-tokens";
const KEYS: &str = "/api/settings/api-keys";
const MOST: usize = 100;

struct Desk {
    app: TestApp,
    session: String,
}

impl Desk {
    async fn call(&self, method: Method, path: &str, body: Value) -> TestResponse {
        let request = self.app.request(method, path).json(body);
        request.bearer(&self.session).send().await
    }

    /// Makes a token or key. As long as there is no answer, for so many at once keep a small machine busy, it asks again.
    async fn make(&self, path: &str, idempotency_key: &str, more: Value) -> TestResponse {
        let mut body = json!({"name": "x"});
        if path == KEYS {
            body["scopes"] = json!(["projects:read"]);
        }
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        for _ in 0..50 {
            let post = self.app.post(path, body.clone()).bearer(&self.session);
            let answer = post.header("idempotency-key", idempotency_key).send().await;
            if answer.status != 500 {
                return answer;
            }
        }
        panic!("{path} keeps failing");
    }

    /// Makes those of a range at once, tokens and keys in turns, and gives what became of them.
    async fn make_at_once(
        &self,
        range: std::ops::Range<usize>,
    ) -> Vec<(&'static str, TestResponse)> {
        let one = async |index: usize| {
            let path = [TOKENS, KEYS][index % 2];
            (path, self.make(path, &index.to_string(), json!({})).await)
        };
        join_all(range.map(one)).await
    }

    /// Makes so many, ten at a time.
    async fn fill(&self, count: usize) {
        for start in (0..count).step_by(10) {
            let some = start..(start + 10).min(count);
            for (_, answer) in self.make_at_once(some).await {
                answer.expect(201);
            }
        }
    }

    async fn is_full(&self) {
        for (path, status) in [(TOKENS, 400), (KEYS, 403)] {
            let told = self.make(path, "one more", json!({})).await;
            assert!(told.expect_refused(status).contains("at most 100"));
        }
    }
}

fn id(answer: TestResponse) -> String {
    let body = answer.expect(201);
    let id = body["data"]["id"].as_str().or(body["id"].as_str());
    id.unwrap().to_owned()
}

#[tokio::test]
async fn of_many_made_at_once_exactly_a_hundred_live_and_the_ended_make_room() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let second = account.second_workspace(&app).await;
    let session = account.access_token.clone();
    let mut desk = Desk { app, session };
    let tomorrow = (desk.app.clock.now() + TimeDelta::days(1)).to_rfc3339();
    let expiring = json!({ "expires_at": tomorrow });
    let expiring = id(desk.make(TOKENS, "expiring", expiring).await);
    let left = 25;
    desk.fill(MOST - left - 1).await;
    let (mut token, mut key, mut made) = (String::new(), String::new(), 0);
    for (path, answer) in desk.make_at_once(MOST..MOST + left + 15).await {
        match (answer.status.as_u16(), path) {
            (201, TOKENS) => token = format!("{TOKENS}/{}", id(answer)),
            (201, _) => key = format!("{KEYS}/{}", id(answer)),
            (status, _) => {
                assert_eq!(status, if path == TOKENS { 400 } else { 403 });
                continue;
            }
        }
        made += 1;
    }
    assert_eq!(made, left, "beside those from before");
    desk.is_full().await;
    let elsewhere = json!({ "product_id": second });
    desk.make(TOKENS, "elsewhere", elsewhere).await.expect(201);

    // Revoked and deleted ones count no more; switched off, they do.
    let off = json!({"is_active": false});
    desk.call(Method::PATCH, &key, off).await.expect(200);
    desk.is_full().await;
    let revoke = format!("{token}/revoke");
    for (method, path, makes_room) in [
        (Method::POST, &revoke, true),
        (Method::DELETE, &token, false),
        (Method::DELETE, &key, true),
    ] {
        let ended = desk.call(method, path, json!({})).await;
        assert!(ended.status.is_success(), "{}", ended.text);
        if makes_room {
            desk.make(KEYS, path, json!({})).await.expect(201);
        }
        desk.is_full().await;
    }

    // So do those that have run out, until they are renewed.
    desk.app.clock.advance(TimeDelta::hours(25));
    desk.session = account.sign_in(&desk.app).await;
    let later = desk.make(KEYS, "later", json!({})).await.expect(201);
    desk.is_full().await;
    let renew = format!("{TOKENS}/{expiring}/renew");
    let renew = async || {
        let renewal = json!({"expires_at": null});
        desk.call(Method::POST, &renew, renewal).await
    };
    assert!(renew().await.expect_refused(400).contains("at most 100"));
    let later = format!("{KEYS}/{}", later["id"].as_str().unwrap());
    desk.call(Method::DELETE, &later, json!({})).await;
    // It has its place then, so it may be renewed as often as one likes.
    for _ in 0..2 {
        renew().await.expect(200);
        desk.is_full().await;
    }
}

#[tokio::test]
async fn a_lost_answer_is_repeated_also_when_there_is_no_room_any_more() {
    let app = TestApp::with_own_clock().await;
    let session = app.register().await.access_token;
    let desk = Desk { app, session };
    desk.fill(MOST - 1).await;
    let first = desk.make(TOKENS, "once", json!({})).await.expect(201);
    desk.is_full().await;
    desk.app.lose_answers().await;
    let again = desk.make(TOKENS, "once", json!({})).await;
    assert_eq!(again.header("idempotent-replayed"), "");
    let again = again.expect(201);
    assert_eq!(again["data"]["id"], first["data"]["id"]);
}
