//! See [`triggers::tick()`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    runtime::bootstrap::run(triggers::tick).await
}
