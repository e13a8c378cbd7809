//! What was chosen on other classes, tried on these: thresholds, and scores as probabilities.

use super::recognition::{check, protocol};
use super::{AssessmentOptions, EvaluationSet, of_enough};
use crate::calibration::{
    AchievedRate, Binning, CalibratedThreshold, Isotonic, Opis, OpisOptions, PairOutcomes, Platt, Reliability, cllr,
    log_likelihood_ratio, min_cllr, opis, reliability,
};
use crate::identification::{EnrolmentProtocol, Templates};
use crate::{Error, Result};
use dml_core::Matrix;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeSet;

/// Rows whose pairs are fitted on, and tried, at most.
const ROWS: usize = 5000;

/// What was chosen on held-out classes and what it does here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// Embeddings of the validation classes.
    pub rows: usize,
    /// Validation classes.
    pub classes: usize,
    /// Of those, how many are among the classes that are measured.
    pub shared_classes: usize,
    /// Thresholds for false match rates, over all pairs.
    pub verification: Vec<TriedThreshold>,
    /// How galleries were drawn on both sides.
    pub protocol: EnrolmentProtocol,
    /// Thresholds for FPIRs, over all draws.
    pub recognition: Vec<TriedThreshold>,
    /// Scores as probabilities.
    pub probabilities: Option<Probabilities>,
    /// Whether one threshold suits all classes that are measured.
    pub opis: Option<Opis>,
    /// What is to be borne in mind.
    pub warnings: Vec<String>,
}

/// A threshold and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriedThreshold {
    /// As it was chosen.
    pub chosen: CalibratedThreshold,
    /// What it does here.
    pub here: AchievedRate,
}

/// How well scores of pairs turn into probabilities of one class. A fitted score is a likelihood ratio; the probability is
/// for the share of genuine pairs that there is here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probabilities {
    /// Pairs fitted on.
    pub fitted_pairs: usize,
    /// Their share of genuine pairs.
    pub fitted_share: f64,
    /// Pairs tried.
    pub pairs: usize,
    /// Their share of genuine pairs.
    pub share: f64,
    /// Least Cllr that any rising function of the scores has here.
    pub min_cllr: f64,
    /// Platt scaling.
    pub platt: Scaled,
    /// Isotonic regression; its log-likelihood ratios are kept within ± ln(pairs fitted on).
    pub isotonic: Scaled,
}

/// One way from scores to probabilities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scaled {
    /// Cost of the log-likelihood ratios, in bits.
    pub cllr: f64,
    /// Of the probabilities.
    pub reliability: Reliability,
}

/// Chooses thresholds for the FARs and FPIRs of the `options`, and fits probabilities, on `validation`, a set of other
/// classes, and tries both on `set`. Half of the classes are enrolled for FPIR, as many on either side. Pairs for the
/// probabilities are those of 5000 rows at most, of whole classes drawn at random.
///
/// What a set is too small for is left out, with a warning.
///
/// # Errors
/// When a set is not whole (see [`EvaluationSet::check`]), their embeddings differ in length, or a FAR or FPIR is not within
/// 0..1.
pub fn calibrate(
    set: &EvaluationSet<'_>,
    validation: &EvaluationSet<'_>,
    options: &AssessmentOptions,
) -> Result<Calibrated> {
    check(options)?;
    set.check()?;
    validation.check()?;
    let (x, held) = (set.embeddings, validation.embeddings);
    if x.cols() != held.cols() {
        let (d, other) = (x.cols(), held.cols());
        return Err(Error::Input(format!(
            "the embeddings have length {d} but those of the validation classes {other}: embed both with the same model"
        )));
    }
    let (classes, shared_classes) = (validation.classes(), shared(set, validation));
    let mut warnings = Vec::new();
    if shared_classes > 0 {
        warnings.push(format!(
            "{shared_classes} of {classes} validation classes are among those measured: what was chosen on them looks better \
             than it is"
        ));
    }
    let metric = options.metric;
    let verification = of_enough(verification(set, validation, options), &mut warnings)?.unwrap_or_default();
    let protocol = protocol(classes.min(set.classes()), options);
    let recognition = || {
        let (how, templates) = (&protocol, Templates::PerImage);
        let chosen = CalibratedThreshold::for_fpirs(metric, held, validation.labels, how, templates, &options.fpirs)?;
        let here = CalibratedThreshold::achieved_fpirs(&chosen, metric, x, set.labels, how, templates)?;
        Ok(tried(chosen, here))
    };
    let recognition = if options.galleries > 0 { of_enough(recognition(), &mut warnings)? } else { None };
    let recognition = recognition.unwrap_or_default();
    for (rate, tried) in verification.iter().map(|t| ("FMR", t)).chain(recognition.iter().map(|t| ("FPIR", t))) {
        let said = &tried.here.warnings;
        warnings.extend((!said.is_empty()).then(|| format!("threshold for {rate}: {}", said.join("; "))));
    }
    Ok(Calibrated {
        rows: held.rows(),
        classes,
        shared_classes,
        verification,
        recognition,
        probabilities: of_enough(probabilities(set, validation, options), &mut warnings)?,
        opis: of_enough(opis(metric, x, set.labels, &OpisOptions::default()), &mut warnings)?,
        protocol,
        warnings,
    })
}

fn verification(
    set: &EvaluationSet<'_>,
    validation: &EvaluationSet<'_>,
    options: &AssessmentOptions,
) -> Result<Vec<TriedThreshold>> {
    let (metric, fars) = (options.metric, &options.fars);
    let chosen = CalibratedThreshold::for_fmrs(metric, validation.embeddings, validation.labels, fars)?;
    let here = CalibratedThreshold::achieved_fmrs(&chosen, metric, set.embeddings, set.labels)?;
    Ok(tried(chosen, here))
}

fn tried(chosen: Vec<CalibratedThreshold>, here: Vec<AchievedRate>) -> Vec<TriedThreshold> {
    chosen.into_iter().zip(here).map(|(chosen, here)| TriedThreshold { chosen, here }).collect()
}

/// Classes of one name that have items in both.
fn shared(set: &EvaluationSet<'_>, validation: &EvaluationSet<'_>) -> usize {
    let named = |set: &EvaluationSet<'_>| -> BTreeSet<String> {
        let sizes = set.class_sizes();
        set.names.iter().zip(sizes).filter(|(_, size)| *size > 0).map(|(name, _)| name.clone()).collect()
    };
    named(set).intersection(&named(validation)).count()
}

fn probabilities(
    set: &EvaluationSet<'_>,
    validation: &EvaluationSet<'_>,
    options: &AssessmentOptions,
) -> Result<Probabilities> {
    let (fitted, here) = (pairs(validation, options)?, pairs(set, options)?);
    let share = |pairs: &PairOutcomes| pairs.same.iter().filter(|same| **same).count() as f64 / pairs.same.len() as f64;
    let (fitted_share, here_share) = (share(&fitted), share(&here));
    let platt = Platt::fit(&fitted.closeness, &fitted.same)?;
    let isotonic = Isotonic::fit(&fitted.closeness, &fitted.same)?;
    // A step of the isotonic fit that holds one kind only would be certain.
    let most = (fitted.same.len() as f64).ln();
    let of_isotonic = |&score: &f64| {
        let ratio = log_likelihood_ratio(isotonic.probability(score).clamp(0.0, 1.0), fitted_share)?;
        Ok(ratio.clamp(-most, most))
    };
    let scaled = |ratios: Vec<f64>| -> Result<Scaled> {
        let odds = (here_share / (1.0 - here_share)).ln();
        let probability = |ratio: &f64| 1.0 / (1.0 + (-(ratio + odds)).exp());
        let probabilities: Vec<f64> = ratios.iter().map(probability).collect();
        Ok(Scaled {
            cllr: cllr(&ratios, &here.same)?,
            reliability: reliability(&probabilities, &here.same, Binning::default())?,
        })
    };
    Ok(Probabilities {
        fitted_pairs: fitted.same.len(),
        fitted_share,
        pairs: here.same.len(),
        share: here_share,
        min_cllr: min_cllr(&here.closeness, &here.same)?,
        platt: scaled(here.closeness.iter().map(|&score| platt.log_likelihood_ratio(score)).collect())?,
        isotonic: scaled(here.closeness.iter().map(of_isotonic).collect::<Result<_>>()?)?,
    })
}

/// All pairs of the set, or of classes drawn at random where it is large.
fn pairs(set: &EvaluationSet<'_>, options: &AssessmentOptions) -> Result<PairOutcomes> {
    let x = set.embeddings;
    if x.rows() <= ROWS {
        return PairOutcomes::of_set(options.metric, x, set.labels);
    }
    let sizes = set.class_sizes();
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&class| sizes[class] > 0).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(options.seed));
    let (mut drawn, mut rows) = (vec![false; sizes.len()], 0);
    for class in order {
        if rows + sizes[class] <= ROWS {
            (drawn[class], rows) = (true, rows + sizes[class]);
        }
    }
    let of_drawn = || set.labels.iter().enumerate().filter(|(_, label)| drawn[**label as usize]);
    let labels: Vec<u32> = of_drawn().map(|(_, &label)| label).collect();
    let values: Vec<f32> = of_drawn().flat_map(|(row, _)| x.row(row)).copied().collect();
    if labels.is_empty() {
        return Err(Error::Input(format!(
            "every class has more than {ROWS} items: too many to calibrate on their pairs"
        )));
    }
    PairOutcomes::of_set(options.metric, Matrix::new(&values, labels.len(), x.cols())?, &labels)
}
