//! Secrets as `GenerateSecretString` describes them.

use anyhow::{bail, ensure};
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::Value;

use crate::template::GeneratedSecret;

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Makes up a secret.
pub(crate) fn generate(wanted: &GeneratedSecret) -> anyhow::Result<String> {
    let kinds = [
        (LOWERCASE, !wanted.exclude_lowercase),
        (UPPERCASE, !wanted.exclude_uppercase),
        (NUMBERS, !wanted.exclude_numbers),
        (PUNCTUATION, !wanted.exclude_punctuation),
        (" ", wanted.include_space),
    ];
    let kinds: Vec<Vec<char>> = kinds
        .into_iter()
        .filter(|(_, included)| *included)
        .map(|(characters, _)| {
            characters
                .chars()
                .filter(|character| !wanted.exclude_characters.contains(*character))
                .collect()
        })
        .filter(|characters: &Vec<char>| !characters.is_empty())
        .collect();
    let all: Vec<char> = kinds.concat();
    if all.is_empty() {
        bail!("GenerateSecretString excludes every character");
    }
    let mut random = rand::rng();
    let mut password: Vec<char> = Vec::with_capacity(wanted.length);
    if wanted.require_each_included_type {
        ensure!(
            kinds.len() <= wanted.length,
            "PasswordLength is too short for one character of each type"
        );
        password.extend(kinds.iter().filter_map(|kind| kind.choose(&mut random)));
    }
    while password.len() < wanted.length {
        password.extend(all.choose(&mut random));
    }
    password.shuffle(&mut random);
    let password: String = password.into_iter().collect();
    Ok(match &wanted.template {
        None => password,
        Some((object, key)) => {
            let mut object = object.clone();
            object.insert(key.clone(), Value::String(password));
            Value::Object(object).to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> GeneratedSecret {
        GeneratedSecret {
            length: 24,
            exclude_characters: String::new(),
            exclude_lowercase: false,
            exclude_uppercase: false,
            exclude_numbers: false,
            exclude_punctuation: true,
            include_space: false,
            require_each_included_type: true,
            template: None,
        }
    }

    #[test]
    fn has_one_of_each_included_type_and_nothing_excluded() {
        let secret = generate(&GeneratedSecret {
            exclude_characters: "abc".to_owned(),
            ..wanted()
        })
        .unwrap();
        assert_eq!(secret.len(), 24);
        assert!(
            secret
                .chars()
                .all(|character| character.is_ascii_alphanumeric() && !"abc".contains(character)),
            "{secret}"
        );
        for kind in [char::is_lowercase, char::is_uppercase, char::is_numeric] {
            assert!(secret.chars().any(kind), "{secret}");
        }
        assert_ne!(secret, generate(&wanted()).unwrap());
    }

    #[test]
    fn goes_into_the_member_that_the_template_names() {
        let template = serde_json::json!({ "user": "admin" })
            .as_object()
            .cloned()
            .unwrap();
        let secret = generate(&GeneratedSecret {
            template: Some((template, "password".to_owned())),
            ..wanted()
        })
        .unwrap();
        let secret: Value = serde_json::from_str(&secret).unwrap();
        assert_eq!(secret["user"], "admin");
        assert_eq!(secret["password"].as_str().map(str::len), Some(24));
    }
}
