//! Administration of a data directory on the command line.

use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{Client, Home, Running};

const DEMO: &str = "demo@signalbox.example";

/// The output of a command that worked.
#[track_caller]
fn shown(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

/// The one line of a command that did not.
#[track_caller]
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let text = text.trim_end().strip_prefix("signalbox: ");
    text.unwrap().to_owned()
}

/// Takes a command line apart as a shell does, and sends what it has curl send.
async fn paste(command: &str) -> (u16, String) {
    let script = format!("printf '%s\\0' {command}");
    let output = Command::new("sh").args(["-c", &script]).output().await;
    let words = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut words = words.trim_end_matches('\0').split('\0');
    assert_eq!(words.next(), Some("curl"));
    let (mut method, mut url, mut body) = ("GET", "", None);
    let mut headers = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "-X" => method = words.next().unwrap(),
            "-H" => headers.push(words.next().unwrap().split_once(": ").unwrap()),
            "-d" => body = words.next(),
            word => url = word,
        }
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn sign_in(platform: &Running, password: &str) -> Result<Client, u16> {
    let body = json!({"email": DEMO, "password": password});
    let request = Client::new(platform, "").request("POST", "/api/auth/login");
    let response = request.json(&body).send().await.unwrap();
    match response.status().as_u16() {
        200 => {
            let answer: Value = response.json().await.unwrap();
            let session = answer["data"]["access_token"].as_str().unwrap();
            Ok(Client::new(platform, session))
        }
        status => Err(status),
    }
}

#[tokio::test]
async fn a_first_start_greets_with_commands_that_work_and_a_second_one_does_not_greet() {
    let home = Home::new();
    let platform = home.start(&[]).await;
    let commands = platform.greeting.lines().map(str::trim);
    let commands: Vec<&str> = commands.filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(commands.len(), 3);
    for (command, expected) in commands.into_iter().zip([201, 200, 200]) {
        let (status, answer) = paste(command).await;
        assert_eq!(status, expected, "{command}: {answer}");
    }
    let password = platform.line("sign in").rsplit(' ').next().unwrap();
    let owner = sign_in(&platform, password).await.unwrap();
    let me = owner.get("/api/auth/me").await;
    assert_eq!((&me["email"], &me["role"]), (&json!(DEMO), &json!("ADMIN")));
    assert!(platform.stop().await.success());

    let platform = home.start(&[]).await;
    assert_eq!(platform.greeting, "");
    assert!(platform.stop().await.success());
}

#[tokio::test]
async fn lost_credentials_are_replaced_while_the_platform_is_stopped() {
    let home = Home::new();
    let platform = home.start(&[]).await;
    let lost = platform
        .line("sign in")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(platform.stop().await.success());

    let mut tokens = Vec::new();
    for (kind, path) in [
        ("prodgy", "/api/agent-base"),
        ("prowpt", "/api/auth/me"),
        ("agentplatform", "/api/v1/agents"),
    ] {
        let created = home
            .run(&["token", "create", "--kind", kind, "--name", "new"])
            .await;
        tokens.push((shown(created), path));
    }
    let password = shown(home.run(&["admin", "reset-password"]).await);

    let platform = home.start(&[]).await;
    for (token, path) in tokens {
        Client::new(&platform, &token).get(path).await;
    }
    assert_eq!(sign_in(&platform, &lost).await.err(), Some(401));
    assert!(sign_in(&platform, &password).await.is_ok());
}

#[tokio::test]
async fn a_super_admin_reads_other_organizations_until_the_role_is_taken_back() {
    let home = Home::new();
    let platform = home.start(&[]).await;
    let password = platform
        .line("sign in")
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    let body = json!({"email": "ada@example.com", "password": "Correct-horse-7", "name": "Ada"});
    let other = Client::new(&platform, "")
        .post("/api/auth/register", body)
        .await;
    let other = other["data"]["organization"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = async |client: &Client, path: &str| {
        let request = client
            .request("GET", path)
            .header("x-organization-id", &other);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["data"].clone()
    };
    let owner = sign_in(&platform, &password).await.unwrap();
    let own = read(&owner, "/api/organization").await["id"].clone();
    assert_ne!(own, other.as_str(), "from any other user it is ignored");
    assert!(platform.stop().await.success());

    let granted = home.run(&["admin", "grant", "--email", DEMO]).await;
    assert_eq!(shown(granted), format!("{DEMO} is SUPERADMIN now"));
    let token = shown(home.run(&["token", "create"]).await);
    let platform = home.start(&[]).await;
    let owner = sign_in(&platform, &password).await.unwrap();
    assert_eq!(
        read(&owner, "/api/organization").await["id"],
        other.as_str()
    );
    let validity = "/api/api-token/auth/validate";
    let powerful = Client::new(&platform, &token);
    assert_eq!(read(&powerful, validity).await["role"], "SUPERADMIN");
    assert!(platform.stop().await.success());

    shown(
        home.run(&["admin", "grant", "--email", DEMO, "--role", "admin"])
            .await,
    );
    let platform = home.start(&[]).await;
    let owner = sign_in(&platform, &password).await.unwrap();
    assert_eq!(read(&owner, "/api/organization").await["id"], own);
    let powerless = Client::new(&platform, &token);
    assert_eq!(read(&powerless, validity).await["role"], "ADMIN");
}

#[tokio::test]
async fn the_operator_decides_what_an_organization_may_use() {
    let home = Home::new();
    let platform = home.start(&[]).await;
    let password = platform.line("sign in").rsplit(' ').next().unwrap();
    let password = password.to_owned();
    assert!(platform.stop().await.success());

    let plan = ["admin", "plan", "--runs", "0", "--agents", "3"];
    let said = shown(home.run(&plan).await);
    assert_eq!(said, "agents: 3, runs a month: any, tokens a month: any");

    let platform = home.start(&[]).await;
    let owner = sign_in(&platform, &password).await.unwrap();
    let limits = &owner.get("/api/organization/plan").await["data"]["limits"];
    assert_eq!(limits, &json!({"agents": 3, "runs": null, "tokens": null}));
    assert!(platform.stop().await.success());
}

#[tokio::test]
async fn the_master_secret_is_rotated_any_number_of_times() {
    let home = Home::new();
    let platform = home.start(&[]).await;
    let key = platform.secret("ap_live_");
    let client = Client::new(&platform, &key);
    let body = json!({"name": "Ours", "provider": "openai", "secret": "sk-0123456789-abcdefghij"});
    let create = client.request("POST", "/api/v1/credentials").json(&body);
    assert_eq!(create.send().await.unwrap().status(), 201);
    assert!(platform.stop().await.success());
    for _ in 0..10 {
        let rotate = home.run(&["admin", "rotate-secret"]).await;
        assert_eq!(shown(rotate), "the master secret is rotated");
    }
    let platform = home.start(&[]).await;
    let credentials = Client::new(&platform, &key)
        .get("/api/v1/credentials")
        .await;
    assert_eq!(credentials["data"][0]["status"], "active");
}

#[tokio::test]
async fn what_cannot_be_administered_is_said_in_one_line() {
    let commands: [&[&str]; 3] = [
        &["token", "create"],
        &["admin", "reset-password"],
        &["admin", "grant", "--email", DEMO],
    ];
    let home = Home::new();
    let data = home.data();
    let data = data.display();
    for command in commands {
        let refused = refusal(home.run(command).await);
        let expected =
            format!("data directory {data} has no data yet: start `signalbox` on it first");
        assert_eq!(refused, expected);
    }
    assert!(!home.data().exists(), "the first start is still to come");

    let platform = home.start(&[]).await;
    assert_ne!(platform.greeting, "");
    for command in commands {
        let refused = refusal(home.run(command).await);
        assert_eq!(
            refused,
            format!("data directory {data} is in use by another signalbox")
        );
    }
    assert!(platform.stop().await.success());

    for command in [
        &["token", "create", "--email", "eve@example.com"][..],
        &["admin", "reset-password", "--email", "eve@example.com"],
        &["admin", "grant", "--email", "eve@example.com"],
    ] {
        let refused = refusal(home.run(command).await);
        assert_eq!(refused, "there is no user eve@example.com");
    }
}
