//! Messages that no worker could process: their runs end as failed, so that no client waits for them in vain.

use domain::message::RunMessage;
use runtime::{Lambda, Services, queue_batch};
use store::Store;

/// Builds the function that ends the runs of dead letters.
pub async fn dead_letters(services: Services) -> Result<Lambda, runtime::Error> {
    let store = Store::new(&services);
    let clock = services.clock;
    Ok(Lambda::queue(move |batch, _| {
        let (store, clock) = (store.clone(), clock.clone());
        async move {
            queue_batch::each_message(batch, async |message: RunMessage| {
                let RunMessage::Advance(message) = message;
                engine::give_up(&store, &clock, message.workspace_id, message.run_id).await
            })
            .await
        }
    }))
}
