//! The platform as a whole: schedules, data, and what keeps it from starting.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use bench::DynamoDbRecorder;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use local::{Data, Options, Platform};
use serde_json::json;

use crate::fixture::{next, options, start, start_error, template};

fn kept_in(directory: &Path) -> Options {
    let (options, _) = options();
    Options {
        data: Data::Directory(directory.to_owned()),
        schedules: false,
        ..options
    }
}

async fn put(platform: &Platform, key: &str) {
    let services = platform.services();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = services
        .dynamodb
        .put_item()
        .table_name(&services.config.tables.records)
        .item("PK", text(key))
        .item("SK", text("x"));
    put.send().await.unwrap();
}

async fn has(platform: &Platform, key: &str) -> bool {
    let services = platform.services();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let got = services
        .dynamodb
        .get_item()
        .table_name(&services.config.tables.records)
        .key("PK", text(key))
        .key("SK", text("x"));
    got.send().await.unwrap().item.is_some()
}

#[tokio::test]
async fn schedules_fire_once_at_start_and_say_what_is_abandoned() {
    let before: DateTime<Utc> = runtime::Clock::system().now();
    let (platform, mut seen) = start().await;
    let tick = next(&mut seen.ticks).await;
    assert_eq!(tick["stage"], "test");
    let abandoned: DateTime<Utc> = tick["abandoned_before"].as_str().unwrap().parse().unwrap();
    assert!(abandoned >= before && abandoned - before < TimeDelta::seconds(5));

    assert_eq!(
        platform
            .invoke("TickFunction", json!({ "by": "hand" }))
            .await
            .unwrap(),
        "ticked"
    );
    assert_eq!(next(&mut seen.ticks).await, json!({ "by": "hand" }));
    assert_eq!(
        platform
            .invoke("EchoFunction", json!({}))
            .await
            .unwrap_err()
            .to_string(),
        "EchoFunction takes no events"
    );
    platform.stop().await;
    assert!(seen.ticks.try_recv().is_err());
}

#[tokio::test]
async fn functions_get_exactly_the_environment_that_the_template_and_lambda_give() {
    let (platform, _seen) = start().await;
    let environment = platform.function_environment("OtherFunction").unwrap();
    let mut names: Vec<&str> = environment
        .keys()
        .map(String::as_str)
        .filter(|name| !name.starts_with("AWS_LAMBDA_"))
        .collect();
    names.sort_unstable();
    let expected = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "COUNTERS_TABLE",
        "FILES_BUCKET",
        "GREETING",
        "LOGS_TABLE",
        "OUTBOUND_OWN_PORTS",
        "RECORDS_TABLE",
        "SECRET_ARN",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        environment["AWS_LAMBDA_FUNCTION_NAME"],
        "signalbox-OtherFunction"
    );
}

#[tokio::test]
async fn data_and_secrets_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("deep/data");
    let secret = async |platform: &Platform| {
        platform
            .services()
            .secrets
            .master_keys()
            .await
            .unwrap()
            .current
            .secret
            .clone()
    };

    let platform = Platform::start(kept_in(&data)).await.unwrap();
    assert!(platform.is_first_start());
    put(&platform, "kept").await;
    let first = secret(&platform).await;
    platform.stop().await;

    let platform = Platform::start(kept_in(&data)).await.unwrap();
    assert!(!platform.is_first_start());
    assert!(has(&platform, "kept").await);
    assert!(!has(&platform, "never put").await);
    assert_eq!(secret(&platform).await, first);
    // A platform that is dropped lets go of its directory as well.
    drop(platform);
    Platform::start(kept_in(&data)).await.unwrap().stop().await;

    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["secrets.json", "dynamodb.sqlite"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn the_owner_of_the_data_directory_finds_a_key_in_it_while_the_platform_runs() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aws.env");
    use std::os::unix::fs::PermissionsExt;
    // One that an earlier start left, and that others may read, does not stay.
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let platform = Platform::start(kept_in(directory.path())).await.unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let variables = text.lines().map(|line| line.split_once('=').unwrap());
    let mut variables: HashMap<String, String> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for name in [
        "RECORDS_TABLE",
        "COUNTERS_TABLE",
        "LOGS_TABLE",
        "FILES_BUCKET",
        "SECRET_ARN",
    ] {
        variables.insert(name.to_owned(), "unknown".to_owned());
    }
    let config = runtime::Config::from_map(&variables).unwrap();
    let services = runtime::Services::new(config, runtime::Clock::system());
    let tables = services.dynamodb.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), ["signalbox-RecordsTable"]);
    services.s3.list_buckets().send().await.unwrap();
    services.sqs.list_queues().send().await.unwrap();
    platform.stop().await;
    assert!(!file.exists());
}

#[tokio::test]
async fn objects_are_kept_with_the_data_and_given_to_those_who_sign() {
    let directory = tempfile::tempdir().unwrap();
    let platform = Platform::start(kept_in(directory.path())).await.unwrap();
    let bucket = &platform.deployment().buckets[0].name;
    assert_eq!(bucket, "signalbox-filesbucket");
    assert_eq!(platform.services().config.files_bucket, *bucket);
    let s3 = platform.services().s3;
    let put = s3.put_object().bucket(bucket).key("v/1/2");
    let body = b"kept".to_vec();
    put.body(body.clone().into()).send().await.unwrap();
    let known = platform.services().config.aws.access_key_id.clone();
    let stranger = s3.config().to_builder();
    let stranger = stranger.credentials_provider(aws_sdk_s3::config::Credentials::new(
        known, "guessed", None, None, "test",
    ));
    let stranger = aws_sdk_s3::Client::from_conf(stranger.build());
    let refused = stranger.get_object().bucket(bucket).key("v/1/2");
    let refused = refused.send().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("SignatureDoesNotMatch"));
    platform.stop().await;

    let platform = Platform::start(kept_in(directory.path())).await.unwrap();
    let services = platform.services();
    let get = services.s3.get_object();
    let get = get.bucket(&services.config.files_bucket).key("v/1/2");
    let kept = get.send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(kept.to_vec(), body);
}

#[tokio::test]
async fn an_index_is_added_to_a_table_and_another_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let platform = Platform::start(kept_in(directory.path())).await.unwrap();
    put(&platform, "before").await;
    platform.stop().await;

    let (_guard, file) = template(|text| {
        let index = "- { IndexName: Backwards,";
        let added = "- { IndexName: Added, KeySchema: [{ AttributeName: SK, KeyType: HASH }, { AttributeName: PK, KeyType: RANGE }], Projection: { ProjectionType: ALL } }";
        text.replace(index, &format!("{added}\n        {index}"))
    });
    let platform = Platform::start(Options {
        template: file.into(),
        ..kept_in(directory.path())
    })
    .await
    .unwrap();
    let services = platform.services();
    let query = services
        .dynamodb
        .query()
        .table_name(&services.config.tables.records)
        .index_name("Added");
    let query = query
        .key_condition_expression("SK = :sk")
        .expression_attribute_values(":sk", AttributeValue::S("x".to_owned()));
    assert_eq!(query.send().await.unwrap().count, 1);
    platform.stop().await;

    let (_guard, file) = template(|text| {
        text.replace("KeySchema: [{ AttributeName: PK, KeyType: HASH }, { AttributeName: SK, KeyType: RANGE }]", "KeySchema: [{ AttributeName: SK, KeyType: HASH }]")
    });
    let error = start_error(Options {
        template: file.into(),
        ..kept_in(directory.path())
    })
    .await;
    let expected = "table signalbox-RecordsTable has the key (PK, SK) in the data directory, the template says (SK): move the data directory away to start anew";
    assert_eq!(error, expected);

    let (_guard, file) =
        template(|text| text.replace("ProjectionType: KEYS_ONLY", "ProjectionType: ALL"));
    let error = start_error(Options {
        template: file.into(),
        ..kept_in(directory.path())
    })
    .await;
    assert!(
        error.starts_with(
            "index Backwards of table signalbox-RecordsTable is another one in the data directory"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn calls_pass_through_a_dynamodb_proxy_on_their_way() {
    let (options, _seen) = options();
    let recorder = DynamoDbRecorder::without_delay();
    let platform = Platform::start(Options {
        dynamodb_proxy: Some(recorder.proxy()),
        ..options
    })
    .await
    .unwrap();
    recorder.take();
    put(&platform, "seen").await;
    let seen = recorder.take();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].caller.as_str(), seen[0].operation.as_str()),
        ("local", "PutItem")
    );
    assert!(has(&platform, "seen").await);
}

#[tokio::test]
async fn many_platforms_run_side_by_side() {
    let platforms = join_all((0..12).map(|_| start())).await;
    for (index, (platform, _)) in platforms.iter().enumerate() {
        put(platform, &format!("of {index}")).await;
    }
    for (index, (platform, _)) in platforms.iter().enumerate() {
        assert!(has(platform, &format!("of {index}")).await);
        assert!(!has(platform, &format!("of {}", index + 1)).await);
    }
    join_all(platforms.into_iter().map(|(platform, _)| platform.stop())).await;
}

#[tokio::test]
async fn what_keeps_a_platform_from_starting_is_said_in_one_line() {
    let missing =
        |bin: &str| format!("Resources.{bin}Function.Properties.CodeUri: there is no code for ");
    let (_guard, file) =
        template(|text| text.replace("target/lambda/echo/", "target/lambda/nothing/"));
    let (options, _seen) = self::options();
    let error = start_error(Options {
        template: file.clone().into(),
        ..options
    })
    .await;
    assert_eq!(
        error,
        format!("{}: {}nothing", file.display(), missing("Echo"))
    );

    let (_guard, file) =
        template(|text| text.replace("target/lambda/other", "target/lambda/worker"));
    let (options, _seen) = self::options();
    let error = start_error(Options {
        template: file.clone().into(),
        ..options
    })
    .await;
    assert_eq!(
        error,
        format!(
            "{}: Resources.OtherFunction.Properties.Events.Latest: OtherFunction does not answer requests",
            file.display()
        )
    );

    let (_guard, file) =
        template(|text| text.replace("        RECORDS_TABLE: !Ref RecordsTable\n", ""));
    let (options, _seen) = self::options();
    let error = start_error(Options {
        template: file.into(),
        ..options
    })
    .await;
    assert!(
        error.ends_with("Environment.Variables: environment variable RECORDS_TABLE is not set"),
        "{error}"
    );

    let (mut options, _seen) = self::options();
    options.registry = options
        .registry
        .with("tick", async |_| Err("no luck today".into()));
    assert_eq!(
        start_error(options).await,
        "function TickFunction cannot start: no luck today"
    );
}

#[tokio::test]
async fn starting_takes_no_time() {
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let started = std::time::Instant::now();
        let (platform, _seen) = start().await;
        quickest = quickest.min(started.elapsed());
        platform.stop().await;
    }
    // Several times what it takes, as this is an unoptimized build on a busy machine.
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
}
