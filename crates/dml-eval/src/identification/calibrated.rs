//! Open-set recognition at rank 1 with the threshold found on other classes.
//!
//! Classes are dealt into enrolled ones and strangers. The gallery holds `shots` items of each enrolled class; their
//! other items are mated probes, all items of strangers are non-mated. The threshold for a wanted FPIR is found on
//! validation classes and the FPIR it achieves here is reported beside it.

use super::{EnrolmentProtocol, ProbeScores, Templates};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

/// How a set becomes a gallery and probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSetProtocol {
    /// Items enrolled of each enrolled class.
    pub shots: usize,
    /// Classes enrolled; the rest are strangers.
    pub enrolled: usize,
    /// FPIR wanted.
    pub fpir: f64,
    /// Random draws of gallery and strangers that are averaged.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// Open-set recognition measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSet {
    /// FPIR wanted.
    pub fpir: f64,
    /// TPIR at rank 1, at the threshold that gives this FPIR on the measured set itself.
    pub tpir: f64,
    /// TPIR at the threshold found on validation classes.
    pub calibrated_tpir: f64,
    /// FPIR achieved by that threshold.
    pub achieved_fpir: f64,
    /// That threshold, as the metric reports scores (mean over draws).
    pub threshold: f64,
    /// Classes in the gallery.
    pub gallery: usize,
    /// Mated probes, mean over draws.
    pub mated: f64,
    /// Non-mated probes, mean over draws.
    pub non_mated: f64,
    /// Draws averaged.
    pub draws: usize,
}

/// Measures open-set recognition on `test`, with the threshold calibrated on `validation` under the same protocol (the
/// same number of enrolled classes). Each is (embeddings, labels). The gallery keeps every enrolled item.
///
/// # Errors
/// When a set has not more classes than are enrolled, or nothing to probe with.
pub fn open_set(
    metric: Metric,
    protocol: &OpenSetProtocol,
    validation: (Matrix<'_>, &[u32]),
    test: (Matrix<'_>, &[u32]),
) -> Result<OpenSet> {
    check(validation.0, validation.1)?;
    check(test.0, test.1)?;
    if protocol.draws == 0 || !(0.0..1.0).contains(&protocol.fpir) {
        return Err(Error::Input(format!(
            "open set: {} draws at FPIR {}: want 1 draw or more and an FPIR of 0 or more, less than 1",
            protocol.draws, protocol.fpir
        )));
    }
    let mut sums = [0f64; 6];
    for number in 0..protocol.draws {
        let calibration = draw(metric, validation, protocol, number)?;
        let probes = draw(metric, test, protocol, number)?;
        let threshold = calibration.threshold(protocol.fpir)?;
        let values = [
            probes.tpir_at_fpir(protocol.fpir, 1)?.tpir,
            probes.tpir(threshold, 1)?,
            probes.fpir(threshold)?,
            f64::from(threshold),
            probes.mated() as f64,
            probes.non_mated() as f64,
        ];
        sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
    }
    let [tpir, calibrated_tpir, achieved_fpir, threshold, mated, non_mated] = sums.map(|s| s / protocol.draws as f64);
    let (fpir, gallery, draws) = (protocol.fpir, protocol.enrolled, protocol.draws);
    Ok(OpenSet { fpir, tpir, calibrated_tpir, achieved_fpir, threshold, gallery, mated, non_mated, draws })
}

fn draw(
    metric: Metric,
    (x, labels): (Matrix<'_>, &[u32]),
    protocol: &OpenSetProtocol,
    number: usize,
) -> Result<ProbeScores> {
    let &OpenSetProtocol { shots, enrolled, draws, seed, .. } = protocol;
    let drawn = EnrolmentProtocol { shots, enrolled, strangers: None, draws, seed }.draw(labels, number)?;
    let probes = ProbeScores::measure(metric, x, &drawn, Templates::PerImage, 1)?;
    if probes.non_mated() == 0 {
        return Err(Error::Input(format!(
            "open set: all {enrolled} classes are to be enrolled: enrol fewer, so that classes are left for strangers"
        )));
    }
    if probes.mated() == 0 {
        return Err(Error::Input(format!("open set: no class has more than {shots} items: lower shots")));
    }
    Ok(probes)
}
