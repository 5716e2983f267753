//! Parameters of agents: their kinds, and whether what a client gives fits.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::PartialSchema as _;
use utoipa::openapi::{RefOr, Schema};

use super::MAX_DEFINITION;
use crate::error::{FieldError, Result, all_valid};
use crate::ids::AgentId;

/// A kind of value that a parameter takes (Prodgy's agent settings page).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ParameterKind {
    Text,
    Number,
    Selection { options: &'static [&'static str] },
    Boolean,
    Json,
}

/// A rule for the value of a parameter. The error is what the value must be.
pub type ParameterCheck = fn(&Value) -> Result<(), String>;

/// A parameter that an agent of some type takes.
#[derive(Clone, Debug, Serialize)]
pub struct ParameterSpec {
    pub name: &'static str,
    pub label: &'static str,
    pub description: &'static str,
    #[serde(flatten)]
    pub kind: ParameterKind,
    pub required: bool,
    pub default: Option<Value>,
    /// A rule beside that of the kind.
    #[serde(skip)]
    pub check: Option<ParameterCheck>,
}

/// A parameter that an agent of some type takes.
// The members of a `ParameterSpec` as its JSON has them. Derived from the kinds, the schema would join an object with a choice of
// objects, which generators of clients leave out.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only described")]
struct ParameterSpecMembers {
    name: String,
    label: String,
    description: String,
    #[schema(rename = "type")]
    kind: ParameterType,
    /// The choices, where `type` is `selection`.
    #[schema(nullable = false)]
    options: Option<Vec<String>>,
    required: bool,
    default: Option<Value>,
}

/// A kind of value that a parameter takes.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described")]
enum ParameterType {
    Text,
    Number,
    Selection,
    Boolean,
    Json,
}

impl utoipa::PartialSchema for ParameterSpec {
    fn schema() -> RefOr<Schema> {
        ParameterSpecMembers::schema()
    }
}

impl utoipa::ToSchema for ParameterSpec {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((
            <ParameterType as utoipa::ToSchema>::name().into_owned(),
            ParameterType::schema(),
        ));
        ParameterSpecMembers::schemas(schemas);
    }
}

/// Checks the parameters of an agent of the type `slug` against its specifications and fills in defaults. Errors name
/// `<prefix>.<parameter>`. `check` says what else is wrong with parameters that fit, by the name of one.
pub fn validate_parameters(
    slug: &str,
    specs: &[ParameterSpec],
    check: impl FnOnce(&Map<String, Value>) -> Option<(&'static str, String)>,
    prefix: &str,
    mut given: Map<String, Value>,
) -> Result<Map<String, Value>> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, message: String| {
        errors.push(FieldError::new(format!("{prefix}.{name}"), message))
    };
    for name in given
        .keys()
        .filter(|name| !specs.iter().any(|spec| spec.name == name.as_str()))
    {
        wrong(
            &name.chars().take(100).collect::<String>(),
            format!("is not a parameter of {slug}"),
        );
    }
    for spec in specs {
        match given.get(spec.name).filter(|value| !value.is_null()) {
            None if spec.required => wrong(spec.name, "can't be blank".to_owned()),
            None => {
                given.remove(spec.name);
                if let Some(default) = &spec.default {
                    given.insert(spec.name.to_owned(), default.clone());
                }
            }
            Some(value) => {
                if let Err(message) = spec.accepts(value) {
                    wrong(spec.name, message);
                }
            }
        }
    }
    if let Some((name, message)) = check(&given) {
        wrong(name, message);
    }
    if serde_json::to_vec(&given).map_or(usize::MAX, |json| json.len()) > MAX_DEFINITION {
        errors.push(FieldError::new(
            prefix,
            format!("must be at most {MAX_DEFINITION} bytes"),
        ));
    }
    all_valid(errors)?;
    Ok(given)
}

impl ParameterSpec {
    /// A parameter without default that may be left out.
    pub fn new(
        name: &'static str,
        label: &'static str,
        kind: ParameterKind,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            label,
            description,
            kind,
            required: false,
            default: None,
            check: None,
        }
    }

    #[must_use]
    pub fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    #[must_use]
    pub fn default(self, value: impl Into<Value>) -> Self {
        Self {
            default: Some(value.into()),
            ..self
        }
    }

    /// With a rule beside that of its kind.
    #[must_use]
    pub fn check(self, check: ParameterCheck) -> Self {
        Self {
            check: Some(check),
            ..self
        }
    }

    fn accepts(&self, value: &Value) -> Result<(), String> {
        match &self.kind {
            ParameterKind::Text => match value.as_str() {
                None => return Err("must be a text".to_owned()),
                Some(text) if text.trim().is_empty() && self.required => {
                    return Err("can't be blank".to_owned());
                }
                Some(text) if text.chars().count() > 20_000 => {
                    return Err("must be at most 20000 characters".to_owned());
                }
                Some(_) => {}
            },
            ParameterKind::Number if !value.is_number() => {
                return Err("must be a number".to_owned());
            }
            ParameterKind::Selection { options } => match value.as_str() {
                Some(choice) if options.contains(&choice) => {}
                _ => return Err(format!("must be one of {}", options.join(", "))),
            },
            ParameterKind::Boolean if !value.is_boolean() => {
                return Err("must be true or false".to_owned());
            }
            ParameterKind::Number | ParameterKind::Boolean | ParameterKind::Json => {}
        }
        self.check.map_or(Ok(()), |check| check(value))
    }
}

/// The tools that an agent may be allowed.
pub const TOOLS: [&str; 4] = [
    "get_weather",
    "http_request",
    "trigger_agent",
    "get_activity",
];

/// The most agents that one may be allowed to start by name or id.
const MAX_ALLOWED_AGENTS: usize = 20;

/// Returns `true` if a value is a whole number from 1 to `most`.
pub fn integer_in_range(value: &Value, most: u64) -> Result<(), String> {
    if value
        .as_u64()
        .is_some_and(|number| (1..=most).contains(&number))
    {
        Ok(())
    } else {
        Err(format!("must be a whole number from 1 to {most}"))
    }
}

/// Returns `true` if a value is a list of names among those that are known.
pub fn names_within(value: &Value, known: &[&str]) -> Result<(), String> {
    let fine = value.as_array().is_some_and(|names| {
        names
            .iter()
            .all(|name| name.as_str().is_some_and(|name| known.contains(&name)))
    });
    if fine {
        Ok(())
    } else {
        Err(format!("must be a list of: {}", known.join(", ")))
    }
}

/// Returns `true` if a value is `*` or a list of ids of agents.
pub fn agents(value: &Value) -> Result<(), String> {
    let is_id = |agent: &Value| {
        agent
            .as_str()
            .is_some_and(|id| id.parse::<AgentId>().is_ok())
    };
    let fine = value == "*"
        || value
            .as_array()
            .is_some_and(|agents| agents.len() <= MAX_ALLOWED_AGENTS && agents.iter().all(is_id));
    if fine {
        Ok(())
    } else {
        Err(format!(
            "must be \"*\" or a list of at most {MAX_ALLOWED_AGENTS} ids of agents"
        ))
    }
}

/// Returns `true` if a value is a list of host names, each with an optional leading `*.`.
pub fn hosts(value: &Value) -> Result<(), String> {
    let is_host = |host: &str| {
        let name = host.strip_prefix("*.").unwrap_or(host);
        !name.is_empty()
            && host.len() <= 253
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
    };
    let fine = value.as_array().is_some_and(|hosts| {
        hosts.len() <= 100 && hosts.iter().all(|host| host.as_str().is_some_and(is_host))
    });
    if fine {
        Ok(())
    } else {
        Err("must be a list of at most 100 host names, each with an optional leading *.".to_owned())
    }
}
