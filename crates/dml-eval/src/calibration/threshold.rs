//! A threshold for a rate of false alarms, chosen on held-out classes.

use super::impostors::{Loosest, loosest_for, passing};
use crate::identification::{EnrolmentProtocol, ProbeScores, Templates, check_rate};
use crate::loosest::{loosest, reaching};
use crate::verification::kinds;
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

/// What a threshold keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorRate {
    /// False match rate of verification, also FAR: share of impostor pairs that pass.
    Fmr,
    /// False positive identification rate: share of non-mated probes whose best identity passes.
    Fpir,
}

/// The loosest threshold at which a rate is at most the target on held-out classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibratedThreshold {
    /// What it keeps.
    pub rate: ErrorRate,
    /// Rate wanted.
    pub target: f64,
    /// The threshold, as scores are reported: a pair or probe passes when it is at least as close.
    pub threshold: f32,
    /// Whether larger scores are closer.
    pub larger_is_closer: bool,
    /// Rate on the held-out classes, at most the target.
    pub achieved: f64,
    /// Impostor pairs, or non-mated probes of all draws, that it was chosen on.
    pub trials: u64,
    /// Of those, how many pass.
    pub false_positives: u64,
    /// Identities in the gallery, of FPIR: it grows with them, so the threshold is for galleries of this size.
    pub gallery: Option<usize>,
}

/// What a threshold does on other classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AchievedRate {
    /// Rate wanted.
    pub target: f64,
    /// Rate on the classes that the threshold was chosen on.
    pub calibration: f64,
    /// Rate here.
    pub achieved: f64,
    /// Share of genuine pairs, or mated probes at rank 1, that are found: 1 − FNMR, or TPIR.
    pub found: f64,
    /// Impostor pairs, or non-mated probes of all draws.
    pub trials: u64,
    /// Of those, how many pass.
    pub false_positives: u64,
    /// Genuine pairs, or mated probes of all draws.
    pub genuine: u64,
    /// Identities in the gallery, of FPIR.
    pub gallery: Option<usize>,
    /// Why the rate here may not be what the threshold was chosen for.
    pub warnings: Vec<String>,
}

impl CalibratedThreshold {
    /// For a false match rate over scores of impostor pairs, or for an FPIR over the best scores of non-mated probes.
    ///
    /// # Errors
    /// When there are no scores, one is not finite, or the target is not within 0..1.
    pub fn of_scores(rate: ErrorRate, larger_is_closer: bool, scores: &[f32], target: f64) -> Result<Self> {
        check_rate("the target", target)?;
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(Error::Input(format!("calibration: a score is {score}: want finite scores, check the model")));
        }
        if scores.is_empty() {
            return Err(Error::Input(
                "calibration: there are no scores of impostors to choose a threshold by".to_owned(),
            ));
        }
        let sign = if larger_is_closer { 1.0 } else { -1.0 };
        let mut falling: Vec<f32> = scores.iter().map(|score| sign * score).collect();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        let closeness = loosest(&falling, target);
        let (trials, passed) = (falling.len() as u64, reaching(&falling, closeness) as u64);
        Ok(Self::new(rate, larger_is_closer, target, sign * closeness, trials, passed))
    }

    /// For a false match rate over all pairs of a set of held-out classes (`[n, d]`). No score is stored.
    ///
    /// # Errors
    /// When labels are not one per row or all equal, an embedding is not finite, or the target is not within 0..1.
    pub fn for_fmr(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], target: f64) -> Result<Self> {
        Ok(Self::for_fmrs(metric, embeddings, labels, &[target])?.swap_remove(0))
    }

    /// [`for_fmr`](Self::for_fmr) of several targets, each by a threshold of its own: the pairs are walked no more often.
    ///
    /// # Errors
    /// As there.
    pub fn for_fmrs(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], targets: &[f64]) -> Result<Vec<Self>> {
        targets.iter().try_for_each(|&target| check_rate("the target", target))?;
        let (found, trials) = loosest_for(metric, embeddings, labels, targets)?;
        let chosen = |(found, &target): (Loosest, &f64)| {
            let threshold = -metric.sign() as f32 * found.closeness;
            Self::new(ErrorRate::Fmr, metric.is_similarity(), target, threshold, trials, found.passed)
        };
        Ok(found.into_iter().zip(targets).map(chosen).collect())
    }

    /// For an FPIR over the non-mated probes of all draws from a set of held-out classes, with as many identities
    /// enrolled as there will be.
    ///
    /// # Errors
    /// As [`EnrolmentProtocol::draw`] and [`ProbeScores::measure`]; when there are no draws or no strangers.
    pub fn for_fpir(
        metric: Metric,
        embeddings: Matrix<'_>,
        labels: &[u32],
        protocol: &EnrolmentProtocol,
        templates: Templates,
        target: f64,
    ) -> Result<Self> {
        Ok(Self::for_fpirs(metric, embeddings, labels, protocol, templates, &[target])?.swap_remove(0))
    }

    /// [`for_fpir`](Self::for_fpir) of several targets, by one search.
    ///
    /// # Errors
    /// As there.
    pub fn for_fpirs(
        metric: Metric,
        embeddings: Matrix<'_>,
        labels: &[u32],
        protocol: &EnrolmentProtocol,
        templates: Templates,
        targets: &[f64],
    ) -> Result<Vec<Self>> {
        let draws = measure_draws(metric, (embeddings, labels), protocol, templates)?;
        let scores: Vec<f32> = draws.iter().flat_map(ProbeScores::non_mated_scores).collect();
        let chosen = |&target: &f64| {
            let chosen = Self::of_scores(ErrorRate::Fpir, metric.is_similarity(), &scores, target)?;
            Ok(Self { gallery: Some(protocol.enrolled), ..chosen })
        };
        targets.iter().map(chosen).collect()
    }

    fn new(rate: ErrorRate, larger_is_closer: bool, target: f64, threshold: f32, trials: u64, passed: u64) -> Self {
        let achieved = passed as f64 / trials as f64;
        Self { rate, target, threshold, larger_is_closer, achieved, trials, false_positives: passed, gallery: None }
    }

    /// Whether a score passes.
    pub fn accepts(&self, score: f32) -> bool {
        if self.larger_is_closer { score >= self.threshold } else { score <= self.threshold }
    }

    /// Says so when there were fewer than 10/target trials: too few to choose a threshold for this target by.
    pub fn warning(&self) -> Option<String> {
        too_few(self.target, self.trials).map(|few| format!("{few}: calibrate on more, or ask for a larger rate"))
    }

    /// What the threshold does over all pairs of other classes.
    ///
    /// # Errors
    /// When it was not chosen for a false match rate or for scores of the other direction, labels are not one
    /// per row, or there are no genuine or no impostor pairs.
    pub fn achieved_fmr(&self, metric: Metric, embeddings: Matrix<'_>, labels: &[u32]) -> Result<AchievedRate> {
        Ok(Self::achieved_fmrs(std::slice::from_ref(self), metric, embeddings, labels)?.swap_remove(0))
    }

    /// What each of several thresholds does: the pairs are walked once.
    ///
    /// # Errors
    /// As [`achieved_fmr`](Self::achieved_fmr).
    pub fn achieved_fmrs(
        chosen: &[Self],
        metric: Metric,
        embeddings: Matrix<'_>,
        labels: &[u32],
    ) -> Result<Vec<AchievedRate>> {
        chosen.iter().try_for_each(|chosen| chosen.expect(ErrorRate::Fmr, metric))?;
        let thresholds: Vec<f32> = chosen.iter().map(|chosen| chosen.threshold).collect();
        let passing = passing(metric, embeddings, labels, &thresholds)?;
        let (all_genuine, trials) = kinds(labels);
        let achieved = |(chosen, (genuine, impostors)): (&Self, (u64, u64))| {
            chosen.result((genuine, all_genuine), (impostors, trials), None)
        };
        chosen.iter().zip(passing).map(achieved).collect()
    }

    /// What the threshold does to probes of other classes.
    ///
    /// # Errors
    /// When it was not chosen for an FPIR or for scores of the other direction; as [`for_fpir`](Self::for_fpir).
    pub fn achieved_fpir(
        &self,
        metric: Metric,
        embeddings: Matrix<'_>,
        labels: &[u32],
        protocol: &EnrolmentProtocol,
        templates: Templates,
    ) -> Result<AchievedRate> {
        let one = std::slice::from_ref(self);
        Ok(Self::achieved_fpirs(one, metric, embeddings, labels, protocol, templates)?.swap_remove(0))
    }

    /// What each of several thresholds does, by one search.
    ///
    /// # Errors
    /// As [`achieved_fpir`](Self::achieved_fpir).
    pub fn achieved_fpirs(
        chosen: &[Self],
        metric: Metric,
        embeddings: Matrix<'_>,
        labels: &[u32],
        protocol: &EnrolmentProtocol,
        templates: Templates,
    ) -> Result<Vec<AchievedRate>> {
        chosen.iter().try_for_each(|chosen| chosen.expect(ErrorRate::Fpir, metric))?;
        let draws = measure_draws(metric, (embeddings, labels), protocol, templates)?;
        let sum = |of: &dyn Fn(&ProbeScores) -> u64| draws.iter().map(of).sum::<u64>();
        let achieved = |chosen: &Self| {
            let passed = |p: &ProbeScores| p.non_mated_scores().filter(|&score| chosen.accepts(score)).count() as u64;
            chosen.result(
                (sum(&|p| p.found(chosen.threshold, 1) as u64), sum(&|p| p.mated() as u64)),
                (sum(&passed), sum(&|p| p.non_mated() as u64)),
                Some(protocol.enrolled),
            )
        };
        chosen.iter().map(achieved).collect()
    }

    fn expect(&self, rate: ErrorRate, metric: Metric) -> Result<()> {
        if self.rate != rate || self.larger_is_closer != metric.is_similarity() {
            return Err(Error::Input(format!(
                "calibration: the threshold keeps {:?} of scores where {} is closer and cannot be asked for {rate:?} by {metric}",
                self.rate,
                if self.larger_is_closer { "larger" } else { "smaller" }
            )));
        }
        Ok(())
    }

    fn result(
        &self,
        (found, genuine): (u64, u64),
        (false_positives, trials): (u64, u64),
        gallery: Option<usize>,
    ) -> Result<AchievedRate> {
        if genuine == 0 || trials == 0 {
            return Err(Error::Input(format!(
                "calibration: {genuine} genuine and {trials} impostor comparisons to try the threshold on: want some of both"
            )));
        }
        let mut warnings: Vec<String> = self.warning().into_iter().collect();
        warnings.extend(too_few(self.target, trials).map(|few| format!("on the classes measured: {few}")));
        if let (Some(chosen), Some(here)) = (self.gallery, gallery)
            && chosen != here
        {
            warnings.push(format!("chosen for {chosen} identities but {here} are enrolled here: FPIR grows with them"));
        }
        Ok(AchievedRate {
            target: self.target,
            calibration: self.achieved,
            achieved: false_positives as f64 / trials as f64,
            found: found as f64 / genuine as f64,
            trials,
            false_positives,
            genuine,
            gallery,
            warnings,
        })
    }
}

fn too_few(target: f64, trials: u64) -> Option<String> {
    let few = (trials as f64) * target < 10.0;
    few.then(|| match target > 0.0 {
        true => {
            format!("a rate of {target} wants {:.0} trials or more to be measured, there are {trials}", 10.0 / target)
        }
        false => format!(
            "{trials} trials without a false alarm say that the rate is below {:.1e} at best",
            3.0 / trials as f64
        ),
    })
}

fn measure_draws(
    metric: Metric,
    (x, labels): (Matrix<'_>, &[u32]),
    protocol: &EnrolmentProtocol,
    templates: Templates,
) -> Result<Vec<ProbeScores>> {
    check(x, labels)?;
    let draw = |number| ProbeScores::measure(metric, x, &protocol.draw(labels, number)?, templates, 1);
    (0..protocol.draws).map(draw).collect()
}
