//! N-way K-shot classification by the nearest prototype.
//!
//! Accuracy averaged over episodes; its interval is 1.96·std/√E over episodes, as in the papers: it knows nothing of training seeds.

use crate::{Error, Result, check, statistics};
use dml_core::{Matrix, Metric, scores};
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

/// Few-shot accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FewShot {
    /// What was measured.
    pub protocol: Episodes,
    /// Mean accuracy over episodes.
    pub accuracy: f64,
    /// Half-width of its 95 % interval over episodes.
    pub ci95: f64,
}

/// Measures N-way K-shot accuracy of `embeddings` (`[n, d]`). Prototypes are means of the raw embeddings.
///
/// # Errors
/// When fewer than N classes have K + queries samples.
pub fn few_shot(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], protocol: &Episodes) -> Result<FewShot> {
    check(embeddings, labels)?;
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(i);
    }
    let each = protocol.shots + protocol.queries;
    let classes: Vec<Vec<usize>> = classes.into_values().filter(|items| items.len() >= each).collect();
    if classes.len() < protocol.ways || protocol.ways < 2 || protocol.shots * protocol.queries * protocol.episodes == 0
    {
        return Err(Error::Input(format!(
            "{protocol:?} on {} classes with {each} samples or more: want 2 ways or more, not more ways than classes, and no zeros",
            classes.len()
        )));
    }
    let accuracies: Vec<f64> = (0..protocol.episodes as u64)
        .into_par_iter()
        .map(|e| episode(metric, embeddings, &classes, protocol, e))
        .collect::<Result<_>>()?;
    let ci95 = 1.96 * statistics::std(&accuracies) / (accuracies.len() as f64).sqrt();
    Ok(FewShot { protocol: protocol.clone(), accuracy: statistics::mean(&accuracies), ci95 })
}

fn episode(metric: Metric, x: Matrix<'_>, classes: &[Vec<usize>], protocol: &Episodes, number: u64) -> Result<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(protocol.seed);
    rng.set_stream(number);
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let (chosen, _) = order.partial_shuffle(&mut rng, protocol.ways);
    let d = x.cols();
    let mut prototypes = vec![0f32; protocol.ways * d];
    let mut queries = Vec::new();
    for (prototype, &class) in prototypes.chunks_exact_mut(d.max(1)).zip(chosen.iter()) {
        let mut items = classes[class].clone();
        let (items, _) = items.partial_shuffle(&mut rng, protocol.shots + protocol.queries);
        for &i in &items[..protocol.shots] {
            prototype.iter_mut().zip(x.row(i)).for_each(|(p, v)| *p += v / protocol.shots as f32);
        }
        items[protocol.shots..].iter().for_each(|&i| queries.extend_from_slice(x.row(i)));
    }
    let count = protocol.ways * protocol.queries;
    let mut table = vec![0f32; count * protocol.ways];
    scores(metric, Matrix::new(&queries, count, d)?, Matrix::new(&prototypes, protocol.ways, d)?, &mut table)?;
    let right = table.chunks_exact(protocol.ways).enumerate().filter(|(q, row)| {
        let best = (1..row.len()).fold(0, |best, j| if metric.closer(row[j], row[best]) { j } else { best });
        best == q / protocol.queries
    });
    Ok(right.count() as f64 / count as f64)
}
