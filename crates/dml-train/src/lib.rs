//! Training: a [`Recipe`] becomes a run folder with a checkpoint, a metrics log and an evaluation.
//!
//! The only crate that composes the others. [`run::run`] does everything for one recipe; [`trainer::Trainer`] is the loop.

mod agreement;
mod batch_gradient;
pub mod checkpoint;
pub mod correlation;
pub mod cross_modal;
pub mod embedding;
mod error;
pub mod evaluation;
pub mod events;
pub mod examples;
pub mod figures;
mod imprint;
mod moving_mean;
pub mod optimizer;
mod phases;
mod progress;
pub mod recipe;
pub mod report;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod search;
pub mod sets;
pub mod shortened;
pub mod tensorboard;
pub mod trained;
pub mod trainer;
pub mod two_views;
mod validation;
mod weights;

pub use error::{Error, Result};
pub use events::Event;
pub use recipe::Recipe;
pub use trainer::{Resumed, Trainer};
