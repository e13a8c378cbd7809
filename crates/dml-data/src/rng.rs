//! Randomness as a pure function of a seed and a position.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// What a stream of random numbers is for: streams of different purposes never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Order of the classes of an epoch: (epoch, 0).
    Classes = 1,
    /// Order of the images of a class: (class, round).
    Images = 2,
    /// Extra draw that fills the last batch of an epoch: (epoch, class).
    Fill = 3,
    /// One episode: (epoch, episode).
    Episode = 4,
    /// Augmentation of one image of a set in memory: (epoch, index).
    Augment = 5,
    /// What a pipeline draws for one sample: (epoch, index).
    Sample = 6,
    /// Which of the texts of a class goes with one of its images: (step, position in the batch).
    Text = 7,
    /// Which of the gallery images of a class goes with one of its queries: (step, position in the batch).
    Reference = 8,
    /// What a sampler draws batch by batch: (epoch, batch), or (epoch, 0) for a whole epoch.
    Deal = 16,
}

/// The generator of `purpose` at `position` under `seed`.
///
/// Seed, purpose and position are ChaCha's key, so every position has a stream of its own and may be drawn
/// by any thread in any order.
pub fn stream(seed: u64, purpose: Purpose, position: (u64, u64)) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    let words = [seed, purpose as u64, position.0, position.1];
    for (chunk, word) in key.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
