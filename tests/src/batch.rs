//! Batches that look like those of a half-trained encoder.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Length of what all embeddings share, relative to a class's centre: the mean cosine of two classes is near 0.5, so
/// that margins are met by some pairs and missed by others.
const SHARED: f64 = 1.2;
/// Length of a row's own part.
const NOISE: f64 = 0.8;

/// Embeddings `[n, d]`, row-major: `shared + centre of the class + noise`, all normal, of length about 1.6.
pub fn embeddings(labels: &[u64], d: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut direction = || -> Vec<f64> { (0..d).map(|_| normal(&mut rng) / (d.max(1) as f64).sqrt()).collect() };
    let shared = direction();
    let classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
    let centres: Vec<Vec<f64>> = (0..classes).map(|_| direction()).collect();
    let mut values = Vec::with_capacity(labels.len() * d);
    for &label in labels {
        let (centre, own) = (&centres[label as usize], direction());
        values.extend((0..d).map(|k| (SHARED * shared[k] + centre[k] + NOISE * own[k]) as f32));
    }
    values
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
