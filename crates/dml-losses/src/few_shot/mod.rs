//! Losses on episodes: a few labelled samples of each class, and queries.

mod episode;
pub mod matching;
pub mod prototypical;
