//! Scores counted in bins: what stays of the impostor pairs that are too many to store.

use super::{closeness_sign, signed};
use crate::Result;
use dml_core::{Matrix, Metric, scores};
use std::sync::{Mutex, PoisonError};

/// Bins of a table. Its counts (512 KiB) stay in a core's second cache.
pub(super) const BINS: usize = 1 << 17;

/// Which bin a closeness falls into: linear over a range, at its ends for what lies outside. A larger closeness never has a
/// smaller bin, so whatever bins say of an order is so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binning {
    low: f32,
    scale: f32,
}

impl Binning {
    /// Bins over the range that a sample of the set's pairs has; an item with itself is as close as any.
    pub(super) fn of_sample(metric: Metric, x: Matrix<'_>) -> Result<Self> {
        /// Rows of the sample.
        const ROWS: usize = 512;
        let count = x.rows().min(ROWS);
        let rows = (0..count).flat_map(|k| x.row(k * x.rows() / count)).copied().collect::<Vec<f32>>();
        let rows = Matrix::new(&rows, count, x.cols())?;
        let mut sample = vec![0f32; count * count];
        scores(metric, rows, rows, &mut sample)?;
        let closeness = sample.iter().map(|&s| signed(closeness_sign(metric), s)).filter(|s| s.is_finite());
        let (low, high) = closeness.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), s| (a.min(s), b.max(s)));
        // The sample misses the furthest pairs of all.
        Ok(Self::over(low - 0.125 * (high - low), high))
    }

    pub(super) fn over(low: f32, high: f32) -> Self {
        let scale = BINS as f32 / (high - low);
        // One bin for all where all are equal.
        if scale.is_finite() && low.is_finite() { Self { low, scale } } else { Self { low: 0.0, scale: 0.0 } }
    }

    #[inline(always)]
    pub(super) fn bin(self, closeness: f32) -> u32 {
        let place = ((closeness - self.low) * self.scale).max(0.0).min((BINS - 1) as f32);
        // Added to 2^23 a small number stands, rounded, in the lowest bits: this is a vector instruction, a cast is not.
        (place + 8_388_608.0).to_bits() & (2 * BINS as u32 - 1)
    }

    /// The smallest finite closeness whose bin is `bin` or more; `f32::INFINITY` when there is none.
    pub(super) fn lower_edge(self, bin: u32) -> f32 {
        if self.bin(f32::MAX) < bin {
            return f32::INFINITY;
        }
        // Finite numbers in order, as integers.
        let number = |k: i32| f32::from_bits(if k < 0 { !(k as u32) | (1 << 31) } else { k as u32 });
        let (mut below, mut at) = (-(f32::MAX.to_bits() as i64) - 2, i64::from(f32::MAX.to_bits()));
        while at - below > 1 {
            let middle = (at + below).div_euclid(2);
            if self.bin(number(middle as i32)) >= bin { at = middle } else { below = middle }
        }
        number(at as i32) + 0.0
    }
}

/// What the rare branch of the counting loop is told of a pair.
pub(super) enum Found {
    Genuine,
    Near,
}

/// How one row's scores are counted.
#[derive(Clone, Copy)]
pub(super) struct Counting {
    pub(super) binning: Binning,
    pub(super) sign: f32,
    /// Impostors of this closeness or more are told of.
    pub(super) near: f32,
}

/// Counts of one thread.
pub(super) struct Table {
    /// One more than there are bins: genuine pairs are counted there.
    counts: Vec<u32>,
    /// Pairs counted since the counts were taken.
    pairs: u64,
}

impl Table {
    /// Counts the pairs of an item of class `label` with items of classes `labels`. Genuine pairs and near impostors are told
    /// of: (kind, column, closeness). False when a score is not finite.
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        how: Counting,
        label: u32,
        labels: &[u32],
        scores: &[f32],
        found: &mut impl FnMut(Found, usize, f32),
    ) -> bool {
        const TOGETHER: usize = 64;
        let (mut bins, mut finite) = ([0u32; TOGETHER], true);
        self.pairs += scores.len() as u64;
        for (block, (scores, labels)) in scores.chunks(TOGETHER).zip(labels.chunks(TOGETHER)).enumerate() {
            let (mut any_genuine, mut any_near, mut all_finite) = (false, false, true);
            for ((bin, &score), &other) in bins.iter_mut().zip(scores).zip(labels) {
                let closeness = how.sign * score;
                let genuine = other == label;
                *bin = if genuine { BINS as u32 } else { how.binning.bin(closeness) };
                any_genuine |= genuine;
                any_near |= (closeness >= how.near) & !genuine;
                all_finite &= closeness.is_finite();
            }
            for &bin in &bins[..scores.len()] {
                if let Some(count) = self.counts.get_mut(bin as usize) {
                    *count += 1;
                }
            }
            finite &= all_finite;
            if any_genuine | any_near {
                for (j, (&score, &other)) in scores.iter().zip(labels).enumerate() {
                    let closeness = signed(how.sign, score);
                    if other == label {
                        found(Found::Genuine, block * TOGETHER + j, closeness);
                    } else if closeness >= how.near {
                        found(Found::Near, block * TOGETHER + j, closeness);
                    }
                }
            }
        }
        finite
    }
}

/// Tables that threads take and give back, and what they have counted together.
pub(super) struct Tables {
    free: Mutex<Vec<Table>>,
    totals: Mutex<Vec<u64>>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self { free: Mutex::default(), totals: Mutex::new(vec![0; BINS]) }
    }

    pub(super) fn take(&self) -> Table {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Table { counts: vec![0; BINS + 1], pairs: 0 })
    }

    pub(super) fn give_back(&self, mut table: Table) {
        // No count may pass u32.
        if table.pairs > 1 << 31 {
            self.add(&mut table);
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(table);
    }

    /// Impostors of each bin.
    pub(super) fn into_counts(self) -> Vec<u64> {
        let tables = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        tables.into_iter().for_each(|mut table| self.add(&mut table));
        self.totals.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, table: &mut Table) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (total, count) in totals.iter_mut().zip(&mut table.counts) {
            *total += u64::from(std::mem::take(count));
        }
        table.counts[BINS] = 0;
        table.pairs = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_rise_and_edges_are_exact() {
        for binning in [Binning::over(-1.0, 1.0), Binning::over(-40.0, 0.0), Binning::over(3.0, 3.0)] {
            let rising: Vec<f32> = (-5000..5000).map(|i| i as f32 * 0.01).collect();
            assert!(rising.windows(2).all(|w| binning.bin(w[0]) <= binning.bin(w[1])));
            for bin in [1, 2, 77, 65_536, BINS as u32 - 1].into_iter().filter(|_| binning.scale > 0.0) {
                let edge = binning.lower_edge(bin);
                assert!(binning.bin(edge) >= bin && binning.bin(edge.next_down()) < bin, "{binning:?} {bin} {edge}");
            }
            assert_eq!(binning.lower_edge(0), f32::MIN);
            assert_eq!(binning.lower_edge(BINS as u32), f32::INFINITY);
        }
    }

    #[test]
    fn counting_tells_of_genuine_near_and_of_what_is_no_number() {
        let tables = Tables::new();
        let mut table = tables.take();
        let how = Counting { binning: Binning::over(-10.0, 0.0), sign: -1.0, near: -2.0 };
        let mut told = Vec::new();
        let mut tell = |kind, j, s| told.push((matches!(kind, Found::Near), j, s));
        assert!(table.count(how, 7, &[7, 1, 2, 7, 7], &[1.0, 2.0, 5.0, 3.0, 0.0], &mut tell));
        assert!(
            !table.count(how, 7, &[1], &[f32::NAN], &mut tell)
                && !table.count(how, 7, &[1], &[f32::INFINITY], &mut tell)
        );
        assert_eq!(told, [(false, 0, -1.0), (true, 1, -2.0), (false, 3, -3.0), (false, 4, 0.0)]);
        tables.give_back(table);
        let counts = tables.into_counts();
        assert_eq!(counts.iter().sum::<u64>(), 4);
        assert_eq!((counts[how.binning.bin(-2.0) as usize], counts[how.binning.bin(-5.0) as usize]), (1, 1));
    }
}
