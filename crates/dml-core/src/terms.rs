//! How the terms of a loss become one number.

use crate::Real;

/// How the terms of a loss (of anchors, pairs or triplets: the loss says which) become one number.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reduction {
    /// Mean over all terms.
    Mean,
    /// Sum of all terms.
    Sum,
    /// Mean over the terms above 0; those that are not a number count, so that they show.
    MeanNonZero,
    /// Mean over all anchors of the mean of each anchor's terms; an anchor without a term counts as 0.
    PerAnchor,
    /// The sum of each anchor's terms, `[n]` numbers instead of one.
    None,
    /// Mean over the terms strictly between `low` and `high`.
    Threshold {
        /// Terms at or below are left out; −∞ keeps them.
        low: f64,
        /// Terms at or above are left out; ∞ keeps them.
        high: f64,
    },
    /// Mean over all terms, each times the weight of its anchor's class (classes are `0..weights.len()`).
    ClassWeighted(Vec<f64>),
    /// Sum of all terms over a number.
    Divisor(f64),
}

impl Reduction {
    fn keeps(&self, value: f64) -> bool {
        match self {
            Self::MeanNonZero => value > 0.0 || value.is_nan(),
            Self::Threshold { low, high } => (value > *low && value < *high) || value.is_nan(),
            _ => true,
        }
    }

    /// Whether a term's own value decides whether it counts.
    pub fn selects(&self) -> bool {
        matches!(self, Self::MeanNonZero | Self::Threshold { .. })
    }

    /// What the sum of the terms of a group is divided by, if that is known before any term is.
    pub(crate) fn fixed_divisor(&self, anchors: usize) -> Option<f64> {
        match self {
            Self::Sum | Self::None => Some(1.0),
            Self::Divisor(by) => Some(*by),
            Self::PerAnchor => Some(anchors as f64),
            _ => None,
        }
    }

    /// The weight of a class.
    fn class_weight(&self, class: Option<u64>) -> f64 {
        match (self, class) {
            (Self::ClassWeighted(weights), Some(class)) => {
                usize::try_from(class).ok().and_then(|c| weights.get(c)).copied().unwrap_or(f64::NAN)
            }
            (Self::ClassWeighted(_), None) => f64::NAN,
            _ => 1.0,
        }
    }
}

/// `1/x`, and 0 of 0: a loss of no terms is 0.
pub fn over(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// Groups of terms that a loss may average separately and add (positive and negative pairs, say).
pub const GROUPS: usize = 2;

/// Takes the terms of one row, and tells the weight with which each enters the gradient.
#[derive(Debug)]
pub struct Terms<'a> {
    reduction: &'a Reduction,
    /// Of the anchor: what all its terms are multiplied by.
    weight: f64,
    /// Of each group, in the gradient; 0 while terms are only counted.
    factors: [f64; GROUPS],
    pub(crate) sums: [f64; GROUPS],
    pub(crate) counts: [f64; GROUPS],
    pub(crate) active: [f64; GROUPS],
    pub(crate) slope: f64,
}

impl<'a> Terms<'a> {
    pub(crate) fn new(reduction: &'a Reduction, weight: f64, class: Option<u64>, factors: [f64; GROUPS]) -> Self {
        let weight = weight * reduction.class_weight(class);
        Self {
            reduction,
            weight,
            factors,
            sums: [0.0; GROUPS],
            counts: [0.0; GROUPS],
            active: [0.0; GROUPS],
            slope: 0.0,
        }
    }

    /// Adds a term of value `value` to a group. The derivatives of the term are to be added to the gradient times the
    /// returned weight.
    #[inline]
    pub fn add<T: Real>(&mut self, group: usize, value: T) -> T {
        let value = value.wide() * self.weight;
        if !self.reduction.keeps(value) {
            return T::zero();
        }
        self.counts[group] += 1.0;
        self.active[group] += f64::from(u8::from(value > 0.0));
        self.sums[group] += value;
        T::of(self.factors[group] * self.weight)
    }

    /// Adds `count` terms, none of them 0, whose sum is `sum`. For objectives that never hold their terms singly; not
    /// while [`Self::wants_single_terms`].
    pub fn add_many<T: Real>(&mut self, group: usize, count: usize, sum: f64) -> T {
        self.counts[group] += count as f64;
        self.active[group] += count as f64;
        self.sums[group] += sum * self.weight;
        T::of(self.factors[group] * self.weight)
    }

    /// Adds `count` terms of value 0.
    pub fn add_zeros(&mut self, group: usize, count: usize) {
        if self.reduction.keeps(0.0) {
            self.counts[group] += count as f64;
        }
    }

    /// Whether each term must be added by itself, because its value decides whether it counts in a way that only the
    /// reduction knows.
    pub fn wants_single_terms(&self) -> bool {
        matches!(self.reduction, Reduction::Threshold { .. })
    }

    /// Whether a term's own value decides whether it counts.
    pub fn selects(&self) -> bool {
        self.reduction.selects()
    }

    /// Adds to the derivative by the anchor's own parameter (a learned boundary, its norm), weight included.
    pub fn add_slope<T: Real>(&mut self, slope: T) {
        self.slope += slope.wide();
    }
}
