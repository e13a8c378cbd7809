//! B-cubed: how much of each item's cluster is of its class, and of its class in its cluster.

use super::Contingency;

/// B³ precision and recall, each item with the same weight, so that large classes do not outweigh small ones as they do in
/// pairs. Bagga & Baldwin, *Entity-Based Cross-Document Coreferencing*, 1998; Amigó et al., *A Comparison of Extrinsic
/// Clustering Evaluation Metrics*, 2009.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BCubed {
    /// `1/n Σ n_ij²/b_j`: mean over items of the share of their cluster that is of their class, themselves included.
    pub precision: f64,
    /// `1/n Σ n_ij²/a_i`: mean over items of the share of their class that is in their cluster, themselves included.
    pub recall: f64,
}

impl BCubed {
    /// Of a table.
    pub fn new(table: &Contingency) -> Self {
        let mean = |of: fn(&super::Cell) -> u64| {
            let shares = table.cells.iter().map(|cell| cell.count as f64 * (cell.count as f64 / of(cell) as f64));
            shares.sum::<f64>() / table.items as f64
        };
        Self { precision: mean(|cell| cell.cluster_size), recall: mean(|cell| cell.class_size) }
    }

    /// Harmonic mean of the two, both of which are above 0.
    pub fn f1(&self) -> f64 {
        2.0 * self.precision * self.recall / (self.precision + self.recall)
    }
}
