//! The grants of the template to its functions.

use std::collections::BTreeSet;
use std::fs;

use serde_yaml_ng::Value as Yaml;
use testkit::TestApp;

/// Function, action and resource: a table, an index as `Table/index/Name`, a queue, a secret, a log group.
pub(super) type Grant = (String, String, String);

pub(super) fn template() -> Yaml {
    serde_yaml_ng::from_str(&fs::read_to_string(TestApp::template()).unwrap()).unwrap()
}

/// The functions of the template with their properties.
pub(super) fn functions(template: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    let resources = template["Resources"].as_mapping().unwrap().iter();
    resources
        .filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function")
        .map(|(id, resource)| (id.as_str().unwrap(), &resource["Properties"]))
}

/// Everything that the template allows its functions.
pub(super) fn grants() -> BTreeSet<Grant> {
    let template = template();
    let mut grants = BTreeSet::new();
    for (function, properties) in functions(&template) {
        let documents: Vec<&Yaml> = match properties.get("Role") {
            Some(role) => {
                let role = resource(role);
                let policies = &template["Resources"][&role]["Properties"]["Policies"];
                let policies = policies.as_sequence().unwrap().iter();
                let policies = policies.map(|policy| &policy["PolicyDocument"]);
                policies.chain(added_policies(&template, &role)).collect()
            }
            // A function without any may do nothing.
            None => properties["Policies"]
                .as_sequence()
                .map(|policies| policies.iter().collect())
                .unwrap_or_default(),
        };
        let statements = documents
            .iter()
            .flat_map(|document| listed(&document["Statement"]));
        for statement in statements {
            assert_eq!(statement["Effect"], "Allow", "{function}");
            for action in listed(&statement["Action"]) {
                for on in listed(&statement["Resource"]) {
                    let action = action.as_str().unwrap().to_owned();
                    let grant = (function.to_owned(), action, resource(on));
                    assert!(!grants.contains(&grant), "granted twice: {grant:?}");
                    grants.insert(grant);
                }
            }
        }
    }
    grants
}

/// The policies of their own that a role has, on some condition or on none.
fn added_policies<'a>(template: &'a Yaml, role: &str) -> impl Iterator<Item = &'a Yaml> {
    let resources = template["Resources"].as_mapping().unwrap().values();
    let policies = resources.filter(|resource| resource["Type"] == "AWS::IAM::Policy");
    let policies = policies.map(|policy| &policy["Properties"]);
    let is_of = move |policy: &&Yaml| {
        let mut roles = listed(&policy["Roles"]).into_iter();
        roles.any(|of| resource(of) == role)
    };
    let policies: Vec<_> = policies.filter(is_of).collect();
    policies.into_iter().map(|policy| &policy["PolicyDocument"])
}

/// A list, or the one value that stands for a list.
fn listed(value: &Yaml) -> Vec<&Yaml> {
    match value.as_sequence() {
        Some(values) => values.iter().collect(),
        None => vec![value],
    }
}

/// The logical id that `!Ref Id`, `!GetAtt Id.Arn` or `!Sub '${Id.Arn}/…'` begins with, and what follows it.
pub(super) fn resource(value: &Yaml) -> String {
    let (tag, text) = match value {
        Yaml::Tagged(tagged) => (tagged.tag.to_string(), tagged.value.as_str()),
        value => (String::new(), value.as_str()),
    };
    let text = text.unwrap_or_else(|| panic!("{value:?} is no resource"));
    match tag.as_str() {
        "!Ref" => text.to_owned(),
        "!GetAtt" => text.strip_suffix(".Arn").unwrap().to_owned(),
        "!Sub" => text.replacen("${", "", 1).replacen(".Arn}", "", 1),
        "" if text == "*" => text.to_owned(),
        _ => panic!("{tag} {text} is no resource"),
    }
}
