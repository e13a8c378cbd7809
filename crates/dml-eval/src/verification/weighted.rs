//! Verification measures of weighted pairs: one resample of a bootstrap.

use crate::loosest::allowed;

/// A pair and the two units whose weights it takes; one unit where both are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) closeness: f32,
    pub(super) a: u32,
    pub(super) b: u32,
}

impl Scored {
    fn weight(&self, weights: &[u32]) -> u64 {
        let a = u64::from(weights[self.a as usize]);
        if self.a == self.b { a } else { a * u64::from(weights[self.b as usize]) }
    }
}

/// The closest impostor pairs of a set too large to hold all of them.
pub(super) struct WeightedTail {
    /// Closest first.
    pub(super) pairs: Vec<Scored>,
    /// Items of each identity, which say how many impostor pairs there are in all.
    pub(super) sizes: Vec<u64>,
    /// FARs up to this one are measured on the tail.
    pub(super) reaches: f64,
}

/// The pairs of one system, closest first: all of them, or a sample beside the tail.
pub(super) struct System {
    genuine: Vec<Scored>,
    impostors: Vec<Scored>,
    tail: Option<WeightedTail>,
}

impl System {
    pub(super) fn new(mut genuine: Vec<Scored>, mut impostors: Vec<Scored>, tail: Option<WeightedTail>) -> Self {
        genuine.sort_by(|x, y| y.closeness.total_cmp(&x.closeness));
        impostors.sort_by(|x, y| y.closeness.total_cmp(&x.closeness));
        Self { genuine, impostors, tail }
    }

    /// EER, AUC and TAR at each FAR; None where all pairs of a kind have weight 0.
    pub(super) fn measures(&self, weights: &[u32], fars: &[f64]) -> Option<Vec<f64>> {
        let total = |pairs: &[Scored]| pairs.iter().map(|pair| pair.weight(weights)).sum::<u64>();
        let (genuine, impostors) = (total(&self.genuine), total(&self.impostors));
        if genuine == 0 || impostors == 0 {
            return None;
        }
        let may_pass: Vec<u64> = fars.iter().map(|&far| allowed(far, impostors)).collect();
        let mut passing = vec![0; fars.len()];
        let (mut twice_area, mut eer) = (0f64, None);
        let gap = |(i, g): (u64, u64)| i as f64 / impostors as f64 + g as f64 / genuine as f64 - 1.0;
        self.corners(weights, |before, after| {
            twice_area += (after.0 - before.0) as f64 * (after.1 + before.1) as f64;
            passing.iter_mut().zip(&may_pass).filter(|(_, may)| after.0 <= **may).for_each(|(p, _)| *p = after.1);
            if eer.is_none() && gap(after) >= 0.0 {
                let share = -gap(before) / (gap(after) - gap(before));
                eer = Some((before.0 as f64 + share * (after.0 - before.0) as f64) / impostors as f64);
            }
        });
        if let Some(tail) = &self.tail {
            for (passing, &far) in passing.iter_mut().zip(fars).filter(|(_, far)| **far <= tail.reaches) {
                let breaking = tail.breaking(weights, far)?;
                let closer = self.genuine.partition_point(|pair| pair.closeness > breaking);
                *passing = total(&self.genuine[..closer]);
            }
        }
        let tar = passing.iter().map(|&passing| passing as f64 / genuine as f64);
        let auc = twice_area / (2.0 * genuine as f64 * impostors as f64);
        Some([eer.unwrap_or(1.0), auc].into_iter().chain(tar).collect())
    }

    /// Calls `f(before, after)` with the weights (impostors, genuine) that pass, for each distinct closeness from the closest.
    fn corners(&self, weights: &[u32], mut f: impl FnMut((u64, u64), (u64, u64))) {
        let (mut genuine, mut impostors) = (self.genuine.iter().peekable(), self.impostors.iter().peekable());
        let mut before = (0, 0);
        loop {
            let closeness = match (genuine.peek(), impostors.peek()) {
                (Some(a), Some(b)) => a.closeness.max(b.closeness),
                (Some(only), None) | (None, Some(only)) => only.closeness,
                (None, None) => return,
            };
            let mut after = before;
            while let Some(pair) = impostors.next_if(|pair| pair.closeness == closeness) {
                after.0 += pair.weight(weights);
            }
            while let Some(pair) = genuine.next_if(|pair| pair.closeness == closeness) {
                after.1 += pair.weight(weights);
            }
            f(before, after);
            before = after;
        }
    }
}

impl WeightedTail {
    /// The closeness of the impostor pair that would break `far`; the tail's last where no pair of it does. None where all
    /// impostor pairs have weight 0.
    fn breaking(&self, weights: &[u32], far: f64) -> Option<f32> {
        // Σ_{a<b} w_a n_a w_b n_b.
        let of_identity = self.sizes.iter().zip(weights).map(|(&n, &w)| u128::from(n) * u128::from(w));
        let (sum, squares) = of_identity.fold((0, 0), |(sum, squares), m| (sum + m, squares + m * m));
        let all = u64::try_from((sum * sum - squares) / 2).ok().filter(|&all| all > 0)?;
        let may_pass = allowed(far, all);
        let mut passing = 0;
        let breaking = self.pairs.iter().find(|pair| {
            passing += pair.weight(weights);
            passing > may_pass
        });
        breaking.or(self.pairs.last()).map(|pair| pair.closeness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Curve;

    /// Pairs of 12 identities of three items, at whole numbers so that many tie.
    fn pairs() -> (Vec<Scored>, Vec<Scored>) {
        let place = |i: u32| ((i * 37 + i * i * 11) % 29) as f32;
        let all = (0..36u32).flat_map(|i| (i + 1..36).map(move |j| (i, j)));
        let scored = |(i, j): (u32, u32)| Scored { closeness: -(place(i) - place(j)).abs(), a: i / 3, b: j / 3 };
        all.map(scored).partition(|pair| pair.a == pair.b)
    }

    fn weights(seed: u32) -> Vec<u32> {
        (0..12u32).map(|k| (k * 7 + seed * 5 + k * k * seed) % 4).collect()
    }

    #[test]
    fn a_weight_is_that_many_copies() {
        let (genuine, impostors) = pairs();
        let fars = [0.0, 0.01, 0.1, 0.4];
        let system = System::new(genuine.clone(), impostors.clone(), None);
        for seed in 0..20 {
            let weights = weights(seed);
            let copies = |pairs: &[Scored]| -> Vec<f32> {
                pairs.iter().flat_map(|p| vec![p.closeness; p.weight(&weights) as usize]).collect()
            };
            let curve = Curve::new(copies(&genuine), copies(&impostors)).unwrap();
            let got = system.measures(&weights, &fars).unwrap();
            let tar = fars.map(|far| curve.tar_at_far(far).unwrap().tar);
            for (got, want) in got.iter().zip([curve.equal_error().eer, curve.auc()].iter().chain(&tar)) {
                assert!((got - want).abs() < 1e-12, "{seed}: {got} {want}");
            }
        }
        assert_eq!(system.measures(&[0; 12], &fars), None);
    }

    #[test]
    fn a_tail_gives_what_all_pairs_give() {
        let (genuine, impostors) = pairs();
        let whole = System::new(genuine.clone(), impostors.clone(), None);
        let mut closest = impostors.clone();
        closest.sort_by(|x, y| y.closeness.total_cmp(&x.closeness));
        closest.truncate(300);
        // What stands in for the sample must not be asked for small FARs.
        let tail = WeightedTail { pairs: closest, sizes: vec![3; 12], reaches: 0.1 };
        let cut = System::new(genuine, impostors.into_iter().step_by(13).collect(), Some(tail));
        for seed in 0..20 {
            let weights = weights(seed);
            let (whole, cut) = (whole.measures(&weights, &[0.0, 0.02, 0.1]), cut.measures(&weights, &[0.0, 0.02, 0.1]));
            assert_eq!(whole.unwrap()[2..], cut.unwrap()[2..], "{seed}");
        }
    }
}
