//! Batches whose samples lie far apart, chosen by their embeddings.

use super::classes::{Classes, check_at_least, check_classes};
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::Rng;
use rand::seq::index;

/// How the next point of a core-set is chosen; the first is random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CoresetRule {
    /// The point farthest from its nearest chosen one (the first of equals): the greedy 2-approximation of k-center
    /// (Gonzalez, 1985, "Clustering to Minimize the Maximum Intercluster Distance").
    #[default]
    KCenter,
    /// A random point, with a probability proportional to the squared distance to its nearest chosen one: D² sampling
    /// (Arthur and Vassilvitskii, 2007, "k-means++").
    D2,
}

/// `count` different points of `points`, `[n, dim]` row by row, that cover them by `rule` in Euclidean distance.
///
/// Returns their numbers in the order of choice. Takes n · `count` · `dim` operations.
///
/// # Errors
/// When `points` is no whole number of rows of `dim` (at least 1) finite values, or has fewer than `count` rows.
pub fn coreset(points: &[f32], dim: usize, count: usize, rule: CoresetRule, rng: &mut impl Rng) -> Result<Vec<usize>> {
    check_points(points, dim)?;
    let n = points.len() / dim;
    if count > n {
        return Err(Error::Sampler(format!("a core-set of {count} points but there are {n}: ask for {n} or less")));
    }
    Ok(choose(points, dim, count, rule, rng))
}

/// Refuses broken rows and values that are no distances' business.
fn check_points(points: &[f32], dim: usize) -> Result<()> {
    if dim == 0 || !points.len().is_multiple_of(dim) {
        return Err(Error::Sampler(format!(
            "{} values are no whole number of embeddings with {dim} dimensions: give [n, dim] values row by row",
            points.len()
        )));
    }
    if let Some(at) = points.iter().position(|value| !value.is_finite()) {
        return Err(Error::Sampler(format!(
            "embedding {} has the value {}: give finite embeddings",
            at / dim,
            points[at]
        )));
    }
    Ok(())
}

/// [`coreset`] of checked points.
fn choose(points: &[f32], dim: usize, count: usize, rule: CoresetRule, rng: &mut impl Rng) -> Vec<usize> {
    let n = points.len() / dim;
    let mut chosen = Vec::with_capacity(count);
    if count == 0 {
        return chosen;
    }
    // Squared distance to the nearest chosen point; `None` for the chosen themselves.
    let mut nearest = vec![Some(f64::INFINITY); n];
    let mut newest = rng.random_range(0..n);
    loop {
        chosen.push(newest);
        nearest[newest] = None;
        if chosen.len() == count {
            return chosen;
        }
        let center = &points[newest * dim..][..dim];
        for (point, nearest) in points.chunks_exact(dim).zip(&mut nearest) {
            if let Some(nearest) = nearest {
                *nearest = nearest.min(squared_distance(center, point));
            }
        }
        let left =
            nearest.iter().enumerate().filter_map(|(point, distance)| distance.map(|distance| (point, distance)));
        newest = match rule {
            // Not `max_by`: of equals it takes the last.
            CoresetRule::KCenter => left.reduce(|best, other| if other.1 > best.1 { other } else { best }),
            CoresetRule::D2 => {
                let total: f64 = left.clone().map(|(_, distance)| distance).sum();
                if total > 0.0 {
                    let mut rest = rng.random::<f64>() * total;
                    // Rounding may leave a rest past the last: the last that can be drawn then is.
                    let mut last = None;
                    left.filter(|&(_, distance)| distance > 0.0)
                        .inspect(|&point| last = Some(point))
                        .find(|&(_, distance)| {
                            rest -= distance;
                            rest < 0.0
                        })
                        .or(last)
                } else {
                    // All that are left coincide with chosen points.
                    left.clone().nth(rng.random_range(0..n - chosen.len()))
                }
            }
        }
        .map_or(newest, |(point, _)| point);
    }
}

/// Σ (a − b)², in f64.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// What a [`CoresetSampler`] deals.
#[derive(Debug, Clone)]
pub struct CoresetOptions {
    /// P: classes in a batch.
    pub classes_per_batch: usize,
    /// K: images of each class.
    pub samples_per_class: usize,
    /// Classes that a batch is chosen from, at least P; all when there are not as many.
    pub pool: usize,
    /// How they are chosen.
    pub rule: CoresetRule,
}

/// Batches of P classes × K images whose classes lie far apart.
///
/// For each batch a pool of random classes gives a random image each; the core-set of P of these images by their
/// embeddings names the classes, and each class gives that image and K − 1 others. With labels that are all different and
/// K = 1 it is plain core-set selection of a batch from a pool of samples, as in Sinha et al., 2020, "Small-GAN:
/// Speeding up GAN Training using Core-sets". An epoch is ⌈classes / P⌉ batches and may miss classes. A class with
/// fewer than K images gives all of them, then begins again.
///
/// The embeddings are those of a moment: make a new sampler when they have changed.
#[derive(Debug, Clone)]
pub struct CoresetSampler {
    embeddings: Vec<f32>,
    dim: usize,
    classes: Classes,
    options: CoresetOptions,
    seed: u64,
}

impl CoresetSampler {
    /// A sampler over images with `embeddings` (`[n, d]`, row by row) and `labels` (`[n]`).
    ///
    /// # Errors
    /// When `embeddings` is no whole number of finite values per label, P < 2, K = 0, the pool is smaller than P, or there
    /// are fewer than P classes.
    pub fn new(embeddings: Vec<f32>, labels: &[u32], options: CoresetOptions, seed: u64) -> Result<Self> {
        let CoresetOptions { classes_per_batch, samples_per_class, pool, .. } = options;
        let classes = Classes::of(labels)?;
        check_at_least("sampler.classes", classes_per_batch, 2, "a batch of one class has no negatives")?;
        check_at_least("sampler.per_class", samples_per_class, 1, "a class gives no images")?;
        check_at_least("sampler.pool", pool, classes_per_batch, "the pool has fewer classes than a batch")?;
        check_classes("a P×K batch", "sampler.classes", classes_per_batch, classes.len())?;
        let dim = embeddings.len() / labels.len();
        if dim * labels.len() != embeddings.len() {
            return Err(Error::Sampler(format!(
                "{} values are no whole number for each of {} labels: give [n, dim] values row by row",
                embeddings.len(),
                labels.len()
            )));
        }
        check_points(&embeddings, dim)?;
        Ok(Self { embeddings, dim, classes, options, seed })
    }
}

impl BatchSampler for CoresetSampler {
    fn batches_per_epoch(&self) -> usize {
        self.classes.len().div_ceil(self.options.classes_per_batch)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let CoresetOptions { classes_per_batch: p, samples_per_class: k, pool, rule } = self.options;
        let batches = self.batches_per_epoch();
        let mut plan = Plan::with_capacity(batches, batches * p * k);
        let mut points = Vec::new();
        let mut others = Vec::new();
        for number in 0..batches {
            let mut rng = stream(self.seed, Purpose::Deal, (epoch, number as u64));
            let pool = index::sample(&mut rng, self.classes.len(), pool.min(self.classes.len())).into_vec();
            points.clear();
            let mut candidates = Vec::with_capacity(pool.len());
            for class in pool {
                let images = self.classes.get(class);
                let image = images[rng.random_range(0..images.len())];
                points.extend_from_slice(&self.embeddings[image as usize * self.dim..][..self.dim]);
                candidates.push((class, image));
            }
            for chosen in choose(&points, self.dim, p, rule, &mut rng) {
                let (class, image) = candidates[chosen];
                others.clear();
                self.classes.draw(class, k, &mut rng, &mut others);
                // The chosen image comes first: swapped with its place among the drawn, or in that of the first.
                let place = others.iter().position(|&other| other == image).unwrap_or(0);
                others[place] = others[0];
                others[0] = image;
                plan.open().extend_from_slice(&others);
            }
            plan.end_batch();
        }
        plan
    }
}
