//! The template and the routers say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use local::all_groups;
use local::template::{Deployment, Endpoints, Template};
use serde_json::Value;
use testkit::TestApp;

/// The operations of every group, as its router has them: binary, then method and path.
pub(crate) fn operations() -> Vec<(&'static str, Vec<(String, String)>)> {
    all_groups()
        .filter_map(|group| {
            let document = (group.operations?.describe)();
            Some((group.binaries[0].0, operations_of(&document)))
        })
        .collect()
}

fn operations_of(document: &impl serde::Serialize) -> Vec<(String, String)> {
    let document = serde_json::to_value(document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        item.as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect::<Vec<_>>()
    };
    paths
        .iter()
        .flat_map(|(path, item)| {
            methods(item)
                .into_iter()
                .map(move |method| (method, path.clone()))
        })
        .collect()
}

#[test]
fn every_operation_has_one_event_of_its_own_function_and_every_event_an_operation() {
    let endpoints = Endpoints {
        dynamodb: "http://d".to_owned(),
        s3: "http://o".to_owned(),
        sqs: "http://s".to_owned(),
        secrets_manager: "http://m".to_owned(),
    };
    let template = Template::read(TestApp::template()).unwrap();
    let deployment = Deployment::evaluate(&template, &BTreeMap::new(), &endpoints).unwrap();

    let mut covered = vec![0; deployment.routes.len()];
    for (bin, operations) in operations() {
        for (method, path) in operations {
            let events: Vec<usize> = (0..deployment.routes.len())
                .filter(|index| {
                    let route = &deployment.routes[*index];
                    route.path == path && (route.method == "ANY" || route.method == method)
                })
                .collect();
            assert_eq!(
                events.len(),
                1,
                "{method} {path} has {} events",
                events.len()
            );
            let route = &deployment.routes[events[0]];
            assert_eq!(
                deployment.function(&route.function).unwrap().bin,
                bin,
                "{method} {path}"
            );
            covered[events[0]] += 1;
        }
    }
    for (route, operations) in deployment.routes.iter().zip(covered) {
        assert!(
            operations > 0,
            "{} {} of {} has no operation",
            route.method,
            route.path,
            route.function
        );
    }
}

/// Cargo makes a binary of each file in a package's `src/bin`, so that no `Cargo.toml` can name another.
#[test]
fn the_list_of_groups_the_packages_and_the_template_name_the_same_binaries() {
    let listed: BTreeSet<(String, String)> = all_groups()
        .flat_map(|group| {
            let binaries = group.binaries.iter();
            binaries.map(move |(binary, _)| (group.name.to_owned(), (*binary).to_owned()))
        })
        .collect();

    let functions = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions"));
    let mut built = BTreeSet::new();
    for package in names_in(functions) {
        let manifest = fs::read_to_string(functions.join(&package).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains(&format!("name = \"{package}\"")),
            "{package}"
        );
        assert!(!manifest.contains("[[bin]]"), "{package}");
        for file in names_in(&functions.join(&package).join("src/bin")) {
            let binary = file.strip_suffix(".rs").expect("a file of Rust");
            built.insert((package.clone(), binary.to_owned()));
        }
    }
    assert_eq!(listed, built);

    let template = Template::read(TestApp::template()).unwrap();
    let endpoints = Endpoints::default();
    let deployment = Deployment::evaluate(&template, &BTreeMap::new(), &endpoints).unwrap();
    let deployed: Vec<_> = deployment.functions.iter().map(|it| &it.bin).collect();
    let binaries: BTreeSet<_> = listed.iter().map(|(_, binary)| binary).collect();
    assert_eq!(deployed.len(), binaries.len());
    assert_eq!(deployed.into_iter().collect::<BTreeSet<_>>(), binaries);
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn what_a_queues_function_cannot_process_ends_in_another_queue() {
    let template = Template::read(TestApp::template()).unwrap();
    let endpoints = Endpoints::default();
    let deployment = Deployment::evaluate(&template, &BTreeMap::new(), &endpoints).unwrap();
    assert!(!deployment.queue_sources.is_empty());
    for source in &deployment.queue_sources {
        let mut queues = deployment.queues.iter();
        let queue = queues.find(|queue| queue.name == source.queue).unwrap();
        assert!(queue.redrive.is_some(), "{}", queue.logical_id);
    }
}

#[test]
fn a_worker_gets_one_run_at_a_time() {
    let template = Template::read(TestApp::template()).unwrap();
    let endpoints = Endpoints::default();
    let deployment = Deployment::evaluate(&template, &BTreeMap::new(), &endpoints).unwrap();
    let sources = deployment.queue_sources.iter();
    let of_runs = sources.filter(|source| source.function == "ExecutionsWorkerFunction");
    let sizes: Vec<_> = of_runs.map(|source| source.batch_size).collect();
    // The queue of all runs, and that of runs that go on alone.
    assert_eq!(sizes, [1, 1]);
}

#[test]
fn what_functions_report_in_their_logs_has_an_alarm() {
    let read = |file: &std::path::Path| {
        let text = std::fs::read_to_string(file).unwrap();
        serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&text).unwrap()
    };
    let file = TestApp::template();
    let template = read(&file);
    let alarms = read(&file.with_file_name("infra").join("alarms.yaml"));
    // All functions log to one group, from which a filter makes a metric of each report.
    let logging = &template["Globals"]["Function"]["LoggingConfig"]["LogGroup"];
    let handed = &template["Resources"]["Alarms"]["Properties"]["Parameters"]["LogGroupName"];
    assert_eq!(logging, handed);
    let functions = template["Resources"].as_mapping().unwrap().values();
    let own = functions.filter(|resource| !resource["Properties"]["LoggingConfig"].is_null());
    assert_eq!(own.count(), 0);

    let filtered = alarms["Resources"]["Fn::ForEach::Reports"][1]
        .as_sequence()
        .unwrap();
    let mut names: Vec<_> = filtered.iter().filter_map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["data_keys_failed", "deletion_failed", "rate_limiter_failed"]
    );
    for metric in names {
        let mut alarms = alarms["Resources"].as_mapping().unwrap().values();
        assert!(
            alarms.any(|resource| resource["Properties"]["MetricName"] == metric),
            "{metric}"
        );
    }
}

#[test]
fn functions_keep_lambdas_for_themselves_only_where_the_operator_says_so() {
    let template = Template::read(TestApp::template()).unwrap();
    let reserved = |parameters: BTreeMap<String, String>| {
        let endpoints = Endpoints::default();
        let deployment = Deployment::evaluate(&template, &parameters, &endpoints).unwrap();
        let of = |function: &str| deployment.function(function).unwrap().reserved_concurrency;
        [
            of("ExecutionsWorkerFunction"),
            of("TriggersTickFunction"),
            of("ExecutionsDeadLettersFunction"),
            of("EventsFunction"),
        ]
    };
    assert_eq!(reserved(BTreeMap::new()), [None; 4]);
    let parameters = [
        ("WorkerReservedConcurrency", "105"),
        ("TickReservedConcurrency", "2"),
        ("DeadLettersReservedConcurrency", "3"),
        ("EventsReservedConcurrency", "4"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(reserved(parameters.into()), [105, 2, 3, 4].map(Some));
}
