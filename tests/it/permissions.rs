//! Least privilege, proven: what the template lets functions do is what they do.
//!
//! Every function signs with an access key id of its own, so proxies before DynamoDB and S3 see who asks for what. A scenario
//! calls every operation of the API; what was asked for and what is granted must then be the same.

mod scenario;
mod template_grants;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use testkit::fakes::OpenMeteo;
use testkit::{Call, DynamoDbRecorder, S3Recorder, TestApp, in_this_process};

use self::scenario::Scenario;
use self::template_grants::{Grant, functions, grants, resource, template};

#[tokio::test]
async fn functions_may_do_to_tables_and_buckets_what_they_do_and_nothing_else() {
    let recorder = DynamoDbRecorder::without_delay();
    let weather = OpenMeteo::start().await;
    let objects = S3Recorder::default();
    let (proxy, objects_proxy) = (recorder.proxy(), objects.proxy());
    let app = TestApp::with(|options| {
        let options = local::Options {
            dynamodb_proxy: Some(proxy),
            s3_proxy: Some(objects_proxy),
            schedules: false,
            ..in_this_process(options)
        };
        options
            .parameter("RunRetentionDays", "365")
            .parameter("RunsAtOncePerOrganization", "2")
            .parameter("OpenMeteoGeocodingUrl", weather.url())
            .parameter("OpenMeteoForecastUrl", weather.url())
    })
    .await;
    let deployment = app.platform.deployment().clone();
    let scenario = Scenario::new(app);
    scenario.play().await;
    scenario.assert_every_operation_was_called();

    let resource = |table: &str, index: Option<&str>| {
        let found = deployment.tables.iter().find(|known| known.name == table);
        let id = &found
            .unwrap_or_else(|| panic!("no table {table}"))
            .logical_id;
        index.map_or_else(|| id.clone(), |index| format!("{id}/index/{index}"))
    };
    let is_function = |caller: &str| deployment.function(caller).is_some();
    let mut needed = BTreeSet::new();
    let calls = recorder.take();
    let tables = deployment.tables.iter();
    let removed_by = tables.map(|table| (table.name.clone(), table.ttl_attribute.clone()));
    assert_what_expires_is_removed(&calls, &removed_by.collect());
    for call in calls {
        let accesses = call.accesses().into_iter();
        needed.extend(
            accesses
                .filter(|_| is_function(&call.caller))
                .map(|access| {
                    let on = resource(&access.table, access.index.as_deref());
                    (call.caller.clone(), access.action, on)
                }),
        );
    }
    for call in objects.take() {
        let mut buckets = deployment.buckets.iter();
        let bucket = buckets.find(|known| known.name == call.bucket);
        let bucket = &bucket
            .unwrap_or_else(|| panic!("no bucket {call:?}"))
            .logical_id;
        // What policies name is a folder of the bucket.
        let on = match call.key.split_once('/') {
            Some((folder, _)) => format!("{bucket}/{folder}/*"),
            None => bucket.clone(),
        };
        if is_function(&call.caller) {
            needed.insert((call.caller, call.action, on));
        }
    }
    let mut granted = grants();
    granted.retain(|(_, action, _)| is_data(action));

    let missing: Vec<&Grant> = needed.difference(&granted).collect();
    assert!(missing.is_empty(), "not granted: {missing:#?}");
    let unused: Vec<&Grant> = granted.difference(&needed).collect();
    assert!(unused.is_empty(), "granted and not used: {unused:#?}");
}

/// An expiry in a table without a time to live would do nothing.
fn assert_what_expires_is_removed(calls: &[Call], removed_by: &BTreeMap<String, Option<String>>) {
    let sets_expiry = |write: &Value| {
        let update = write["UpdateExpression"].as_str().unwrap_or_default();
        let names = write["ExpressionAttributeNames"].as_object();
        let mut names = names.into_iter().flatten();
        !write["Item"]["expires"].is_null()
            || update.contains("expires =")
            || names.any(|(_, name)| name == "expires")
    };
    let mut expiring = BTreeSet::new();
    for call in calls {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let writes = body["TransactItems"].as_array();
        let writes = writes.into_iter().flatten().filter_map(Value::as_object);
        for write in writes.flatten().map(|(_, write)| write).chain([&body]) {
            if sets_expiry(write) {
                let table = write["TableName"].as_str();
                expiring.extend(table.map(str::to_owned));
            }
        }
    }
    assert_eq!(expiring.len(), 3, "{expiring:?}");
    for name in expiring {
        assert_eq!(removed_by[&name].as_deref(), Some("expires"), "{name}");
    }
}

/// Returns `true` if an action is on a table or a bucket.
fn is_data(action: &str) -> bool {
    action.starts_with("dynamodb:") || action.starts_with("s3:")
}

#[test]
fn queues_secrets_and_logs_are_granted_to_the_functions_that_are_told_of_them() {
    let template = template();
    let mut needed = BTreeSet::new();
    let mut need = |function: &str, action: &str, resource: &str| {
        needed.insert((function.to_owned(), action.to_owned(), resource.to_owned()));
    };
    for (function, properties) in functions(&template) {
        let variables = &properties["Environment"]["Variables"];
        for queue in ["RUN_QUEUE_URL", "ALONE_RUN_QUEUE_URL"] {
            if let Some(queue) = variables.get(queue) {
                need(function, "sqs:SendMessage", &resource(queue));
            }
        }
        if variables.get("BEDROCK_BY_ROLE").is_some() {
            let asking = "bedrock:InvokeModelWithResponseStream";
            need(function, asking, "BedrockModelArns");
        }
        if ["ExecutionsWorkerFunction", "TriggersTickFunction"].contains(&function) {
            // One opens the keys of models' providers, the other keeps the data keys wrapped.
            need(function, "secretsmanager:GetSecretValue", "MasterSecret");
        }
        let events = properties["Events"].as_mapping().unwrap().values();
        for event in events {
            match event["Type"].as_str().unwrap() {
                // Sessions are checked, and kept responses sealed, with keys that the secret makes. The documents are
                // open to all callers.
                "Api" if function == "DocsFunction" => {}
                "Api" => need(function, "secretsmanager:GetSecretValue", "MasterSecret"),
                "SQS" => {
                    let queue = resource(&event["Properties"]["Queue"]);
                    for action in ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"] {
                        need(function, &format!("sqs:{action}"), &queue);
                    }
                }
                _ => {}
            }
        }
        // What SAM grants by itself to a function without a role of its own.
        if properties.get("Role").is_some() {
            let shared = &template["Globals"]["Function"]["LoggingConfig"];
            let group = resource(&shared["LogGroup"]);
            for action in ["logs:CreateLogStream", "logs:PutLogEvents"] {
                need(function, action, &group);
            }
            for action in ["xray:PutTraceSegments", "xray:PutTelemetryRecords"] {
                need(function, action, "*");
            }
        }
    }
    let mut granted = grants();
    granted.retain(|(_, action, _)| !is_data(action));
    assert_eq!(granted, needed);
}
