//! Holds the public methods of [`Store`](crate::Store) to naming the tenant whose rows they touch.

use std::collections::BTreeSet;
use std::path::Path;

/// Parameters that name a tenant: its id, or what belongs to one and says to which.
const TENANTS: [&str; 13] = [
    "WorkspaceId",
    "OrganizationId",
    "Workspace",
    "Organization",
    "Agent",
    "Credential",
    "Deletion",
    "DeletionTarget",
    "RequestCheckpoint",
    "Run",
    "RunWrite",
    "StreamPlace",
    "Token",
];

/// What belongs to people, who may be members of several organizations.
const IDENTITY: [&str; 11] = [
    "change_password",
    "create_session",
    "end_session",
    "invitation",
    "is_known_network",
    "rotate_session",
    "session",
    "token_by_hash",
    "tokens_by_maker",
    "user",
    "user_by_email",
];

/// What is named by the hash of something that only one tenant has.
const HASHED: [&str; 8] = [
    "allow_comeback",
    "claim_idempotency",
    "count",
    "count_many",
    "count_tries",
    "release_idempotency",
    "replace_idempotency",
    "spend_comeback",
];

/// The work of the platform itself, which goes through all tenants.
const PLATFORM: [&str; 6] = [
    "data_keys",
    "due",
    "due_deletions",
    "ended_runs",
    "put_data_keys",
    "request_checkpoints",
];

#[test]
fn every_method_of_the_store_names_a_tenant_or_says_why_it_does_not() {
    let mut methods = Vec::new();
    read_methods(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut methods,
    );
    assert!(methods.len() > 100, "{methods:?}");
    let without: BTreeSet<_> = methods
        .iter()
        .filter(|(_, parameters)| !names_a_tenant(parameters))
        .map(|(name, _)| name.as_str())
        .collect();
    let explained: BTreeSet<_> = [&IDENTITY[..], &HASHED, &PLATFORM]
        .concat()
        .into_iter()
        .collect();
    assert_eq!(without, explained);
}

fn names_a_tenant(parameters: &str) -> bool {
    let words = parameters.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.into_iter().any(|word| TENANTS.contains(&word))
}

/// The name and the parameters of each public asynchronous method in the files of a folder.
fn read_methods(folder: &Path, methods: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_methods(&path, methods);
            continue;
        }
        if path.ends_with("signatures.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for method in source.split("    pub async fn ").skip(1) {
            let (name, rest) = method.split_once('(').unwrap();
            let name = name.split('<').next().unwrap().to_owned();
            let (parameters, _) = rest.split_once('{').unwrap();
            let parameters = parameters.split("->").next().unwrap();
            methods.push((name, parameters.to_owned()));
        }
    }
}
