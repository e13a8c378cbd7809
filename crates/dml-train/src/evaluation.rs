//! All measures of one encoder on the classes it has not seen.

use crate::Result;
use crate::correlation::{Correlation, ScoredPairs};
use crate::cross_modal::{Captions, CrossModal};
use crate::embedding::{Embeddings, embed};
use crate::examples::Examples;
use crate::recipe::Evaluated;
use crate::sets::{OneShotInputs, Sets};
use crate::shortened::Shortened;
use candle_core::Device;
use dml_core::Metric;
use dml_eval::{Episodes, FewShot, OneShot, OneShotTrials, OpenSet, OpenSetProtocol, Retrieval, Verification};
use dml_models::Encoder;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a run achieved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the recipe.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Steps trained.
    pub steps: u64,
    /// Which weights were measured: those after the last step, or those that were chosen, and by what.
    #[serde(default)]
    pub weights: Evaluated,
    /// How embeddings were compared.
    pub metric: String,
    /// On the validation classes, where there are any.
    pub validation: Option<Measures>,
    /// On the test classes, where there are any.
    pub test: Option<Measures>,
    /// Open-set recognition on the test classes, calibrated on the validation classes.
    pub open_set: Option<OpenSet>,
    /// Lake's twenty one-shot runs, for Omniglot's background sets.
    pub one_shot: Option<OneShot>,
    /// How scores of the validation pairs and of the test pairs follow what people found, where there are pairs with scores.
    #[serde(default, skip_serializing_if = "BySet::is_empty")]
    pub correlation: BySet<Correlation>,
    /// Retrieval between validation images and their texts, and between those of the test, where images have texts.
    #[serde(default, skip_serializing_if = "BySet::is_empty")]
    pub cross_modal: BySet<CrossModal>,
    /// Retrieval by the beginnings of the embeddings, where the recipe has `loss.matryoshka`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<Shortened>,
}

/// What some runs have of their validation and test sets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BySet<T> {
    /// Of the validation set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<T>,
    /// Of the test set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<T>,
}

impl<T> Default for BySet<T> {
    fn default() -> Self {
        Self { validation: None, test: None }
    }
}

impl<T> BySet<T> {
    fn is_empty(&self) -> bool {
        self.validation.is_none() && self.test.is_none()
    }
}

/// What is measured on one set of classes that no one was trained on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measures {
    /// Every image or text as a query among all others.
    pub retrieval: Retrieval,
    /// Every pair of them.
    pub verification: Verification,
    /// 5- and 20-way, 1- and 5-shot, as far as the classes have enough for it.
    pub few_shot: Vec<FewShot>,
}

/// Embeddings of all that a run is measured on.
pub struct Embedded {
    /// Of the validation classes.
    pub validation: Option<Embeddings>,
    /// Of the test classes.
    pub test: Option<Embeddings>,
    /// Of Lake's runs: those with a name, and those to be named.
    pub one_shot: Vec<[Embeddings; 2]>,
    /// Of the texts that go with the validation images and with the test images.
    pub captions: [Option<Embeddings>; 2],
}

impl Embedded {
    /// All that `sets` has besides training images, by `encoder`.
    ///
    /// # Errors
    /// As [`embed`].
    pub fn new(encoder: &dyn Encoder, sets: &Sets, device: &Device) -> Result<Self> {
        let embed = |set: &dyn Examples| embed(encoder, set, device);
        let of_set = |set: &Option<Arc<dyn Examples>>| set.as_deref().map(embed).transpose();
        let of_run = |run: &OneShotInputs| -> Result<_> { Ok([embed(&*run.train)?, embed(&*run.test)?]) };
        // Texts of images that are not measured are found by nothing.
        let of_captions = |set: &Option<Arc<dyn Examples>>, captions: &Option<Captions>| {
            captions.as_ref().filter(|_| set.is_some()).map(|captions| captions.embed(encoder, device)).transpose()
        };
        let [validation, test] = &sets.captions;
        Ok(Self {
            validation: of_set(&sets.validation)?,
            test: of_set(&sets.test)?,
            one_shot: sets.one_shot.iter().map(of_run).collect::<Result<_>>()?,
            captions: [of_captions(&sets.validation, validation)?, of_captions(&sets.test, test)?],
        })
    }

    /// All measures of embeddings of what `sets` has: it says which test samples are queries and which are in the gallery, where the
    /// source does, and what the texts are.
    ///
    /// # Errors
    /// As [`of_embeddings`].
    pub fn measure(&self, metric: Metric, sets: &Sets) -> Result<Evaluation> {
        let mut evaluation = of_embeddings(metric, self.validation.as_ref(), self.test.as_ref())?;
        if let (Some(roles), Some(test), Some(measures)) = (&sets.roles, &self.test, &mut evaluation.test) {
            measures.retrieval = of_roles(metric, test, roles)?;
        }
        let [validation, test] = [0, 1].map(|part| (sets.captions[part].as_ref(), self.captions[part].as_ref()));
        let between = |images: &Option<Embeddings>, (captions, texts): (Option<&Captions>, Option<&Embeddings>)| {
            let all = images.as_ref().zip(captions.zip(texts));
            all.map(|(images, (captions, texts))| captions.retrieval(metric, images, texts)).transpose()
        };
        evaluation.cross_modal =
            BySet { validation: between(&self.validation, validation)?, test: between(&self.test, test)? };
        if !self.one_shot.is_empty() {
            let runs = self.one_shot.iter().map(|[train, test]| one_shot_run(metric, train, test));
            evaluation.one_shot = Some(dml_eval::one_shot(&runs.collect::<Result<Vec<_>>>()?)?);
        }
        Ok(evaluation)
    }
}

/// What is measured between steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    /// MAP@R of the validation classes.
    MapAtR(f64),
    /// The mean of both ways' MAP@R between the validation images and their texts.
    BothWays(f64),
    /// Spearman's correlation on the validation pairs.
    Spearman(f64),
    /// R@1 of the test classes.
    TestRecall(f64),
    /// The mean of both ways' MAP@R between the test images and their texts.
    TestBothWays(f64),
}

impl Measured {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::MapAtR(value)
            | Self::BothWays(value)
            | Self::Spearman(value)
            | Self::TestRecall(value)
            | Self::TestBothWays(value) => value,
        }
    }
}

/// MAP@R of `set` by `encoder` as it is; between its images and their `captions`, where they have some.
pub(crate) fn map_at_r(
    encoder: &dyn Encoder,
    metric: Metric,
    (set, captions): (&dyn Examples, Option<&Captions>),
    device: &Device,
) -> Result<Measured> {
    if let Some(captions) = captions {
        return Ok(Measured::BothWays(both_ways(encoder, metric, (set, captions), device)?));
    }
    let embeddings = embed(encoder, set, device)?;
    let retrieval = dml_eval::retrieval(metric, embeddings.matrix()?, &embeddings.labels, &[1])?;
    Ok(Measured::MapAtR(retrieval.map_at_r))
}

/// The mean of both ways' MAP@R between the images of `set` and their `captions`.
fn both_ways(
    encoder: &dyn Encoder,
    metric: Metric,
    (set, captions): (&dyn Examples, &Captions),
    device: &Device,
) -> Result<f64> {
    let (images, texts) = (embed(encoder, set, device)?, captions.embed(encoder, device)?);
    Ok(CrossModal::between(metric, &images, &texts)?.map_at_r())
}

/// R@1 of the test set by `encoder` as it is, 0 without one; where its images have texts, what validation goes by there.
pub(crate) fn on_test(encoder: &dyn Encoder, metric: Metric, sets: &Sets, device: &Device) -> Result<Measured> {
    let Some(test) = &sets.test else { return Ok(Measured::TestRecall(0.0)) };
    if let Some(captions) = &sets.captions[1] {
        return Ok(Measured::TestBothWays(both_ways(encoder, metric, (test.as_ref(), captions), device)?));
    }
    let embeddings = embed(encoder, test.as_ref(), device)?;
    let retrieval = match &sets.roles {
        Some(roles) => of_roles(metric, &embeddings, roles)?,
        None => dml_eval::retrieval(metric, embeddings.matrix()?, &embeddings.labels, &[1])?,
    };
    Ok(Measured::TestRecall(retrieval.recall_at.first().map_or(0.0, |(_, recall)| *recall)))
}

/// Measures `encoder` on all that `sets` has besides training images, and, for each of `dims`, so many of the first numbers of its
/// embeddings; with the embeddings of the test set.
///
/// # Errors
/// As [`embed`] and [`of_embeddings`].
pub fn of_encoder(
    encoder: &dyn Encoder,
    metric: Metric,
    dims: &[usize],
    sets: &Sets,
    device: &Device,
) -> Result<(Evaluation, Option<Embeddings>)> {
    let embedded = Embedded::new(encoder, sets, device)?;
    let mut evaluation = embedded.measure(metric, sets)?;
    evaluation.shortened = embedded.shortened(metric, dims)?;
    let of_pairs = |pairs: &Option<ScoredPairs>| {
        pairs.as_ref().map(|pairs| pairs.correlation(encoder, metric, device)).transpose()
    };
    let [validation, test] = &sets.scored;
    evaluation.correlation = BySet { validation: of_pairs(validation)?, test: of_pairs(test)? };
    Ok((evaluation, embedded.test))
}

/// Retrieval of queries in a gallery, where the source says which sample is what (In-Shop).
fn of_roles(metric: Metric, test: &Embeddings, roles: &[[bool; 2]]) -> Result<Retrieval> {
    let [queries, gallery] =
        [0, 1].map(|which| (0..roles.len()).filter(|&i| roles[i][which]).map(|i| i as u32).collect::<Vec<u32>>());
    // Those of In-Shop's paper.
    let ranks: Vec<usize> = [1, 10, 20, 30, 40].into_iter().filter(|&k| k <= gallery.len()).collect();
    Ok(dml_eval::retrieval_in_gallery(metric, test.matrix()?, &test.labels, [&queries, &gallery], &ranks)?)
}

/// A one-shot run: every test embedding gets the class of the nearest of the training embeddings.
///
/// # Errors
/// When the embeddings have different lengths.
pub fn one_shot_run(metric: Metric, train: &Embeddings, test: &Embeddings) -> Result<OneShotTrials> {
    Ok(OneShotTrials::from_embeddings(metric, train.matrix()?, test.matrix()?, &test.labels)?)
}

/// Measures embeddings of the validation and test classes. What a part is too small for is left out: retrieval and
/// verification want two classes, one of them with two images; open-set recognition four classes, all of two
/// images.
///
/// # Errors
/// When an embedding is not finite.
pub fn of_embeddings(metric: Metric, validation: Option<&Embeddings>, test: Option<&Embeddings>) -> Result<Evaluation> {
    let open_set = match (validation, test) {
        (Some(v), Some(t)) if v.can_be_recognised() && t.can_be_recognised() => {
            // Half of the classes are enrolled, as many on either side, since FPIR depends on the gallery.
            let enrolled = (v.classes() / 2).min(t.classes() / 2);
            let protocol = OpenSetProtocol { shots: 1, enrolled, fpir: 0.01, draws: 10, seed: 0 };
            Some(dml_eval::open_set(metric, &protocol, (v.matrix()?, &v.labels), (t.matrix()?, &t.labels))?)
        }
        _ => None,
    };
    Ok(Evaluation {
        metric: metric.to_string(),
        validation: validation.filter(|set| set.can_be_measured()).map(|set| measure(metric, set)).transpose()?,
        test: test.filter(|set| set.can_be_measured()).map(|set| measure(metric, set)).transpose()?,
        open_set,
        ..Evaluation::default()
    })
}

fn measure(metric: Metric, set: &Embeddings) -> Result<Measures> {
    let ranks: Vec<usize> = [1, 2, 4, 8].into_iter().filter(|&k| k < set.labels.len()).collect();
    let (matrix, smallest) = (set.matrix()?, set.smallest_class());
    let shapes = [(5, 1), (5, 5), (20, 1), (20, 5)].into_iter();
    let few_shot = shapes.filter(|&(ways, shots)| set.classes() >= ways && smallest > shots).map(|(ways, shots)| {
        // 15 queries as in the literature, where there are as many.
        let queries = (smallest - shots).min(15);
        dml_eval::few_shot(metric, matrix, &set.labels, &Episodes { ways, shots, queries, episodes: 1000, seed: 0 })
    });
    Ok(Measures {
        few_shot: few_shot.collect::<std::result::Result<_, _>>()?,
        retrieval: dml_eval::retrieval(metric, matrix, &set.labels, &ranks)?,
        verification: dml_eval::verification(metric, matrix, &set.labels, &[0.01, 0.001])?,
    })
}
