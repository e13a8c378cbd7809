//! What a labeling says about another: mutual information, normalised and adjusted, homogeneity and completeness.
//!
//! All in nats. Vinh, Epps & Bailey, *Information Theoretic Measures for Clusterings Comparison*, 2010; Rosenberg &
//! Hirschberg, *V-Measure*, 2007. Degenerate cases as scikit-learn.

use super::Contingency;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How the entropies of classes and clusters are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Average {
    /// `(H(U) + H(V)) / 2`, the default.
    #[default]
    Arithmetic,
    /// `√(H(U)·H(V))`.
    Geometric,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

impl Average {
    fn of(self, u: f64, v: f64) -> f64 {
        match self {
            Self::Arithmetic => 0.5 * (u + v),
            Self::Geometric => (u * v).sqrt(),
            Self::Min => u.min(v),
            Self::Max => u.max(v),
        }
    }
}

/// Mutual information of classes U and clusters V with what normalises it, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct MutualInformation {
    /// `MI = Σ n_ij/n · ln(n·n_ij / (a_i·b_j))`.
    pub value: f64,
    /// `E[MI]` over random labelings of the same sizes.
    pub expected: f64,
    /// `H(U) = −Σ a_i/n · ln(a_i/n)`.
    pub class_entropy: f64,
    /// `H(V)`.
    pub cluster_entropy: f64,
    /// Whether the labelings are the same but for names.
    equal: bool,
}

impl MutualInformation {
    /// Of a table. The expectation costs the number of different class sizes × that of cluster sizes × the smaller size.
    pub fn new(table: &Contingency) -> Self {
        Self {
            value: mutual_information(table),
            expected: expected_mutual_information(table),
            class_entropy: entropy(&table.class_sizes, table.items),
            cluster_entropy: entropy(&table.cluster_sizes, table.items),
            equal: table.is_match(),
        }
    }

    fn is_split(&self) -> bool {
        self.class_entropy > 0.0 || self.cluster_entropy > 0.0
    }

    /// `NMI = MI / average(H(U), H(V))`; 1 when neither labeling splits the items, 0 when MI is 0.
    pub fn normalised(&self, average: Average) -> f64 {
        if !self.is_split() {
            return 1.0;
        }
        if self.value == 0.0 {
            return 0.0;
        }
        self.value / average.of(self.class_entropy, self.cluster_entropy)
    }

    /// `AMI = (MI − E[MI]) / (average(H(U), H(V)) − E[MI])`: 1 of equal labelings, 0 on average of random ones; 0 when one of
    /// two different labelings does not split the items.
    pub fn adjusted(&self, average: Average) -> f64 {
        // Equal labelings first: of singletons both differences are rounding.
        if self.equal {
            return 1.0;
        }
        if self.class_entropy == 0.0 || self.cluster_entropy == 0.0 {
            return 0.0;
        }
        let away_from_zero = |x: f64| if x < 0.0 { x.min(-f64::EPSILON) } else { x.max(f64::EPSILON) };
        let most = average.of(self.class_entropy, self.cluster_entropy);
        away_from_zero(self.value - self.expected) / away_from_zero(most - self.expected)
    }

    /// `h = MI / H(U)`: 1 when each cluster holds one class; 1 of one class.
    pub fn homogeneity(&self) -> f64 {
        if self.class_entropy == 0.0 { 1.0 } else { self.value / self.class_entropy }
    }

    /// `c = MI / H(V)`: 1 when each class lies in one cluster; 1 of one cluster.
    pub fn completeness(&self) -> f64 {
        if self.cluster_entropy == 0.0 { 1.0 } else { self.value / self.cluster_entropy }
    }

    /// `V_β = (1 + β)·h·c / (β·h + c)`: β above 1 favours completeness, below 1 homogeneity; β = 1 is the arithmetic NMI.
    /// 0 when `βh + c` is 0.
    pub fn v_measure(&self, beta: f64) -> f64 {
        let (h, c) = (self.homogeneity(), self.completeness());
        let below = beta * h + c;
        if below == 0.0 { 0.0 } else { (1.0 + beta) * h * c / below }
    }
}

fn entropy(sizes: &[u64], items: u64) -> f64 {
    if sizes.len() == 1 {
        return 0.0;
    }
    let n = items as f64;
    -sizes.iter().map(|&size| size as f64 / n * ((size as f64).ln() - n.ln())).sum::<f64>()
}

fn mutual_information(table: &Contingency) -> f64 {
    let n = table.items as f64;
    let term = |cell: &super::Cell| {
        let count = cell.count as f64;
        // Exact products: an independent table has terms of exactly 0.
        let outer = u128::from(cell.class_size) * u128::from(cell.cluster_size);
        let joint = u128::from(cell.count) * u128::from(table.items);
        if joint == outer { 0.0 } else { count / n * (joint as f64 / outer as f64).ln() }
    };
    let sum: f64 = table.cells.iter().map(term).sum();
    // Below the rounding of the sum it is none.
    if sum < f64::EPSILON { 0.0 } else { sum }
}

/// `Σ_i Σ_j Σ_{n_ij} n_ij/n · ln(n·n_ij / (a_i·b_j)) · P(n_ij)`, P hypergeometric: each pair of different sizes once, times
/// how often it occurs.
fn expected_mutual_information(table: &Contingency) -> f64 {
    let (classes, clusters) = (occurrences(&table.class_sizes), occurrences(&table.cluster_sizes));
    if table.class_sizes.len() == 1 || table.cluster_sizes.len() == 1 {
        return 0.0;
    }
    let n = table.items;
    let factorial = log_factorials(n);
    let f = |m: u64| factorial[m as usize];
    let ln_n = (n as f64).ln();
    let pair = |a: u64, b: u64| -> f64 {
        let constant = f(a) + f(b) + f(n - a) + f(n - b) - f(n);
        let ln_ab = (a as f64).ln() + (b as f64).ln();
        let least = (a + b).saturating_sub(n).max(1);
        let term = |shared: u64| {
            let m = shared as f64;
            let ln_p = constant - f(shared) - f(a - shared) - f(b - shared) - f(n + shared - a - b);
            m / n as f64 * (ln_n + m.ln() - ln_ab) * ln_p.exp()
        };
        (least..=a.min(b)).map(term).sum()
    };
    let sums: Vec<f64> = classes
        .par_iter()
        .map(|&(a, rows)| clusters.iter().map(|&(b, columns)| (rows * columns) as f64 * pair(a, b)).sum())
        .collect();
    sums.iter().sum()
}

/// (size, how often) of sizes in ascending order.
fn occurrences(sizes: &[u64]) -> Vec<(u64, u64)> {
    sizes.chunk_by(|x, y| x == y).map(|same| (same[0], same.len() as u64)).collect()
}

/// `ln m!` for m of 0 to n. What rounding takes from the running sum is carried along, so entries are good to the last digit.
fn log_factorials(n: u64) -> Vec<f64> {
    let (mut sum, mut lost) = (0f64, 0f64);
    let logs = (1..=n).map(|m| {
        let next = (m as f64).ln() + lost;
        let total = sum + next;
        lost = next - (total - sum);
        sum = total;
        sum
    });
    std::iter::once(0.0).chain(logs).collect()
}
