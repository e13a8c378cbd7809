//! Progress of a run as values; showing it is the caller's business.

use serde::{Deserialize, Serialize};

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Another process works in the folder, whose end is waited for.
    Waiting,
    /// Training begins, or goes on from a checkpoint.
    Start {
        /// First step to do.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// The encoder began with weights of a file.
    Weights {
        /// The file.
        file: String,
        /// Its SHA-256, as hexadecimal digits.
        #[serde(default)]
        sha256: String,
        /// The commit that it is of, if it came from the hub: with it as the revision the very same file is fetched again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// How many were loaded, and the names of those that were scaled, left out or drawn anew.
        became: String,
    },
    /// Images were left out of a batch.
    Skipped {
        /// The step that they would have been of.
        step: u64,
        /// Each with its file and why it cannot be read.
        what: Vec<String>,
    },
    /// A step was taken.
    Step {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Loss of the batch.
        loss: f32,
        /// Learning rate of the encoder's head.
        lr: f64,
        /// Norm of the whole gradient, before `clip_norm`.
        grad_norm: f64,
        /// Images of the batch over the seconds since the last step, without validation and checkpoints in between.
        images_per_second: f64,
    },
    /// The validation classes were measured.
    Validated {
        /// Steps done.
        step: u64,
        /// MAP@R on the validation classes.
        map_at_r: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Validation images and their texts were measured.
    ValidatedBothWays {
        /// Steps done.
        step: u64,
        /// The mean of MAP@R of texts found by images and of images found by texts.
        map_at_r: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The validation pairs were measured.
    ValidatedPairs {
        /// Steps done.
        step: u64,
        /// Spearman's correlation of the scores with people's, on the validation pairs.
        spearman: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The test classes were measured, because the recipe chooses by them.
    Tested {
        /// Steps done.
        step: u64,
        /// R@1 on the test classes.
        recall_at_1: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Test images and their texts were measured, because the recipe chooses by them.
    TestedBothWays {
        /// Steps done.
        step: u64,
        /// The mean of MAP@R of texts found by images and of images found by texts.
        map_at_r: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The newest checkpoint cannot be read, and an older one stands in for it.
    Damaged {
        /// What is wrong with it.
        problem: String,
        /// Step of the one that is used.
        step: u64,
    },
    /// Training stopped before its last step: what is measured between steps got no better.
    StoppedEarly {
        /// Steps done.
        step: u64,
    },
    /// Training was asked to stop; everything so far is in the checkpoint.
    Interrupted {
        /// Steps done.
        step: u64,
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
