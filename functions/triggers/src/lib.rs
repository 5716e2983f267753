//! Triggers: what makes agents run, from outside and by the clock.

pub mod tick;

pub use tick::tick;
