//! Measures from embeddings: retrieval, verification, open-set recognition and few-shot.
//!
//! Nothing here knows of training: saved embeddings give the same numbers as embeddings fresh from a model.

pub mod assessment;
pub mod calibration;
pub mod clustering;
pub mod correlation;
mod covariance;
pub mod diagnostics;
mod error;
pub mod few_shot;
mod finite;
pub mod identification;
pub mod input;
mod loosest;
pub mod modified_hausdorff;
pub mod one_shot;
mod pair_distance;
pub mod postprocess;
pub mod projection;
pub mod report;
pub mod retrieval;
pub mod search;
pub mod statistics;
pub mod verification;

pub use calibration::{CalibratedThreshold, Isotonic, Platt, Reliability, reliability};
pub use clustering::{ClusterOptions, Clustering, cluster_quality};
pub use correlation::{Correlation, correlation};
pub use diagnostics::{DiagnosticOptions, Diagnostics, diagnose};
pub use error::{Error, Result};
pub use few_shot::{Classifier, EpisodeAccuracies, Episodes, FewShot, few_shot, few_shot_episodes};
pub use identification::{
    EnrolmentProtocol, OpenSet, OpenSetProtocol, Recognition, RecognitionOptions, open_set, recognition,
};
pub use modified_hausdorff::{Centring, Ink};
pub use one_shot::{OneShot, OneShotTrials, one_shot};
pub use retrieval::{Retrieval, retrieval, retrieval_in_gallery};
pub use search::search;
pub use verification::{Verification, verification};

use dml_core::Matrix;

/// Refuses labels that are not one per row, and embeddings that are not numbers.
pub(crate) fn check(embeddings: Matrix<'_>, labels: &[u32]) -> Result<()> {
    if embeddings.rows() != labels.len() {
        return Err(Error::Input(format!(
            "labels have length {} but embeddings have {} rows: pass one label per row",
            labels.len(),
            embeddings.rows()
        )));
    }
    if labels.is_empty() {
        return Err(Error::Input("there are no embeddings: the set is empty".to_owned()));
    }
    finite::check_finite("embedding", embeddings, 0)
}
