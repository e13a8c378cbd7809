//! Means with their uncertainty.
//!
//! | question | answer |
//! |---|---|
//! | how far off may the mean of independent values be? | [`ci95`], Student's t |
//! | and a share of hits? | [`wilson95`] |
//! | and a mean of queries whose classes were drawn, not they themselves? | [`Bootstrap::intervals`], clustered by class |
//! | is one run better than another on the same queries? | [`Bootstrap::paired`] |

pub(crate) mod bootstrap;
pub(crate) mod student;
mod wilson;

pub use bootstrap::{Bootstrap, PairedTest};
pub use student::ci95;
pub use wilson::wilson95;

use serde::{Deserialize, Serialize};

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies within, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation (divisor n − 1); 0 of one value.
pub fn std(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}
