//! Calls to AWS: their futures, and the meaning of their errors to the domain.

use std::sync::LazyLock;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use domain::Error;
use futures::future::BoxFuture;

use crate::item::Item;

/// A call of the SDK that is ready to be sent.
///
/// The SDK's futures have kilobytes: unboxed, every future above them would carry as many, often several times. They are boxed here, in
/// functions that are not generic, so that no other crate compiles them once more.
pub(crate) trait Call {
    type Output;
    type Error;

    fn sent(self) -> BoxFuture<'static, Result<Self::Output, SdkError<Self::Error>>>;
}

macro_rules! calls {
    ($($module:ident::$operation:ident: $builder:ident, $output:ident, $error:ident;)*) => {$(
        impl Call for $module::operation::$operation::builders::$builder {
            type Output = $module::operation::$operation::$output;
            type Error = $module::operation::$operation::$error;

            fn sent(self) -> BoxFuture<'static, Result<Self::Output, SdkError<Self::Error>>> {
                Box::pin(self.send())
            }
        }
    )*};
}

calls! {
    aws_sdk_dynamodb::get_item: GetItemFluentBuilder, GetItemOutput, GetItemError;
    aws_sdk_dynamodb::batch_get_item: BatchGetItemFluentBuilder, BatchGetItemOutput, BatchGetItemError;
    aws_sdk_dynamodb::query: QueryFluentBuilder, QueryOutput, QueryError;
    aws_sdk_dynamodb::put_item: PutItemFluentBuilder, PutItemOutput, PutItemError;
    aws_sdk_dynamodb::update_item: UpdateItemFluentBuilder, UpdateItemOutput, UpdateItemError;
    aws_sdk_dynamodb::delete_item: DeleteItemFluentBuilder, DeleteItemOutput, DeleteItemError;
    aws_sdk_dynamodb::batch_write_item: BatchWriteItemFluentBuilder, BatchWriteItemOutput, BatchWriteItemError;
    aws_sdk_dynamodb::transact_write_items: TransactWriteItemsFluentBuilder, TransactWriteItemsOutput, TransactWriteItemsError;
    aws_sdk_s3::get_object: GetObjectFluentBuilder, GetObjectOutput, GetObjectError;
    aws_sdk_s3::delete_object: DeleteObjectFluentBuilder, DeleteObjectOutput, DeleteObjectError;
    aws_sdk_s3::delete_objects: DeleteObjectsFluentBuilder, DeleteObjectsOutput, DeleteObjectsError;
    aws_sdk_s3::list_objects_v2: ListObjectsV2FluentBuilder, ListObjectsV2Output, ListObjectsV2Error;
}

/// The meaning of a failed call: worth trying again, or a defect of ours.
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
