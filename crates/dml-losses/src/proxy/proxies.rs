//! The learned vectors `[C·k, d]` that stand for the classes, k for each.

use crate::row_loss::{RowForm, Sides, Space};
use crate::setting::Setting;
use crate::{Batch, Context, Error, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::Reduction;
use dml_core::relevance::{Relevance, Sets};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// `per_class` vectors of each class, class-major.
pub(crate) struct Proxies {
    pub(crate) loss: &'static str,
    pub(crate) vectors: Var,
    pub(crate) classes: usize,
    pub(crate) per_class: usize,
}

impl Proxies {
    /// Normal proxies with the given standard deviation, drawn from the context's seed.
    pub(crate) fn normal(loss: &'static str, std: f64, per_class: usize, context: &Context) -> Result<Self> {
        Self::drawn(loss, per_class, context, |rng| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            std * (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        })
    }

    /// Proxies uniform within ±`bound`.
    pub(crate) fn uniform(loss: &'static str, bound: f64, per_class: usize, context: &Context) -> Result<Self> {
        Self::drawn(loss, per_class, context, |rng| bound * (2.0 * rng.random::<f64>() - 1.0))
    }

    /// One proxy per class on the unit sphere, as drawn uniformly from a cube.
    pub(crate) fn on_sphere(loss: &'static str, context: &Context) -> Result<Self> {
        let proxies = Self::uniform(loss, 1.0, 1, context)?;
        proxies.vectors.set(&dml_core::l2_normalize(proxies.vectors.as_tensor())?.detach())?;
        Ok(proxies)
    }

    fn drawn(
        loss: &'static str,
        per_class: usize,
        context: &Context,
        draw: impl Fn(&mut ChaCha8Rng) -> f64,
    ) -> Result<Self> {
        let (classes, dim) = (context.classes, context.dim);
        if classes == 0 || dim == 0 {
            let problem = format!("{classes} classes of dimension {dim}: a proxy loss wants one or more of each");
            return Err(crate::params::wrong(loss, problem));
        }
        // Another stream than the encoder's, which draws from the same seed.
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
        rng.set_stream(1);
        let values: Vec<f32> = (0..classes * per_class * dim).map(|_| draw(&mut rng) as f32).collect();
        let values = Tensor::from_vec(values, (classes * per_class, dim), &context.device)?.to_dtype(context.dtype)?;
        Ok(Self { loss, vectors: Var::from_tensor(&values)?, classes, per_class })
    }

    /// The vectors, in the type that the embeddings are computed in.
    pub(crate) fn like(&self, embeddings: &Tensor) -> Result<Tensor> {
        Ok(self.vectors.as_tensor().to_dtype(crate::row_loss::wide(embeddings)?.dtype())?)
    }

    /// Refuses labels that have no proxy.
    pub(crate) fn check(&self, labels: &[u64]) -> Result<()> {
        match labels.iter().find(|&&l| l >= self.classes as u64) {
            None => Ok(()),
            Some(label) => Err(Error::Labels(format!(
                "label {label} has no proxy, there are {}: map labels to 0..classes",
                self.classes
            ))),
        }
    }

    /// The labels of a batch and the weights that mined tuples give its samples ([`sample_weights`]), if it is one that a
    /// proxy loss takes.
    pub(crate) fn admit<'a>(&self, batch: &Batch<'a>) -> Result<(&'a [u64], Vec<f64>)> {
        batch.without_references(self.loss)?;
        let labels = batch.labels(self.loss)?;
        self.check(labels)?;
        Ok((labels, sample_weights(batch, labels.len(), self)?))
    }

    /// For [`Objective::parameters`].
    pub(crate) fn parameters(&self) -> Vec<(String, Var)> {
        vec![("proxies".to_owned(), self.vectors.clone())]
    }
}

/// Samples against proxies: the positives of a sample are the proxies of its class.
pub(crate) struct ProxyColumns<'a> {
    pub(crate) labels: &'a [u64],
    pub(crate) per_class: usize,
    /// Number of classes whose proxies are there.
    pub(crate) classes: usize,
    /// Where the classes are, if they are not all there, in order.
    pub(crate) places: Option<HashMap<u64, usize>>,
}

impl Relevance for ProxyColumns<'_> {
    fn anchors(&self) -> usize {
        self.labels.len()
    }

    fn references(&self) -> usize {
        self.classes * self.per_class
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        let label = self.labels[anchor];
        let place = self.places.as_ref().map_or(Some(label as usize), |places| places.get(&label).copied());
        if let Some(place) = place {
            sets.positives.extend((place * self.per_class..(place + 1) * self.per_class).map(|j| j as u32));
        }
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        Some(self.labels[anchor])
    }
}

/// Every sample of the batch against all proxies, or against a random part of them.
///
/// With `sample_rate` below 1 only the proxies of the batch's classes and random others, `rate·C` in all, take part in a
/// step and get a gradient. An et al., *Partial FC: Training 10 Million Identities on a Single Machine*, 2021, §3.2.
pub(crate) struct ProxyLoss<R> {
    proxies: Proxies,
    row: R,
    setting: Setting,
    sample_rate: f64,
    takes_tuples: bool,
    seed: u64,
    step: u64,
}

impl<R: RowForm> ProxyLoss<R> {
    pub(crate) fn new(proxies: Proxies, row: R, space: Space, sample_rate: f64, context: &Context) -> Self {
        let setting = Setting::new(space, Reduction::Mean, context);
        Self { proxies, row, setting, sample_rate, takes_tuples: true, seed: context.seed, step: 0 }
    }

    /// The same, refusing mined tuples.
    pub(crate) fn without_tuples(self) -> Self {
        Self { takes_tuples: false, ..self }
    }

    /// The classes of this step, ascending; `None`: all.
    fn sample(&self, labels: &[u64]) -> Option<Vec<u64>> {
        let classes = self.proxies.classes;
        let wanted = (self.sample_rate * classes as f64).ceil() as usize;
        let mut chosen: Vec<u64> = labels.to_vec();
        chosen.sort_unstable();
        chosen.dedup();
        if wanted.max(chosen.len()) >= classes {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(2 + self.step);
        let mut known: std::collections::HashSet<u64> = chosen.iter().copied().collect();
        while chosen.len() < wanted {
            let class = rng.random_range(0..classes as u64);
            if known.insert(class) {
                chosen.push(class);
            }
        }
        chosen.sort_unstable();
        Some(chosen)
    }
}

impl<R: RowForm> Objective for ProxyLoss<R> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let proxies = &self.proxies;
        if !self.takes_tuples {
            batch.without_tuples(proxies.loss)?;
        }
        let (labels, weights) = proxies.admit(batch)?;
        let mut vectors = proxies.like(batch.embeddings)?;
        let per_class = proxies.per_class;
        let mut columns = ProxyColumns { labels, per_class, classes: proxies.classes, places: None };
        if let Some(chosen) = self.sample(labels) {
            let rows: Vec<u32> =
                chosen.iter().flat_map(|&c| (0..per_class).map(move |k| (c as usize * per_class + k) as u32)).collect();
            vectors = vectors.index_select(&Tensor::new(rows, vectors.device())?, 0)?;
            columns.classes = chosen.len();
            columns.places = Some(chosen.into_iter().enumerate().map(|(place, class)| (class, place)).collect());
        }
        self.step += 1;
        let sides = Sides { anchors: batch.embeddings, references: Some(&vectors) };
        self.setting.evaluate(sides, &columns, &weights, &self.row)
    }

    fn takes_tuples(&self) -> bool {
        self.takes_tuples
    }

    fn takes_reduction(&self) -> bool {
        true
    }

    fn learns_classes(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        if self.sample_rate >= 1.0 {
            return Ok(Vec::new());
        }
        Ok(vec![("proxies.step".to_owned(), Tensor::new(&[self.step as i64], self.proxies.vectors.device())?)])
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        if self.sample_rate >= 1.0 {
            return Ok(());
        }
        let missing = || Error::State("proxies.step is missing".to_owned());
        let step: Vec<i64> = state.get("proxies.step").ok_or_else(missing)?.to_vec1()?;
        self.step = *step.first().ok_or_else(missing)? as u64;
        Ok(())
    }
}

/// How often a miner has named each sample, over the most; empty (all 1) where none has mined, or it found nothing.
pub(crate) fn sample_weights(batch: &Batch<'_>, n: usize, proxies: &Proxies) -> Result<Vec<f64>> {
    let Some(tuples) = batch.tuples else { return Ok(Vec::new()) };
    let fits = tuples
        .check(n, n)
        .map_err(|_| Error::Labels(format!("{}: mined tuples name rows beyond the {n} of the batch", proxies.loss)));
    fits?;
    Ok(if tuples.is_empty() { Vec::new() } else { tuples.weights(n, true) })
}
