//! The closest impostor pairs of all, found without storing the rest.

use rayon::prelude::*;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What is kept of an impostor pair. In order the closest come first.
pub(super) trait Near: Copy + Ord + Send + Sync {
    fn new(closeness: f32, first: usize, second: usize) -> Self;
    fn closeness(&self) -> f32;
}

/// An impostor pair of rows `first` < `second`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impostor {
    pub(super) closeness: f32,
    pub(super) first: u32,
    pub(super) second: u32,
}

impl Near for Impostor {
    fn new(closeness: f32, first: usize, second: usize) -> Self {
        Self { closeness, first: first as u32, second: second as u32 }
    }

    fn closeness(&self) -> f32 {
        self.closeness
    }
}

impl Ord for Impostor {
    /// Closest first, then by rows: an order of all pairs, so that which are kept does not depend on when they came.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_closeness = other.closeness.total_cmp(&self.closeness);
        by_closeness.then((self.first, self.second).cmp(&(other.first, other.second)))
    }
}

impl PartialOrd for Impostor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Impostor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Impostor {}

/// Its closeness alone, as an integer in the order of falling numbers: a third of the memory, and sorted without branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Closeness(i32);

impl Near for Closeness {
    #[inline(always)]
    fn new(closeness: f32, _: usize, _: usize) -> Self {
        let bits = closeness.to_bits() as i32;
        Self(!(bits ^ (bits >> 31 & i32::MAX)))
    }

    fn closeness(&self) -> f32 {
        let bits = !self.0;
        f32::from_bits((bits ^ (bits >> 31 & i32::MAX)) as u32)
    }
}

/// Keeps the `size` closest of all pairs offered, from any threads.
#[derive(Debug)]
pub(super) struct Tail<N> {
    size: usize,
    offered: Mutex<Offered<N>>,
    /// Pairs further than this are not wanted any more.
    wanted: AtomicU32,
}

/// As it came: to join lists while others wait would cost more than to keep them apart.
#[derive(Debug)]
struct Offered<N> {
    lists: Vec<Vec<N>>,
    pairs: usize,
}

impl<N: Near> Tail<N> {
    /// Pairs of a closeness below `floor` are not wanted from the start.
    pub(super) fn new(size: usize, floor: f32) -> Self {
        let wanted = if size == 0 { f32::INFINITY } else { floor };
        let offered = Mutex::new(Offered { lists: Vec::new(), pairs: 0 });
        Self { size, offered, wanted: AtomicU32::new(wanted.to_bits()) }
    }

    /// The least closeness that is still of use.
    pub(super) fn wanted(&self) -> f32 {
        f32::from_bits(self.wanted.load(Relaxed))
    }

    pub(super) fn offer(&self, pairs: Vec<N>) {
        if pairs.is_empty() {
            return;
        }
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.pairs += pairs.len();
        offered.lists.push(pairs);
        // Twice the size before it is cut, so that a pair costs constant time.
        if offered.pairs >= 2 * self.size.max(1 << 12) {
            let kept = self.cut(&mut offered);
            if let Some(last) = kept.last().filter(|_| kept.len() == self.size) {
                self.wanted.store(last.closeness().to_bits(), Relaxed);
            }
            *offered = Offered { pairs: kept.len(), lists: vec![kept] };
        }
    }

    /// The closest of those offered, the furthest of them last.
    fn cut(&self, offered: &mut Offered<N>) -> Vec<N> {
        let mut kept = std::mem::take(&mut offered.lists).concat();
        if self.size > 0 && kept.len() > self.size {
            kept.select_nth_unstable(self.size - 1);
        }
        kept.truncate(self.size);
        kept
    }

    /// How many pairs are kept.
    pub(super) fn len(&mut self) -> usize {
        self.offered.get_mut().unwrap_or_else(PoisonError::into_inner).pairs.min(self.size)
    }

    /// The closest pairs, closest first.
    pub(super) fn into_sorted(self) -> Vec<N> {
        let mut kept = self.cut(&mut self.offered.lock().unwrap_or_else(PoisonError::into_inner));
        let part = kept.len().div_ceil(rayon::current_num_threads()).max(1 << 14);
        kept.par_chunks_mut(part).for_each(<[N]>::sort_unstable);
        // A stable sort finds the sorted parts and merges them.
        kept.sort();
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
        want.sort();
        let backwards: Vec<Impostor> = all.iter().rev().copied().collect();
        for size in [0, 1, 1000, 9000, 50_000] {
            let want = &want[..size.min(want.len())];
            let closeness: Vec<f32> = want.iter().map(|pair| pair.closeness).collect();
            for all in [&all, &backwards] {
                assert!(filled::<Impostor>(size, all) == want, "{size}");
                assert!(filled::<Closeness>(size, all).iter().map(Near::closeness).eq(closeness.iter().copied()));
            }
        }
    }

    fn filled<N: Near>(size: usize, all: &[Impostor]) -> Vec<N> {
        let mut tail = Tail::new(size, f32::NEG_INFINITY);
        for pairs in all.chunks(777) {
            let near = pairs.iter().filter(|pair| pair.closeness >= tail.wanted());
            tail.offer(near.map(|pair| N::new(pair.closeness, pair.first as usize, pair.second as usize)).collect());
        }
        let len = tail.len();
        let sorted = tail.into_sorted();
        assert_eq!(sorted.len(), len);
        sorted
    }

    #[test]
    fn closeness_alone_falls() {
        let falling = [f32::INFINITY, 3.5, 1e-30, 0.0, -1e-30, -2.0, -7e8, f32::NEG_INFINITY];
        let kept = falling.map(|closeness| Closeness::new(closeness, 0, 0));
        assert!(kept.is_sorted());
        assert_eq!(kept.map(|near| near.closeness()), falling);
    }
}
