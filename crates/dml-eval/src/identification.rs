//! Recognition, 1:K with "none of them".
//!
//! Classes are dealt into enrolled ones and strangers. The gallery holds `shots` items of each enrolled class; their other items are
//! mated probes, all items of strangers are non-mated. FPIR(t) = share of non-mated probes whose best score reaches t; TPIR(t) = share
//! of mated probes whose best match is right and reaches t. The threshold for a wanted FPIR is found on other classes (validation)
//! and the FPIR it achieves here is reported beside it. FPIR grows with the gallery, so its size is reported too.

use crate::{Error, Result, check};
use dml_core::{Exclude, Matrix, Metric, nearest};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// Best scores of the probes of one draw; larger is closer.
struct Probes {
    /// Best score, and whether its class is right.
    mated: Vec<(f32, bool)>,
    non_mated: Vec<f32>,
}

impl Probes {
    fn fpir(&self, threshold: f32) -> f64 {
        self.non_mated.iter().filter(|&&s| s >= threshold).count() as f64 / self.non_mated.len() as f64
    }

    fn tpir(&self, threshold: f32) -> f64 {
        self.mated.iter().filter(|m| m.1 && m.0 >= threshold).count() as f64 / self.mated.len() as f64
    }

    /// The loosest threshold with FPIR of at most `fpir`: just above the first non-mated score that would break it.
    fn threshold(&self, fpir: f64) -> f32 {
        let mut scores = self.non_mated.clone();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let allowed = (fpir * scores.len() as f64).floor() as usize;
        scores.get(allowed).map_or(f32::NEG_INFINITY, |s| s.next_up())
    }
}

fn draw(metric: Metric, x: Matrix<'_>, labels: &[u32], protocol: &OpenSetProtocol, number: u64) -> Result<Probes> {
    let mut rng = ChaCha8Rng::seed_from_u64(protocol.seed);
    rng.set_stream(number);
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(i);
    }
    let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
    if protocol.enrolled == 0 || protocol.enrolled >= classes.len() || protocol.shots == 0 {
        return Err(Error::Input(format!(
            "open set: {} of {} classes with {} shots are to be enrolled: want 1 or more, and classes left for strangers",
            protocol.enrolled,
            classes.len(),
            protocol.shots
        )));
    }
    classes.shuffle(&mut rng);
    let (mut gallery, mut mated, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
    for (k, items) in classes.iter_mut().enumerate() {
        items.shuffle(&mut rng);
        if k >= protocol.enrolled {
            strangers.extend_from_slice(items);
        } else {
            let (enrolled, probes) = items.split_at(protocol.shots.min(items.len()));
            gallery.extend_from_slice(enrolled);
            mated.extend_from_slice(probes);
        }
    }
    if mated.is_empty() {
        return Err(Error::Input(format!("open set: no class has more than {} items: lower shots", protocol.shots)));
    }
    let take = |rows: &[usize]| rows.iter().flat_map(|&i| x.row(i)).copied().collect::<Vec<f32>>();
    let gallery_values = take(&gallery);
    let gallery_matrix = Matrix::new(&gallery_values, gallery.len(), x.cols())?;
    let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
    let best = |rows: &[usize]| -> Result<Vec<(f32, usize)>> {
        let values = take(rows);
        let found = nearest(metric, Matrix::new(&values, rows.len(), x.cols())?, gallery_matrix, 1, Exclude::Nothing)?;
        Ok(found.scores().iter().map(|s| sign * s).zip(found.ids().iter().map(|&id| gallery[id as usize])).collect())
    };
    let right = |(&probe, (score, found)): (&usize, (f32, usize))| (score, labels[probe] == labels[found]);
    Ok(Probes {
        mated: mated.iter().zip(best(&mated)?).map(right).collect(),
        non_mated: best(&strangers)?.into_iter().map(|b| b.0).collect(),
    })
}

/// Measures open-set recognition on `test`, with the threshold calibrated on `validation` under the same protocol (the same
/// number of enrolled classes). Each is (embeddings, labels).
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
    let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
    let mut sums = [0f64; 6];
    for number in 0..protocol.draws as u64 {
        let calibration = draw(metric, validation.0, validation.1, protocol, number)?;
        let probes = draw(metric, test.0, test.1, protocol, number)?;
        let threshold = calibration.threshold(protocol.fpir);
        let values = [
            probes.tpir(probes.threshold(protocol.fpir)),
            probes.tpir(threshold),
            probes.fpir(threshold),
            f64::from(sign * threshold),
            probes.mated.len() as f64,
            probes.non_mated.len() as f64,
        ];
        sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
    }
    let [tpir, calibrated_tpir, achieved_fpir, threshold, mated, non_mated] = sums.map(|s| s / protocol.draws as f64);
    let (fpir, gallery, draws) = (protocol.fpir, protocol.enrolled, protocol.draws);
    Ok(OpenSet { fpir, tpir, calibrated_tpir, achieved_fpir, threshold, gallery, mated, non_mated, draws })
}
