use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::*;
use crate::payload::MAX_DEPTH;

/// Runs on a stack as large as [`STACK`] says.
fn on_a_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn compile(schema: &Value) -> Result<Schema, String> {
    on_a_stack(|| Schema::compile(schema))
}

fn fits(schema: &Value, value: &Value) -> bool {
    on_a_stack(|| Schema::compile(schema).unwrap().accept(value)).is_ok()
}

/// A schema of so many definitions, each made of the one before.
fn levels(count: usize, level: impl Fn(usize, Value) -> Value) -> Value {
    let mut definitions = Map::from_iter([("d0".to_owned(), json!({"type": "string"}))]);
    for number in 1..=count {
        let below = json!({"$ref": format!("#/$defs/d{}", number - 1)});
        definitions.insert(format!("d{number}"), level(number, below));
    }
    json!({"$defs": definitions, "$ref": format!("#/$defs/d{count}")})
}

fn definitions(definitions: Value) -> Value {
    json!({"$defs": definitions, "$ref": "#/$defs/n"})
}

#[test]
fn schemas_that_people_write_are_taken() {
    let node = json!({"$ref": "#/$defs/n"});
    let of_people = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[\\p{L} '-]{1,80}$"},
            "email": {"type": "string", "format": "email", "pattern": "^[\\w.+-]+@[\\w-]+\\.[\\w.]+$"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true},
        },
        "required": ["name"], "additionalProperties": false,
    });
    let id = "https://example.com/order.json";
    for (schema, fitting, other) in [
        (
            of_people,
            json!({"name": "Ada", "tags": ["a"]}),
            json!({"name": "Ada", "tags": ["a", "a"]}),
        ),
        (
            levels(20, |_, below| json!({"items": below})),
            json!([[]]),
            (0..20).fold(json!(7), |value, _| json!([value])),
        ),
        // A list, a tree, and types that have each other.
        (
            definitions(
                json!({"n": {"properties": {"next": node}, "additionalProperties": false}}),
            ),
            json!({"next": {"next": {}}}),
            json!({"next": {"x": {}}}),
        ),
        (
            definitions(
                json!({"n": {"properties": {"left": node, "right": node, "all": {"items": node}}, "required": ["v"]}}),
            ),
            json!({"v": 1, "left": {"v": 2}, "all": [{"v": 3}]}),
            json!({"v": 1, "all": [{"v": 3}, {}]}),
        ),
        (
            definitions(json!({
                "n": {"properties": {"m": {"$ref": "#m"}, "n": node}, "additionalProperties": {"$ref": "#m"}},
                "m": {"$anchor": "m", "type": ["array", "integer"], "prefixItems": [node], "items": {"$ref": "#m"}},
            })),
            json!({"m": [{"n": {}}, [], 7]}),
            json!({"m": [{"n": {}}, "x"]}),
        ),
        (
            definitions(json!({"n": {"properties": {"a": node}, "unevaluatedProperties": false}})),
            json!({"a": {"a": {}}}),
            json!({"a": {"b": {}}}),
        ),
        (
            json!({"$id": id, "properties": {"a": {"$ref": format!("{id}#/$defs/a%20b")}}, "$defs": {"a b": {"type": "null"}}}),
            json!({"a": null}),
            json!({"a": 1}),
        ),
        (
            json!({"anyOf": [{"properties": {"kind": {"const": "a"}}}, {"not": {"required": ["kind"]}}]}),
            json!({"kind": "a"}),
            json!({"kind": "b"}),
        ),
    ] {
        assert!(fits(&schema, &fitting), "{schema}: {fitting}");
        assert!(!fits(&schema, &other), "{schema}: {other}");
    }
}

#[test]
fn what_is_no_schema_or_has_no_bound_is_refused_in_words() {
    let node = json!({"$ref": "#/$defs/n"});
    let under = |keyword: &str, value: Value| {
        definitions(json!({"n": {"properties": {"a": {keyword: value}}}}))
    };
    let beside = |schema: Value| definitions(json!({"n": schema}));
    let many: Vec<Value> = (0..700).map(|_| json!({"items": {"not": {}}})).collect();
    let different: Vec<Value> = (0..201)
        .map(|number| json!({"pattern": format!("a{number}")}))
        .collect();
    let wide: Vec<Value> = (0..80)
        .map(|number| json!({"pattern": format!("^\\p{{L}} \\p{{L}}{number}$")}))
        .collect();
    for (schema, expected) in [
        (json!({"type": 7}), "is not a JSON Schema: 7 is not valid"),
        (
            json!({"properties": {"a": {"required": "x"}}}),
            "(at /properties/a/required)",
        ),
        (
            json!({"$schema": "https://example.com/mine"}),
            "is not a JSON Schema: Unknown meta-schema",
        ),
        (
            json!({"$ref": "https://example.com/x"}),
            "refers to https://example.com/x",
        ),
        (
            json!({"$ref": "file:///etc/passwd"}),
            "refers to file:///etc/passwd",
        ),
        (
            json!({"$ref": "#/$defs/x"}),
            "refers to #/$defs/x, which it does not have",
        ),
        (
            json!({"$defs": {"a": {"$id": "https://example.com/"}}}),
            "has $id elsewhere",
        ),
        (
            json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$dynamicAnchor": "x"}}}),
            "has two anchors x",
        ),
        (
            json!({"pattern": "("}),
            "has the pattern \"(\", which is no regular expression",
        ),
        (json!({"pattern": "^(?=.*a)"}), "look-around"),
        (
            json!({"patternProperties": {"(a)\\1": {}}}),
            "look-around or back-references (at its root)",
        ),
        (
            json!({"pattern": "(\\p{L}|\\d){100}x"}),
            "is too large when compiled",
        ),
        (json!({ "allOf": wide }), "has patterns of more than"),
        (json!({ "allOf": different }), "has more than 200 patterns"),
        (
            json!({ "allOf": many }),
            "applies more than 2000 subschemas, counted",
        ),
        (
            levels(
                39,
                |number, below| json!({"anyOf": [{"allOf": [below]}, {"allOf": [below, {"minimum": number}]}]}),
            ),
            "more than",
        ),
        (
            levels(12, |_, below| json!({"anyOf": [below, below]})),
            "applies more than 2000",
        ),
        (
            levels(
                16,
                |_, below| json!({"properties": {"a": below, "b": below}}),
            ),
            "applies more than 2000",
        ),
        (
            levels(
                10,
                |number, below| json!({"anyOf": [below], "unevaluatedProperties": {"minimum": number}}),
            ),
            "applies more than 2000",
        ),
        (
            levels(3000, |_, below| json!({"items": below})),
            "applies more than 2000",
        ),
        (
            levels(40, |_, below| json!({"allOf": [below]})),
            "applies more than 32 subschemas to one value",
        ),
        (
            json!({"$ref": "#"}),
            "leads back to itself without going into the value (at its root)",
        ),
        (
            json!({"allOf": [{"$dynamicRef": "#a"}], "$dynamicAnchor": "a"}),
            "leads back to itself",
        ),
        (
            beside(json!({"anyOf": [{"$ref": "#/$defs/m"}]})),
            "refers to #/$defs/m",
        ),
        (
            under("anyOf", json!([node, {"type": "null"}])),
            "has recursion under a combinator",
        ),
        (
            under("oneOf", json!([node, {"type": "null"}])),
            "has recursion under a combinator",
        ),
        (under("allOf", json!([node])), "(at $ref/a)"),
        (
            under("not", json!(node)),
            "has recursion under a combinator",
        ),
        (
            under("then", json!(node)),
            "has recursion under a combinator",
        ),
        (
            under("dependentSchemas", json!({"x": node})),
            "has recursion under a combinator",
        ),
        (
            beside(json!({"items": node, "contains": node})),
            "has recursion that may come",
        ),
        (
            beside(json!({"patternProperties": {"^a": node, "a$": node}})),
            "has recursion that may come",
        ),
        (
            beside(json!({"properties": {"a": node}, "patternProperties": {"a": node}})),
            "has recursion that may come",
        ),
        (
            definitions(
                json!({"n": {"properties": {"a": node}, "$ref": "#/$defs/m"}, "m": {"properties": {"a": node}}}),
            ),
            "has recursion that",
        ),
        // Each goes on by itself, and enters the next at every level.
        (
            levels(
                30,
                |number, below| json!({"items": {"$ref": format!("#/$defs/d{number}")}, "contains": below}),
            ),
            "has recursion that",
        ),
    ] {
        let why = compile(&schema).unwrap_err();
        assert!(why.contains(expected), "{schema}: {why}");
        assert!(why.chars().count() < 600, "{why}");
    }
    // These are no schemas either way, and end all the same.
    for odd in [
        json!({"properties": 7, "items": "x", "$ref": 7, "allOf": {"a": 1}, "enum": 3}),
        json!({"dependencies": {"a": ["b"]}}),
    ] {
        compile(&odd).map_or_else(drop, drop);
    }
}

#[test]
fn what_is_too_large_for_its_schema_is_refused_and_not_checked() {
    let never: Vec<Value> = (0..1900)
        .map(|least| json!({"minimum": 10 + least}))
        .collect();
    let slow = compile(&json!({"items": {"not": {"anyOf": never}}})).unwrap();
    assert_eq!(slow.accept(&json!([1, 2])), Ok(()));
    assert_eq!(slow.accept(&json!(vec![1; 20_000])), Ok(()));
    let large = json!(vec![1; 100_000]);
    assert_eq!(
        slow.accept(&large).unwrap_err(),
        "it is too large to be checked"
    );

    let hostile = compile(&json!({"pattern": "(([ab]{1,9})?a){200}c"})).unwrap();
    assert_eq!(
        hostile.accept(&json!("b".repeat(1_000_000))).unwrap_err(),
        "it is too large to be checked"
    );
    // Not every pattern of large values is.
    let plain = compile(&json!({"items": {"pattern": "^[a-z]+ [0-9]{1,4}$"}})).unwrap();
    assert_eq!(plain.accept(&json!(vec!["word 17"; 100_000])), Ok(()));
}

#[test]
fn what_reads_texts_and_lists_again_and_again_ends_soon_or_is_refused() {
    const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
    let text = json!("é".repeat(900_000));
    let address = json!(format!("https://example.com/{}", "a".repeat(1_900_000)));
    // Fifteen lists at each level, the last of which goes on, and all of which begin alike.
    let lists = (0..60).fold(json!([]), |below, level| {
        let mut lists: Vec<Value> = (0..14)
            .map(|list| json!([1, 2, 3, 100 + level, 200 + list]))
            .collect();
        lists.push(below);
        json!(lists)
    });
    let lists = json!(
        vec![lists; 20]
            .into_iter()
            .enumerate()
            .map(|(at, list)| json!([list, at]))
            .collect::<Vec<_>>()
    );
    let times = |count: usize, schema: Value| json!({"$schema": DRAFT_7, "$defs": {"a": schema}, "allOf": vec![json!({"$ref": "#/$defs/a"}); count]});
    let unique = json!({"uniqueItems": true, "items": {"$ref": "#"}});
    for (what, schema, value, is_checked) in [
        (
            "a length",
            times(1, json!({"maxLength": 1_000_000})),
            &text,
            true,
        ),
        (
            "lengths",
            times(900, json!({"minLength": 1, "maxLength": 1_000_000})),
            &text,
            false,
        ),
        (
            "the most lengths",
            times(270, json!({"minLength": 1, "maxLength": 1_000_000})),
            &text,
            true,
        ),
        (
            "a format",
            times(1, json!({"format": "uri"})),
            &address,
            true,
        ),
        (
            "formats",
            times(900, json!({"format": "uri"})),
            &address,
            false,
        ),
        (
            "the most formats",
            times(60, json!({"format": "uri"})),
            &address,
            true,
        ),
        ("unique items", unique.clone(), &lists, true),
    ] {
        let schema = compile(&schema).unwrap();
        let start = Instant::now();
        let judged = on_a_stack(|| schema.accept(value));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{what} took {took:?}");
        let expected = if is_checked {
            Ok(())
        } else {
            Err("it is too large to be checked".to_owned())
        };
        assert_eq!(judged, expected, "{what}");
    }
    let unique = compile(&unique).unwrap();
    let large = json!((0..1_000_000).collect::<Vec<u32>>());
    assert_eq!(
        unique.accept(&large).unwrap_err(),
        "it is too large to be checked"
    );
    // These say what a text is. To parse it for each of them would have no bound.
    let content = json!({"$schema": DRAFT_7, "contentMediaType": "application/json", "contentEncoding": "base64"});
    assert!(fits(&content, &json!("neither one nor the other")));
}

#[test]
fn why_a_value_does_not_fit_is_said_without_the_value() {
    let schema = json!({"properties": {"n": {"items": {"type": "integer"}}}, "required": ["n"]});
    let schema = compile(&schema).unwrap();
    let why = schema.accept(&json!({"n": [1, "secret"]})).unwrap_err();
    assert!(why.starts_with("/n/1 ") && !why.contains("secret"), "{why}");
    assert!(schema.accept(&json!({})).unwrap_err().contains("required"));
    let large = json!({"n": vec![json!("secret"); 200_000]});
    assert_eq!(schema.accept(&large).unwrap_err(), "it does not fit");
}

#[test]
fn any_schema_is_judged_soon() {
    let many = |count: usize, of: &dyn Fn(usize) -> Value| (0..count).map(of).collect::<Vec<_>>();
    let named = |count: usize, of: &dyn Fn(usize) -> (String, Value)| {
        (0..count).map(of).collect::<Map<_, _>>()
    };
    let text = "x".repeat(50);
    for (what, schema) in [
        ("a chain", levels(2500, |_, below| json!({"items": below}))),
        (
            "a tree",
            levels(
                60,
                |number, _| json!({"anyOf": many(50, &|place| json!({"$ref": format!("#/$defs/d{}", number * place / 50)}))}),
            ),
        ),
        (
            "properties",
            json!({"properties": named(1990, &|number| (format!("{text}{number}"), json!({})))}),
        ),
        (
            "definitions",
            json!({"$defs": named(3000, &|number| (format!("d{number}"), json!({"$anchor": format!("a{number}")})))}),
        ),
        (
            "an enum",
            json!({"enum": many(20_000, &|number| json!(number))}),
        ),
        (
            "required",
            json!({"required": many(12_000, &|number| json!(format!("a{number}")))}),
        ),
        (
            "patterns",
            json!({"allOf": many(1500, &|number| json!({"pattern": format!("^([a-z]{{1,9}}-){{1,{}}}[0-9]+$", 1 + number % 90)}))}),
        ),
        (
            "large patterns",
            json!({"allOf": many(1500, &|number| json!({"pattern": format!("(\\p{{L}}|{number}){{50}}x")}))}),
        ),
        (
            "names",
            json!({"patternProperties": named(1900, &|number| (format!("^a{number}[b-d]+$"), json!({})))}),
        ),
        (
            "circles",
            json!({"$defs": named(40, &|number| {
            let all = named(40, &|other| (format!("p{other}"), json!({"$ref": format!("#/$defs/d{other}")})));
            (format!("d{number}"), json!({ "properties": all }))
        }), "$ref": "#/$defs/d0"}),
        ),
        (
            "depth",
            (0..120).fold(json!({}), |below, _| json!({ "not": below })),
        ),
    ] {
        assert!(schema.to_string().len() < 200_000, "{what}");
        let start = Instant::now();
        let taken = compile(&schema);
        let took = start.elapsed();
        let said = taken
            .as_ref()
            .map_or_else(String::clone, |schema| format!("taken, {}", schema.work));
        assert!(
            took < Duration::from_secs(3),
            "{what} after {took:?}: {said}"
        );
    }
}

/// Numbers that look like chance and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn schema(&mut self, definitions: u64, depth: u64) -> Value {
        if depth == 0 || self.below(4) == 0 {
            return match self.below(3) {
                0 => json!({"type": ["array", "object"]}),
                _ => json!({"$ref": format!("#/$defs/d{}", self.below(definitions))}),
            };
        }
        let mut schema = Map::new();
        for _ in 0..=self.below(2) {
            let keywords = [
                "allOf",
                "anyOf",
                "oneOf",
                "not",
                "if",
                "items",
                "contains",
                "prefixItems",
                "properties",
                "patternProperties",
                "additionalProperties",
                "unevaluatedProperties",
                "unevaluatedItems",
                "propertyNames",
                "$ref",
                "dependentSchemas",
            ];
            let keyword = keywords[usize::try_from(self.below(16)).unwrap()];
            let mut below = || self.schema(definitions, depth - 1);
            let value = match keyword {
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => json!([below(), below()]),
                "properties" | "dependentSchemas" => json!({"a": below(), "b": below()}),
                "patternProperties" => json!({"a": below(), "^.$": below()}),
                "$ref" => json!(format!("#/$defs/d{}", self.below(definitions))),
                _ => below(),
            };
            schema.insert(keyword.to_owned(), value);
        }
        Value::Object(schema)
    }
}

/// A value of so many levels, with two ways at each of the lowest.
fn value(levels: usize, as_object: bool) -> Value {
    let below = |levels: usize, as_object: bool| {
        if levels == 0 {
            json!(1)
        } else {
            value(levels - 1, as_object)
        }
    };
    match (as_object, levels < 6) {
        (true, true) => json!({"a": below(levels, false), "b": below(levels, true)}),
        (true, false) => json!({"a": below(levels, levels.is_multiple_of(2))}),
        (false, true) => json!([below(levels, true), below(levels, false)]),
        (false, false) => json!([below(levels, levels.is_multiple_of(2))]),
    }
}

#[test]
fn whatever_is_taken_ends_soon() {
    let values = [
        value(MAX_DEPTH - 1, true),
        value(MAX_DEPTH - 1, false),
        value(8, true),
    ];
    let mut numbers = Numbers(0x5eed);
    let (mut taken, mut recursive) = (0, 0);
    on_a_stack(|| {
        for _ in 0..4000 {
            let count = 1 + numbers.below(5);
            let definitions =
                (0..count).map(|number| (format!("d{number}"), numbers.schema(count, 3)));
            let definitions = Value::Object(definitions.collect());
            let schema = json!({"$defs": definitions, "$ref": "#/$defs/d0"});
            let Ok(compiled) = Schema::compile(&schema) else {
                continue;
            };
            taken += 1;
            recursive += usize::from(definitions["d0"].to_string().contains("#/$defs/d0"));
            for value in &values {
                let start = Instant::now();
                let fits = compiled.accept(value).is_ok();
                let took = start.elapsed();
                assert!(
                    took < Duration::from_secs(1),
                    "{took:?} {fits} {}: {schema}",
                    compiled.work
                );
            }
        }
    });
    assert!(taken > 400 && recursive > 20, "{taken} {recursive}");
}
