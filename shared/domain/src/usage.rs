//! The usage of runs.

use serde::{Deserialize, Serialize};

use crate::run::{Run, TokenUsage};

/// The usage of runs that have ended, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub runs: u64,
    pub tokens: TokenUsage,
    /// In millionths of a US dollar.
    pub cost_micros: u64,
}

impl Usage {
    /// The usage of one run.
    pub fn of(run: &Run) -> Self {
        Self {
            runs: 1,
            tokens: run.tokens,
            cost_micros: run.cost_micros,
        }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.tokens += other.tokens;
        self.cost_micros += other.cost_micros;
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}
