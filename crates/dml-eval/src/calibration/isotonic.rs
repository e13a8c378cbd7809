//! Isotonic regression: the best rising step from score to probability.

use super::outcomes::check_outcomes;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rising function through knots, linear between them and constant beyond the first and the last: what scikit-learn's
/// `IsotonicRegression(out_of_bounds="clip")` predicts.
///
/// Zadrozny & Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability Estimates*, 2002.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Knots", into = "Knots")]
pub struct Isotonic {
    /// (score, probability), one or more; neither falls.
    knots: Vec<(f64, f64)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Knots {
    knots: Vec<(f64, f64)>,
}

impl From<Isotonic> for Knots {
    fn from(isotonic: Isotonic) -> Self {
        Self { knots: isotonic.knots }
    }
}

impl TryFrom<Knots> for Isotonic {
    type Error = Error;

    fn try_from(Knots { mut knots }: Knots) -> Result<Self> {
        /// What reading a file may do to a number.
        const ROUNDING: f64 = 1e-12;
        let finite = knots.iter().all(|(x, y)| x.is_finite() && y.is_finite());
        let rises = |a: f64, b: f64| a <= b + ROUNDING * a.abs();
        if knots.is_empty() || !finite || !knots.windows(2).all(|w| rises(w[0].0, w[1].0) && rises(w[0].1, w[1].1)) {
            return Err(Error::Input(
                "isotonic regression: knots want rising scores with probabilities that do not fall: fit anew"
                    .to_owned(),
            ));
        }
        for i in 1..knots.len() {
            knots[i] = (knots[i].0.max(knots[i - 1].0), knots[i].1.max(knots[i - 1].1));
        }
        Ok(Self { knots })
    }
}

impl Isotonic {
    /// Fits by pool-adjacent-violators: of all rising functions the one with the least squared error. Larger scores are
    /// to mean more often true. Equal scores get one value.
    ///
    /// # Errors
    /// When outcomes are not one per score or of one kind only, or a score is not finite.
    pub fn fit(scores: &[f64], outcomes: &[bool]) -> Result<Self> {
        check_outcomes("isotonic regression", scores, outcomes)?;
        let groups = grouped(scores, outcomes);
        let shares: Vec<f64> = groups.iter().map(|g| g.positives as f64 / g.count as f64).collect();
        let weights: Vec<f64> = groups.iter().map(|g| g.count as f64).collect();
        let fitted = pool_adjacent_violators(&shares, &weights)?;
        let flat = |i: usize| i > 0 && i + 1 < fitted.len() && fitted[i - 1] == fitted[i] && fitted[i] == fitted[i + 1];
        let knots = groups.iter().zip(&fitted).enumerate().filter(|(i, _)| !flat(*i));
        Ok(Self { knots: knots.map(|(_, (group, &value))| (group.score, value)).collect() })
    }

    /// The probability that the outcome is true; NaN of NaN.
    pub fn probability(&self, score: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 <= score);
        match (above.checked_sub(1).map(|i| self.knots[i]), self.knots.get(above)) {
            _ if score.is_nan() => f64::NAN,
            (Some((x0, y0)), Some(&(x1, y1))) => y0 + (score - x0) / (x1 - x0) * (y1 - y0),
            (Some((_, last)), None) => last,
            (None, Some(&(_, first))) => first,
            (None, None) => f64::NAN,
        }
    }

    /// (score, probability) of the knots.
    pub fn knots(&self) -> &[(f64, f64)] {
        &self.knots
    }
}

/// Outcomes of one score.
pub(super) struct Group {
    pub(super) score: f64,
    pub(super) count: usize,
    pub(super) positives: usize,
}

/// Outcomes by score, rising.
pub(super) fn grouped(scores: &[f64], outcomes: &[bool]) -> Vec<Group> {
    let mut pairs: Vec<(f64, bool)> = scores.iter().map(|s| s + 0.0).zip(outcomes.iter().copied()).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut groups: Vec<Group> = Vec::new();
    for (score, outcome) in pairs {
        match groups.last_mut() {
            Some(group) if group.score == score => {
                group.count += 1;
                group.positives += usize::from(outcome);
            }
            _ => groups.push(Group { score, count: 1, positives: usize::from(outcome) }),
        }
    }
    groups
}

/// The rising sequence with the least weighted squared error: neighbours that fall are pooled to their mean until none
/// does. Rising sequences stay as they are.
///
/// # Errors
/// When weights are not one per value or not above 0, or a value is not finite.
pub fn pool_adjacent_violators(values: &[f64], weights: &[f64]) -> Result<Vec<f64>> {
    if values.len() != weights.len() {
        let (v, w) = (values.len(), weights.len());
        return Err(Error::Input(format!("pool-adjacent-violators: {v} values but {w} weights: give one for each")));
    }
    if let Some(i) = (0..values.len()).find(|&i| !values[i].is_finite() || !weights[i].is_finite() || weights[i] <= 0.0)
    {
        return Err(Error::Input(format!(
            "pool-adjacent-violators: value {i} is {} with weight {}: want finite values and weights above 0",
            values[i], weights[i]
        )));
    }
    // Mean, weight and length of each block.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (&value, &weight) in values.iter().zip(weights) {
        let mut block = (value, weight, 1);
        while let Some(&(mean, before, length)) = blocks.last()
            && mean >= block.0
        {
            blocks.pop();
            let sum = before + block.1;
            // Equal means stay what they are, to the bit.
            let pooled = if mean == block.0 { mean } else { mean + (block.0 - mean) * (block.1 / sum) };
            block = (pooled, sum, block.2 + length);
        }
        blocks.push(block);
    }
    Ok(blocks.into_iter().flat_map(|(mean, _, length)| std::iter::repeat_n(mean, length)).collect())
}
