//! See [`executions::dead_letters()`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    runtime::bootstrap::run(executions::dead_letters).await
}
