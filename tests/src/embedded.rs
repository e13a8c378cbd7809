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
                *v += weight * normal(&mut random) / (1.0 + j as f32 / 16.0).sqrt();
            }
        }
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    });
    values
}

/// Directions of the surface that face embeddings lie on: 16 for SphereFace's, 19 for a ResNet's of photographs (Gong, Boddeti and
/// Jain, *On the intrinsic dimensionality of image representations*, CVPR 2019).
pub const FACES: usize = 16;

/// Row-major `[n, d]`: unit vectors on a curved surface of so many directions, with nothing in common but that. Each is a random
/// network's image of a point: `x = W₂ tanh(W₁ z)`, of `4·directions` hidden values, `z` nearly normal.
pub fn on_a_surface(n: usize, d: usize, directions: usize, seed: u64) -> Vec<f32> {
    let hidden = 4 * directions;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut matrix = |rows: usize, cols: usize| -> Vec<f32> {
        (0..rows * cols).map(|_| normal(&mut random) / (cols as f32).sqrt()).collect()
    };
    let (first, second) = (matrix(hidden, directions), matrix(d, hidden));
    let times = |matrix: &[f32], x: &[f32], out: &mut [f32]| {
        for (out, row) in out.iter_mut().zip(matrix.chunks_exact(x.len())) {
            *out = row.iter().zip(x).map(|(a, b)| a * b).sum();
        }
    };
    let mut values = vec![0f32; n * d];
    values.par_chunks_mut(d.max(1)).enumerate().for_each(|(i, row)| {
        let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
        random.set_stream(i as u64);
        let z: Vec<f32> = (0..directions).map(|_| normal(&mut random)).collect();
        let mut h = vec![0f32; hidden];
        times(&first, &z, &mut h);
        h.iter_mut().for_each(|v| *v = v.tanh());
        times(&second, &h, row);
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= norm);
    });
    values
}

/// Nearly normal.
fn normal(random: &mut ChaCha8Rng) -> f32 {
    (0..4).map(|_| random.random::<f32>() - 0.5).sum::<f32>() * 1.732
}
