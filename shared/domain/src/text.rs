//! Short texts that people type: names, titles, descriptions.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The error for a name that has an [`is_control`] character.
pub const NO_CONTROLS: &str =
    "must not contain control characters, nor those that change the direction of a text";

/// Returns `true` if a character may make a name look like another one: one of the control characters, or of those that override or isolate
/// the direction of what follows. Joiners and other format characters belong to the writing of languages.
pub fn is_control(character: char) -> bool {
    let changes_direction = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || changes_direction
}

/// A display name: 1 to 200 characters after trimming, none of which [`is_control`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 200, example = "NYC Weather")]
pub struct Name(String);

impl Name {
    /// The longest name, in characters.
    pub const MAX: usize = 200;

    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("can't be blank".to_owned());
        }
        if text.chars().count() > Self::MAX {
            return Err(format!("must be at most {} characters", Self::MAX));
        }
        if text.chars().any(is_control) {
            return Err(NO_CONTROLS.to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The name in `field`, or that field's error.
    pub fn for_field(field: &str, text: &str) -> Result<Self> {
        Self::parse(text).map_err(|message| Error::invalid(field, message))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// A free text of at most `MAX` characters, without NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, max_length = 2000)]
pub struct Description(String);

impl Description {
    /// The longest description, in characters.
    pub const MAX: usize = 2000;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Description {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.chars().count() > Self::MAX {
            return Err(format!("must be at most {} characters", Self::MAX));
        }
        if text.contains('\0') {
            return Err("must not contain NUL".to_owned());
        }
        Ok(Self(text))
    }
}

impl From<Description> for String {
    fn from(description: Description) -> Self {
        description.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_characters_that_make_it_look_like_another() {
        for name in [
            "Ada",
            "  Ada\t",
            "Ada\u{200d}\u{200c}",
            "عادة\u{200f}",
            "e\u{301}",
            "👩\u{200d}💻",
            "a\u{ad}b",
            "\u{feff}x",
        ] {
            assert!(Name::parse(name).is_ok(), "{name:?}");
        }
        for control in [
            "\0", "\n", "\u{7f}", "\u{85}", "\u{202a}", "\u{202e}", "\u{2066}", "\u{2069}",
        ] {
            let name = format!("Ada{control}Lovelace");
            assert_eq!(Name::parse(&name), Err(NO_CONTROLS.to_owned()), "{name:?}");
        }
    }
}
