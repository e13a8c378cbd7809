//! Axes: from values to places in a frame, and the ticks that people read.

use crate::verification::probit;
use serde::{Deserialize, Serialize};

use super::read::number;
use super::text;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal steps.
    #[default]
    Linear,
    /// Equal ratios; values must be above 0.
    Log,
    /// Normal deviates, as in detection error trade-off curves; values must lie between 0 and 1.
    Probit,
}

/// One axis of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What the axis shows, with its unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// Value at the left or lower end.
    #[serde(deserialize_with = "number")]
    pub min: f64,
    /// Value at the right or upper end.
    #[serde(deserialize_with = "number")]
    pub max: f64,
}

impl Axis {
    /// Place of `value` along the axis, 0 at `min` and 1 at `max`; `None` for NaN and for an axis without length.
    /// A value far outside, as 0 on a log axis, is held near the frame so that its place can be written down.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let (low, high) = (self.spread(self.min)?, self.spread(self.max)?);
        let span = high - low;
        let place = (self.spread(value)? - low) / span;
        (span != 0.0 && place.is_finite()).then(|| place.clamp(-10.0, 11.0))
    }

    fn spread(&self, value: f64) -> Option<f64> {
        let spread = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-12).ln(),
            Scale::Probit => probit(value.clamp(1e-9, 1.0 - 1e-9)),
        };
        (!value.is_nan() && spread.is_finite()).then_some(spread)
    }

    /// Values worth a tick, at most about eight, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.min.min(self.max), self.min.max(self.max));
        if !(low.is_finite() && high.is_finite()) || low == high {
            return Vec::new();
        }
        let candidates = match self.scale {
            Scale::Linear => return linear_ticks(low, high),
            Scale::Log => {
                let (first, last) = (low.max(1e-12).log10(), high.max(1e-12).log10());
                let step = ((last - first) / 7.0).ceil().max(1.0) as i32;
                let decades = (first.floor() as i32..=last.ceil() as i32).filter(|d| d.rem_euclid(step) == 0);
                let parts: &[f64] = if last - first < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                decades.flat_map(|d| parts.iter().map(move |p| p * 10f64.powi(d))).collect()
            }
            Scale::Probit => vec![1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999],
        };
        let slack = 1e-9;
        let within = |v: &f64| *v >= low * (1.0 - slack) && *v <= high * (1.0 + slack);
        candidates.into_iter().filter(within).map(|v| (v, short(v))).collect()
    }
}

fn linear_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(rough);
    // A range too narrow for doubles has no steps to show.
    if !(step > 0.0 && step.is_finite()) || low + step == low {
        return Vec::new();
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
    let first = (low / step - 1e-9).ceil();
    let label = |v: f64| {
        if v.abs() >= 1e6 { text::number(v) } else { format!("{v:.decimals$}").replace('-', "−") }
    };
    let values = (0..12).map(|i| (first + f64::from(i)) * step).take_while(|v| *v <= high + step * 1e-6);
    values.map(|v| if v == 0.0 { (0.0, label(0.0)) } else { (v, label(v)) }).collect()
}

fn short(value: f64) -> String {
    if (1e-3..1e4).contains(&value) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.0e}").replace('-', "−")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probit_matches_printed_quantiles() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959963984540054), (0.001, -3.090232306167813), (0.2, -0.8416212335729143)]
        {
            assert!((probit(p) - z).abs() < 1e-7, "probit({p}) = {}", probit(p));
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = |scale, min, max| Axis { label: String::new(), scale, min, max };
        let labels = |a: Axis| a.ticks().into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(axis(Scale::Linear, 0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(axis(Scale::Log, 1e-4, 1.0)), ["1e−4", "0.001", "0.01", "0.1", "1"]);
        assert!(labels(axis(Scale::Linear, f64::NAN, 1.0)).is_empty());
        assert!(labels(axis(Scale::Linear, 1.0, 1.0)).is_empty());
    }
}
