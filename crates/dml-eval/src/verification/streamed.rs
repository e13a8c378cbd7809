//! Verification of a set whose pairs are too many to store: exact in the tail, within bounds elsewhere.

use super::all_pairs::{AllPairs, all_pairs};
use super::binning::{BINS, Binning};
use super::corners::{Corner, Walk, merged, thinned};
use super::curve::point;
use super::sample::Sample;
use super::tail::{Closeness, Near};
use super::{Bounds, Limits, OperatingPoint, TarAtFar, Verification, check_both_kinds, closeness_sign, signed};
use crate::Result;
use crate::loosest::allowed;
use dml_core::{Matrix, Metric};

/// Which way the curve goes through a bin. The true curve lies between the two extremes.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    /// As if all pairs of the bin were tied.
    Diagonal,
    /// Genuine pairs first: the best that can be.
    GenuineFirst,
    /// Impostors first: the worst that can be.
    ImpostorsFirst,
}

/// The pairs of a set, ready to be measured.
struct Streamed {
    binning: Binning,
    /// Closeness of all genuine pairs and of the tail of the impostors, falling.
    genuine: Vec<f32>,
    tail: Vec<f32>,
    /// Impostor and genuine pairs in this bin and above.
    passing: Vec<(u64, u64)>,
    impostors: u64,
}

/// The measures, and the curve in so many points if it is asked for.
pub(super) fn measure(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    fars: &[f64],
    points: Option<usize>,
    limits: &Limits,
) -> Result<(Verification, Vec<OperatingPoint>)> {
    let (genuine, impostors) = super::all_pairs::kinds(labels);
    check_both_kinds(genuine, impostors)?;
    // The pair that would break a FAR is needed too, and one pair to begin the curve with.
    let needed = fars.iter().map(|&far| allowed(far, impostors) as usize + 1);
    let tail = needed.filter(|&pairs| pairs <= limits.tail_pairs).max().unwrap_or(1);
    let sample = Sample::of(metric, x)?;
    let streamed = Streamed::new(sample.binning, all_pairs(metric, x, labels, &sample, tail, limits)?);
    let sign = closeness_sign(metric);
    // The exact part of the curve is the same for all, and by far the longest.
    let exact = Walk::new(genuine, impostors).along(streamed.exact());
    let through = |through| exact.clone().along(streamed.binned(through));
    let diagonal = through(Through::Diagonal);
    let (best, worst) = (through(Through::GenuineFirst), through(Through::ImpostorsFirst));
    let (eer, closeness) = diagonal.equal_error();
    let verification = Verification {
        eer,
        auc: diagonal.area(),
        tar_at_far: fars.iter().map(|&far| streamed.tar_at_far(sign, far)).collect(),
        genuine: genuine as usize,
        impostors: impostors as usize,
        eer_threshold: Some(signed(sign, closeness)),
        bounds: Some(Bounds { eer: (best.equal_error().0, worst.equal_error().0), auc: (worst.area(), best.area()) }),
    };
    let curve = points.map(|points| {
        let corners = streamed.exact().chain(streamed.binned(Through::Diagonal));
        let curve = thinned(corners, genuine, impostors, points).into_iter();
        curve.map(|corner| point(corner, sign, genuine, impostors)).collect()
    });
    Ok((verification, curve.unwrap_or_default()))
}

impl Streamed {
    fn new(binning: Binning, pairs: AllPairs<Closeness>) -> Self {
        let genuine: Vec<f32> = pairs.genuine.iter().map(|pair| pair.closeness).collect();
        let mut passing: Vec<(u64, u64)> = pairs.counts.iter().map(|&count| (count, 0)).collect();
        genuine.iter().for_each(|&closeness| passing[binning.bin(closeness) as usize].1 += 1);
        for bin in (0..BINS - 1).rev() {
            passing[bin].0 += passing[bin + 1].0;
            passing[bin].1 += passing[bin + 1].1;
        }
        let tail = pairs.tail.into_sorted().iter().map(Near::closeness).collect();
        Self { binning, genuine, tail, passing, impostors: pairs.impostors }
    }

    /// The closeness down to which the curve is exact, and how many of the genuine pairs and of the tail are closer. Of the
    /// tail's last score there may be more pairs than the tail holds.
    fn cut(&self) -> (f32, usize, usize) {
        let whole = self.tail.len() as u64 == self.impostors;
        let cut = self.tail.last().copied().filter(|_| !whole).unwrap_or(f32::NEG_INFINITY);
        let closer = |scores: &[f32]| scores.partition_point(|&s| s > cut);
        (cut, closer(&self.genuine), closer(&self.tail))
    }

    /// The curve's beginning: one corner per score while the tail lasts.
    fn exact(&self) -> impl Iterator<Item = Corner> + '_ {
        let (cut, genuine, tail) = self.cut();
        // Where all of the tail is tied and no genuine pair is closer, nothing is merged.
        let start = (genuine == 0 && tail == 0).then(|| Corner { closeness: cut.next_up(), impostors: 0, genuine: 0 });
        start.into_iter().chain(merged(&self.genuine[..genuine], &self.tail[..tail]))
    }

    /// The rest of it: one or two corners per bin.
    fn binned(&self, through: Through) -> impl Iterator<Item = Corner> + '_ {
        let (cut, genuine, tail) = self.cut();
        let mut before = (tail as u64, genuine as u64);
        let bins = if cut == f32::NEG_INFINITY { 0 } else { self.binning.bin(cut) as usize + 1 };
        let binned = (0..bins).rev().filter_map(move |bin| {
            let (last, now) = (std::mem::replace(&mut before, self.passing[bin]), self.passing[bin]);
            let between = match through {
                Through::Diagonal => now,
                Through::GenuineFirst => (last.0, now.1),
                Through::ImpostorsFirst => (now.0, last.1),
            };
            // Its edge is searched for: only where there is a corner.
            (now != last).then(|| {
                let closeness = self.binning.lower_edge(bin as u32);
                [between, now].map(|(impostors, genuine)| Corner { closeness, impostors, genuine })
            })
        });
        binned.flatten()
    }

    fn tar_at_far(&self, sign: f32, far: f64) -> TarAtFar {
        let (may_pass, genuine) = (allowed(far, self.impostors), self.genuine.len() as u64);
        let at = |closeness, impostors, passing| {
            point(Corner { closeness, impostors, genuine: passing }, sign, genuine, self.impostors)
        };
        let passing = |scores: &[f32], least: f32| scores.partition_point(|&s| s >= least) as u64;
        if let Some(breaking) = self.tail.get(may_pass as usize) {
            let least = breaking.next_up();
            let exact = at(least, passing(&self.tail, least), passing(&self.genuine, least));
            return TarAtFar::new(far, self.impostors, exact, None);
        }
        // The bin that breaks FAR is left out: what passes above it is known exactly, only not to be the most that can.
        let bins = self.passing.partition_point(|&(impostors, _)| impostors > may_pass);
        let (impostors, pass) = self.passing.get(bins).copied().unwrap_or((0, 0));
        let most = self.passing.get(bins.wrapping_sub(1)).map_or(genuine, |&(_, genuine)| genuine);
        let edge = self.binning.lower_edge(bins as u32);
        // As is what passes above the end of the tail, which may lie within that bin.
        let cut = self.tail.last().map_or(f32::INFINITY, |cut| cut.next_up());
        let known = match cut < edge {
            true => at(cut, passing(&self.tail, cut), passing(&self.genuine, cut)),
            false => at(edge, impostors, pass),
        };
        TarAtFar::new(far, self.impostors, known, Some(most as f64 / genuine as f64))
    }
}
