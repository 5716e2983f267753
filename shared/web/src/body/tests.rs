use std::collections::HashMap;

use domain::text::Name;

use super::*;
use crate::params::Params;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only read into")]
struct Outer {
    name: Name,
    inner: Option<Inner>,
    choice: Option<Choice>,
    map: Option<HashMap<String, u32>>,
    any: Option<serde_json::Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Choice {
    Up,
    Down,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only read into")]
struct Inner {
    count: u32,
}

#[test]
fn a_word_of_the_query_is_one_of_the_enum() {
    let params = Params::parse("fine=down&wrong=left").unwrap();
    assert_eq!(params.word::<Choice>("fine").unwrap(), Some(Choice::Down));
    assert_eq!(params.word::<Choice>("absent").unwrap(), None);
    let error = params.word::<Choice>("wrong").unwrap_err().to_string();
    assert_eq!(error, "wrong: must be `up` or `down`");
}

#[test]
fn a_body_is_said_to_be_json_by_its_content_type() {
    for (kind, expected) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        (" application/problem+json ;a=b", true),
        ("application/jsonx", false),
        ("application/+json", false),
        ("application/xml+jsonp", false),
        ("text/json", false),
        ("text/plain; application/json", false),
        ("application/x-www-form-urlencoded", false),
        ("", false),
    ] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        assert_eq!(is_said_to_be_json(&headers), expected, "{kind}");
    }
    assert!(!is_said_to_be_json(&HeaderMap::new()));
}

#[test]
fn a_wrong_body_is_told_by_field_and_a_broken_one_by_place() {
    let deep = format!("{{\"name\":\"x\",\"any\":{}", "[".repeat(500));
    for (body, expected) in [
        (r#"{"inner":null}"#, "name: is required"),
        (r#"{"name":7}"#, "name: must be a string"),
        (r#"{"name":"  "}"#, "name: can't be blank"),
        (r#"{"name":"x","inner":{"count":-1}}"#, "inner.count: "),
        (r#"{"name":"x","inner":{}}"#, "inner.count: is required"),
        (
            r#"{"name":"x","choice":"left"}"#,
            "choice: must be `up` or `down`",
        ),
        (r#"{"name":"x","map":[]}"#, "map: must be an object"),
        (r#"{"name":"x""#, "the request body is not JSON"),
        (r#"{"name":"x"} trailing"#, "the request body is not JSON"),
        (
            r#"{"name":"\u0000"}"#,
            "the request body contains the NUL character",
        ),
        ("[]", "the request body "),
        (deep.as_str(), "any: must be nested at most 64 levels deep"),
        (
            &"[".repeat(500),
            "the request body is not JSON: recursion limit",
        ),
    ] {
        let error = parse_json::<Outer>(body.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(expected),
            "{}: {error}",
            &body[..body.len().min(50)]
        );
    }
    assert!(parse_json::<Outer>(br#"{"name":"\\u0000 is six characters"}"#).is_ok());
    assert!(
        parse_json::<Outer>(b"{\"name\":\"\xff\"}")
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
}
