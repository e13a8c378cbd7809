//! Every score of how far clusters are the classes.

use super::{Average, BCubed, Contingency, MutualInformation, PairCounts};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Scores of two labelings. Names of classes and clusters change none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Normalised mutual information, arithmetic mean of the entropies: the NMI of the DML papers.
    pub nmi: f64,
    /// NMI, geometric mean.
    pub nmi_geometric: f64,
    /// NMI, smaller entropy.
    pub nmi_min: f64,
    /// NMI, larger entropy.
    pub nmi_max: f64,
    /// Adjusted mutual information, arithmetic mean.
    pub ami: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// Homogeneity.
    pub homogeneity: f64,
    /// Completeness.
    pub completeness: f64,
    /// V-measure, β = 1.
    pub v_measure: f64,
    /// Pairwise precision: share of the pairs in one cluster that are of one class.
    pub pair_precision: f64,
    /// Pairwise recall: share of the pairs of one class that are in one cluster.
    pub pair_recall: f64,
    /// Pairwise F1: the F1 of the DML papers.
    pub pair_f1: f64,
    /// Fowlkes–Mallows index.
    pub fowlkes_mallows: f64,
    /// B³ precision.
    pub b_cubed_precision: f64,
    /// B³ recall.
    pub b_cubed_recall: f64,
    /// B³ F1.
    pub b_cubed_f1: f64,
    /// Purity.
    pub purity: f64,
}

impl Agreement {
    /// Of the class and the cluster of each item, both `[n]`.
    ///
    /// # Errors
    /// When lengths differ or there is nothing.
    pub fn new(classes: &[u32], clusters: &[u32]) -> Result<Self> {
        let table = Contingency::new(classes, clusters)?;
        let (information, pairs) = (MutualInformation::new(&table), PairCounts::new(&table));
        let b_cubed = BCubed::new(&table);
        Ok(Self {
            nmi: information.normalised(Average::Arithmetic),
            nmi_geometric: information.normalised(Average::Geometric),
            nmi_min: information.normalised(Average::Min),
            nmi_max: information.normalised(Average::Max),
            ami: information.adjusted(Average::Arithmetic),
            ari: pairs.adjusted_rand(),
            homogeneity: information.homogeneity(),
            completeness: information.completeness(),
            v_measure: information.v_measure(1.0),
            pair_precision: pairs.precision(),
            pair_recall: pairs.recall(),
            pair_f1: pairs.f1(),
            fowlkes_mallows: pairs.fowlkes_mallows(),
            b_cubed_precision: b_cubed.precision,
            b_cubed_recall: b_cubed.recall,
            b_cubed_f1: b_cubed.f1(),
            purity: table.purity(),
        })
    }

    /// One statistic of each score over several agreements.
    pub fn over(runs: &[Self], statistic: impl Fn(&[f64]) -> f64) -> Self {
        let of = |score: fn(&Self) -> f64| statistic(&runs.iter().map(score).collect::<Vec<f64>>());
        Self {
            nmi: of(|a| a.nmi),
            nmi_geometric: of(|a| a.nmi_geometric),
            nmi_min: of(|a| a.nmi_min),
            nmi_max: of(|a| a.nmi_max),
            ami: of(|a| a.ami),
            ari: of(|a| a.ari),
            homogeneity: of(|a| a.homogeneity),
            completeness: of(|a| a.completeness),
            v_measure: of(|a| a.v_measure),
            pair_precision: of(|a| a.pair_precision),
            pair_recall: of(|a| a.pair_recall),
            pair_f1: of(|a| a.pair_f1),
            fowlkes_mallows: of(|a| a.fowlkes_mallows),
            b_cubed_precision: of(|a| a.b_cubed_precision),
            b_cubed_recall: of(|a| a.b_cubed_recall),
            b_cubed_f1: of(|a| a.b_cubed_f1),
            purity: of(|a| a.purity),
        }
    }
}
