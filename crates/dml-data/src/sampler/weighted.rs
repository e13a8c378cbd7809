//! Batches of samples, or of classes, drawn by weight.

use super::classes::{Classes, check_at_least, check_classes, check_samples};
use super::random::check_fits;
use super::sum_tree::SumTree;
use super::{BatchSampler, Plan};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};

/// Batches of samples drawn by weight and temperature: sample i with p_i = w_i^(1/T) / Σ_j w_j^(1/T).
///
/// T = 1 takes the weights as they are, T → ∞ makes all samples with a weight above 0 alike. Within a batch samples are
/// drawn without replacement (each by its weight among those left), across batches with it: an epoch of ⌈n / batch⌉
/// batches gives likely samples often and may miss others. It knows no classes; [`WeightedPkSampler`] does.
#[derive(Debug, Clone)]
pub struct WeightedSampler {
    weights: Vec<f32>,
    batch: usize,
    seed: u64,
}

impl WeightedSampler {
    /// A sampler over samples with these `weights` in batches of `batch`, with temperature T = `temperature`.
    ///
    /// # Errors
    /// When a weight is negative or not finite, T is not above 0, `batch` < 2, or fewer than `batch` samples have a
    /// weight above 0.
    pub fn new(weights: &[f32], batch: usize, temperature: f64, seed: u64) -> Result<Self> {
        check_samples(weights.len())?;
        check_temperature(temperature)?;
        check_at_least("sampler.batch", batch, 2, "a batch of one sample has no pairs")?;
        if let Some((i, weight)) =
            weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0))
        {
            return Err(Error::Sampler(format!(
                "the weight of sample {i} is {weight}: give a finite number, 0 or more"
            )));
        }
        // Against the largest, so that no power overflows.
        let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        // A weight of 0 stays 0, for T = ∞ too, where 0⁰ would be 1.
        let power = |&weight: &f32| match weight {
            0.0 => 0.0,
            _ => (f64::from(weight) / f64::from(largest)).powf(temperature.recip()) as f32,
        };
        let weights: Vec<f32> = weights.iter().map(power).collect();
        check_fits(batch, weights.iter().filter(|&&weight| weight > 0.0).count())?;
        Ok(Self { weights, batch, seed })
    }
}

impl BatchSampler for WeightedSampler {
    fn batches_per_epoch(&self) -> usize {
        self.weights.len().div_ceil(self.batch)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let batches = self.batches_per_epoch();
        let mut rng = stream(self.seed, Purpose::Deal, (epoch, 0));
        let mut tree = SumTree::new(self.weights.iter().map(|&weight| weight.into()));
        let mut plan = Plan::with_capacity(batches, batches * self.batch);
        for _ in 0..batches {
            tree.draw_different(self.batch, &mut rng, plan.open());
            plan.end_batch();
        }
        plan
    }
}

/// Batches of P different classes × K images, with classes drawn by their size and a temperature:
/// p_c = n_c^(1/T) / Σ_d n_d^(1/T), for n_c images of class c.
///
/// T = 1 gives classes as often as their images, T → ∞ all classes alike; between them rare classes come more often than
/// their share but less often than frequent ones. Within a batch classes are drawn without replacement (each by its
/// weight among those left), across batches with it. A class with fewer than K images gives all of them, then begins
/// again. An epoch is ⌈n / (P·K)⌉ batches and may miss classes.
///
/// The temperature is that of Arivazhagan et al., 2019, "Massively Multilingual Neural Machine Translation in the Wild".
#[derive(Debug, Clone)]
pub struct WeightedPkSampler {
    classes: Classes,
    classes_per_batch: usize,
    samples_per_class: usize,
    temperature: f64,
    seed: u64,
}

impl WeightedPkSampler {
    /// A sampler over `labels` (one per image) with P = `classes_per_batch`, K = `samples_per_class`, T = `temperature`.
    ///
    /// # Errors
    /// When P < 2, K = 0, there are fewer than P classes, or T is not above 0.
    pub fn new(
        labels: &[u32],
        classes_per_batch: usize,
        samples_per_class: usize,
        temperature: f64,
        seed: u64,
    ) -> Result<Self> {
        let classes = Classes::of(labels)?;
        check_at_least("sampler.classes", classes_per_batch, 2, "a batch of one class has no negatives")?;
        check_at_least("sampler.per_class", samples_per_class, 1, "a class gives no images")?;
        check_classes("a P×K batch", "sampler.classes", classes_per_batch, classes.len())?;
        check_temperature(temperature)?;
        Ok(Self { classes, classes_per_batch, samples_per_class, temperature, seed })
    }
}

/// Refuses temperatures that are not above 0; infinity makes all alike.
fn check_temperature(temperature: f64) -> Result<()> {
    if temperature.is_nan() || temperature <= 0.0 {
        return Err(Error::Sampler(format!(
            "sampler.temperature = {temperature}: give a number above 0 (1 keeps the weights, larger ones level them)"
        )));
    }
    Ok(())
}

impl BatchSampler for WeightedPkSampler {
    fn batches_per_epoch(&self) -> usize {
        self.classes.images().len().div_ceil(self.classes_per_batch * self.samples_per_class)
    }

    fn plan(&self, epoch: u64) -> Plan {
        let (batches, p, k) = (self.batches_per_epoch(), self.classes_per_batch, self.samples_per_class);
        let mut rng = stream(self.seed, Purpose::Deal, (epoch, 0));
        // Against the largest class: with a small temperature the powers would overflow. None may vanish either, or
        // there might not be P classes left to draw.
        let largest = self.classes.sizes().max().unwrap_or(1) as f64;
        let sizes: Vec<usize> = self.classes.sizes().collect();
        let power = |size: usize| (size as f64 / largest).powf(self.temperature.recip()).max(f64::MIN_POSITIVE);
        let mut tree = SumTree::new(sizes.into_iter().map(power));
        let mut plan = Plan::with_capacity(batches, batches * p * k);
        let mut drawn = Vec::with_capacity(p);
        for _ in 0..batches {
            drawn.clear();
            tree.draw_different(p, &mut rng, &mut drawn);
            drawn.iter().for_each(|&class| self.classes.draw(class as usize, k, &mut rng, plan.open()));
            plan.end_batch();
        }
        plan
    }
}
