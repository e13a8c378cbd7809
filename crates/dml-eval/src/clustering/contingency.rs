//! How many items each class and each cluster share: what every score of two labelings is made of.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Items that one class and one cluster share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Shared items `n_ij`, 1 or more.
    pub count: u64,
    /// Items of the class, `a_i`.
    pub class_size: u64,
    /// Items of the cluster, `b_j`.
    pub cluster_size: u64,
}

/// Contingency table of two labelings: only cells that hold items, so `min(n, classes · clusters)` at most.
///
/// Cells and sizes are in ascending order and know no names. Thus a score is the same, bit for bit, whatever the classes and
/// clusters are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contingency {
    pub(super) items: u64,
    pub(super) cells: Vec<Cell>,
    pub(super) class_sizes: Vec<u64>,
    pub(super) cluster_sizes: Vec<u64>,
    /// Σ over clusters of the items of their largest class.
    pub(super) in_majority: u64,
}

impl Contingency {
    /// Of the class and the cluster of each item, both `[n]`. Any numbers serve as names.
    ///
    /// # Errors
    /// When there is not one class per cluster id, or nothing at all.
    pub fn new(classes: &[u32], clusters: &[u32]) -> Result<Self> {
        if classes.len() != clusters.len() {
            return Err(Error::Input(format!(
                "{} items have a class but {} have a cluster: give both for each item",
                classes.len(),
                clusters.len()
            )));
        }
        if classes.is_empty() {
            return Err(Error::Input("there are no items to compare two labelings on: the set is empty".to_owned()));
        }
        // By cluster, then class.
        let mut pairs: Vec<(u32, u32)> = clusters.iter().copied().zip(classes.iter().copied()).collect();
        pairs.sort_unstable();
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        classes.iter().for_each(|class| *sizes.entry(*class).or_default() += 1);
        let (mut cells, mut cluster_sizes, mut in_majority) = (Vec::new(), Vec::new(), 0);
        for cluster in pairs.chunk_by(|x, y| x.0 == y.0) {
            let cluster_size = cluster.len() as u64;
            let mut largest = 0;
            for shared in cluster.chunk_by(|x, y| x == y) {
                let count = shared.len() as u64;
                largest = largest.max(count);
                cells.push(Cell { count, class_size: sizes[&shared[0].1], cluster_size });
            }
            cluster_sizes.push(cluster_size);
            in_majority += largest;
        }
        let mut class_sizes: Vec<u64> = sizes.into_values().collect();
        class_sizes.sort_unstable();
        cluster_sizes.sort_unstable();
        cells.sort_unstable();
        Ok(Self { items: classes.len() as u64, cells, class_sizes, cluster_sizes, in_majority })
    }

    /// n.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Cells that hold items, ascending.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Items of each class, ascending.
    pub fn class_sizes(&self) -> &[u64] {
        &self.class_sizes
    }

    /// Items of each cluster, ascending.
    pub fn cluster_sizes(&self) -> &[u64] {
        &self.cluster_sizes
    }

    /// Whether classes and clusters are the same but for their names.
    pub fn is_match(&self) -> bool {
        self.cells.iter().all(|cell| cell.count == cell.class_size && cell.count == cell.cluster_size)
    }

    /// Purity `1/n Σ_j max_i n_ij`: share of items that are of the largest class of their cluster. It is 1 of singletons.
    pub fn purity(&self) -> f64 {
        self.in_majority as f64 / self.items as f64
    }
}
