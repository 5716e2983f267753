//! Errors that the SDK retries beyond those that it retries by itself.

use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;

/// Writes of one item that conflicted with a transaction on it. DynamoDB refuses them and the SDK takes that for final, although
/// they go through a moment later. A transaction that conflicts with another one is retried by its caller, which alone knows what
/// the conflict means.
#[derive(Debug)]
pub(crate) struct TransactionConflicts;

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context
            .output_or_error()
            .and_then(Result::err)
            .and_then(|error| error.as_operation_error());
        let Some(error) = error else {
            return RetryAction::NoActionIndicated;
        };
        let met_a_transaction = matches!(
            error.downcast_ref(),
            Some(PutItemError::TransactionConflictException(_))
        ) || matches!(
            error.downcast_ref(),
            Some(UpdateItemError::TransactionConflictException(_))
        ) || matches!(
            error.downcast_ref(),
            Some(DeleteItemError::TransactionConflictException(_))
        );
        if met_a_transaction {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}
