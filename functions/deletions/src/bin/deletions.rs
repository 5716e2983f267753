//! See [`deletions::lambda`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    runtime::bootstrap::run(deletions::lambda).await
}
