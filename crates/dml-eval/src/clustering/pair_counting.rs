//! Scores of the pairs of items that two labelings keep together: ARI, Fowlkes–Mallows, pairwise precision, recall and F1.

use super::Contingency;

/// The `n(n − 1)/2` unordered pairs of items, by whether they share a class and whether they share a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairCounts {
    /// Same class, same cluster.
    pub true_positives: u64,
    /// Other class, same cluster.
    pub false_positives: u64,
    /// Same class, other cluster.
    pub false_negatives: u64,
    /// Other class, other cluster.
    pub true_negatives: u64,
}

impl PairCounts {
    /// Of a table; exact up to 2³² items, which is what ids hold.
    pub fn new(table: &Contingency) -> Self {
        let pairs = |size: u64| size * size.saturating_sub(1) / 2;
        let together: u64 = table.cells.iter().map(|cell| pairs(cell.count)).sum();
        let classes: u64 = table.class_sizes.iter().map(|&size| pairs(size)).sum();
        let clusters: u64 = table.cluster_sizes.iter().map(|&size| pairs(size)).sum();
        Self {
            true_positives: together,
            false_positives: clusters - together,
            false_negatives: classes - together,
            true_negatives: pairs(table.items) + together - classes - clusters,
        }
    }

    /// `TP / (TP + FP)`; 0 when no two items share a cluster.
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// `TP / (TP + FN)`; 0 when no two items share a class.
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// `2 TP / (2 TP + FP + FN)`, the harmonic mean of the two; 0 when there is nothing to find.
    pub fn f1(&self) -> f64 {
        let twice = 2 * u128::from(self.true_positives);
        let all = twice + u128::from(self.false_positives) + u128::from(self.false_negatives);
        if all == 0 { 0.0 } else { twice as f64 / all as f64 }
    }

    /// Fowlkes–Mallows index, the geometric mean of precision and recall; 0 when no pair is together in both labelings.
    /// Fowlkes & Mallows, *A Method for Comparing Two Hierarchical Clusterings*, 1983.
    pub fn fowlkes_mallows(&self) -> f64 {
        self.precision().sqrt() * self.recall().sqrt()
    }

    /// Adjusted Rand index: 1 of equal labelings, 0 on average of random ones of the same sizes.
    /// `2 (TP·TN − FN·FP) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN))`.
    /// Hubert & Arabie, *Comparing Partitions*, 1985.
    pub fn adjusted_rand(&self) -> f64 {
        if self.false_negatives == 0 && self.false_positives == 0 {
            return 1.0;
        }
        // Exact: products of two counts of 2⁶³ at most.
        let [tp, fp, fn_, tn] =
            [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives].map(i128::from);
        2.0 * ((tp * tn - fn_ * fp) as f64) / (((tp + fn_) * (fn_ + tn)) as f64 + ((tp + fp) * (fp + tn)) as f64)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
