//! How the terms of a loss become one number, as configurations hold it.

use crate::error::setting;
use crate::{Reduction, Result};
use serde::{Deserialize, Serialize};

/// A reduction in a configuration: `"mean"`, `"sum"`, `"mean_non_zero"`, `"per_anchor"`, `"none"`, `{"threshold": {"low": 0.1, "high":
/// 0.8}}`, `{"class_weighted": [1, 2]}` or `{"divisor": 7}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReductionConfig {
    /// Mean over all terms.
    Mean,
    /// Sum of all terms.
    Sum,
    /// Mean over the terms above 0.
    MeanNonZero,
    /// Mean over the anchors of the mean of each anchor's terms.
    PerAnchor,
    /// The sum of each anchor's terms: a number for each.
    None,
    /// Mean over the terms between two numbers.
    Threshold(ThresholdConfig),
    /// Mean over all terms, each times the weight of its anchor's class.
    ClassWeighted(Vec<f64>),
    /// Sum of all terms over a number.
    Divisor(f64),
}

/// Which terms count: those strictly between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdConfig {
    /// Terms at or below are left out. Default: none.
    pub low: Option<f64>,
    /// Terms at or above are left out. Default: none.
    pub high: Option<f64>,
}

impl ReductionConfig {
    /// The reduction.
    ///
    /// # Errors
    /// When a number has no meaning.
    pub fn reduction(&self) -> Result<Reduction> {
        let wrong = |problem: String| Err(setting("reduction", problem));
        Ok(match self {
            Self::Mean => Reduction::Mean,
            Self::Sum => Reduction::Sum,
            Self::MeanNonZero => Reduction::MeanNonZero,
            Self::PerAnchor => Reduction::PerAnchor,
            Self::None => Reduction::None,
            Self::Threshold(ThresholdConfig { low: None, high: None }) => {
                return wrong("threshold has no end: want low, high or both, or mean".to_owned());
            }
            Self::Threshold(ThresholdConfig { low, high }) => {
                let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
                if low.is_nan() || high.is_nan() || low >= high {
                    return wrong(format!("threshold is {low} to {high}: want low below high"));
                }
                Reduction::Threshold { low, high }
            }
            Self::ClassWeighted(weights) => {
                if let Some((class, weight)) = weights.iter().enumerate().find(|(_, w)| !(**w >= 0.0 && w.is_finite()))
                {
                    return wrong(format!("class_weighted has {weight} for class {class}: want 0 or more"));
                }
                if !weights.iter().any(|&weight| weight > 0.0) {
                    return wrong("class_weighted has no weight above 0: want one of each class".to_owned());
                }
                Reduction::ClassWeighted(weights.clone())
            }
            Self::Divisor(by) if !(*by > 0.0 && by.is_finite()) => {
                return wrong(format!("divisor is {by}: want a number above 0"));
            }
            Self::Divisor(by) => Reduction::Divisor(*by),
        })
    }
}
