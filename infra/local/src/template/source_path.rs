//! A place in the template, for error messages.

use std::borrow::Cow;

/// The depth to which references may lead into one another. Only a cycle goes further.
const DEEPEST: usize = 100;

/// A position in the template, as a path from its root. Costs nothing until a problem is found there.
#[derive(Clone, Debug)]
pub(super) struct SourcePath<'a> {
    parent: Option<&'a Self>,
    segment: Cow<'a, str>,
    depth: usize,
}

impl<'a> SourcePath<'a> {
    /// A top-level section.
    pub(super) fn section(name: &'a str) -> Self {
        Self {
            parent: None,
            segment: Cow::Borrowed(name),
            depth: 0,
        }
    }

    /// A top-level section that an evaluation at `origin` leads to.
    pub(super) fn section_from(name: &'a str, origin: &SourcePath<'_>) -> Self {
        Self {
            parent: None,
            segment: Cow::Borrowed(name),
            depth: origin.depth + 1,
        }
    }

    /// A member of the map here.
    pub(super) fn at(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            segment: Cow::Borrowed(name),
            depth: self.depth + 1,
        }
    }

    /// An item of the list here.
    pub(super) fn item(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            segment: Cow::Owned(index.to_string()),
            depth: self.depth + 1,
        }
    }

    /// An argument of the intrinsic function here, which readers know by the same name.
    pub(super) fn argument(&self) -> Self {
        Self {
            parent: self.parent,
            segment: self.segment.clone(),
            depth: self.depth + 1,
        }
    }

    /// Refuses to go on below a place that only a cycle of references reaches.
    pub(super) fn check_depth(&self) -> Result<(), Problem> {
        if self.depth > DEEPEST {
            Err(self.problem("refers to itself"))
        } else {
            Ok(())
        }
    }

    /// Says that something is wrong here.
    pub(super) fn problem(&self, text: impl Into<String>) -> Problem {
        let mut place: Vec<String> = std::iter::successors(Some(self), |place| place.parent)
            .map(|place| place.segment.to_string())
            .collect();
        place.reverse();
        Problem {
            place,
            text: text.into(),
        }
    }
}

/// An error in the template, and its place.
#[derive(Debug)]
pub(super) struct Problem {
    /// The path from the template's root.
    pub(super) place: Vec<String>,
    pub(super) text: String,
}
