//! Pairs and triplets that a miner has named.

use crate::{Error, Result};
use dml_core::relevance::{Relevance, Sets};

/// Pairs or triplets of rows: anchors are rows of the batch, the others columns of the references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tuples {
    /// (anchor, positive) and (anchor, negative).
    Pairs {
        /// Positive pairs.
        positives: Vec<(u32, u32)>,
        /// Negative pairs.
        negatives: Vec<(u32, u32)>,
    },
    /// (anchor, positive, negative).
    Triplets(Vec<[u32; 3]>),
}

impl Tuples {
    /// Number of pairs or triplets.
    pub fn len(&self) -> usize {
        match self {
            Self::Pairs { positives, negatives } => positives.len() + negatives.len(),
            Self::Triplets(triplets) => triplets.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses rows that are not there.
    pub(crate) fn check(&self, n: usize, m: usize) -> Result<()> {
        let pair = |&(a, b): &(u32, u32)| (a as usize) < n && (b as usize) < m;
        let fits = match self {
            Self::Pairs { positives, negatives } => positives.iter().chain(negatives).all(pair),
            Self::Triplets(triplets) => triplets.iter().all(|&[a, p, n]| pair(&(a, p)) && pair(&(a, n))),
        };
        let message = || format!("mined tuples name rows beyond {n} anchors and {m} references: mine this very batch");
        if fits { Ok(()) } else { Err(Error::Labels(message())) }
    }

    /// How often each row of the batch is named, over the largest such number: what losses of single samples weigh them
    /// by. `within`: positives and negatives are rows of the batch too, and not of references.
    pub(crate) fn weights(&self, n: usize, within: bool) -> Vec<f64> {
        let mut counts = vec![0f64; n];
        let mut name = |anchor: u32, others: &[u32]| {
            counts[anchor as usize] += 1.0;
            others.iter().filter(|_| within).for_each(|&j| counts[j as usize] += 1.0);
        };
        match self {
            Self::Pairs { positives, negatives } => {
                positives.iter().chain(negatives).for_each(|&(a, j)| name(a, &[j]));
            }
            Self::Triplets(triplets) => triplets.iter().for_each(|&[a, p, q]| name(a, &[p, q])),
        }
        let most = counts.iter().copied().fold(0.0, f64::max);
        if most > 0.0 {
            counts.iter_mut().for_each(|c| *c /= most);
        }
        counts
    }
}

/// A relevance narrowed to what a miner has named.
pub(crate) struct Mined<'a> {
    inner: Box<dyn Relevance + 'a>,
    positives: Vec<Vec<u32>>,
    negatives: Vec<Vec<u32>>,
    triplets: Option<Vec<Vec<(u32, u32)>>>,
}

impl<'a> Mined<'a> {
    /// With `repeats`, a pair that is named twice (by two triplets) counts twice.
    pub(crate) fn new(inner: Box<dyn Relevance + 'a>, tuples: &Tuples, repeats: bool) -> Self {
        let n = inner.anchors();
        let (mut positives, mut negatives) = (vec![Vec::new(); n], vec![Vec::new(); n]);
        let mut by_anchor = None;
        match tuples {
            Tuples::Pairs { positives: p, negatives: q } => {
                p.iter().for_each(|&(a, j)| positives[a as usize].push(j));
                q.iter().for_each(|&(a, j)| negatives[a as usize].push(j));
            }
            Tuples::Triplets(triplets) => {
                let mut lists = vec![Vec::new(); n];
                for &[a, p, q] in triplets {
                    positives[a as usize].push(p);
                    negatives[a as usize].push(q);
                    lists[a as usize].push((p, q));
                }
                by_anchor = Some(lists);
            }
        }
        if !repeats {
            for list in positives.iter_mut().chain(&mut negatives) {
                list.sort_unstable();
                list.dedup();
            }
        }
        Self { inner, positives, negatives, triplets: by_anchor }
    }
}

impl Relevance for Mined<'_> {
    fn anchors(&self) -> usize {
        self.inner.anchors()
    }

    fn references(&self) -> usize {
        self.inner.references()
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        self.inner.row(anchor, sets);
        sets.positives.clone_from(&self.positives[anchor]);
        sets.negatives = Some(self.negatives[anchor].clone());
        sets.triplets = self.triplets.as_ref().map(|lists| lists[anchor].clone());
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        self.inner.class(anchor)
    }
}
