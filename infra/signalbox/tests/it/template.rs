//! Templates evaluated, and the one line that says why one cannot be.

use std::collections::BTreeMap;

use local::template::{Deployment, Endpoints, Template};

use crate::fixture::TEMPLATE;

fn evaluate(text: &str, parameters: &[(&str, &str)]) -> Result<Deployment, String> {
    let parameters: BTreeMap<String, String> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let template = Template::parse("template.yaml", text).map_err(|error| error.to_string())?;
    Deployment::evaluate(&template, &parameters, &Endpoints::default())
        .map_err(|error| error.to_string())
}

#[test]
fn intrinsics_become_values() {
    let deployment = evaluate(TEMPLATE, &[]).unwrap();
    let environment = &deployment.function("EchoFunction").unwrap().environment;
    for (name, value) in [
        ("RECORDS_TABLE", "signalbox-RecordsTable"),
        (
            "SECRET_ARN",
            "arn:aws:secretsmanager:us-east-1:000000000000:secret:signalbox-MasterSecret-local0",
        ),
        ("GREETING", "hello"),
        (
            "QUEUE_URL",
            "http://127.0.0.1:0/000000000000/signalbox-WorkQueue",
        ),
        (
            "QUEUE_ARN",
            "arn:aws:sqs:us-east-1:000000000000:signalbox-WorkQueue",
        ),
        (
            "SUBSTITUTED",
            "hello big-world, ${literally} in us-east-1 from signalbox-WorkQueue",
        ),
        ("FAREWELL", "goodbye"),
        ("SECOND", "b"),
        (
            "LONG_FORM",
            "arn:aws:dynamodb:us-east-1:000000000000:table/signalbox-RecordsTable",
        ),
        ("FILES_BUCKET", "signalbox-filesbucket"),
        ("FILES", "arn:aws:s3:::signalbox-filesbucket/v/*"),
    ] {
        assert_eq!(
            environment.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(environment.get("NOTHING"), None);
}

#[test]
fn globals_and_conditions_decide_what_there_is() {
    let quiet = evaluate(TEMPLATE, &[]).unwrap();
    let timeout = |id: &str| quiet.function(id).unwrap().timeout.as_secs();
    assert_eq!((timeout("EchoFunction"), timeout("OtherFunction")), (1, 2));
    assert!(quiet.function("LoudFunction").is_none());
    assert!(quiet.routes.iter().all(|route| route.path != "/loud"));

    let loud = evaluate(TEMPLATE, &[("Shouting", "yes")]).unwrap();
    assert_eq!(
        loud.function("LoudFunction").unwrap().environment["GREETING"],
        "LOUD"
    );
    assert!(
        loud.routes
            .iter()
            .any(|route| route.path == "/loud" && route.method == "GET")
    );
    assert_eq!(
        loud.function("EchoFunction").unwrap().environment["NOTHING"],
        "something"
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line_that_names_the_place() {
    let change = |from: &str, to: &str| {
        assert!(TEMPLATE.contains(from), "{from}");
        TEMPLATE.replace(from, to)
    };
    let echo = "Resources.EchoFunction.Properties";
    let rows = [
        (change("!FindInMap [Tone, formal, Farewell]", "!Foo bar"), format!("{echo}.Environment.Variables.FAREWELL: unknown intrinsic Fn::Foo")),
        (change("!If [IsShouting, LOUD, !Ref Greeting]", "!Foo bar"), "Globals.Function.Environment.Variables.GREETING: unknown intrinsic Fn::Foo".to_owned()),
        (change("!Equals [a, b]", "!Foo bar"), "Conditions.IsQuiet: unknown intrinsic Fn::Foo".to_owned()),
        (change("!Ref WorkQueue", "!Ref Nowhere"), format!("{echo}.Environment.Variables.QUEUE_URL: Nowhere is neither a parameter nor a resource")),
        (change("!Ref WorkQueue", "!Ref LoudFunction"), format!("{echo}.Environment.Variables.QUEUE_URL: LoudFunction does not exist, as its condition is false")),
        (change("[RecordsTable, Arn]", "[RecordsTable, Colour]"), format!("{echo}.Environment.Variables.LONG_FORM: RecordsTable.Colour of a AWS::DynamoDB::Table has no value on this machine")),
        (change("QueueName: dead-letters", "QueueName: !GetAtt DeadQueue.QueueName"), "refers to itself".to_owned()),
        (change("CodeUri: target/lambda/echo/", "Handler: bootstrap"), format!("{echo}.CodeUri: is missing, so this function has no code")),
        (change("CodeUri: target/lambda/echo/", "CodeUri: src/"), format!("{echo}.CodeUri: src/ is not target/lambda/<bin>/")),
        (change("      Timeout: 1\n", "      Timeout: soon\n"), format!("{echo}.Timeout: soon: invalid digit found in string")),
        (change("Path: /slow", "Path: /things"), format!("{echo}.Events.Things.Properties.Path: GET /things already leads to EchoFunction")),
        (change("Path: /slow", "Path: '/things/{name}/parts'"), format!("{echo}.Events.Thing.Properties.Path: API Gateway refuses {{id}} beside {{name}}")),
        (change("Path: /slow", "Path: 'slow'"), format!("{echo}.Events.Slow.Properties.Path: slow does not begin with a slash")),
        (change("ResponseTransferMode: RESPONSE_STREAM", "ResponseTransferMode: STREAM"), "Resources.StreamFunction.Properties.Events.Stream.Properties.ResponseTransferMode: STREAM is not RESPONSE_STREAM".to_owned()),
        (change("TimeoutInMillis: 60000", "TimeoutInMillis: 900001"), "Resources.StreamFunction.Properties.Events.Stream.Properties.TimeoutInMillis: must be between 50 and 900000".to_owned()),
        (change("RestApiId: !Ref Api, Path: /slow", "TimeoutInMillis: 30000, RestApiId: !Ref Api, Path: /slow"), format!("{echo}.Events.Slow.Properties.TimeoutInMillis: must be between 50 and 29000")),
        (change("RestApiId: !Ref Api, Path: /slow", "RestApiId: Elsewhere, Path: /slow"), format!("{echo}.Events.Slow.Properties.RestApiId: the route belongs to Elsewhere, so it leads to no function")),
        (change("RestApiId: !Ref Api, Path: /slow", "Path: /slow"), format!("{echo}.Events.Slow.Properties.RestApiId: the route belongs to an API that the template does not declare, so it leads to no function")),
        (change("      StageName: !Ref StageName\n", "      StageName: x\n      DefinitionBody: {}\n"), "Resources.Api.Properties.DefinitionBody: routes come from the functions' Api events; here they lead to no function".to_owned()),
        (change("Queue: !GetAtt DeadQueue.Arn }", "Queue: 'arn:aws:sqs:us-east-1:1:x' }"), "Resources.DeadLettersFunction.Properties.Events.Dead.Properties.Queue: the template has no queue arn:aws:sqs:us-east-1:1:x".to_owned()),
        (change("rate(1 minute)", "rate(1 moment)"), "Resources.TickFunction.Properties.Events.EveryMinute.Properties.ScheduleExpression: rate(1 moment) is not a rate".to_owned()),
        (change("Type: ScheduleV2, Properties: { ScheduleExpression: rate", "Type: Kinesis, Properties: { ScheduleExpression: rate"), "Resources.TickFunction.Properties.Events.EveryMinute.Type: Kinesis events do not exist on this machine".to_owned()),
        (change("KeyType: RANGE", "KeyTipe: RANGE"), "Resources.RecordsTable.Properties.KeySchema.1: missing field `KeyType`".to_owned()),
        (change("BucketEncryption: { ServerSide", "NotificationConfiguration: { ServerSide"), "Resources.FilesBucket.Properties.NotificationConfiguration: does not exist for buckets of this machine".to_owned()),
        (change("      BucketEncryption:", "      VersioningConfiguration: { Status: Enabled }\n      BucketEncryption:"), "Resources.FilesBucket.Properties.VersioningConfiguration.Status: must be Suspended: this machine keeps no versions".to_owned()),
        (change("      BucketEncryption:", "      BucketName: Files\n      BucketEncryption:"), "Resources.FilesBucket.Properties.BucketName: Files must have 3 to 63 lower-case letters, digits, hyphens and dots".to_owned()),
        (change("Resources:\n", "Resources: [\n"), "at line".to_owned()),
        ("Parameters: {}\n".to_owned(), "the template has no Resources".to_owned()),
    ];
    for (text, expected) in rows {
        let error = evaluate(&text, &[]).expect_err(&expected);
        assert!(
            error.starts_with("template.yaml: ") && error.ends_with(&expected)
                || (expected == "at line" && error.contains(&expected)),
            "{error}\nis not\n{expected}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn parameters_are_checked_as_cloudformation_checks_them() {
    for (name, value, expected) in [
        (
            "Greeting",
            "Hello",
            r#"Parameters.Greeting: "Hello" does not match [a-z ]+"#,
        ),
        (
            "Concurrency",
            "many",
            r#"Parameters.Concurrency: "many" is not a number"#,
        ),
        (
            "Concurrency",
            "1",
            r#"Parameters.Concurrency: "1" is less than 2"#,
        ),
        (
            "Concurrency",
            "51",
            r#"Parameters.Concurrency: "51" is more than 50"#,
        ),
        (
            "Shouting",
            "maybe",
            r#"Parameters.Shouting: "maybe" is none of yes, no"#,
        ),
        (
            "Password",
            "S3CRET",
            "Parameters.Password: its value does not match [a-z]*",
        ),
        ("Volume", "11", "Parameters: there is no parameter Volume"),
    ] {
        assert_eq!(
            evaluate(TEMPLATE, &[(name, value)]).unwrap_err(),
            format!("template.yaml: {expected}")
        );
    }
    let without_default = TEMPLATE.replace(
        "Greeting: { Type: String, Default: hello,",
        "Greeting: { Type: String,",
    );
    let error = evaluate(&without_default, &[]).unwrap_err();
    assert_eq!(
        error,
        "template.yaml: Parameters.Greeting: has no default; give it a value with --param"
    );
    assert!(evaluate(&without_default, &[("Greeting", "good day")]).is_ok());
}

#[test]
fn the_products_own_template_evaluates() {
    let template =
        Template::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml")).unwrap();
    let deployment =
        Deployment::evaluate(&template, &BTreeMap::new(), &Endpoints::default()).unwrap();
    assert!(
        deployment.functions.len() > 3 && deployment.routes.len() > 20,
        "{deployment:#?}"
    );
    for function in &deployment.functions {
        runtime::Config::from_map(
            &function
                .environment
                .clone()
                .into_iter()
                .chain(lambda())
                .collect(),
        )
        .unwrap();
    }
}

fn lambda() -> impl Iterator<Item = (String, String)> {
    ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .into_iter()
        .map(|name| (name.to_owned(), "x".to_owned()))
}
