//! N-way K-shot classification.
//!
//! Accuracy averaged over episodes; its interval is 1.96·s/√E over the E episodes with s the sample standard deviation
//! (divisor E − 1) of their accuracies, as in the papers (Snell et al., *Prototypical Networks*, 2017). Episodes share
//! images, so it is too narrow for other images, and it knows nothing of training seeds.

mod classifier;
mod episodes;
mod paired;

pub use classifier::{Classifier, classify};
pub use episodes::{Episodes, few_shot_episodes};
pub use paired::{EpisodeAccuracies, PairedDifference};

use crate::Result;
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

/// Few-shot accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FewShot {
    /// What was measured.
    pub protocol: Episodes,
    /// Mean accuracy over episodes.
    pub accuracy: f64,
    /// Half-width of its 95 % interval over episodes.
    pub ci95: f64,
    /// How queries were classified; prototypes of raw embeddings in older files.
    #[serde(default)]
    pub classifier: Classifier,
}

/// Measures N-way K-shot accuracy of `embeddings` (`[n, d]`). Prototypes are means of the raw embeddings; for other
/// classifiers and the accuracy of each episode see [`few_shot_episodes`].
///
/// # Errors
/// When fewer than N classes have K + queries samples.
pub fn few_shot(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], protocol: &Episodes) -> Result<FewShot> {
    Ok(few_shot_episodes(Classifier::Prototype, metric, embeddings, labels, protocol)?.summary())
}
