//! Whether one threshold suits all classes.

use super::impostors::{for_each_pair, loosest_for};
use crate::diagnostics::Spread;
use crate::identification::check_rate;
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, for_each_pair_tile, unwatched};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The thresholds that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationRange {
    /// From the threshold of one false match rate over all pairs to that of another.
    Fmr(f64, f64),
    /// From one threshold to another, as the metric reports scores.
    Thresholds(f64, f64),
}

/// What [`opis()`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpisOptions {
    /// The thresholds that are looked at.
    pub range: CalibrationRange,
    /// Thresholds, evenly over the range, ends included: 2 to 4096.
    pub points: usize,
    /// c of the utility: how many times sensitivity weighs what specificity does, above 0.
    pub c: f64,
}

/// From FMR 0.01 to 0.1, 101 thresholds, c = 1.
impl Default for OpisOptions {
    fn default() -> Self {
        Self { range: CalibrationRange::Fmr(0.01, 0.1), points: 101, c: 1.0 }
    }
}

/// The operating-point inconsistency score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opis {
    /// The score: 0 when all classes fare alike at every threshold of the range.
    pub opis: f64,
    /// Mean over classes and thresholds of the utility.
    pub utility: f64,
    /// First and last threshold, as the metric reports scores.
    pub thresholds: (f64, f64),
    /// What was asked.
    pub options: OpisOptions,
    /// Classes that were measured.
    pub classes: usize,
    /// Classes of one item, which have no genuine pair: others are compared with them, themselves they are left out.
    pub lone_classes: usize,
}

/// A class at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRate {
    /// Class.
    pub label: u32,
    /// Share of its genuine pairs that do not pass.
    pub fnmr: f64,
    /// Share of its impostor pairs (one of the class, one not) that pass.
    pub fmr: f64,
    /// Genuine pairs.
    pub genuine: u64,
    /// Impostor pairs.
    pub impostors: u64,
}

/// All classes at one threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRates {
    /// The threshold, as the metric reports scores.
    pub threshold: f64,
    /// How FNMR is spread over classes.
    pub fnmr: Spread,
    /// How FMR is spread over classes.
    pub fmr: Spread,
    /// By label, rising.
    pub classes: Vec<ClassRate>,
    /// Classes of one item, which are left out.
    pub lone_classes: usize,
}

/// OPIS, the variance over classes of what a threshold is worth to them, on average over a range of thresholds:
///
/// `OPIS = 1/(T (d₂ − d₁)) Σᵢ ∫ (Uᵢ(d) − Ū(d))² dd`, over the T classes, with Ū their mean and the utility
/// `U(d) = (1 + c²) φ ψ / (c² φ + ψ)` of specificity φ(d) = 1 − FMR and sensitivity ψ(d) = 1 − FNMR of the class; its
/// impostor pairs have one item of it. The integral is taken by trapezoids. It depends on the metric, whose scores are
/// the axis: the paper's is the Euclidean distance of vectors of unit length.
///
/// Zhang et al., *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning*, 2024.
///
/// # Errors
/// When labels are not one per row, an embedding is not finite, no class has two items or there is but one
/// class, or the options are out of range.
pub fn opis(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], options: &OpisOptions) -> Result<Opis> {
    if !(2..=4096).contains(&options.points) || !options.c.is_finite() || options.c <= 0.0 {
        let (points, c) = (options.points, options.c);
        return Err(Error::Input(format!("OPIS: {points} thresholds and c = {c}: want 2 to 4096, and c above 0")));
    }
    let (first, last) = ends(metric, embeddings, labels, options.range)?;
    let steps = (options.points - 1) as f64;
    let threshold = |g: usize| first + (last - first) * (g as f64 / steps);
    let thresholds: Vec<f64> = (0..options.points).map(threshold).collect();
    let table = Table::measure(metric, embeddings, labels, &thresholds)?;
    let classes: Vec<usize> = table.measured().collect();
    let square = options.c * options.c;
    let utility = |class: usize, g: usize| {
        let rate = table.rate(class, g);
        let (specificity, sensitivity) = (1.0 - rate.fmr, 1.0 - rate.fnmr);
        let below = square * specificity + sensitivity;
        if below > 0.0 { (1.0 + square) * specificity * sensitivity / below } else { 0.0 }
    };
    let (mut variance, mut mean) = (0.0, 0.0);
    for g in 0..options.points {
        let utilities: Vec<f64> = classes.iter().map(|&class| utility(class, g)).collect();
        let average = utilities.iter().sum::<f64>() / utilities.len() as f64;
        // Trapezoids: the ends weigh half.
        let weight = if g == 0 || g + 1 == options.points { 0.5 } else { 1.0 } / steps;
        variance += weight * utilities.iter().map(|u| (u - average).powi(2)).sum::<f64>() / utilities.len() as f64;
        mean += weight * average;
    }
    Ok(Opis {
        opis: variance,
        utility: mean,
        thresholds: (first, last),
        options: *options,
        classes: classes.len(),
        lone_classes: table.labels.len() - classes.len(),
    })
}

/// FNMR and FMR of every class at one threshold for all: what users of a system see of it.
///
/// # Errors
/// When labels are not one per row, an embedding is not finite, or no class has two items or there is but one class.
pub fn class_rates(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], threshold: f64) -> Result<ClassRates> {
    if !threshold.is_finite() {
        return Err(Error::Input(format!("class rates: the threshold is {threshold}: want a finite number")));
    }
    let table = Table::measure(metric, embeddings, labels, &[threshold])?;
    let classes: Vec<ClassRate> = table.measured().map(|class| table.rate(class, 0)).collect();
    let lone_classes = table.labels.len() - classes.len();
    let spread = |of: fn(&ClassRate) -> f64| Spread::of(classes.iter().map(of).collect());
    let (Some(fnmr), Some(fmr)) = (spread(|c| c.fnmr), spread(|c| c.fmr)) else {
        return Err(no_classes());
    };
    Ok(ClassRates { threshold, fnmr, fmr, classes, lone_classes })
}

fn no_classes() -> Error {
    Error::Input(
        "class rates: there is no class with a genuine and an impostor pair: give two classes or more, one with two items"
            .to_owned(),
    )
}

/// The ends of the range, strict one first.
fn ends(metric: Metric, x: Matrix<'_>, labels: &[u32], range: CalibrationRange) -> Result<(f64, f64)> {
    let sign = -metric.sign();
    let (a, b) = match range {
        CalibrationRange::Fmr(low, high) => {
            check_rate("FMR", low)?;
            check_rate("FMR", high)?;
            let (found, _) = loosest_for(metric, x, labels, &[low, high])?;
            (sign * f64::from(found[0].closeness), sign * f64::from(found[1].closeness))
        }
        CalibrationRange::Thresholds(a, b) if a.is_finite() && b.is_finite() => (a, b),
        CalibrationRange::Thresholds(a, b) => {
            return Err(Error::Input(format!("OPIS: thresholds from {a} to {b}: want finite numbers")));
        }
    };
    Ok(if sign * a >= sign * b { (a, b) } else { (b, a) })
}

/// How many pairs of each class pass each threshold.
struct Table {
    labels: Vec<u32>,
    /// Items of each class.
    sizes: Vec<u64>,
    items: u64,
    /// `[classes, thresholds]`.
    genuine: Vec<u64>,
    impostors: Vec<u64>,
    thresholds: usize,
}

impl Table {
    /// Thresholds from strict to loose.
    fn measure(metric: Metric, x: Matrix<'_>, labels: &[u32], thresholds: &[f64]) -> Result<Self> {
        check(x, labels)?;
        let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
        labels.iter().for_each(|&label| *counted.entry(label).or_default() += 1);
        let (names, sizes): (Vec<u32>, Vec<u64>) = counted.into_iter().unzip();
        let place: Vec<u32> = labels.iter().map(|l| names.binary_search(l).unwrap_or(0) as u32).collect();
        let sign = -metric.sign();
        let limits: Vec<f64> = thresholds.iter().map(|t| sign * t).collect();
        let (count, loosest) = (limits.len(), limits.last().copied().unwrap_or(f64::INFINITY));
        let zeros = || (0..names.len() * count).map(|_| AtomicU64::new(0)).collect::<Vec<AtomicU64>>();
        let (genuine, impostors) = (zeros(), zeros());
        for_each_pair_tile(metric, x, &unwatched, |tile| {
            for_each_pair(tile, |i, j, score| {
                let closeness = sign * f64::from(score);
                // Most pairs pass no threshold and end here. NaN passes none.
                if closeness >= loosest {
                    let first = limits.partition_point(|&limit| limit > closeness);
                    let (a, b) = (place[i] as usize, place[j] as usize);
                    if a == b {
                        genuine[a * count + first].fetch_add(1, Ordering::Relaxed);
                    } else {
                        impostors[a * count + first].fetch_add(1, Ordering::Relaxed);
                        impostors[b * count + first].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        })?;
        // A pair that passes a threshold passes all looser ones.
        let summed = |counts: Vec<AtomicU64>| {
            let mut counts: Vec<u64> = counts.into_iter().map(AtomicU64::into_inner).collect();
            counts.chunks_exact_mut(count).for_each(|row| (1..count).for_each(|g| row[g] += row[g - 1]));
            counts
        };
        let table = Self {
            items: labels.len() as u64,
            labels: names,
            sizes,
            genuine: summed(genuine),
            impostors: summed(impostors),
            thresholds: count,
        };
        if table.labels.len() < 2 || table.measured().next().is_none() {
            return Err(no_classes());
        }
        Ok(table)
    }

    /// Classes with a genuine pair.
    fn measured(&self) -> impl Iterator<Item = usize> {
        (0..self.labels.len()).filter(|&class| self.sizes[class] > 1)
    }

    fn rate(&self, class: usize, threshold: usize) -> ClassRate {
        let size = self.sizes[class];
        let (genuine, impostors) = (size * (size - 1) / 2, size * (self.items - size));
        let at = class * self.thresholds + threshold;
        ClassRate {
            label: self.labels[class],
            fnmr: (genuine - self.genuine[at]) as f64 / genuine as f64,
            fmr: self.impostors[at] as f64 / impostors as f64,
            genuine,
            impostors,
        }
    }
}
