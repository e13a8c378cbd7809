//! The learned vectors `[C, d]` that stand for the classes.

use crate::row_loss::{Space, between};
use crate::{Context, Error, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::Metric;
use dml_core::rowwise::RowObjective;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One vector per class.
pub(crate) struct Proxies {
    pub(crate) vectors: Var,
    pub(crate) labels: Vec<u32>,
}

impl Proxies {
    /// Normal proxies with the given standard deviation, drawn from the context's seed.
    pub(crate) fn normal(loss: &str, std: f64, context: &Context) -> Result<Self> {
        let (classes, dim) = (context.classes, context.dim);
        if classes == 0 || dim == 0 {
            let problem = format!("{classes} classes of dimension {dim}: a proxy loss wants one or more of each");
            return Err(crate::params::wrong(loss, problem));
        }
        // Another stream than the encoder's, which draws from the same seed.
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
        rng.set_stream(1);
        let values: Vec<f32> = (0..classes * dim)
            .map(|_| {
                let (u, v): (f64, f64) = (rng.random(), rng.random());
                (std * (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()) as f32
            })
            .collect();
        let vectors = Var::from_tensor(&Tensor::from_vec(values, (classes, dim), &context.device)?)?;
        Ok(Self { vectors, labels: (0..classes as u32).collect() })
    }

    /// Refuses labels that have no proxy.
    pub(crate) fn check(&self, labels: &[u32]) -> Result<()> {
        match labels.iter().find(|&&l| l as usize >= self.labels.len()) {
            None => Ok(()),
            Some(label) => Err(Error::Labels(format!(
                "label {label} has no proxy, there are {}: map labels to 0..classes",
                self.labels.len()
            ))),
        }
    }
}

/// Every sample of the batch against all proxies.
pub(crate) struct ProxyLoss<R> {
    pub(crate) proxies: Proxies,
    pub(crate) row: R,
    pub(crate) metric: Metric,
}

impl<R: RowObjective + Send> Objective for ProxyLoss<R> {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        self.proxies.check(labels)?;
        let space = Space { metric: self.metric, normalize: true };
        between((embeddings, labels), (self.proxies.vectors.as_tensor(), &self.proxies.labels), space, &self.row)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        vec![("proxies".to_owned(), self.proxies.vectors.clone())]
    }
}
