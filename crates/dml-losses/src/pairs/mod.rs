//! Losses on pairs and triplets of a batch.

pub mod contrastive;
pub mod multi_similarity;
pub mod n_pairs;
pub mod triplet;
