//! Recognition over random galleries.

use super::open_set::{check_rate, fpir_grid};
use super::{Enrolment, EnrolmentProtocol, ProbeScores, Templates};
use crate::{Error, Result, check, statistics};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecognitionOptions {
    /// What the gallery keeps of an identity.
    pub templates: Templates,
    /// FPIRs at which TPIR is measured; none for a closed set.
    pub fpirs: Vec<f64>,
    /// Ranks at which TPIR is measured; those beyond the gallery are left out.
    pub ranks: Vec<usize>,
    /// Last rank of the CMC, or K if that is less.
    pub cmc: usize,
    /// Points of the curve, 0 for none.
    pub curve_points: usize,
}

/// All images in the gallery; FPIR 0.1, 0.01 and 0.001 at ranks 1, 5 and 20; CMC up to 20; 64 points.
impl Default for RecognitionOptions {
    fn default() -> Self {
        Self {
            templates: Templates::PerImage,
            fpirs: vec![0.1, 0.01, 0.001],
            ranks: vec![1, 5, 20],
            cmc: 20,
            curve_points: 64,
        }
    }
}

/// A number over draws of galleries and probes. Draws share images, and one model is behind all: this says how much
/// hangs on who happened to be enrolled, and nothing of training seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverDraws {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (divisor draws − 1); 0 of one draw.
    pub std: f64,
    /// Half-width of the 95 % interval of the mean by Student's t; `None` of one draw.
    pub ci95: Option<f64>,
}

/// TPIR at one FPIR and rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TpirAtFpir {
    /// FPIR asked for.
    pub fpir: f64,
    /// The mate is to be among so many.
    pub rank: usize,
    /// TPIR there.
    pub tpir: OverDraws,
    /// FPIR achieved on the same probes, at most `fpir`.
    pub achieved_fpir: OverDraws,
    /// Threshold, as the metric reports scores.
    pub threshold: OverDraws,
    /// Whether a draw has fewer than 10/FPIR non-mated probes: too few to measure it.
    pub too_few_non_mated: bool,
}

/// CMC at one rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankRate {
    /// The mate is to be among so many.
    pub rank: usize,
    /// Share of mated probes for which it is.
    pub rate: OverDraws,
}

/// Recognition measures, with all that they depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recognition {
    /// What the gallery kept of an identity.
    pub templates: Templates,
    /// How galleries were drawn; `None` when they were given.
    pub protocol: Option<EnrolmentProtocol>,
    /// Identities in the gallery, K (of draws that differ, the mean).
    pub identities: f64,
    /// Images enrolled, mean over draws.
    pub enrolled_images: f64,
    /// Identities that do not probe, since all their images were enrolled, mean over draws.
    pub without_probes: f64,
    /// Mated probes, mean over draws.
    pub mated: f64,
    /// Non-mated probes, mean over draws.
    pub non_mated: f64,
    /// Draws averaged.
    pub draws: usize,
    /// TPIR at each FPIR and rank asked for.
    pub tpir_at_fpir: Vec<TpirAtFpir>,
    /// Closed-set rates of the mated probes, from rank 1 on.
    pub cmc: Vec<RankRate>,
    /// (FPIR asked for, TPIR at rank 1 there) for plots: FPIR 0, then evenly on a logarithmic axis.
    pub curve: Vec<(f64, OverDraws)>,
}

impl OverDraws {
    /// `width` is what the deviation is multiplied by for the interval.
    fn of(values: &[f64], width: Option<f64>) -> Self {
        let std = statistics::std(values);
        Self { mean: statistics::mean(values), std, ci95: width.map(|width| width * std) }
    }

    /// Half-width of the interval of so many values, over their deviation: `t/√n`, which hangs on their number alone.
    /// Student's quantile is slow, so it is asked for once.
    fn width(count: usize) -> Option<f64> {
        let mut any = vec![0.0; count];
        *any.first_mut()? = 1.0;
        (count > 1).then(|| statistics::ci95(&any) / statistics::std(&any))
    }
}

impl Recognition {
    /// TPIR at this FPIR and rank, if it was asked for.
    pub fn tpir_at_fpir(&self, fpir: f64, rank: usize) -> Option<&TpirAtFpir> {
        self.tpir_at_fpir.iter().find(|point| point.fpir == fpir && point.rank == rank)
    }

    /// DIR@FAR, another name for TPIR@FPIR at rank 1.
    pub fn dir_at_far(&self, far: f64) -> Option<&TpirAtFpir> {
        self.tpir_at_fpir(far, 1)
    }

    /// What a reader should know before believing the numbers.
    pub fn warnings(&self) -> Vec<String> {
        let few = self.tpir_at_fpir.iter().filter(|point| point.too_few_non_mated && point.rank == self.first_rank());
        let probes = self.non_mated;
        few.map(|point| match point.fpir > 0.0 {
            true => format!(
                "FPIR {} wants {:.0} non-mated probes or more to be measured, there are {probes:.0}",
                point.fpir,
                (10.0 / point.fpir).ceil()
            ),
            false => format!("FPIR 0 is that of {probes:.0} non-mated probes, and not of all that may come"),
        })
        .collect()
    }

    fn first_rank(&self) -> usize {
        self.tpir_at_fpir.iter().map(|point| point.rank).min().unwrap_or(1)
    }
}

/// Some lines for people: what was measured, on how much, and how sure it is.
impl fmt::Display for Recognition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: &OverDraws| match v.ci95 {
            Some(ci95) => format!("{:.2} ± {:.2} % (CI95 ± {:.2})", 100.0 * v.mean, 100.0 * v.std, 100.0 * ci95),
            None => format!("{:.2} %", 100.0 * v.mean),
        };
        writeln!(
            f,
            "K = {} identities, {} images enrolled, {:.0} mated and {:.0} non-mated probes, {} draws (± is over draws and \
             leaves training seeds out)",
            self.identities, self.enrolled_images, self.mated, self.non_mated, self.draws
        )?;
        for point in &self.tpir_at_fpir {
            let (fpir, rank) = (point.fpir, point.rank);
            writeln!(f, "TPIR@FPIR={fpir}, rank {rank}: {}", percent(&point.tpir))?;
        }
        for point in self.cmc.iter().filter(|point| [1, 5, 10, 20].contains(&point.rank)) {
            writeln!(f, "rank-{} rate (closed set): {}", point.rank, percent(&point.rate))?;
        }
        self.warnings().iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// Measures recognition with random galleries from `embeddings` (`[n, d]`).
///
/// # Errors
/// When the protocol asks for more classes than there are or for no draws, no probe is mated, FPIRs are asked
/// for without strangers, or an embedding is not finite.
pub fn recognition(
    metric: Metric,
    embeddings: Matrix<'_>,
    labels: &[u32],
    protocol: &EnrolmentProtocol,
    options: &RecognitionOptions,
) -> Result<Recognition> {
    check(embeddings, labels)?;
    let mut draws = (0..protocol.draws).map(|number| protocol.draw(labels, number));
    let found = measure(metric, embeddings, &mut draws, options)?;
    Ok(Recognition { protocol: Some(protocol.clone()), ..found })
}

/// Measures recognition with galleries and probes that are given, one draw each.
///
/// # Errors
/// As [`recognition()`].
pub fn recognition_with(
    metric: Metric,
    embeddings: Matrix<'_>,
    enrolments: &[Enrolment],
    options: &RecognitionOptions,
) -> Result<Recognition> {
    measure(metric, embeddings, &mut enrolments.iter().cloned().map(Ok), options)
}

fn measure(
    metric: Metric,
    x: Matrix<'_>,
    draws: &mut dyn Iterator<Item = Result<Enrolment>>,
    options: &RecognitionOptions,
) -> Result<Recognition> {
    options.fpirs.iter().try_for_each(|&fpir| check_rate("FPIR", fpir))?;
    let longest = options.ranks.iter().copied().chain([options.cmc, 1]).max().unwrap_or(1);
    let (mut probes, mut counts) = (Vec::new(), Vec::new());
    for drawn in draws {
        let drawn = drawn?;
        let probing: std::collections::BTreeSet<u32> = drawn.mated().iter().map(|(_, place)| *place).collect();
        let (identities, images) = (drawn.identities().len(), drawn.identities().iter().map(Vec::len).sum::<usize>());
        counts.push([identities, images, identities - probing.len()].map(|count| count as f64));
        probes.push(ProbeScores::measure(metric, x, &drawn, options.templates, longest)?);
    }
    let (Some(length), Some(least)) =
        (probes.iter().map(ProbeScores::length).min(), probes.iter().map(ProbeScores::non_mated).min())
    else {
        return Err(Error::Input("recognition: there are no draws: want 1 or more".to_owned()));
    };
    let width = OverDraws::width(probes.len());
    let over = |of: &dyn Fn(&ProbeScores) -> Result<f64>| -> Result<OverDraws> {
        Ok(OverDraws::of(&probes.iter().map(of).collect::<Result<Vec<f64>>>()?, width))
    };
    let mut tpir_at_fpir = Vec::new();
    for &fpir in &options.fpirs {
        for &rank in options.ranks.iter().filter(|&&rank| rank <= length) {
            tpir_at_fpir.push(TpirAtFpir {
                fpir,
                rank,
                tpir: over(&|p| Ok(p.tpir_at_fpir(fpir, rank)?.tpir))?,
                achieved_fpir: over(&|p| p.fpir(p.threshold(fpir)?))?,
                threshold: over(&|p| p.threshold(fpir).map(f64::from))?,
                too_few_non_mated: probes.iter().any(|p| p.too_few_non_mated(fpir)),
            });
        }
    }
    let rates = probes.iter().map(ProbeScores::cmc).collect::<Result<Vec<Vec<f64>>>>()?;
    let rate = |rank: usize| OverDraws::of(&rates.iter().map(|cmc| cmc[rank - 1]).collect::<Vec<f64>>(), width);
    let cmc = (1..=options.cmc.min(length)).map(|rank| RankRate { rank, rate: rate(rank) }).collect();
    let grid = if options.curve_points > 0 && least > 0 { fpir_grid(least, options.curve_points) } else { Vec::new() };
    let point = |fpir: f64| Ok((fpir, over(&|p| Ok(p.tpir_at_fpir(fpir, 1)?.tpir))?));
    let curve = grid.into_iter().map(point).collect::<Result<_>>()?;
    let mean = |of: &dyn Fn(usize) -> f64| (0..probes.len()).map(of).sum::<f64>() / probes.len() as f64;
    Ok(Recognition {
        templates: options.templates,
        protocol: None,
        identities: mean(&|i| counts[i][0]),
        enrolled_images: mean(&|i| counts[i][1]),
        without_probes: mean(&|i| counts[i][2]),
        mated: mean(&|i| probes[i].mated() as f64),
        non_mated: mean(&|i| probes[i].non_mated() as f64),
        draws: probes.len(),
        tpir_at_fpir,
        cmc,
        curve,
    })
}
