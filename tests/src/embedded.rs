//! Vectors as a trained network embeds a data set: clustered by class, classes clustered among themselves, on the sphere, and of
//! far fewer directions than dimensions.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Row-major `[labels, d]`: unit vectors. Each is the sum of what its group of ten classes has in common, of what its class has,
/// and of its own, in that order 1 : 1 : 0.8, and the variance of the directions falls with their number.
pub fn vectors(labels: &[u32], d: usize, seed: u64) -> Vec<f32> {
    let mut values = vec![0f32; labels.len() * d];
    values.par_chunks_mut(d.max(1)).zip(labels.par_iter().enumerate()).for_each(|(row, (i, &label))| {
        let parts = [(1.0, 0, u64::from(label / 10)), (1.0, 1, u64::from(label)), (0.8, 2, i as u64)];
        for (weight, kind, number) in parts {
            let mut random = ChaCha8Rng::seed_from_u64(seed * 3 + kind);
            random.set_stream(number);
            for (j, v) in row.iter_mut().enumerate() {
                // Nearly normal.
                let normal: f32 = (0..4).map(|_| random.random::<f32>() - 0.5).sum::<f32>() * 1.732;
                *v += weight * normal / (1.0 + j as f32 / 16.0).sqrt();
            }
        }
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    });
    values
}
