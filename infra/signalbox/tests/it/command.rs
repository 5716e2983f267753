//! The real binary: exit codes and the one line on standard error.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use local::{Data, Options, Platform};

use crate::fixture::{TEMPLATE, options};

/// A template with one of the product's functions.
const IDENTITY_ONLY: &str = "
Resources:
  Api: { Type: AWS::Serverless::Api, Properties: { StageName: dev } }
  IdentityFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: target/lambda/identity/
      Environment: { Variables: { RECORDS_TABLE: !Ref Table, COUNTERS_TABLE: !Ref Table, LOGS_TABLE: !Ref Table, FILES_BUCKET: none, SECRET_ARN: !Ref Secret } }
      Events:
        Health: { Type: Api, Properties: { RestApiId: !Ref Api, Path: /healthz, Method: ANY } }
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: PK, AttributeType: S }, { AttributeName: SK, AttributeType: S }]
      KeySchema: [{ AttributeName: PK, KeyType: HASH }, { AttributeName: SK, KeyType: RANGE }]
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties: { GenerateSecretString: { PasswordLength: 64 } }
";

/// A template that needs no code.
const TABLE_ONLY: &str = "
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: PK, AttributeType: S }]
      KeySchema: [{ AttributeName: PK, KeyType: HASH }]
";

fn signalbox(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_signalbox"))
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .args(arguments)
        .output()
        .unwrap()
}

fn refusal(template: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("template.yaml"), template).unwrap();
    refusal_in(directory.path(), arguments)
}

fn refusal_in(directory: &Path, arguments: &[&str]) -> String {
    let output = signalbox(directory, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
        .trim_end()
        .strip_prefix("signalbox: ")
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn it_says_when_it_is_ready_and_ends_well_on_either_signal() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("template.yaml"), IDENTITY_ONLY).unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    for signal in ["TERM", "INT"] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_signalbox"))
            .current_dir(&below)
            .env_remove("RUST_LOG")
            .args(["--port", "0", "--log", "error"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        // A first start greets before it is ready.
        let url = output
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("ready ")?.to_owned()))
            .unwrap();
        let health = reqwest::get(format!("{url}/healthz")).await.unwrap();
        assert_eq!(health.status(), 200);

        let kill = format!("kill -{signal} {}", process.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let ended = process.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
        assert_eq!(output.count(), 0);
    }
    // Found above, the template has its data beside it.
    assert!(
        directory
            .path()
            .join(".signalbox/dynamodb.sqlite")
            .is_file()
    );
}

#[tokio::test]
async fn without_a_template_it_runs_the_one_that_it_was_built_with() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_signalbox"))
        .current_dir(directory.path())
        .env_remove("RUST_LOG")
        .args(["--port", "0", "--log", "error"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut ready = output.by_ref().map(Result::unwrap);
    let url = ready.find_map(|line| Some(line.strip_prefix("ready ")?.to_owned()));
    let documents = reqwest::get(format!("{}/swagger.json", url.unwrap())).await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(documents.unwrap().status(), 200);
    assert!(
        directory
            .path()
            .join(".signalbox/dynamodb.sqlite")
            .is_file()
    );
    let help = signalbox(directory.path(), &["local", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("the one that this program has in it"),
        "{help}"
    );
}

#[test]
fn a_busy_port_is_named() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let error = refusal(TABLE_ONLY, &["--ephemeral", "--port", &port.to_string()]);
    assert_eq!(
        error,
        format!("port {port} of 127.0.0.1 is in use by another program; choose one with --port")
    );
}

#[tokio::test]
async fn a_data_directory_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("template.yaml"), TABLE_ONLY).unwrap();
    let (options, _seen) = options();
    let data = Data::Directory(directory.path().join(".signalbox"));
    let platform = Platform::start(Options { data, ..options }).await.unwrap();
    let error = refusal_in(directory.path(), &["local", "--port", "0"]);
    assert_eq!(
        error,
        "data directory .signalbox is in use by another signalbox"
    );
    platform.stop().await;
}

#[test]
fn a_data_directory_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("template.yaml"), TABLE_ONLY).unwrap();
    fs::write(directory.path().join("taken"), "").unwrap();
    let error = refusal_in(directory.path(), &["--port", "0", "--data-dir", "taken"]);
    assert!(
        error.starts_with("data directory taken cannot be used: "),
        "{error}"
    );

    let garbage = directory.path().join("garbage");
    fs::create_dir(&garbage).unwrap();
    fs::write(
        garbage.join("dynamodb.sqlite"),
        "this is no database, whatever its name says",
    )
    .unwrap();
    let error = refusal_in(directory.path(), &["--port", "0", "--data-dir", "garbage"]);
    assert!(
        error.starts_with("cannot open garbage/dynamodb.sqlite: "),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_the_template_is_named() {
    let echo = "template.yaml: Resources.EchoFunction.Properties";
    for (template, arguments, expected) in [
        (TEMPLATE.replace("!FindInMap [Tone, formal, Farewell]", "!Foo x"), &["--ephemeral"][..], format!("{echo}.Environment.Variables.FAREWELL: unknown intrinsic Fn::Foo")),
        (TEMPLATE.to_owned(), &["--ephemeral"], "template.yaml: Resources.DeadLettersFunction.Properties.CodeUri: there is no code for dead-letters".to_owned()),
        (TEMPLATE.replace("RestApiId: !Ref Api, Path: /slow", "RestApiId: x, Path: /slow"), &["--ephemeral"], format!("{echo}.Events.Slow.Properties.RestApiId: the route belongs to x, so it leads to no function")),
        (TEMPLATE.to_owned(), &["local", "--ephemeral", "--param", "Loudness=11"], "template.yaml: Parameters: there is no parameter Loudness".to_owned()),
        ("Resources: [".to_owned(), &[], "template.yaml: ".to_owned()),
    ] {
        let error = refusal(&template, arguments);
        assert!(error.starts_with(&expected), "{error}\nis not\n{expected}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = refusal_in(empty.path(), &["--template", "elsewhere.yaml"]);
    assert_eq!(
        error,
        "elsewhere.yaml: No such file or directory (os error 2)"
    );
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["--port", "many"][..],
        &["--param", "NoValue"],
        &["--ephemeral", "--data-dir", "x"],
        &["dance"],
    ] {
        assert_eq!(
            signalbox(directory.path(), arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_demo_holds_and_shows_no_secret() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = signalbox(Path::new(root), &["demo"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("an open database transaction"), "{text}");
    let longest = text
        .split_whitespace()
        .filter(|word| word.contains("_live_") || word.contains("prodgy_"));
    assert!(longest.map(str::len).max().unwrap() < 16, "{text}");
}

#[test]
fn a_demo_that_cannot_go_on_says_at_which_step() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("template.yaml"), IDENTITY_ONLY).unwrap();
    let output = signalbox(directory.path(), &["demo"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("step 2 (Register an organization) failed: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}
