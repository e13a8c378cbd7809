//! Two runs on the same episodes.

use super::{Classifier, Episodes, FewShot};
use crate::{Error, Result, statistics};
use serde::{Deserialize, Serialize};

/// The accuracy of each episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeAccuracies {
    /// What was measured.
    pub protocol: Episodes,
    /// How queries were classified.
    pub classifier: Classifier,
    /// Of the labels of all rows in their order (FNV-1a): with the protocol it says which samples each episode holds.
    pub(super) labels: u64,
    /// Share of the queries that got their class, episode by episode.
    pub accuracies: Vec<f64>,
}

/// By how much one run is better than another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// Mean over episodes of (accuracy of this − accuracy of the other).
    pub mean: f64,
    /// Half-width of its 95 % interval, 1.96·s/√E with s the sample standard deviation of the differences.
    pub ci95: f64,
    /// Episodes.
    pub episodes: usize,
    /// Episodes in which this run is better.
    pub wins: usize,
    /// Episodes in which it is worse.
    pub losses: usize,
}

impl EpisodeAccuracies {
    /// Mean and interval, without the episodes.
    pub fn summary(&self) -> FewShot {
        let (accuracy, ci95) = (statistics::mean(&self.accuracies), ci95(&self.accuracies));
        FewShot { protocol: self.protocol.clone(), accuracy, ci95, classifier: self.classifier }
    }

    /// Compares with another run on the same episodes. Much of what makes an episode hard is the same for both, so this
    /// interval is narrower than two intervals side by side; like them it knows nothing of training seeds.
    ///
    /// # Errors
    /// When protocols or labels differ: then the episodes do.
    pub fn paired(&self, other: &Self) -> Result<PairedDifference> {
        let episodes = self.accuracies.len();
        let same = (&self.protocol, self.labels, episodes) == (&other.protocol, other.labels, other.accuracies.len());
        if !same || episodes == 0 {
            return Err(Error::Input(format!(
                "few-shot: {:?} and {:?} are not the same episodes of the same labels: measure both with one protocol, on one \
                 set in one order",
                self.protocol, other.protocol
            )));
        }
        let differences: Vec<f64> = self.accuracies.iter().zip(&other.accuracies).map(|(a, b)| a - b).collect();
        Ok(PairedDifference {
            mean: statistics::mean(&differences),
            ci95: ci95(&differences),
            episodes,
            wins: differences.iter().filter(|&&d| d > 0.0).count(),
            losses: differences.iter().filter(|&&d| d < 0.0).count(),
        })
    }
}

fn ci95(values: &[f64]) -> f64 {
    1.96 * statistics::std(values) / (values.len() as f64).sqrt()
}

/// FNV-1a, 64 bits: the same on every machine and in every version, as the standard library's hashes are not.
pub(super) fn fingerprint(labels: &[u32]) -> u64 {
    let bytes = labels.iter().flat_map(|label| label.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
