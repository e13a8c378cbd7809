//! How a sample of numbers is spread.

use crate::statistics;
use serde::{Deserialize, Serialize};

/// Shares whose quantiles are reported.
const SHARES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

/// Mean, standard deviation and quantiles of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1); 0 of one value.
    pub std: f64,
    /// (share, quantile) for the shares 0 (the smallest), 0.05, 0.25, 0.5, 0.75, 0.95 and 1 (the largest), linear between
    /// values as numpy's default.
    pub quantiles: Vec<(f64, f64)>,
}

impl Spread {
    /// Of one value or more; `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        let last = values.len().checked_sub(1)?;
        // Before the values are sorted: sums in the given order.
        let (mean, std) = (statistics::mean(&values), statistics::std(&values));
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = share * last as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { mean, std, quantiles: SHARES.iter().map(|&share| (share, quantile(share))).collect() })
    }

    /// The quantile reported for `share`, if it is one of the shares.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.quantiles.iter().find(|(s, _)| *s == share).map(|(_, value)| *value)
    }
}
