//! Retrieval: does a query's ranking begin with what is relevant to it?
//!
//! Everything about a query is where its relevant items stand in its ranking ([`Rankings`]). All measures are functions of
//! that ([`Measure`]), and each states what peers leave open: how far it looks and what it divides by.
//!
//! ```
//! use dml_core::{Matrix, Metric};
//! use dml_eval::retrieval::{Exclusion, Measure, Policy, Rankings, Relevance, Ties, evaluate};
//!
//! let (points, labels) = ([0.0, 1.0, 2.4, 2.5, 5.0, 9.0], [0, 0, 1, 0, 1, 2]);
//! let x = Matrix::new(&points, 6, 1)?;
//! let relevance = Relevance::within(&labels);
//! let rankings = Rankings::whole(Metric::Euclidean, x, x, &relevance, &[Exclusion::SelfIndex], Ties::ById)?;
//! let measures: Vec<Measure> = ["recall@1", "map@r", "map@3:min"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
//! let found = evaluate(&rankings, &measures, Some(&labels), &Policy::default())?;
//! assert!((found.measured[1].micro_mean - 0.25).abs() < 1e-12);
//! assert_eq!(found.lone_queries, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | question | file |
//! |---|---|
//! | what is relevant? what is not shown? who wins a tie? | `relevance.rs`, `exclusion.rs`, `ties.rs`; looked up by `judge.rs` |
//! | where do relevant items stand? | `rankings.rs`; from embeddings `whole.rs`, with one item per identity `single_shot.rs` |
//! | what is measured? | `measure.rs`; its name `name.rs`, its words `words.rs` |
//! | how are queries put together? | `evaluate.rs` |
//! | whose number is it? | `presets.rs` |
//! | what does a training run keep? | `self_retrieval.rs` |

mod evaluate;
mod exclusion;
mod judge;
mod measure;
mod name;
mod presets;
mod rankings;
mod relevance;
mod self_retrieval;
mod single_shot;
mod ties;
mod whole;
mod words;

pub use crate::statistics::Bootstrap;
pub use evaluate::{Beyond, ClassMean, Lone, Measured, Measurements, Policy, evaluate, evaluate_draws};
pub use exclusion::Exclusion;
pub use measure::{Denominator, Gain, Ideal, Measure, Window};
pub use presets::Preset;
pub use rankings::{Ranking, Rankings};
pub use relevance::{Relevance, SharedGain};
pub use self_retrieval::{Retrieval, retrieval, retrieval_in_gallery};
pub use single_shot::{SingleShot, single_shot};
pub use ties::Ties;
