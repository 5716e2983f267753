//! Places that are kept for runs.

use chrono::TimeDelta;
use domain::message::Advance;
use engine::Progress;
use futures::future::{Either, select};
use store::{RunPlace, Waiting};

use crate::platform::Platform;

#[tokio::test]
async fn a_run_that_two_places_are_kept_for_keeps_the_one_that_its_worker_took_it_with() {
    let platform = Platform::start().await;
    let agent = platform.requester("GET", "/slow").await;
    let run = platform.run_of(&agent, serde_json::json!({})).await;
    let (organization, now) = (run.organization_id, platform.clock.now());
    // Two workers that leave their places at once look at the same list of those that wait.
    for number in [1, 2] {
        let kept = RunPlace {
            number,
            holder: Waiting::of(&run),
            until: now + TimeDelta::seconds(60),
            is_taken: false,
            lenders: Vec::new(),
            is_awaited: true,
        };
        let handed = platform
            .store
            .hand_run_place(organization, number, None, &kept, now);
        assert!(handed.await.unwrap());
    }
    let message = |number| Advance {
        place: Some(number),
        ..Advance::of(&run)
    };
    let (first, second) = (message(1), message(2));
    let deliveries = [platform.deliver(&first), platform.deliver(&second)].map(Box::pin);
    let [first, second] = deliveries;
    let (loser, winner, number) = match select(first, second).await {
        Either::Left((loser, winner)) => (loser, winner, 2),
        Either::Right((loser, winner)) => (loser, winner, 1),
    };
    assert_eq!(loser, Progress::Idle);

    let found = platform
        .store
        .run_places(organization, 20, 1)
        .await
        .unwrap();
    let held = found.places.iter().filter(|place| place.is_held(now));
    let held: Vec<_> = held.map(|place| place.number).collect();
    assert_eq!(held, [number], "{:?}", found.places);
    assert_eq!(winner.await, Progress::Finished);
}
