use auth::Credential;
use domain::token::TokenSecret;

use super::*;

/// A path of each dialect.
const PRODGY: &str = "/api/agent-base";
const PROWPT: &str = "/api/settings/api-keys";
const AGENTPLATFORM: &str = "/api/v1/agents";
const ACCOUNT: &str = "/api/workspaces";

#[test]
fn segments_are_compared_whole() {
    let speaks_like = |path: &str, other: &str| {
        let [one, two] = [path, other].map(|path| dialect_of(path).credentials());
        assert!(std::ptr::eq(one, two), "{path} and {other}");
    };
    for (path, like) in [
        ("/api/v1/agents", AGENTPLATFORM),
        ("/api/v1", AGENTPLATFORM),
        ("/api/v10/agents", PROWPT),
        ("/api/workflow/x/status", PRODGY),
        ("/api/workflows/7", PROWPT),
        ("/api/api-token/auth/validate", PRODGY),
        ("/api/settings/api-keys", PROWPT),
        ("/api/auth/me/", PROWPT),
        ("/api/auth/login", ACCOUNT),
        ("/api/organization/members", ACCOUNT),
        ("/webhooks/inbound/t", AGENTPLATFORM),
        ("/nothing", PROWPT),
    ] {
        speaks_like(path, like);
    }
}

#[test]
fn each_dialect_takes_its_own_tokens_from_its_own_headers() {
    let token = |kind| TokenSecret::generate(kind).expose().to_owned();
    let of = |path: &str| token(dialect_of(path).credentials().token.unwrap());
    let (prodgy, prowpt, agentplatform) = (of(PRODGY), of(PROWPT), of(AGENTPLATFORM));
    let bearer = |text: &str| ("authorization", format!("Bearer {text}"));
    let rows = [
        (PRODGY, ("x-api-token", prodgy.clone()), true, "own header"),
        (PRODGY, bearer(&prodgy), true, "bearer"),
        (PRODGY, bearer(&prowpt), false, "another dialect's token"),
        (PRODGY, bearer("a.b.c"), true, "the form of a session"),
        (
            PRODGY,
            ("x-api-key", prodgy.clone()),
            false,
            "another dialect's header",
        ),
        (PROWPT, ("x-api-key", prowpt.clone()), true, "own header"),
        (PROWPT, bearer(&prowpt), true, "bearer"),
        (AGENTPLATFORM, bearer(&agentplatform), true, "bearer"),
        (AGENTPLATFORM, bearer("a.b.c"), false, "keys only"),
        (
            AGENTPLATFORM,
            ("x-api-key", agentplatform.clone()),
            false,
            "bearer alone",
        ),
        (ACCOUNT, bearer(&prodgy), false, "sessions only"),
        (
            ACCOUNT,
            ("authorization", "Basic a.b.c".to_owned()),
            false,
            "another scheme",
        ),
        (PRODGY, bearer("prodgy_short"), false, "malformed"),
    ];
    for (path, (name, value), good, why) in rows {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
        let read = Credential::read(dialect_of(path).credentials(), &headers);
        assert_eq!(read.is_ok(), good, "{path}: {why}");
    }
}

#[test]
fn each_dialect_reads_its_own_paging_and_names_the_wrong_parameter() {
    let read = |path, query: &str| dialect_of(path).read_page(&Params::parse(query).unwrap());
    let rows = |params: Result<PageParams, Error>| {
        params
            .map(|params| (params.request.limit.get(), params.request.offset))
            .unwrap()
    };
    assert_eq!(rows(read(PRODGY, "page=3&pageSize=20&limit=7")), (20, 40));
    assert_eq!(rows(read(PRODGY, "limit=7")), (7, 0));
    assert_eq!(rows(read(PROWPT, "limit=10&offset=990")), (10, 990));
    assert_eq!(rows(read(AGENTPLATFORM, "")), (50, 0));

    for (path, query, field) in [
        (PRODGY, "page=0", "page"),
        (PRODGY, "pageSize=-1", "pageSize"),
        (PRODGY, "pageSize=201", "pageSize"),
        (PRODGY, "page=99999999999999", "page"),
        (PRODGY, "page=22", "page"),
        (PROWPT, "offset=1000", "offset"),
        (PROWPT, "limit=x", "limit"),
        (AGENTPLATFORM, "cursor=../../x", "cursor"),
    ] {
        match read(path, query) {
            Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, field, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

/// Descriptions match the responses: every failure of a dialect fits the schema that its document names.
#[test]
fn examples_and_answers_have_the_members_that_the_schemas_require() {
    for dialect in described() {
        let schemas = dialect.schemas();
        for (error, suffix) in [
            (Error::NotFound("agent"), "Error"),
            (Error::invalid("name", "can't be blank"), "ValidationError"),
        ] {
            let schema = &schemas[&format!("{}{suffix}", dialect.name())];
            let required = schema["required"].as_array().unwrap();
            let body = dialect.failure_body(&error, "text", "id");
            let example = dialect.error_example(suffix == "ValidationError", "Kind", "text");
            for member in required.iter().filter_map(Value::as_str) {
                assert!(
                    body.get(member).is_some(),
                    "{dialect:?}: {member} of {body}"
                );
                assert!(example.get(member).is_some(), "{dialect:?}: {member}");
            }
        }
    }
}
