//! One positive and one negative of each anchor, chosen as easy, semi-hard or hard, or all of a kind.
//!
//! Hard: furthest positive, nearest negative. Easy: nearest positive, furthest negative. Semi-hard: the hardest that still
//! is on the right side of the other kind's choice, strictly (a negative further than the chosen positive; a positive nearer than
//! the chosen negative). Xuan et al., *Improved Embeddings with Easy Positive Triplet Mining*, 2020, §3. A range leaves out scores
//! beyond it. Anchors that lack one of the choices are left out. Gives pairs.

use super::rows::{Find, PairsOfRow, RowMiner, furthest, nearest};
use super::{Miner, MinerParams};
use crate::params::{metric, wrong};
use crate::row_loss::Space;
use crate::{Context, Result};
use dml_core::{Real, Row};
use serde::{Deserialize, Serialize};

/// Which of an anchor's pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The one that is best already.
    Easy,
    /// The worst that is on the right side of the other kind's choice.
    SemiHard,
    /// The worst.
    Hard,
    /// All.
    All,
}

/// Parameters of the easy-hard miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchEasyHardParams {
    /// Which positive. Default `easy`.
    pub positive: Choice,
    /// Which negative. Default `semi_hard`.
    pub negative: Choice,
    /// Scores, both ends included, within which a positive is chosen. Default all.
    pub positive_range: Option<[f64; 2]>,
    /// Scores, both ends included, within which a negative is chosen. Default all.
    pub negative_range: Option<[f64; 2]>,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for BatchEasyHardParams {
    fn default() -> Self {
        Self {
            positive: Choice::Easy,
            negative: Choice::SemiHard,
            positive_range: None,
            negative_range: None,
            metric: "euclidean".to_owned(),
            normalize: true,
        }
    }
}

struct BatchEasyHard {
    params: BatchEasyHardParams,
    sign: f64,
}

fn inside<T: Real>(range: Option<[f64; 2]>, score: T) -> bool {
    range.is_none_or(|[low, high]| (low..=high).contains(&score.wide()))
}

impl BatchEasyHard {
    /// Nearer than `bound`, where there is one.
    fn positive<T: Real>(&self, row: &Row<'_, T>, bound: Option<T>) -> Option<usize> {
        let sign = T::of(self.sign);
        let fits = |&j: &usize| {
            let score = row.scores[j];
            inside(self.params.positive_range, score) && bound.is_none_or(|bound| sign * score < sign * bound)
        };
        let columns = row.positives().filter(fits);
        if self.params.positive == Choice::Easy { nearest(row, sign, columns) } else { furthest(row, sign, columns) }
    }

    /// Further than `bound`, where there is one.
    fn negative<T: Real>(&self, row: &Row<'_, T>, bound: Option<T>) -> Option<usize> {
        let sign = T::of(self.sign);
        let fits = |&j: &usize| {
            let score = row.scores[j];
            inside(self.params.negative_range, score) && bound.is_none_or(|bound| sign * score > sign * bound)
        };
        let columns = row.negatives().filter(fits);
        if self.params.negative == Choice::Easy { furthest(row, sign, columns) } else { nearest(row, sign, columns) }
    }
}

impl Find for BatchEasyHard {
    type Found = PairsOfRow;

    fn row<T: Real>(&self, row: &Row<'_, T>) -> Self::Found {
        let of = |j: usize| (row.anchor as u32, j as u32);
        let one = |j: Option<usize>| j.map(of).into_iter().collect();
        match (self.params.positive, self.params.negative) {
            (Choice::All, Choice::All) => (row.positives().map(of).collect(), row.negatives().map(of).collect()),
            (Choice::All, _) => (row.positives().map(of).collect(), one(self.negative(row, None))),
            (_, Choice::All) => (one(self.positive(row, None)), row.negatives().map(of).collect()),
            (positive, negative) => {
                let chosen = if positive == Choice::SemiHard {
                    self.negative(row, None).and_then(|n| Some((self.positive(row, Some(row.scores[n]))?, n)))
                } else {
                    self.positive(row, None).and_then(|p| {
                        let bound = (negative == Choice::SemiHard).then(|| row.scores[p]);
                        Some((p, self.negative(row, bound)?))
                    })
                };
                (one(chosen.map(|(p, _)| p)), one(chosen.map(|(_, n)| n)))
            }
        }
    }
}

impl MinerParams for BatchEasyHardParams {
    const NAME: &'static str = "batch_easy_hard";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        let semi_hard = [self.positive, self.negative].contains(&Choice::SemiHard);
        if semi_hard && (self.positive == self.negative || [self.positive, self.negative].contains(&Choice::All)) {
            let problem = "semi_hard is measured by the choice of the other kind: want that to be easy or hard";
            return Err(wrong(Self::NAME, problem.to_owned()));
        }
        let ranges = [
            ("positive_range", self.positive_range, self.positive),
            ("negative_range", self.negative_range, self.negative),
        ];
        for (key, range, choice) in ranges {
            if let Some([low, high]) = range {
                if low.is_nan() || high.is_nan() || low > high {
                    return Err(wrong(Self::NAME, format!("{key} is [{low}, {high}]: want the lower end first")));
                }
                if choice == Choice::All {
                    return Err(wrong(Self::NAME, format!("{key} has no use where all are taken: leave it out")));
                }
            }
        }
        Ok(())
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let rule = BatchEasyHard { params: self.clone(), sign: metric.sign() };
        Ok(Box::new(RowMiner { space: Space::new(metric, self.normalize), rule }))
    }
}
