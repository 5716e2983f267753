//! Clients that ask one thing after the other for a while.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::sample::Sample;

/// The outcome.
pub(super) struct Load {
    pub(super) sample: Sample,
    pub(super) per_second: f64,
}

/// Has `clients` do `one` thing after the other until `time` is over.
///
/// # Errors
/// The first that went wrong.
pub(super) async fn load<F, R>(clients: usize, time: Duration, one: F) -> anyhow::Result<Load>
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = anyhow::Result<()>> + Send,
{
    let started = Instant::now();
    let until = started + time;
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let one = one.clone();
        tasks.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                let started = Instant::now();
                one().await?;
                took.push(started.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = tasks.join_next().await {
        took.extend(client??);
    }
    let sample = Sample::new(took);
    Ok(Load {
        per_second: rate(sample.len(), started.elapsed()),
        sample,
    })
}

/// The number in a second.
pub(super) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The cost of one of `count`, in milliseconds.
pub(super) fn cost(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1000.0 / count.max(1) as f64
}
