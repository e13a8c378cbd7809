//! Losses on episodes: a few labelled samples of each class, and queries.

pub mod prototypical;
