//! The addresses of the embedded services.

/// The base URLs of the embedded services, without a trailing slash. Queue URLs are made of them.
#[derive(Clone, Debug)]
pub struct Endpoints {
    pub dynamodb: String,
    pub s3: String,
    pub sqs: String,
    pub secrets_manager: String,
}

impl Default for Endpoints {
    /// Addresses at which nothing listens, where only what a template declares is of interest.
    fn default() -> Self {
        let nowhere = || "http://127.0.0.1:0".to_owned();
        Self {
            dynamodb: nowhere(),
            s3: nowhere(),
            sqs: nowhere(),
            secrets_manager: nowhere(),
        }
    }
}
