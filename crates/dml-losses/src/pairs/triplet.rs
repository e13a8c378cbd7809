//! Triplet loss with all, semi-hard or batch-hard triplets.
//!
//! `[d_ap − d_an + m]+`, averaged over the triplets where it is not 0. `all` is every triplet of the batch; `semi_hard`
//! those with `d_ap < d_an ≤ d_ap + m` (Schroff et al., *FaceNet*, 2015, §3.2, here every such negative); `batch_hard` the
//! furthest positive with the nearest negative of each anchor (Hermans et al., *In Defense of the Triplet Loss*, 2017,
//! eq. 5), with `soft` as `log(1 + e^{d_ap − d_an + m})`. Distances are not squared. All triplets cost O(N log N) per row: for an
//! anchor–positive threshold `t = d_ap + m` the negatives below it are a prefix of the sorted negatives.

use crate::params::{parse, wrong};
use crate::row_loss::{PairObjective, RowLoss, Space};
use crate::{Context, Result};
use dml_core::Metric;
use dml_core::rowwise::{Row, RowObjective};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which triplets of the batch are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripletMining {
    /// Every triplet.
    All,
    /// Negatives further than the positive, but within the margin.
    SemiHard,
    /// Furthest positive, nearest negative.
    BatchHard,
}

/// Parameters of the triplet loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TripletParams {
    /// Margin m. Default 0.05.
    pub margin: f32,
    /// Which triplets. Default all.
    pub mining: TripletMining,
    /// Softplus instead of the hinge, averaged over all anchors that have a triplet; with `batch_hard` only. Default false.
    pub soft: bool,
    /// `euclidean` (default), `squared_euclidean`, `cosine` or `dot`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for TripletParams {
    fn default() -> Self {
        let metric = "euclidean".to_owned();
        Self { margin: 0.05, mining: TripletMining::All, soft: false, metric, normalize: true }
    }
}

struct Triplet {
    margin: f32,
    mining: TripletMining,
    soft: bool,
    /// +1 for distances, −1 for similarities: `sign · score` grows with distance.
    sign: f32,
}

/// Distances of one row: positives as they come, negatives sorted, with prefix sums.
struct Sorted {
    positives: Vec<(f32, usize)>,
    negatives: Vec<(f32, usize)>,
    prefix: Vec<f64>,
}

impl Triplet {
    fn sort(&self, row: &Row<'_>) -> Sorted {
        let far = |j: usize| (self.sign * row.scores[j], j);
        let positives: Vec<_> = row.positives().map(far).collect();
        let mut negatives: Vec<_> = row.negatives().map(far).collect();
        negatives.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut prefix = vec![0f64];
        for (d, _) in &negatives {
            prefix.push(prefix[prefix.len() - 1] + f64::from(*d));
        }
        Sorted { positives, negatives, prefix }
    }

    /// The range of sorted negatives that make a triplet with a positive at distance `d`.
    fn range(&self, sorted: &Sorted, d: f32) -> std::ops::Range<usize> {
        let end = sorted.negatives.partition_point(|n| n.0 < d + self.margin);
        let start = match self.mining {
            TripletMining::SemiHard => sorted.negatives.partition_point(|n| n.0 <= d),
            _ => 0,
        };
        start.min(end)..end
    }

    /// Furthest positive and nearest negative; the first of equals.
    fn hardest(&self, row: &Row<'_>) -> Option<(usize, usize)> {
        let nearer = |a: usize, b: usize| self.sign * row.scores[b] < self.sign * row.scores[a];
        let positive = row.positives().reduce(|a, b| if nearer(b, a) { b } else { a })?;
        let negative = row.negatives().reduce(|a, b| if nearer(a, b) { b } else { a })?;
        Some((positive, negative))
    }

    fn violation(&self, row: &Row<'_>, (p, n): (usize, usize)) -> f32 {
        self.sign * (row.scores[p] - row.scores[n]) + self.margin
    }
}

impl RowObjective for Triplet {
    fn count(&self, row: &Row<'_>) -> [f64; 2] {
        if self.mining == TripletMining::BatchHard {
            let hard = self.hardest(row).filter(|&t| self.soft || self.violation(row, t) > 0.0);
            return [f64::from(u8::from(hard.is_some())), 0.0];
        }
        let sorted = self.sort(row);
        let count: usize = sorted.positives.iter().map(|p| self.range(&sorted, p.0).len()).sum();
        [count as f64, 0.0]
    }

    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let step = self.sign * weight[0];
        if self.mining == TripletMining::BatchHard {
            let Some((p, n)) = self.hardest(row) else { return 0.0 };
            let violation = self.violation(row, (p, n));
            let (loss, slope) = if self.soft {
                let tail = (-violation.abs()).exp();
                let sigmoid = if violation > 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) };
                (violation.max(0.0) + tail.ln_1p(), sigmoid)
            } else {
                (violation.max(0.0), f32::from(u8::from(violation > 0.0)))
            };
            gradient[p] += step * slope;
            gradient[n] -= step * slope;
            return f64::from(weight[0] * loss);
        }
        let sorted = self.sort(row);
        let mut loss = 0f64;
        // How many positives pull at each negative: +1 where a range begins, −1 where it ends.
        let mut pulls = vec![0i64; sorted.negatives.len() + 1];
        for &(d, p) in &sorted.positives {
            let range = self.range(&sorted, d);
            let sum = sorted.prefix[range.end] - sorted.prefix[range.start];
            loss += range.len() as f64 * f64::from(d + self.margin) - sum;
            gradient[p] += step * range.len() as f32;
            pulls[range.start] += 1;
            pulls[range.end] -= 1;
        }
        let mut pull = 0;
        for (&(_, n), change) in sorted.negatives.iter().zip(&pulls) {
            pull += change;
            gradient[n] -= step * pull as f32;
        }
        f64::from(weight[0]) * loss
    }
}

pub(crate) fn build(params: &Value, _context: &Context) -> Result<Box<dyn PairObjective>> {
    let p: TripletParams = parse("triplet", params)?;
    let metric: Metric = p.metric.parse()?;
    if p.soft && p.mining != TripletMining::BatchHard {
        return Err(wrong("triplet", "soft = true wants mining = \"batch_hard\"".to_owned()));
    }
    if !(p.margin >= 0.0 && p.margin.is_finite()) {
        return Err(wrong("triplet", format!("margin is {}: want 0 or more", p.margin)));
    }
    let sign = if metric.is_similarity() { -1.0 } else { 1.0 };
    let row = Triplet { margin: p.margin, mining: p.mining, soft: p.soft, sign };
    Ok(Box::new(RowLoss { row, space: Space { metric, normalize: p.normalize } }))
}
