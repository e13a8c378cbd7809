//! Progress of a run as values; showing it is the caller's business.

use serde::Serialize;

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Training begins, or goes on from a checkpoint.
    Start {
        /// First step to do.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// A step was taken.
    Step {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Loss of the batch.
        loss: f32,
        /// Learning rate of the encoder.
        lr: f64,
    },
    /// Everything up to here survives a crash.
    Checkpoint {
        /// Steps done.
        step: u64,
    },
    /// Training is over, measuring begins.
    Evaluating,
    /// The run is complete.
    Finish,
}
