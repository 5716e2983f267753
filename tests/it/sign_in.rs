//! `/api/auth/login`, `register` and `refresh` against guessing, and against being used to keep people out.

use chrono::TimeDelta;
use reqwest::Client;
use serde_json::{Value, json};
use testkit::{Account, Calls, DynamoDbFaults, Fault, TestApp, in_this_process};

/// A client at another address of this machine: each counts by itself.
fn at(host: u8) -> Client {
    let address = std::net::IpAddr::from([127, 0, 0, host]);
    let builder = Client::builder().no_proxy().local_address(address);
    builder.build().unwrap()
}

/// Moves the clock to the start of the next minute.
fn start_of_window(app: &TestApp) {
    let into = app.clock.now().timestamp_millis().rem_euclid(60_000);
    app.clock.advance(TimeDelta::milliseconds(60_000 - into));
}

async fn login(app: &TestApp, client: &Client, body: Value) -> (u16, Value) {
    let post = client.post(app.url("/api/auth/login")).json(&body);
    let answer = post.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

fn wrong(email: &str) -> Value {
    json!({"email": email, "password": "Wrong-horse-7"})
}

fn right(account: &Account) -> Value {
    json!({"email": account.email, "password": Account::PASSWORD})
}

#[tokio::test]
async fn wrong_passwords_from_one_address_keep_no_one_out_elsewhere() {
    // Of the account's limit the address alone cannot use up so much that its owner has none left.
    let app = TestApp::with(|options| {
        let options = in_this_process(options).parameter("SignInLimitPerMinute", "5");
        options.parameter("AccountSignInLimitPerMinute", "10")
    })
    .await;
    let account = app.register().await;
    start_of_window(&app);
    let (attacker, owner) = (at(66), at(67));
    for attempt in 1..=6 {
        let (status, _) = login(&app, &attacker, wrong(&account.email)).await;
        assert_eq!(status, if attempt <= 5 { 401 } else { 429 }, "{attempt}");
        let body = json!({"email": account.email, "password": Account::PASSWORD, "name": "M"});
        let register = attacker.post(app.url("/api/auth/register")).json(&body);
        register.send().await.unwrap();
    }
    let (status, _) = login(&app, &attacker, right(&account)).await;
    assert_eq!(status, 429, "who guesses has to wait");
    // Right ones are not limited, also not at once.
    for _ in 0..2 {
        let all = (0..8).map(|_| login(&app, &owner, right(&account)));
        for (status, body) in futures::future::join_all(all).await {
            assert_eq!(status, 200, "{body}");
        }
    }
    for _ in 0..4 {
        assert_eq!(login(&app, &owner, wrong(&account.email)).await.0, 401);
    }
    assert_eq!(login(&app, &owner, right(&account)).await.0, 200);
}

#[tokio::test]
async fn many_guesses_at_once_are_as_few_as_one_after_another() {
    let app = TestApp::with_documented_limits().await;
    let account = app.register().await;
    start_of_window(&app);
    let attacker = at(66);
    let all = (0..20).map(|_| login(&app, &attacker, wrong(&account.email)));
    let all = futures::future::join_all(all).await;
    let told = all.iter().filter(|(status, _)| *status == 401).count();
    let refused = all.iter().filter(|(status, _)| *status == 429).count();
    assert_eq!((told, refused), (5, 15));
}

#[tokio::test]
async fn guessing_from_many_addresses_is_bounded_and_keeps_out_no_known_device_or_network() {
    let app = TestApp::with(|options| {
        in_this_process(options)
            .parameter("SignInLimitPerMinute", "5")
            .parameter("AccountSignInLimitPerMinute", "12")
    })
    .await;
    let account = app.register().await;
    let stranger = app.register().await;
    let home = at(1);
    let (_, signed_in) = login(&app, &home, right(&account)).await;
    let device = signed_in["data"]["device_token"].clone();
    let (_, signed_in) = login(&app, &home, right(&stranger)).await;
    let strangers = signed_in["data"]["device_token"].clone();

    start_of_window(&app);
    for email in [account.email.as_str(), "nobody@example.com"] {
        let mut guesses = 0;
        for host in 70..80 {
            for _ in 0..3 {
                let (status, _) = login(&app, &at(host), wrong(email)).await;
                guesses += u32::from(status == 401);
            }
        }
        assert_eq!(guesses, 12, "{email}");
    }
    let travelling = at(90);
    let from = |body: Value, device: &Value| {
        let mut body = body;
        body["device_token"] = device.clone();
        body
    };
    assert_eq!(login(&app, &travelling, right(&account)).await.0, 429);
    let body = from(right(&account), &strangers);
    assert_eq!(login(&app, &travelling, body).await.0, 429);
    assert_eq!(login(&app, &home, right(&account)).await.0, 200);
    let body = from(right(&account), &device);
    let (status, signed_in) = login(&app, &travelling, body).await;
    assert_eq!(status, 200, "{signed_in}");
    assert_eq!(signed_in["data"]["device_token"], device);

    // Guesses that come with a device token are limited as well.
    start_of_window(&app);
    for attempt in 1..=6 {
        let body = from(wrong(&account.email), &device);
        let (status, _) = login(&app, &at(100 + attempt), body).await;
        assert_eq!(status, if attempt <= 5 { 401 } else { 429 }, "{attempt}");
    }
}

#[tokio::test]
async fn nobody_signs_in_while_attempts_cannot_be_counted() {
    let faults = DynamoDbFaults::default();
    let proxy = faults.proxy();
    let app = TestApp::with(|options| local::Options {
        dynamodb_proxy: Some(proxy),
        schedules: false,
        ..in_this_process(options)
    })
    .await;
    let account = app.register().await;
    let new = json!({"email": "new@example.com", "password": Account::PASSWORD, "name": "New"});
    let password =
        json!({"current_password": Account::PASSWORD, "new_password": Account::PASSWORD});
    let refresh = json!({"refresh_token": account.refresh_token});
    let counting = Calls::of("UpdateItem").by("IdentityFunction");
    faults.inject(Fault::Throttled, counting.containing("rate#"), 1_000);
    for (path, body) in [
        ("/api/auth/login", right(&account)),
        ("/api/auth/register", new),
        ("/api/auth/refresh", refresh),
        ("/api/auth/password", password),
    ] {
        let post = app.post(path, body).bearer(&account.access_token);
        assert_eq!(post.send().await.status, 500, "{path}");
    }
    // What needs a session already goes on.
    let me = app.get("/api/auth/me").bearer(&account.access_token);
    me.send().await.expect(200);
}

/// The tokens of a session, as a tab has them.
#[derive(Clone)]
struct Tab {
    access: String,
    refresh: String,
}

impl Tab {
    fn of(answer: &Value) -> Self {
        let text = |name: &str| answer["data"][name].as_str().expect(name).to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }

    async fn refreshed(&self, app: &TestApp) -> Self {
        let body = json!({"refresh_token": self.refresh});
        let answer = app.post("/api/auth/refresh", body).send().await;
        Self::of(&answer.expect(200))
    }

    async fn is_refused(&self, app: &TestApp) {
        let body = json!({"refresh_token": self.refresh});
        let answer = app.post("/api/auth/refresh", body).send().await;
        answer.expect_refused(401);
    }

    async fn works(&self, app: &TestApp) -> bool {
        let me = app.get("/api/auth/me").bearer(&self.access).send().await;
        me.status == 200
    }
}

#[tokio::test]
async fn two_hundred_tabs_that_refresh_in_pairs_stay_signed_in() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let sessions = (0..100).map(|_| app.post("/api/auth/login", right(&account)).send());
    let sessions = futures::future::join_all(sessions).await;
    let tabs = sessions
        .into_iter()
        .map(|session| Tab::of(&session.expect(200)));
    let mut pairs: Vec<(Tab, Tab)> = tabs.map(|tab| (tab.clone(), tab)).collect();
    for _ in 0..3 {
        app.clock.advance(TimeDelta::minutes(55));
        let all = pairs.iter().map(|(first, second)| async {
            // Twice each, in any order.
            let both = async |tab: &Tab| tab.refreshed(&app).await.refreshed(&app).await;
            tokio::join!(both(first), both(second))
        });
        pairs = futures::future::join_all(all).await;
    }
    for (first, second) in &pairs {
        assert!(first.works(&app).await && second.works(&app).await);
    }
}

#[tokio::test]
async fn a_client_that_lost_the_answer_refreshes_again_and_a_thief_later_ends_the_session() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let answer = app.post("/api/auth/login", right(&account)).send().await;
    let stolen = Tab::of(&answer.expect(200));
    stolen.refreshed(&app).await;
    app.clock.advance(TimeDelta::seconds(29));
    let again = stolen.refreshed(&app).await;
    let next = again.refreshed(&app).await;
    assert!(again.works(&app).await && next.works(&app).await);
    assert_ne!(again.refresh, next.refresh);

    app.clock.advance(TimeDelta::seconds(31));
    stolen.is_refused(&app).await;
    assert!(!next.works(&app).await, "for both");
    next.is_refused(&app).await;
}

#[tokio::test]
async fn a_session_is_over_after_ninety_days_however_often_it_is_refreshed() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let answer = app.post("/api/auth/login", right(&account)).send().await;
    let mut tab = Tab::of(&answer.expect(200));
    for _ in 0..3 {
        app.clock.advance(TimeDelta::days(29));
        tab = tab.refreshed(&app).await;
    }
    app.clock.advance(TimeDelta::days(3));
    tab.is_refused(&app).await;
}

#[tokio::test]
async fn a_sign_in_by_a_slower_clock_than_the_new_passwords_is_as_good_as_any() {
    let app = TestApp::with_own_clock().await;
    let account = app.register().await;
    let body = json!({"current_password": Account::PASSWORD, "new_password": Account::PASSWORD});
    let change = app.post("/api/auth/password", body);
    let changed = change.bearer(&account.access_token).send().await;
    let changed = Tab::of(&changed.expect(200));
    app.clock.advance(TimeDelta::seconds(-2));
    let answer = app.post("/api/auth/login", right(&account)).send().await;
    let tab = Tab::of(&answer.expect(200));
    app.clock.advance(TimeDelta::minutes(2));
    assert!(tab.works(&app).await && changed.works(&app).await);
    assert!(tab.refreshed(&app).await.works(&app).await);
    let before = app.get("/api/auth/me").bearer(&account.access_token);
    before.send().await.expect_refused(401);
}
