//! Messages from queues to functions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use local::{Options, Platform};

use crate::fixture::{next, options, start};

fn work_queue(platform: &Platform) -> String {
    platform.function_environment("EchoFunction").unwrap()["QUEUE_URL"].clone()
}

#[tokio::test]
async fn a_message_reaches_its_function_at_once_and_whole() {
    let (platform, mut seen) = start().await;
    let sqs = platform.services().sqs;
    let urgency = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("high")
        .build()
        .unwrap();
    let sent = sqs
        .send_message()
        .queue_url(work_queue(&platform))
        .message_body("first")
        .message_attributes("urgency", urgency)
        .send()
        .await
        .unwrap();
    let event = next(&mut seen.batches).await;
    let [record] = event.records.as_slice() else {
        panic!("{event:?}")
    };
    assert_eq!(record.message_id, sent.message_id);
    assert_eq!(record.body.as_deref(), Some("first"));
    assert_eq!(record.attributes["ApproximateReceiveCount"], "1");
    assert_eq!(
        record.message_attributes["urgency"].string_value.as_deref(),
        Some("high")
    );
    assert_eq!(
        record.event_source_arn.as_deref(),
        Some("arn:aws:sqs:us-east-1:000000000000:signalbox-WorkQueue")
    );

    // The connection is warm now, so this is the way of a message alone.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        sqs.send_message()
            .queue_url(work_queue(&platform))
            .message_body("again")
            .send()
            .await
            .unwrap();
        next(&mut seen.batches).await;
        quickest = quickest.min(started.elapsed());
    }
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
    platform.stop().await;
}

#[tokio::test]
async fn only_failed_messages_come_again_and_then_go_to_the_dead_letters() {
    let (platform, mut seen) = start().await;
    let sqs = platform.services().sqs;
    let mut batch = sqs.send_message_batch().queue_url(work_queue(&platform));
    for (id, body) in ["good", "bad one", "fine"].into_iter().enumerate() {
        batch = batch.entries(
            SendMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .message_body(body)
                .build()
                .unwrap(),
        );
    }
    batch.send().await.unwrap();
    let mut deliveries = Vec::new();
    while deliveries
        .iter()
        .filter(|(body, _)| body == "bad one")
        .count()
        < 2
    {
        for record in next(&mut seen.batches).await.records {
            deliveries.push((
                record.body.unwrap_or_default(),
                record.attributes["ApproximateReceiveCount"].clone(),
            ));
        }
    }
    deliveries.sort();
    let expected = [
        ("bad one", "1"),
        ("bad one", "2"),
        ("fine", "1"),
        ("good", "1"),
    ]
    .map(|(body, count)| (body.to_owned(), count.to_owned()));
    assert_eq!(deliveries, expected);

    let dead = next(&mut seen.dead).await;
    assert_eq!(dead.records[0].body.as_deref(), Some("bad one"));
    assert_eq!(
        dead.records[0].event_source_arn.as_deref(),
        Some("arn:aws:sqs:us-east-1:000000000000:dead-letters")
    );
}

#[tokio::test]
async fn a_panic_fails_the_whole_batch() {
    let (options, mut seen) = options();
    let platform = Platform::start(options.parameter("VisibilitySeconds", "0"))
        .await
        .unwrap();
    let sqs = platform.services().sqs;
    sqs.send_message()
        .queue_url(work_queue(&platform))
        .message_body("panic")
        .send()
        .await
        .unwrap();
    assert_eq!(
        next(&mut seen.dead).await.records[0].body.as_deref(),
        Some("panic")
    );
}

#[tokio::test]
async fn batches_run_side_by_side_up_to_the_maximum() {
    let (options, mut seen) = options();
    let platform = Platform::start(
        options
            .parameter("Concurrency", "20")
            .parameter("VisibilitySeconds", "30"),
    )
    .await
    .unwrap();
    let sqs = platform.services().sqs;
    let queue = work_queue(&platform);
    let started = Instant::now();
    for first in (0..200).step_by(10) {
        let mut batch = sqs.send_message_batch().queue_url(&queue);
        for id in first..first + 10 {
            // Ten messages one after the other take a function 200 ms.
            batch = batch.entries(
                SendMessageBatchRequestEntry::builder()
                    .id(id.to_string())
                    .message_body("20")
                    .build()
                    .unwrap(),
            );
        }
        batch.send().await.unwrap();
    }
    let mut ids = BTreeSet::new();
    while ids.len() < 200 {
        ids.extend(
            next(&mut seen.batches)
                .await
                .records
                .into_iter()
                .filter_map(|record| record.message_id),
        );
    }
    // One after the other they would take four seconds.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn without_event_sources_messages_stay_in_the_queue() {
    let (options, mut seen) = options();
    let platform = Platform::start(Options {
        event_sources: false,
        ..options
    })
    .await
    .unwrap();
    let sqs = platform.services().sqs;
    sqs.send_message()
        .queue_url(work_queue(&platform))
        .message_body("left")
        .send()
        .await
        .unwrap();
    let received = sqs
        .receive_message()
        .queue_url(work_queue(&platform))
        .send()
        .await
        .unwrap();
    assert_eq!(received.messages()[0].body(), Some("left"));
    assert!(seen.batches.try_recv().is_err());
}

#[tokio::test]
async fn stopping_waits_for_the_handlers_that_run() {
    let (options, mut seen) = options();
    let platform = Platform::start(options.parameter("VisibilitySeconds", "30"))
        .await
        .unwrap();
    let sqs = platform.services().sqs;
    sqs.send_message()
        .queue_url(work_queue(&platform))
        .message_body("400")
        .send()
        .await
        .unwrap();
    // The handler reports at its end; give it the moment that it needs to begin.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(seen.batches.try_recv().is_err());
    platform.stop().await;
    assert_eq!(seen.batches.try_recv().unwrap().records.len(), 1);
}
