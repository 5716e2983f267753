//! `template.yaml`, read and evaluated: what the product consists of, in this product's own words.
//!
//! [`Template::read`] parses the file, [`Deployment::evaluate`] resolves parameters, conditions and references. Properties
//! that nothing here asks for are never looked at, so a template may use all of CloudFormation in them.

mod api;
mod deployment;
mod document;
mod endpoints;
mod evaluate;
mod events;
mod functions;
mod parameters;
mod properties;
mod references;
mod source_path;
mod storage;

use std::path::{Path, PathBuf};

pub use deployment::{
    ACCOUNT_ID, Attribute, Bucket, Deployment, Function, GatewayHeader, GatewayResponse,
    GeneratedSecret, Index, KeyElement, Names, Projection, Queue, QueueSource, REGION, Redrive,
    Route, STACK_NAME, Schedule, Secret, SecretContent, Table,
};
pub use endpoints::Endpoints;

use document::Document;
use source_path::Problem;

/// An error in a template: one line that names the file and the place in it.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {text}", file = .file.display())]
pub struct TemplateError {
    file: PathBuf,
    text: String,
}

/// A template that was read and is well-formed YAML. Nothing of it is evaluated yet.
pub struct Template {
    file: PathBuf,
    document: Document,
}

impl Template {
    /// Reads a template from its file.
    pub fn read(file: impl Into<PathBuf>) -> Result<Self, TemplateError> {
        let file = file.into();
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(file, &text),
            Err(error) => Err(TemplateError {
                file,
                text: error.to_string(),
            }),
        }
    }

    /// Takes the text of a template; `file` is what errors call it.
    pub fn parse(file: impl Into<PathBuf>, text: &str) -> Result<Self, TemplateError> {
        let file = file.into();
        match Document::parse(text) {
            Ok(document) => Ok(Self { file, document }),
            Err(text) => Err(TemplateError { file, text }),
        }
    }

    /// The file that this template came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// An error about a function's property, for what only the platform can know of it.
    pub(crate) fn function_error(
        &self,
        function: &str,
        property: &[&str],
        text: impl Into<String>,
    ) -> TemplateError {
        let place = ["Resources", function, "Properties"]
            .into_iter()
            .chain(property.iter().copied())
            .map(str::to_owned)
            .collect();
        self.error(Problem {
            place,
            text: text.into(),
        })
    }

    fn error(&self, problem: Problem) -> TemplateError {
        let Problem { place, text } = self.document.locate(problem);
        TemplateError {
            file: self.file.clone(),
            text: format!("{}: {text}", place.join(".")),
        }
    }
}
