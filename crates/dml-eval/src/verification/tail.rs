//! The closest impostor pairs of all, found without storing the rest.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// An impostor pair of rows `first` < `second`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Impostor {
    pub(super) closeness: f32,
    pub(super) first: u32,
    pub(super) second: u32,
}

impl Impostor {
    /// Closest first, then by rows: an order of all pairs, so that which are kept does not depend on when they came.
    fn order(&self, other: &Self) -> Ordering {
        let by_closeness = other.closeness.total_cmp(&self.closeness);
        by_closeness.then((self.first, self.second).cmp(&(other.first, other.second)))
    }
}

/// Keeps the `size` closest of all pairs offered, from any threads.
pub(super) struct Tail {
    size: usize,
    pairs: Mutex<Vec<Impostor>>,
    /// Pairs further than this are not wanted any more.
    wanted: AtomicU32,
}

impl Tail {
    pub(super) fn new(size: usize) -> Self {
        let wanted = if size == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { size, pairs: Mutex::default(), wanted: AtomicU32::new(wanted.to_bits()) }
    }

    /// The least closeness that is still of use.
    pub(super) fn wanted(&self) -> f32 {
        f32::from_bits(self.wanted.load(Relaxed))
    }

    pub(super) fn offer(&self, pairs: &[Impostor]) {
        if pairs.is_empty() {
            return;
        }
        let mut kept = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(pairs);
        // Twice the size before it is cut, so that a pair costs constant time.
        if kept.len() >= 2 * self.size.max(1 << 12) {
            self.cut(&mut kept);
        }
    }

    fn cut(&self, kept: &mut Vec<Impostor>) {
        if self.size > 0 && kept.len() > self.size {
            let (_, last, _) = kept.select_nth_unstable_by(self.size - 1, Impostor::order);
            self.wanted.store(last.closeness.to_bits(), Relaxed);
        }
        kept.truncate(self.size);
    }

    /// The closest pairs, closest first.
    pub(super) fn into_pairs(self) -> Vec<Impostor> {
        let mut kept = std::mem::take(&mut *self.pairs.lock().unwrap_or_else(PoisonError::into_inner));
        self.cut(&mut kept);
        kept.par_sort_unstable_by(Impostor::order);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_closest_in_any_order_of_arrival() {
        // Many ties: which of them stay is told by their rows.
        let all: Vec<Impostor> = (0..40_000u32)
            .map(|k| Impostor { closeness: (k.wrapping_mul(2_654_435_761) >> 20) as f32, first: k, second: k + 1 })
            .collect();
        let mut want = all.clone();
        want.sort_by(Impostor::order);
        for size in [0, 1, 1000, 9000, 50_000] {
            for backwards in [false, true] {
                let mut all = all.clone();
                if backwards {
                    all.reverse();
                }
                let tail = Tail::new(size);
                for pairs in all.chunks(777) {
                    let near: Vec<Impostor> = pairs.iter().copied().filter(|p| p.closeness >= tail.wanted()).collect();
                    tail.offer(&near);
                }
                assert!(tail.into_pairs() == want[..size.min(want.len())], "{size} {backwards}");
            }
        }
    }
}
