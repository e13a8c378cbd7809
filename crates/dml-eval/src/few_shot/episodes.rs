//! Episodes: what is drawn, and the accuracy of each.

use super::classifier::{Classifier, Support, normalised};
use super::paired::{EpisodeAccuracies, fingerprint};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Shape of the episodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episodes {
    /// Classes of an episode, N.
    pub ways: usize,
    /// Labelled samples of each class, K.
    pub shots: usize,
    /// Samples of each class to classify.
    pub queries: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// Measures every episode. Which samples an episode holds follows from the labels and the protocol alone: other
/// embeddings and other classifiers see the same ones, so that runs can be compared episode by episode.
///
/// # Errors
/// When fewer than N classes have K + queries samples, or more neighbours vote than there are labelled samples.
pub fn few_shot_episodes(
    classifier: Classifier,
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    protocol: &Episodes,
) -> Result<EpisodeAccuracies> {
    check(embeddings, labels)?;
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(i);
    }
    let each = protocol.shots.saturating_add(protocol.queries);
    let classes: Vec<Vec<usize>> = classes.into_values().filter(|items| items.len() >= each).collect();
    let none = [protocol.shots, protocol.queries, protocol.episodes].contains(&0);
    if classes.len() < protocol.ways || protocol.ways < 2 || none {
        return Err(Error::Input(format!(
            "{protocol:?} on {} classes with {each} samples or more: want 2 ways or more, not more ways than classes, and no zeros",
            classes.len()
        )));
    }
    classifier.check(protocol.ways * protocol.shots)?;
    let unit = classifier.wants_unit_length().then(|| normalised(embeddings));
    let x = match &unit {
        Some(values) => Matrix::new(values, embeddings.rows(), embeddings.cols())?,
        None => embeddings,
    };
    let accuracies: Vec<f64> = (0..protocol.episodes as u64)
        .into_par_iter()
        .map(|e| episode(classifier, metric, x, &classes, protocol, e))
        .collect::<Result<_>>()?;
    let labels = fingerprint(labels);
    Ok(EpisodeAccuracies { protocol: protocol.clone(), classifier, labels, accuracies })
}

fn episode(
    classifier: Classifier,
    metric: Metric,
    x: Matrix<'_>,
    classes: &[Vec<usize>],
    protocol: &Episodes,
    number: u64,
) -> Result<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(protocol.seed);
    rng.set_stream(number);
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let (chosen, _) = order.partial_shuffle(&mut rng, protocol.ways);
    let (mut support, mut queries) = (Support::new(x.cols()), Vec::new());
    for (way, &class) in chosen.iter().enumerate() {
        let mut items = classes[class].clone();
        let (items, _) = items.partial_shuffle(&mut rng, protocol.shots + protocol.queries);
        items[..protocol.shots].iter().for_each(|&i| support.push(x.row(i), way));
        items[protocol.shots..].iter().for_each(|&i| queries.extend_from_slice(x.row(i)));
    }
    let count = protocol.ways * protocol.queries;
    let said = support.classify(classifier, metric, Matrix::new(&queries, count, x.cols())?)?;
    let right = said.iter().enumerate().filter(|(q, way)| **way == q / protocol.queries).count();
    Ok(right as f64 / count as f64)
}
