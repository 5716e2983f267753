use utoipa::OpenApi as _;

use super::*;

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Thing {
    name: String,
}

macro_rules! operation {
    ($name:ident, $($description:tt)*) => {
        #[utoipa::path($($description)*)]
        #[expect(dead_code, reason = "only described")]
        fn $name() {}
    };
}

operation!(list_prodgy, get, path = "/api/agent-base", params(crate::ProdgyPaging), responses((status = 200, body = Vec<Thing>)));
operation!(catalog, get, path = "/api/agent-base/catalog", responses((status = 200, body = Vec<Thing>)));
operation!(
    end,
    post,
    path = "/api/auth/logout",
    security(("Session" = [])),
    responses((status = 200))
);
operation!(
    sign_in,
    post,
    path = "/api/auth/login",
    security(()),
    request_body = Thing,
    responses((status = 200, body = Thing), (status = 401))
);
operation!(list_prowpt, get, path = "/api/things", params(crate::ProwptPaging), responses((status = 200, body = Vec<Thing>)));
operation!(
    remove,
    delete,
    path = "/api/v1/things/{id}",
    params(("id" = String, Path)),
    security(("AgentPlatformKey" = ["things:write"])),
    responses((status = 204))
);
operation!(
    page,
    get,
    path = "/swagger",
    security(()),
    extensions(("x-bare" = json!(true))),
    responses((status = 200, body = String, content_type = "text/html"))
);

#[derive(utoipa::OpenApi)]
#[openapi(paths(list_prodgy, catalog, end, sign_in, list_prowpt, remove, page))]
struct Group;

const INFO: DocumentInfo<'_> = DocumentInfo {
    title: "Things",
    description: "",
    root: ".",
    public_url: Some("https://things.example"),
    tags: &[],
};

fn statuses(operation: &Value) -> Vec<&str> {
    let responses = operation["responses"].as_object().unwrap();
    responses.keys().map(String::as_str).collect()
}

#[test]
fn every_dialect_has_its_envelope_and_its_errors() {
    let document = document([Group::openapi()], &INFO, |_| true).unwrap();
    let paths = &document["paths"];
    let success = |path: &str, method: &str, status: &str| {
        paths[path][method]["responses"][status]["content"]["application/json"]["schema"].clone()
    };
    let thing = json!({"$ref": "#/components/schemas/Thing"});
    let things = json!({"type": "array", "items": thing});

    let list = success("/api/agent-base", "get", "200");
    assert_eq!(list["properties"]["data"], things);
    assert!(list["properties"]["pagination"].is_object());
    let catalog = success("/api/agent-base/catalog", "get", "200");
    assert_eq!(catalog["properties"]["data"], things);
    assert!(catalog["properties"]["pagination"].is_null());
    let list = success("/api/things", "get", "200");
    assert_eq!(list["properties"]["items"], things);
    assert_eq!(success("/api/v1/things/{id}", "delete", "204"), Value::Null);
    let nothing = success("/api/auth/logout", "post", "200");
    assert_eq!(nothing["properties"]["data"]["maxProperties"], 0);
    let page = &paths["/swagger"]["get"]["responses"]["200"]["content"];
    assert!(page["text/html"].is_object());

    let of = |path: &str, method: &str| statuses(&paths[path][method]);
    assert_eq!(
        of("/api/agent-base", "get"),
        ["200", "400", "401", "404", "429"]
    );
    assert_eq!(
        of("/api/auth/logout", "post"),
        ["200", "400", "401", "403", "404", "413", "429"]
    );
    assert_eq!(of("/api/auth/login", "post"), ["200", "400", "401", "413"]);
    assert_eq!(
        of("/api/things", "get"),
        ["200", "400", "401", "404", "422", "429"]
    );
    assert_eq!(
        of("/api/v1/things/{id}", "delete"),
        ["204", "401", "403", "404", "409", "429"]
    );
    assert_eq!(of("/swagger", "get"), ["200"]);
    let described = &paths["/swagger"]["get"]["responses"]["200"]["description"];
    assert_eq!(described, "Successful response");
    assert_eq!(paths["/api/auth/login"]["post"]["security"], json!([]));
}

#[test]
fn a_document_has_what_its_paths_refer_to_and_nothing_else() {
    let document = document([Group::openapi()], &INFO, |path| path == "/api/things").unwrap();
    let names = |kind: &str| {
        let all = document["components"][kind].as_object().unwrap();
        all.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        names("schemas"),
        ["ProwptError", "ProwptValidationError", "Thing"]
    );
    assert_eq!(names("securitySchemes"), ["ProwptBearer", "ProwptKey"]);
    assert_eq!(document["servers"][0]["url"], ".");
    assert_eq!(document["servers"][1]["url"], "https://things.example");
}

#[test]
fn two_things_of_one_name_are_not_mixed_up() {
    let mut other = serde_json::to_value(Group::openapi()).unwrap();
    other["paths"] = json!({});
    other["components"]["schemas"]["Thing"] = json!({"type": "string"});
    let other = serde_json::from_value(other).unwrap();
    let collision = document([Group::openapi(), other], &INFO, |_| true).unwrap_err();
    assert_eq!(
        collision.to_string(),
        "Thing is described twice, differently"
    );
}
