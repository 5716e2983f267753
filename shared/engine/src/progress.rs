//! The outcome of a worker's time with a run.

/// The progress of a worker with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has ended.
    Finished,
    /// There is no time left here; the worker that gets its next message goes on, in the same `place`.
    Yielded { place: Option<u16> },
    /// Its organization has no place for it now. It gets a message once there is one.
    Waiting,
    /// A pause was wanted, and it is paused now.
    Paused,
    /// There was nothing to do: it had ended, waits for a person, or is held by another worker.
    Idle,
    /// It may have ended a worker: it is to go on alone, and nothing was done here.
    Suspected,
}
