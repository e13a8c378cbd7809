//! Open set: a threshold decides whether the best identity is one at all.

use super::ProbeScores;
use crate::loosest::{loosest, reaching};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What happens at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSetPoint {
    /// The threshold, as the metric reports scores: a probe passes when it is at least as close.
    pub threshold: f32,
    /// Share of non-mated probes that pass.
    pub fpir: f64,
    /// Share of mated probes whose identity is within the rank asked for and passes.
    pub tpir: f64,
}

impl ProbeScores {
    /// FPIR(t), the share of non-mated probes whose best identity scores `threshold` or better.
    ///
    /// # Errors
    /// When there are no non-mated probes.
    pub fn fpir(&self, threshold: f32) -> Result<f64> {
        self.want_strangers()?;
        Ok(reaching(&self.non_mated, self.sign * threshold) as f64 / self.non_mated.len() as f64)
    }

    /// TPIR(t, r), the share of mated probes whose identity is among the best `rank` and scores `threshold` or better.
    /// It is 1 − FNIR(t, r).
    ///
    /// # Errors
    /// When there are no mated probes, or the rank is 0 or beyond the candidate list.
    pub fn tpir(&self, threshold: f32, rank: usize) -> Result<f64> {
        self.check_rank(rank)?;
        Ok(self.found(threshold, rank) as f64 / self.mated as f64)
    }

    /// The loosest threshold with FPIR of at most `fpir`, as the metric reports scores.
    ///
    /// # Errors
    /// When there are no non-mated probes, or `fpir` is not within 0..1.
    pub fn threshold(&self, fpir: f64) -> Result<f32> {
        self.want_strangers()?;
        check_rate("FPIR", fpir)?;
        Ok(self.sign * loosest(&self.non_mated, fpir))
    }

    /// TPIR@FPIR: at the loosest threshold with FPIR of at most `fpir` on these probes. At rank 1 also DIR@FAR.
    ///
    /// # Errors
    /// As [`threshold`](Self::threshold) and [`tpir`](Self::tpir).
    pub fn tpir_at_fpir(&self, fpir: f64, rank: usize) -> Result<OpenSetPoint> {
        let threshold = self.threshold(fpir)?;
        Ok(OpenSetPoint { threshold, fpir: self.fpir(threshold)?, tpir: self.tpir(threshold, rank)? })
    }

    /// The whole curve of (FPIR, TPIR) at `rank`, from FPIR 0 to the last step before 1, thinned to at most `points` (3
    /// or more) that lie evenly on a logarithmic axis of FPIR. Each is a point of the curve, none is interpolated.
    ///
    /// # Errors
    /// As [`tpir_at_fpir`](Self::tpir_at_fpir).
    pub fn curve(&self, rank: usize, points: usize) -> Result<Vec<OpenSetPoint>> {
        self.want_strangers()?;
        let mut curve: Vec<OpenSetPoint> = Vec::new();
        for fpir in fpir_grid(self.non_mated.len(), points) {
            let point = self.tpir_at_fpir(fpir, rank)?;
            if curve.last().is_none_or(|last| last.fpir < point.fpir) {
                curve.push(point);
            }
        }
        Ok(curve)
    }

    /// Whether there are fewer than 10/`fpir` non-mated probes: too few to measure it.
    pub fn too_few_non_mated(&self, fpir: f64) -> bool {
        (self.non_mated.len() as f64) * fpir < 10.0
    }

    fn want_strangers(&self) -> Result<()> {
        match self.non_mated.is_empty() {
            true => Err(Error::Input(
                "recognition: FPIR wants non-mated probes and there are none: enrol fewer identities, or ask for no FPIR"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }

    pub(super) fn check_rank(&self, rank: usize) -> Result<()> {
        if self.mated == 0 {
            return Err(Error::Input(
                "recognition: no probe is of an enrolled identity: lower shots, or probe with other images of them"
                    .to_owned(),
            ));
        }
        match (1..=self.length).contains(&rank) {
            true => Ok(()),
            false => Err(Error::Input(format!(
                "recognition: rank {rank} was asked for but the candidate lists hold {}: want 1 to that",
                self.length
            ))),
        }
    }
}

/// FPIRs from 0 by way of 1/`probes` up to the step below 1, evenly on a logarithmic axis; every step, if there are no
/// more than `points`.
pub(super) fn fpir_grid(probes: usize, points: usize) -> Vec<f64> {
    let share = |count: f64| count / probes as f64;
    if probes <= points {
        return (0..probes).map(|count| share(count as f64)).collect();
    }
    let (steps, last) = (points.max(3) - 2, (probes - 1) as f64);
    let place = |i: usize| share(last.powf(i as f64 / steps as f64));
    // The end itself, not what its power is rounded to.
    std::iter::once(0.0).chain((0..steps).map(place)).chain([share(last)]).collect()
}

/// Refuses what is no rate, and 1, at which there is nothing to decide.
pub(crate) fn check_rate(name: &str, rate: f64) -> Result<()> {
    match (0.0..1.0).contains(&rate) {
        true => Ok(()),
        false => Err(Error::Input(format!("{name} is {rate}: want 0 or more and less than 1"))),
    }
}
