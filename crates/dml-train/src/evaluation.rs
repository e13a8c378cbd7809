//! All measures of one encoder on the classes it has not seen.

use crate::sets::Sets;
use crate::Result;
use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::{Dataset, ImageSet, Normalize, eval_batches};
use dml_eval::{Episodes, FewShot, OpenSet, OpenSetProtocol, Retrieval, Verification};
use dml_models::{Encoder, Mode};
use serde::{Deserialize, Serialize};

/// What a run achieved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the recipe.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Steps trained.
    pub steps: u64,
    /// How embeddings were compared.
    pub metric: String,
    /// Retrieval among the validation classes.
    pub validation: Retrieval,
    /// Retrieval among the test classes.
    pub test: Retrieval,
    /// Verification over all pairs of the test set.
    pub verification: Verification,
    /// Open-set recognition on the test classes, calibrated on the validation classes.
    pub open_set: Option<OpenSet>,
    /// 5-way 1-shot on the test classes.
    pub few_shot: Option<FewShot>,
}

/// Embeddings of a data set, in order.
pub struct Embeddings {
    /// Row-major values `[n, d]`.
    pub values: Vec<f32>,
    /// Length of one.
    pub dim: usize,
    /// Labels `[n]`.
    pub labels: Vec<u32>,
}

impl Embeddings {
    /// The values as a matrix.
    ///
    /// # Errors
    /// When the length is not a multiple of the dimension.
    pub fn matrix(&self) -> Result<Matrix<'_>> {
        Ok(Matrix::new(&self.values, self.labels.len(), self.dim)?)
    }
}

/// Embeds every image of `set`, without augmentation, in evaluation mode.
///
/// # Errors
/// When an image or the encoder refuses.
pub fn embed(encoder: &dyn Encoder, set: &dyn Dataset, normalize: &Normalize, device: &Device) -> Result<Embeddings> {
    let mut values = Vec::with_capacity(set.len() * encoder.dim());
    for batch in eval_batches(set, normalize, 100) {
        let embedded = encoder.embed(&batch?.to_tensor(device)?, Mode::Eval)?.detach();
        values.extend(embedded.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(Embeddings { values, dim: encoder.dim(), labels: set.labels().to_vec() })
}

/// The pixels themselves as embeddings: the baseline every encoder must beat.
///
/// # Errors
/// When an image cannot be read.
pub fn pixels(set: &dyn Dataset) -> Result<Embeddings> {
    let mut values = Vec::new();
    for batch in eval_batches(set, &Normalize::default(), 100) {
        values.extend(batch?.pixels);
    }
    Ok(Embeddings { values, dim: set.shape().iter().product(), labels: set.labels().to_vec() })
}

/// Measures `encoder` on the validation and test classes of `sets`.
///
/// # Errors
/// As [`embed`] and [`of_embeddings`].
pub fn of_encoder(encoder: &dyn Encoder, metric: Metric, sets: &Sets, device: &Device) -> Result<Evaluation> {
    let embed = |set: &ImageSet| embed(encoder, set, &sets.normalize, device);
    of_embeddings(metric, &embed(&sets.validation)?, &embed(&sets.test)?)
}

/// Measures embeddings of the validation and test classes. Open-set recognition and few-shot are left out where the
/// set is too small for them.
///
/// # Errors
/// When there is nothing to retrieve or verify.
pub fn of_embeddings(metric: Metric, validation: &Embeddings, test: &Embeddings) -> Result<Evaluation> {
    let recall = |set: &Embeddings| -> Vec<usize> { [1, 2, 4, 8].into_iter().filter(|&k| k < set.labels.len()).collect() };
    let (v, t) = (validation.matrix()?, test.matrix()?);
    let classes = |set: &Embeddings| set.labels.iter().collect::<std::collections::BTreeSet<_>>().len();
    // Half of the validation classes are enrolled, and as many of the test classes, since FPIR depends on the gallery.
    let enrolled = (classes(validation) / 2).min(classes(test) / 2);
    let protocol = OpenSetProtocol { shots: 1, enrolled, fpir: 0.01, draws: 10, seed: 0 };
    let episodes = Episodes { ways: 5, shots: 1, queries: 1, episodes: 1000, seed: 0 };
    Ok(Evaluation {
        name: String::new(),
        seed: 0,
        steps: 0,
        metric: metric.to_string(),
        validation: dml_eval::retrieval(metric, v, &validation.labels, &recall(validation))?,
        test: dml_eval::retrieval(metric, t, &test.labels, &recall(test))?,
        verification: dml_eval::verification(metric, t, &test.labels, &[0.01, 0.001])?,
        open_set: dml_eval::open_set(metric, &protocol, (v, &validation.labels), (t, &test.labels)).ok(),
        few_shot: dml_eval::few_shot(metric, t, &test.labels, &episodes).ok(),
    })
}
