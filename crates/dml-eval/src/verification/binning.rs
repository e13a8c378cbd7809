//! Scores counted in bins: what stays of the impostor pairs that are too many to store.

use super::signed;
use dml_core::reaching;
use dml_core::vector::widest;
use std::sync::{Mutex, PoisonError};

/// Bins of a table.
pub(super) const BINS: usize = 1 << 17;
const SLOTS: usize = 2 * BINS;

/// Which bin a closeness falls into: linear over a range, at its ends for what lies outside. A larger closeness never has a
/// smaller bin, so whatever bins say of an order is so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binning {
    low: f32,
    scale: f32,
}

impl Binning {
    pub(super) fn over(low: f32, high: f32) -> Self {
        let scale = BINS as f32 / (high - low);
        // One bin for all where all are equal.
        if scale.is_finite() && low.is_finite() { Self { low, scale } } else { Self { low: 0.0, scale: 0.0 } }
    }

    #[inline(always)]
    pub(super) fn bin(self, closeness: f32) -> u32 {
        let place = ((closeness - self.low) * self.scale).max(0.0).min((BINS - 1) as f32);
        // Added to 2^23 a small number stands, rounded, in the lowest bits: this is a vector instruction, a cast is not.
        (place + 8_388_608.0).to_bits() & (SLOTS as u32 - 1)
    }

    /// The smallest finite closeness whose bin is `bin` or more; `f32::INFINITY` when there is none.
    pub(super) fn lower_edge(self, bin: u32) -> f32 {
        if self.bin(f32::MAX) < bin {
            return f32::INFINITY;
        }
        // Finite numbers in order, as integers, and those that lie around the edge, searched outwards from near it.
        let number = |k: i64| f32::from_bits(if k < 0 { !(k as u32) | (1 << 31) } else { k as u32 });
        let reaches = |k: i64| self.bin(number(k)) >= bin;
        let (least, most) = (-i64::from(f32::MAX.to_bits()) - 2, i64::from(f32::MAX.to_bits()));
        let near = (self.low + bin as f32 / self.scale).clamp(f32::MIN, f32::MAX) + 0.0;
        let near = if near.is_nan() { 0.0 } else { near };
        let near =
            if near < 0.0 { i64::from(!(near.to_bits() & !(1 << 31)) as i32) } else { i64::from(near.to_bits()) };
        let (mut below, mut at, mut step) = (near, near, 1);
        while below > least && reaches(below) {
            (below, step) = ((below - step).max(least), 2 * step);
        }
        step = 1;
        while at < most && !reaches(at) {
            (at, step) = ((at + step).min(most), 2 * step);
        }
        while at - below > 1 {
            let middle = (at + below).div_euclid(2);
            if reaches(middle) { at = middle } else { below = middle }
        }
        number(at) + 0.0
    }
}

/// Scores that are counted together.
const TOGETHER: usize = 512;

/// Closeness of some pairs of one item.
pub(super) struct Row {
    closeness: [f32; TOGETHER],
    bins: [u32; TOGETHER],
    hits: [u32; TOGETHER],
}

impl Row {
    pub(super) fn new() -> Self {
        Self { closeness: [0.0; TOGETHER], bins: [0; TOGETHER], hits: [0; TOGETHER] }
    }
}

/// Finds closeness and bins of scores; whether all are finite.
#[inline(always)]
fn placed(binning: Binning, sign: f32, scores: &[f32], closeness: &mut [f32], bins: &mut [u32]) -> bool {
    let mut finite = true;
    for ((closeness, bin), &score) in closeness.iter_mut().zip(bins).zip(scores) {
        *closeness = signed(sign, score);
        *bin = binning.bin(*closeness);
        finite &= closeness.is_finite();
    }
    finite
}

/// Counts of one thread.
pub(super) struct Table {
    /// More than there are bins, so that a place is checked by a mask; what is behind them is not touched.
    counts: Box<[u32; SLOTS]>,
    /// Pairs counted since the counts were taken.
    pairs: u64,
}

impl Table {
    /// Counts pairs by their closeness, `sign · score`. `near` is told the column and closeness of those that reach `floor`.
    /// False when a score is not finite.
    pub(super) fn count(
        &mut self,
        binning: Binning,
        (sign, floor): (f32, f32),
        scores: &[f32],
        row: &mut Row,
        mut near: impl FnMut(usize, f32),
    ) -> bool {
        let mut finite = true;
        self.pairs += scores.len() as u64;
        for (block, scores) in scores.chunks(TOGETHER).enumerate() {
            let (closeness, bins) = (&mut row.closeness[..scores.len()], &mut row.bins[..scores.len()]);
            finite &= widest(
                #[inline(always)]
                || placed(binning, sign, scores, closeness, bins),
            );
            let counts = &mut *self.counts;
            for &bin in &*bins {
                counts[bin as usize % SLOTS] += 1;
            }
            let count = reaching(closeness, floor, &mut row.hits);
            for &j in &row.hits[..count] {
                near(block * TOGETHER + j as usize, closeness[j as usize]);
            }
        }
        finite
    }

    /// Takes a pair out again that was counted.
    pub(super) fn take_out(&mut self, binning: Binning, closeness: f32) {
        self.counts[binning.bin(closeness) as usize % SLOTS] -= 1;
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
        kept.unwrap_or_else(|| Table { counts: Box::new([0; SLOTS]), pairs: 0 })
    }

    pub(super) fn give_back(&self, mut table: Table) {
        // No count may pass u32.
        if table.pairs > 1 << 31 {
            self.add(&mut table);
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(table);
    }

    /// Pairs of each bin.
    pub(super) fn into_counts(self) -> Vec<u64> {
        let tables = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        tables.into_iter().for_each(|mut table| self.add(&mut table));
        self.totals.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, table: &mut Table) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (total, count) in totals.iter_mut().zip(&mut *table.counts) {
            *total += u64::from(std::mem::take(count));
        }
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
    fn counting_tells_of_what_is_near_and_of_what_is_no_number() {
        let tables = Tables::new();
        let (mut table, mut row) = (tables.take(), Row::new());
        let binning = Binning::over(-2000.0, 0.0);
        let mut told = Vec::new();
        let scores: Vec<f32> = (0..1300).map(|i| i as f32).rev().collect();
        assert!(table.count(binning, (-1.0, -2.0), &scores, &mut row, |j, s| told.push((j, s))));
        assert_eq!(told, [(1297, -2.0), (1298, -1.0), (1299, 0.0)]);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!table.count(binning, (-1.0, 1.0), &[3.0, broken], &mut row, |_, _| ()));
        }
        (0..100).for_each(|i| table.take_out(binning, -(i as f32)));
        tables.give_back(table);
        let counts = tables.into_counts();
        assert_eq!(counts.iter().sum::<u64>(), 1206);
        assert_eq!((counts[binning.bin(-99.0) as usize], counts[binning.bin(-100.0) as usize]), (0, 1));
    }
}
