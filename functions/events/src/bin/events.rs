//! See [`events::lambda`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    runtime::bootstrap::run(events::lambda).await
}
