//! Which pairs are looked at: all of them while they are few, a seeded sample of them otherwise.

use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many pairs are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairSampling {
    /// Pairs of a kind that are looked at, at most. A kind with no more than these is measured whole; of others so many are
    /// drawn, each with the same chance, with replacement.
    pub limit: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// A million pairs, seed 0.
impl Default for PairSampling {
    fn default() -> Self {
        Self { limit: 1_000_000, seed: 0 }
    }
}

/// A kind of pair of different rows, each pair counted once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Of one class.
    Intra,
    /// Of two classes.
    Inter,
    /// Any.
    Any,
}

/// The rows of each class.
pub(crate) struct Classes {
    /// Label of each class, ascending.
    pub(crate) labels: Vec<u32>,
    /// Rows of each class, ascending.
    pub(crate) rows: Vec<Vec<u32>>,
    /// Rows in all.
    pub(crate) total: usize,
}

impl Classes {
    pub(crate) fn of(labels: &[u32]) -> Self {
        let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (i, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(i as u32);
        }
        let (names, rows) = classes.into_iter().unzip();
        Self { labels: names, rows, total: labels.len() }
    }

    /// All rows as one class.
    pub(crate) fn one(rows: usize) -> Self {
        Self { labels: vec![0], rows: vec![(0..rows as u32).collect()], total: rows }
    }

    /// Classes with one row.
    pub(crate) fn lone(&self) -> usize {
        self.rows.iter().filter(|rows| rows.len() == 1).count()
    }
}

/// Pairs that are looked at.
pub(crate) struct Pairs {
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Pairs of the kind that there are.
    pub(crate) population: u64,
}

/// The pairs of a kind, smaller row first.
pub(crate) fn pairs(kind: Kind, classes: &Classes, sampling: &PairSampling) -> Result<Pairs> {
    if sampling.limit == 0 {
        return Err(Error::Input("no pair is to be looked at: set the limit of pairs to 1 or more".to_owned()));
    }
    if kind == Kind::Any {
        return pairs(Kind::Intra, &Classes::one(classes.total), sampling);
    }
    // Ordered pairs by the class of the first row.
    let weight = |rows: &Vec<u32>| {
        let n = rows.len() as u64;
        n * if kind == Kind::Intra { n - 1 } else { classes.total as u64 - n }
    };
    let population = classes.rows.iter().map(weight).sum::<u64>() / 2;
    let mut found = if population <= sampling.limit as u64 {
        all(kind, classes)
    } else {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        rng.set_stream(kind as u64);
        draw(kind, classes, &classes.rows.iter().map(weight).collect::<Vec<u64>>(), sampling.limit, &mut rng)
    };
    found.iter_mut().for_each(|(a, b)| (*a, *b) = ((*a).min(*b), (*a).max(*b)));
    Ok(Pairs { pairs: found, population })
}

fn all(kind: Kind, classes: &Classes) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (c, rows) in classes.rows.iter().enumerate() {
        for (at, &a) in rows.iter().enumerate() {
            if kind == Kind::Intra {
                found.extend(rows[at + 1..].iter().map(|&b| (a, b)));
            } else {
                found.extend(classes.rows[c + 1..].iter().flatten().map(|&b| (a, b)));
            }
        }
    }
    found
}

/// Draws without rejection: the first row's class by the pairs it is in, then the row, then its partner.
fn draw(kind: Kind, classes: &Classes, weights: &[u64], count: usize, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
    let ends = |sizes: &mut dyn Iterator<Item = u64>| -> Vec<u64> {
        sizes
            .scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            })
            .collect()
    };
    let by_weight = ends(&mut weights.iter().copied());
    let by_rows = ends(&mut classes.rows.iter().map(|rows| rows.len() as u64));
    let total = by_weight.last().copied().unwrap_or(0);
    let pick = |ends: &[u64], at: u64| ends.partition_point(|&end| end <= at);
    let pair = |_| {
        let c = pick(&by_weight, rng.random_range(0..total));
        let rows = &classes.rows[c];
        let at = rng.random_range(0..rows.len());
        let partner = if kind == Kind::Intra {
            let other = rng.random_range(0..rows.len() - 1);
            rows[other + usize::from(other >= at)]
        } else {
            // Rows in the order of their classes, those of class c left out.
            let start = by_rows[c] - rows.len() as u64;
            let other = rng.random_range(0..classes.total as u64 - rows.len() as u64);
            let other = if other >= start { other + rows.len() as u64 } else { other };
            let class = pick(&by_rows, other);
            let first = by_rows[class] - classes.rows[class].len() as u64;
            classes.rows[class][(other - first) as usize]
        };
        (rows[at], partner)
    };
    (0..count).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [u32; 10] = [7, 3, 7, 3, 3, 9, 7, 3, 3, 3];

    fn is(kind: Kind, a: u32, b: u32) -> bool {
        let same = LABELS[a as usize] == LABELS[b as usize];
        a < b && (kind == Kind::Any || same == (kind == Kind::Intra))
    }

    #[test]
    fn few_pairs_are_all_there_once() {
        for (kind, want) in [(Kind::Intra, 15 + 3), (Kind::Inter, 6 * 3 + 6 + 3), (Kind::Any, 45)] {
            let Pairs { mut pairs, population } =
                super::pairs(kind, &Classes::of(&LABELS), &PairSampling::default()).unwrap();
            assert!(pairs.iter().all(|&(a, b)| is(kind, a, b)), "{kind:?}");
            pairs.sort_unstable();
            pairs.dedup();
            assert_eq!((pairs.len(), population), (want, want as u64), "{kind:?}");
        }
    }

    #[test]
    fn drawn_pairs_are_of_their_kind_and_equally_frequent() {
        // Every kind has more than 17 pairs, so that a draw of 17 is one; many draws together tell the frequencies.
        for kind in [Kind::Intra, Kind::Inter, Kind::Any] {
            let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
            let (draws, mut population) = (2000, 0);
            for seed in 0..draws {
                let drawn = super::pairs(kind, &Classes::of(&LABELS), &PairSampling { limit: 17, seed }).unwrap();
                population = drawn.population;
                assert_eq!(drawn.pairs.len(), 17);
                assert!(drawn.pairs.iter().all(|&(a, b)| is(kind, a, b)), "{kind:?}");
                drawn.pairs.iter().for_each(|&pair| *counts.entry(pair).or_default() += 1);
            }
            assert_eq!(counts.len() as u64, population, "{kind:?}");
            let expected = 17.0 * draws as f64 / population as f64;
            let off = counts.values().map(|&n| (n as f64 - expected).abs()).fold(0.0, f64::max);
            assert!(off < 5.0 * expected.sqrt(), "{kind:?}: off by {off} of {expected}");
        }
    }
}
