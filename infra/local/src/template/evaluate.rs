//! CloudFormation's intrinsic functions.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::document::{Document, is_intrinsic};
use super::endpoints::Endpoints;
use super::source_path::{Problem, SourcePath};

/// Evaluates what it is asked for, and nothing else.
pub(super) struct Evaluator<'a> {
    pub(super) document: &'a Document,
    pub(super) endpoints: &'a Endpoints,
    pub(super) parameters: BTreeMap<String, Value>,
    conditions: RefCell<HashMap<String, bool>>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        document: &'a Document,
        endpoints: &'a Endpoints,
        parameters: BTreeMap<String, Value>,
    ) -> Self {
        Self {
            document,
            endpoints,
            parameters,
            conditions: RefCell::default(),
        }
    }

    /// The value with all intrinsic functions applied. `None` is `AWS::NoValue`: the member is to be left out.
    pub(super) fn evaluate(
        &self,
        value: &Value,
        place: &SourcePath<'_>,
    ) -> Result<Option<Value>, Problem> {
        place.check_depth()?;
        match value {
            Value::Object(map) if is_intrinsic(map) => self.intrinsic(map, place),
            Value::Object(map) => {
                let mut evaluated = Map::new();
                for (name, value) in map {
                    if name.starts_with("Fn::") {
                        return Err(place.problem(format!("{name} must stand alone")));
                    }
                    if let Some(value) = self.evaluate(value, &place.at(name))? {
                        evaluated.insert(name.clone(), value);
                    }
                }
                Ok(Some(Value::Object(evaluated)))
            }
            Value::Array(items) => {
                let mut evaluated = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    evaluated.extend(self.evaluate(item, &place.item(index))?);
                }
                Ok(Some(Value::Array(evaluated)))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    /// The value as text, as a function's variable or an argument needs it.
    pub(super) fn text(&self, value: &Value, place: &SourcePath<'_>) -> Result<String, Problem> {
        match self.evaluate(value, place)? {
            Some(value) => scalar_text(&value, place).map(Cow::into_owned),
            None => Err(place.problem("has no value")),
        }
    }

    /// Returns `true` if a resource exists: its condition, if it has one, is true.
    pub(super) fn exists(&self, id: &str) -> Result<bool, Problem> {
        let resources = SourcePath::section("Resources");
        let place = resources.at(id);
        match self
            .document
            .resource(id)
            .and_then(|resource| resource.get("Condition"))
        {
            None => Ok(true),
            Some(Value::String(name)) => self.named_condition(name, &place.at("Condition")),
            Some(_) => Err(place
                .at("Condition")
                .problem("must be the name of a condition")),
        }
    }

    fn intrinsic(
        &self,
        call: &Map<String, Value>,
        place: &SourcePath<'_>,
    ) -> Result<Option<Value>, Problem> {
        let Some((name, argument)) = call.iter().next() else {
            return Ok(None);
        };
        let inside = place.argument();
        match name.as_str() {
            "Ref" => self.reference(literal(argument, place)?, place),
            "Fn::GetAtt" => self.get_att(argument, place).map(Some),
            "Fn::Sub" => self
                .sub(argument, &inside)
                .map(|text| Some(Value::String(text))),
            "Fn::If" => match list(argument, name, place)? {
                [condition, then, otherwise] => {
                    let holds = self.named_condition(literal(condition, place)?, place)?;
                    self.evaluate(if holds { then } else { otherwise }, &inside)
                }
                _ => Err(place.problem("Fn::If takes a condition and two values")),
            },
            "Fn::Join" => match list(argument, name, place)? {
                [delimiter, items] => {
                    let delimiter = self.text(delimiter, &inside)?;
                    let items = self.items(items, &inside)?;
                    let texts = items
                        .iter()
                        .map(|item| scalar_text(item, place))
                        .collect::<Result<Vec<_>, _>>()?;
                    Ok(Some(Value::String(texts.join(&delimiter))))
                }
                _ => Err(place.problem("Fn::Join takes a delimiter and a list")),
            },
            "Fn::Split" => match list(argument, name, place)? {
                [delimiter, text] => {
                    let (delimiter, text) =
                        (self.text(delimiter, &inside)?, self.text(text, &inside)?);
                    Ok(Some(
                        text.split(delimiter.as_str()).map(Value::from).collect(),
                    ))
                }
                _ => Err(place.problem("Fn::Split takes a delimiter and a text")),
            },
            "Fn::Select" => match list(argument, name, place)? {
                [index, items] => {
                    let (index, mut items) =
                        (self.text(index, &inside)?, self.items(items, &inside)?);
                    match index.parse() {
                        Ok(position) if position < items.len() => {
                            Ok(Some(items.swap_remove(position)))
                        }
                        _ => Err(place.problem(format!("Fn::Select finds nothing at {index}"))),
                    }
                }
                _ => Err(place.problem("Fn::Select takes an index and a list")),
            },
            "Fn::FindInMap" => self
                .find_in_map(list(argument, name, place)?, &inside)
                .map(Some),
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" => {
                let holds = self.condition(&Value::Object(call.clone()), place)?;
                Ok(Some(Value::Bool(holds)))
            }
            unknown => Err(place.problem(format!("unknown intrinsic {unknown}"))),
        }
    }

    fn items(&self, value: &Value, place: &SourcePath<'_>) -> Result<Vec<Value>, Problem> {
        match self.evaluate(value, place)? {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(place.problem("must be a list")),
        }
    }

    fn get_att(&self, argument: &Value, place: &SourcePath<'_>) -> Result<Value, Problem> {
        match argument {
            Value::String(dotted) => match dotted.split_once('.') {
                Some((id, attribute)) => self.attribute(id, attribute, place),
                None => Err(place.problem("Fn::GetAtt takes a resource and an attribute")),
            },
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(id), attribute] => {
                    self.attribute(id, &self.text(attribute, &place.argument())?, place)
                }
                _ => Err(place.problem("Fn::GetAtt takes a resource and an attribute")),
            },
            _ => Err(place.problem("Fn::GetAtt takes a resource and an attribute")),
        }
    }

    fn sub(&self, argument: &Value, place: &SourcePath<'_>) -> Result<String, Problem> {
        let none = Map::new();
        let (text, variables) = match argument {
            Value::String(text) => (text, &none),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(text)] => (text, &none),
                [Value::String(text), Value::Object(variables)] => (text, variables),
                _ => return Err(place.problem("Fn::Sub takes a text and a map")),
            },
            _ => return Err(place.problem("Fn::Sub takes a text")),
        };
        let mut result = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(place.problem("Fn::Sub has a ${ without its }"));
            };
            match name.strip_prefix('!') {
                Some(literal) => result.extend(["${", literal, "}"]),
                None => result.push_str(&self.variable(name.trim(), variables, place)?),
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn variable(
        &self,
        name: &str,
        variables: &Map<String, Value>,
        place: &SourcePath<'_>,
    ) -> Result<String, Problem> {
        if let Some(value) = variables.get(name) {
            return self.text(value, &place.argument());
        }
        let value = match name.split_once('.') {
            Some((id, attribute)) => Some(self.attribute(id, attribute, place)?),
            None => self.reference(name, place)?,
        };
        match value {
            Some(value) => scalar_text(&value, place).map(Cow::into_owned),
            None => Err(place.problem(format!("{name} has no value"))),
        }
    }

    fn find_in_map(&self, keys: &[Value], place: &SourcePath<'_>) -> Result<Value, Problem> {
        let [map, first, second] = keys else {
            return Err(place.problem("Fn::FindInMap takes a map and two keys"));
        };
        let (map, first, second) = (
            self.text(map, place)?,
            self.text(first, place)?,
            self.text(second, place)?,
        );
        let found = self
            .document
            .section("Mappings")
            .get(&map)
            .and_then(|map| map.get(&first)?.get(&second));
        found
            .cloned()
            .ok_or_else(|| place.problem(format!("Mappings has no {map}.{first}.{second}")))
    }

    fn named_condition(&self, name: &str, place: &SourcePath<'_>) -> Result<bool, Problem> {
        if let Some(holds) = self.conditions.borrow().get(name) {
            return Ok(*holds);
        }
        let Some(condition) = self.document.section("Conditions").get(name) else {
            return Err(place.problem(format!("there is no condition {name}")));
        };
        let holds = self.condition(
            condition,
            &SourcePath::section_from("Conditions", place).at(name),
        )?;
        self.conditions.borrow_mut().insert(name.to_owned(), holds);
        Ok(holds)
    }

    fn condition(&self, value: &Value, place: &SourcePath<'_>) -> Result<bool, Problem> {
        place.check_depth()?;
        let call = value
            .as_object()
            .filter(|map| map.len() == 1)
            .and_then(|map| map.iter().next());
        let Some((name, argument)) = call else {
            return Err(place.problem("must be a condition function"));
        };
        let inside = place.argument();
        match name.as_str() {
            "Condition" => self.named_condition(literal(argument, place)?, place),
            "Fn::Equals" => match list(argument, name, place)? {
                [left, right] => Ok(self.text(left, &inside)? == self.text(right, &inside)?),
                _ => Err(place.problem("Fn::Equals takes two values")),
            },
            "Fn::Not" => match list(argument, name, place)? {
                [condition] => self.condition(condition, &inside).map(|holds| !holds),
                _ => Err(place.problem("Fn::Not takes one condition")),
            },
            "Fn::And" => list(argument, name, place)?
                .iter()
                .try_fold(true, |all, next| Ok(self.condition(next, &inside)? && all)),
            "Fn::Or" => list(argument, name, place)?
                .iter()
                .try_fold(false, |any, next| Ok(self.condition(next, &inside)? || any)),
            unknown if unknown.starts_with("Fn::") => {
                Err(place.problem(format!("unknown intrinsic {unknown}")))
            }
            _ => Err(place.problem("must be a condition function")),
        }
    }
}

fn literal<'a>(value: &'a Value, place: &SourcePath<'_>) -> Result<&'a str, Problem> {
    value
        .as_str()
        .ok_or_else(|| place.problem("must be a name"))
}

fn list<'a>(
    value: &'a Value,
    function: &str,
    place: &SourcePath<'_>,
) -> Result<&'a [Value], Problem> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| place.problem(format!("{function} takes a list")))
}

fn scalar_text<'a>(value: &'a Value, place: &SourcePath<'_>) -> Result<Cow<'a, str>, Problem> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) => Ok(Cow::Owned(number.to_string())),
        Value::Bool(value) => Ok(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(place.problem("must be a text or a number"))
        }
    }
}
