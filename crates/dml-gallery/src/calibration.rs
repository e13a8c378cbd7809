//! Thresholds and probabilities, from identities that are held out.
//!
//! Held-out identities are dealt into enrolled ones and strangers, several times; each time the enrolled ones make a gallery of
//! the same model and templates as the one that is calibrated, and all their other samples and those of the strangers probe it.
//! So the scores are those that the gallery's own answers carry. To a gallery that holds somebody all who are held out are
//! strangers, and its FPIR is measured on itself. Thresholds and probabilities are fitted by [`dml_eval::calibration`].

use crate::{Change, Embeddings, Error, Filter, Gallery, MemoryGallery, Metadata, Result};
use dml_core::Matrix;
use dml_eval::calibration::{CalibratedThreshold, ErrorRate, Platt};
use dml_eval::identification::EnrolmentProtocol;
use serde::{Deserialize, Serialize};

/// A threshold for a rate of false alarms, and what a score means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// The threshold, the rate that it was chosen for and the one that it achieved.
    pub threshold: CalibratedThreshold,
    /// Share of genuine comparisons of all draws that pass: 1 − FNMR of verification, TPIR at rank 1 of identification.
    pub found: f64,
    /// Genuine comparisons that it was measured on.
    pub genuine: usize,
    /// From score to probability.
    pub platt: Platt,
}

/// What a gallery's answers are decided by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Of verification: for a false match rate.
    pub verification: Calibrated,
    /// Of identification: for a false positive identification rate in a gallery of so many identities.
    pub identification: Calibrated,
}

/// How to calibrate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationOptions {
    /// False match rate wanted of verification. Default 0.001.
    pub fmr: f64,
    /// False positive identification rate wanted of identification. Default 0.01.
    pub fpir: f64,
    /// Samples enrolled of each identity. Default 1.
    pub shots: usize,
    /// Identities enrolled of those held out, and the size of gallery that FPIR is for. Default `None`: as many as the gallery has,
    /// at most half of those held out; and FPIR is that of the gallery itself, unless it is empty.
    pub enrolled: Option<usize>,
    /// Random draws. Default 10.
    pub draws: usize,
    /// Seed of the draws. Default 0.
    pub seed: u64,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self { fmr: 0.001, fpir: 0.01, shots: 1, enrolled: None, draws: 10, seed: 0 }
    }
}

/// Comparisons of all draws that are held at most, 8 bytes each.
const MOST: usize = 1 << 25;

/// Scores and whether they are genuine.
#[derive(Default)]
struct Outcomes {
    scores: Vec<f64>,
    genuine: Vec<bool>,
}

impl Outcomes {
    fn push(&mut self, score: f32, genuine: bool) {
        self.scores.push(f64::from(score));
        self.genuine.push(genuine);
    }

    fn of(&self, kind: bool) -> impl Iterator<Item = f32> {
        self.scores
            .iter()
            .zip(&self.genuine)
            .filter(move |(_, genuine)| **genuine == kind)
            .map(|(&score, _)| score as f32)
    }
}

/// What was seen in all draws.
#[derive(Default)]
struct Seen {
    /// Of each probe with each enrolled identity.
    pairs: Outcomes,
    /// Of each probe with its best identity.
    best: Outcomes,
    /// Best scores of strangers.
    strangers: Vec<f32>,
    /// Scores of probes whose own identity came first.
    first: Vec<f32>,
    /// Probes of enrolled identities.
    mated: usize,
}

/// Calibrates on identities that are in no gallery: `labels` says whose each row of `held_out` is.
pub(crate) fn calibrate(
    gallery: &(impl Gallery + ?Sized),
    held_out: Embeddings<'_>,
    labels: &[u32],
    options: &CalibrationOptions,
) -> Result<Calibration> {
    held_out.check(gallery.model())?;
    if labels.len() != held_out.values.rows() {
        let (labels, rows) = (labels.len(), held_out.values.rows());
        return Err(Error::Input(format!("calibration: {labels} labels for {rows} embeddings: give one for each")));
    }
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let here = gallery.count(&Filter::everybody())?.identities;
    let enrolled = match (options.enrolled, here) {
        (Some(enrolled), _) => enrolled,
        (None, 0) => classes.len() / 2,
        (None, here) => here.min(classes.len() / 2),
    };
    let comparisons = labels.len().saturating_mul(enrolled).saturating_mul(options.draws);
    if options.draws == 0 || comparisons > MOST {
        return Err(Error::Input(format!(
            "calibration: {} draws of {enrolled} identities and {} samples are {comparisons} comparisons: want 1 to {MOST}, \
             lower the draws or hold out fewer",
            options.draws,
            labels.len()
        )));
    }
    let CalibrationOptions { shots, draws, seed, .. } = *options;
    let protocol = EnrolmentProtocol { shots, enrolled, strangers: None, draws, seed };
    let mut seen = Seen::default();
    (0..draws).try_for_each(|number| seen.draw(gallery, held_out, labels, &protocol, number))?;
    if seen.strangers.is_empty() || seen.mated == 0 {
        return Err(Error::Input(format!(
            "calibration: {} probes of enrolled identities and {} of strangers: hold out more identities than the {enrolled} \
             enrolled, some of them with more than {shots} samples",
            seen.mated,
            seen.strangers.len()
        )));
    }
    let itself = options.enrolled.is_none() && here > 0;
    if itself {
        let lists = gallery.nearest(held_out, 1, &Filter::everybody())?;
        seen.strangers = lists.iter().filter_map(|list| list.first()).map(|best| best.score).collect();
    }
    let larger_is_closer = gallery.model().metric.is_similarity();
    let impostors: Vec<f32> = seen.pairs.of(false).collect();
    let by_pairs = CalibratedThreshold::of_scores(ErrorRate::Fmr, larger_is_closer, &impostors, options.fmr)?;
    let by_best = CalibratedThreshold::of_scores(ErrorRate::Fpir, larger_is_closer, &seen.strangers, options.fpir)?;
    let by_best = CalibratedThreshold { gallery: Some(if itself { here } else { enrolled }), ..by_best };
    let genuine: Vec<f32> = seen.pairs.of(true).collect();
    Ok(Calibration {
        verification: calibrated(by_pairs, &genuine, genuine.len(), &seen.pairs)?,
        identification: calibrated(by_best, &seen.first, seen.mated, &seen.best)?,
    })
}

fn calibrated(
    threshold: CalibratedThreshold,
    found: &[f32],
    genuine: usize,
    outcomes: &Outcomes,
) -> Result<Calibrated> {
    let passing = found.iter().filter(|&&score| threshold.accepts(score)).count();
    let platt = Platt::fit(&outcomes.scores, &outcomes.genuine)?;
    Ok(Calibrated { threshold, found: passing as f64 / genuine as f64, genuine, platt })
}

impl Seen {
    /// Enrols and probes once.
    fn draw(
        &mut self,
        like: &(impl Gallery + ?Sized),
        held_out: Embeddings<'_>,
        labels: &[u32],
        protocol: &EnrolmentProtocol,
        number: usize,
    ) -> Result<()> {
        let drawn = protocol.draw(labels, number)?;
        let d = held_out.values.cols();
        let rows_of = |rows: &mut dyn Iterator<Item = usize>| -> Vec<f32> {
            rows.flat_map(|row| held_out.values.row(row)).copied().collect()
        };
        let names: Vec<String> = (0..drawn.identities().len()).map(|i| i.to_string()).collect();
        let values: Vec<Vec<f32>> = drawn.identities().iter().map(|rows| rows_of(&mut rows.iter().copied())).collect();
        let matrices = values.iter().map(|values| Ok(Matrix::new(values, values.len() / d, d)?));
        let matrices: Vec<Matrix<'_>> = matrices.collect::<Result<_>>()?;
        let changes: Vec<Change<'_>> = names
            .iter()
            .zip(matrices)
            .map(|(name, values)| {
                let embeddings = Embeddings::new(held_out.model, values);
                Change::Enrol { name, embeddings, metadata: Metadata::new() }
            })
            .collect();
        let gallery = MemoryGallery::new(like.model().clone(), like.templates())?;
        gallery.apply(&changes)?;
        let probes = drawn.mated().iter().map(|(row, _)| *row).chain(drawn.non_mated().iter().copied());
        let owners = drawn.mated().iter().map(|(_, owner)| Some(*owner)).chain(drawn.non_mated().iter().map(|_| None));
        let values = rows_of(&mut probes.clone());
        let probes = Embeddings::new(held_out.model, Matrix::new(&values, values.len() / d, d)?);
        let lists = gallery.nearest_places(probes, names.len(), &Filter::everybody())?;
        self.mated += drawn.mated().len();
        for (list, owner) in lists.iter().zip(owners) {
            let Some(&(best, score)) = list.first() else { continue };
            self.best.push(score, owner == Some(best));
            match owner {
                Some(owner) if owner == best => self.first.push(score),
                Some(_) => {}
                None => self.strangers.push(score),
            }
            list.iter().for_each(|&(place, score)| self.pairs.push(score, owner == Some(place)));
        }
        Ok(())
    }
}

impl Calibrated {
    /// Probability that a comparison is genuine, where that is as likely as not before anything is seen.
    pub(crate) fn probability(&self, score: f32) -> f64 {
        1.0 / (1.0 + (-self.platt.log_likelihood_ratio(f64::from(score))).exp())
    }

    /// Why a decision in a gallery of so many identities may be worse than calibrated.
    pub(crate) fn warnings(&self, identities: usize) -> Vec<String> {
        let mut warnings: Vec<String> = self.threshold.warning().into_iter().collect();
        if let Some(calibrated) = self.threshold.gallery
            && identities > calibrated
        {
            warnings.push(format!(
                "the gallery has {identities} identities but its threshold was calibrated with {calibrated}: the false positive \
                 rate grows with them, calibrate again"
            ));
        }
        warnings
    }
}
