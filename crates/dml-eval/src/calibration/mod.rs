//! What a score means: thresholds that keep an error rate, scores as probabilities, and whether one threshold suits all
//! classes.
//!
//! Everything is chosen on held-out **classes**, not on other images of the classes that are measured: a threshold that
//! was found on the classes it is measured on looks better than it is.
//!
//! * [`CalibratedThreshold`]: the loosest threshold that keeps a false match rate, or a FPIR, and what it achieves
//!   elsewhere.
//! * [`Platt`], [`Isotonic`]: from score to probability; fitted on [`PairOutcomes`], for instance.
//! * [`reliability()`]: calibration error, Brier score and log-loss of probabilities.
//! * [`cllr`], [`min_cllr`]: the same for log-likelihood ratios, which do not hang on how many pairs are genuine.
//! * [`opis()`], [`class_rates`]: whether classes want thresholds of their own.

mod impostors;
mod isotonic;
mod llr;
mod opis;
mod outcomes;
mod platt;
mod reliability;
mod threshold;

pub use isotonic::{Isotonic, pool_adjacent_violators};
pub use llr::{cllr, log_likelihood_ratio, min_cllr};
pub use opis::{CalibrationRange, ClassRate, ClassRates, Opis, OpisOptions, class_rates, opis};
pub use outcomes::PairOutcomes;
pub use platt::Platt;
pub use reliability::{Binning, Reliability, ReliabilityBin, reliability};
pub use threshold::{AchievedRate, CalibratedThreshold, ErrorRate};
