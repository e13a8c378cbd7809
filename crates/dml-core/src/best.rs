//! The best of what has been offered to one query.

/// Up to `k` candidates that nothing better has displaced, and some more that have not been compared yet.
#[derive(Default)]
pub(crate) struct Best {
    keys: Vec<u64>,
    /// The last of the `k`; a candidate must beat it.
    worst: u64,
}

/// One number that grows with closeness and, among equals, with smaller ids; 0 comes last. What is not a number is further than
/// all numbers.
#[inline(always)]
fn key(closeness: f32, id: u32) -> u64 {
    // -0 equals 0.
    let bits = (closeness + 0.0).to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(if closeness.is_nan() { 0 } else { ordered }) << 32 | u64::from(!id)
}

/// Closeness and id of a key.
fn parts(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    (f32::from_bits(bits), !(key as u32))
}

impl Best {
    /// Takes in nothing below `floor`, of which most likely there is enough.
    pub(crate) fn from(floor: f32) -> Self {
        // The least key of this closeness.
        Self { keys: Vec::new(), worst: key(floor, 0) >> 32 << 32 }
    }

    /// Closeness below which nothing gets in.
    #[inline(always)]
    pub(crate) fn floor(&self) -> f32 {
        if self.worst == 0 { f32::NEG_INFINITY } else { parts(self.worst).0 }
    }

    /// Takes a candidate, if it is among the best `k`. Whether the floor has risen.
    #[inline(always)]
    pub(crate) fn offer(&mut self, k: usize, closeness: f32, id: u32) -> bool {
        let key = key(closeness, id);
        if key <= self.worst {
            return false;
        }
        self.keys.push(key);
        let full = self.keys.len() >= k + (k / 2).max(32);
        if full {
            self.settle(k);
        }
        full
    }

    /// Lets go of what is not among the best `k`.
    fn settle(&mut self, k: usize) {
        if k > 0 && self.keys.len() >= k {
            let (_, worst, _) = self.keys.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
            self.worst = *worst;
        }
        self.keys.truncate(k);
    }

    /// How many it holds of the best `k`.
    pub(crate) fn len(&self, k: usize) -> usize {
        self.keys.len().min(k)
    }

    /// The best `k`, best first.
    pub(crate) fn sorted(mut self, k: usize) -> impl ExactSizeIterator<Item = (f32, u32)> {
        self.settle(k);
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys.into_iter().map(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_of_closeness_then_of_id() {
        let closeness = [f32::NAN, f32::NEG_INFINITY, -2.0, -1e-40, 0.0, 1e-40, 0.5, f32::INFINITY];
        let keys: Vec<u64> = closeness.iter().flat_map(|&c| [key(c, 7), key(c, 3)]).collect();
        assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(key(-0.0, 1), key(0.0, 1));
        for (i, &c) in closeness.iter().enumerate() {
            let (back, id) = parts(keys[2 * i]);
            assert!(id == 7 && (back == c || c.is_nan() && back.is_nan()));
        }
    }

    #[test]
    fn the_best_of_many_in_any_order() {
        let values: Vec<f32> = (0..1000).map(|i| (i * 7919 % 101) as f32).collect();
        let mut best = Best::default();
        for id in (0..1000u32).rev() {
            let _ = best.offer(20, values[id as usize], id);
        }
        let mut want: Vec<(f32, u32)> = values.into_iter().zip(0..).collect();
        want.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        want.truncate(20);
        assert_eq!(best.sorted(20).collect::<Vec<_>>(), want);
        assert_eq!(Best::default().sorted(3).len(), 0);
    }
}
