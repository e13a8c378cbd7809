//! Centroids of the rows assigned to them, and rows for centroids that have none.

use super::kmeans::{centroid, squared_distance};
use dml_core::Matrix;
use rayon::prelude::*;

/// Rows of each cluster, ascending.
pub(super) struct Members {
    rows: Vec<u32>,
    /// Where those of each cluster begin, and where the last ones end.
    starts: Vec<usize>,
}

impl Members {
    /// By counting.
    pub(super) fn new(assignment: &[u32], clusters: usize) -> Self {
        let mut starts = vec![0; clusters + 1];
        assignment.iter().for_each(|&c| starts[c as usize + 1] += 1);
        for c in 0..clusters {
            starts[c + 1] += starts[c];
        }
        let (mut next, mut rows) = (starts.clone(), vec![0; assignment.len()]);
        for (row, &c) in assignment.iter().enumerate() {
            rows[next[c as usize]] = row as u32;
            next[c as usize] += 1;
        }
        Self { rows, starts }
    }

    /// One cluster of all rows.
    pub(super) fn all(n: usize) -> Self {
        Self { rows: (0..n as u32).collect(), starts: vec![0, n] }
    }

    fn of(&self, cluster: usize) -> &[u32] {
        &self.rows[self.starts[cluster]..self.starts[cluster + 1]]
    }

    /// Mean of a cluster's rows, of 0 rows 0. Blocks of members are added up on their own and then in order, so the number of
    /// threads does not change it.
    pub(super) fn mean(&self, x: Matrix<'_>, cluster: usize) -> Vec<f64> {
        const BLOCK: usize = 1024;
        let members = self.of(cluster);
        let of_block = |block: &[u32]| {
            let mut sum = vec![0f64; x.cols()];
            for &row in block {
                sum.iter_mut().zip(x.row(row as usize)).for_each(|(s, &v)| *s += f64::from(v));
            }
            sum
        };
        let add = |mut total: Vec<f64>, block: Vec<f64>| {
            total.iter_mut().zip(block).for_each(|(t, b)| *t += b);
            total
        };
        let sums: Vec<Vec<f64>> = members.par_chunks(BLOCK).map(of_block).collect();
        let mut mean = sums.into_iter().reduce(add).unwrap_or_else(|| vec![0.0; x.cols()]);
        mean.iter_mut().for_each(|v| *v /= members.len().max(1) as f64);
        mean
    }

    /// Means of all clusters, `[k, d]`; spherical: brought to length 1. A cluster without rows, or whose rows cancel, keeps its
    /// centroid from `before`.
    pub(super) fn centroids(&self, x: Matrix<'_>, before: &[f32], spherical: bool) -> Vec<f32> {
        let mut centroids = before.to_vec();
        centroids.par_chunks_mut(x.cols()).enumerate().for_each(|(cluster, centroid)| {
            if self.of(cluster).is_empty() {
                return;
            }
            let mean = self.mean(x, cluster);
            let length = if spherical { mean.iter().map(|v| v * v).sum::<f64>().sqrt() } else { 1.0 };
            if length > 0.0 {
                centroid.iter_mut().zip(&mean).for_each(|(c, v)| *c = (v / length) as f32);
            }
        });
        centroids
    }
}

/// Gives each empty cluster the row farthest from its centroid, of equals the first, from a cluster that keeps another; rows
/// that lie on their centroid stay. Returns how many moved.
pub(super) fn take_in_far_rows(x: Matrix<'_>, centroids: &[f32], assignment: &mut [u32]) -> usize {
    let d = x.cols();
    let mut sizes = vec![0usize; centroids.len() / d];
    assignment.iter().for_each(|&c| sizes[c as usize] += 1);
    let mut empty = (0..sizes.len()).filter(|&c| sizes[c] == 0).collect::<Vec<usize>>().into_iter().peekable();
    if empty.peek().is_none() {
        return 0;
    }
    let distance = |i: usize| squared_distance(x.row(i), centroid(centroids, d, assignment[i]));
    let distances: Vec<f64> = (0..x.rows()).into_par_iter().with_min_len(256).map(distance).collect();
    let mut far: Vec<usize> = (0..x.rows()).filter(|&i| distances[i] > 0.0).collect();
    far.sort_unstable_by(|&i, &j| distances[j].total_cmp(&distances[i]).then(i.cmp(&j)));
    let mut moved = 0;
    for row in far {
        let from = assignment[row] as usize;
        if sizes[from] < 2 {
            continue;
        }
        let Some(to) = empty.next() else { break };
        sizes[from] -= 1;
        assignment[row] = to as u32;
        moved += 1;
    }
    moved
}
