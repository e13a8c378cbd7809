//! What a gallery answers.

use serde::{Deserialize, Serialize};

/// An identity and how it scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Whose templates.
    pub name: String,
    /// Score of the best of them, as the metric reports it.
    pub score: f32,
}

/// Whether a score is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The score is at the threshold or closer.
    Accepted,
    /// It is not: another person, or nobody who is enrolled.
    Unknown,
    /// There is no threshold: calibrate the gallery, or name one.
    NoThreshold,
}

/// Answer to "is this who they say?", 1:1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The identity that was claimed.
    pub name: String,
    /// Score of the best of its templates, as the metric reports it.
    pub score: f32,
    /// Whether it is they.
    pub decision: Decision,
    /// The threshold, as scores are reported.
    pub threshold: Option<f32>,
    /// Probability that it is they, where that is as likely as not before anything is seen. `None`: not calibrated.
    pub probability: Option<f64>,
    /// Why the decision may be worse than calibrated.
    pub warnings: Vec<String>,
}

/// Answer to "who is this, if anybody?", 1:K.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identification {
    /// Whether it is the first of the candidates.
    pub decision: Decision,
    /// The best identities, closest first; whatever the decision.
    pub candidates: Vec<Candidate>,
    /// The threshold, as scores are reported.
    pub threshold: Option<f32>,
    /// Probability that it is the first candidate, where that is as likely as not before anything is seen. `None`: not calibrated.
    pub probability: Option<f64>,
    /// By how much the first candidate is closer than the second, at least 0. `None`: there is no second.
    pub gap: Option<f32>,
    /// Why the decision may be worse than calibrated.
    pub warnings: Vec<String>,
}

impl Identification {
    /// Who it is, or `None`: nobody who is enrolled, or there is no threshold to say so by.
    pub fn accepted(&self) -> Option<&Candidate> {
        self.candidates.first().filter(|_| self.decision == Decision::Accepted)
    }
}
