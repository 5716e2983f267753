//! Calls to AWS: their futures, and the meaning of their errors to the domain.

use std::future::Future;
use std::sync::LazyLock;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use domain::Error;
use futures::future::BoxFuture;

use crate::item::Item;

/// A call on its way. The SDK's futures have kilobytes: unboxed, every future above them would carry as many, often several times.
pub(crate) fn boxed<'a, T>(call: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(call)
}

/// What a failed call means: worth trying again, or a defect of ours.
pub(crate) fn aws_error<E, R>(error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let retryable = match &error {
        SdkError::ServiceError(service) => matches!(
            service.err().code(),
            Some(
                "ProvisionedThroughputExceededException"
                    | "RequestLimitExceeded"
                    | "ThrottlingException"
                    | "InternalServerError"
                    | "TransactionInProgressException"
                    | "TransactionConflictException"
                    // S3's
                    | "InternalError"
                    | "RequestTimeout"
                    | "ServiceUnavailable"
                    | "SlowDown"
            )
        ),
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    };
    let text = DisplayErrorContext(&error).to_string();
    if retryable {
        Error::unavailable(text)
    } else {
        Error::internal(text)
    }
}

/// The stored item that kept a conditional write from happening, where the call asked for it; an empty one otherwise.
pub(crate) fn condition_failure<T: ConditionalWrite, R>(error: &SdkError<T, R>) -> Option<&Item> {
    static NONE: LazyLock<Item> = LazyLock::new(Item::new);
    match error {
        SdkError::ServiceError(error) => error
            .err()
            .refusal()
            .map(|refusal| refusal.item.as_ref().unwrap_or(&NONE)),
        _ => None,
    }
}

/// A call's error that can mean that its condition did not hold.
pub(crate) trait ConditionalWrite {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException>;
}

impl ConditionalWrite for PutItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ConditionalWrite for UpdateItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ConditionalWrite for DeleteItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        }
    }
}
