//! See [`executions::worker()`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    runtime::bootstrap::run(executions::worker).await
}
