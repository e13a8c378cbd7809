//! Re-identification with one gallery image per person.

use super::exclusion::Exclusion;
use super::judge::{Judge, Verdict};
use super::rankings::{Placed, Rankings};
use super::relevance::Relevance;
use super::ties::Ties;
use super::whole::distance;
use crate::finite::check_finite;
use crate::{Error, Result};
use dml_core::{Matrix, Metric, for_each_score_row};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How often to draw one gallery item per identity, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleShot {
    /// Draws per query.
    pub draws: usize,
    /// Seed.
    pub seed: u64,
}

impl Default for SingleShot {
    /// 100 draws, as CUHK03's protocol, of seed 0.
    fn default() -> Self {
        Self { draws: 100, seed: 0 }
    }
}

/// Single-gallery-shot rankings: per query and draw, one item at random of each identity that the gallery still has after
/// exclusion. [`evaluate_draws`](super::evaluate_draws) with Recall@k makes the single-gallery-shot CMC@k of them; it is
/// higher than that of the whole gallery where identities have many images, and not to be compared with it.
/// Li et al., *DeepReID* (CUHK03), 2014, §5; open-reid draws per query, as here.
///
/// # Errors
/// As [`Rankings::whole`]; when there are no draws.
pub fn single_shot(
    metric: Metric,
    queries: (Matrix<'_>, &[u32]),
    gallery: (Matrix<'_>, &[u32]),
    exclude: &[Exclusion<'_>],
    ties: Ties,
    protocol: &SingleShot,
) -> Result<Vec<Rankings>> {
    let ((queries, query_labels), (gallery, gallery_labels)) = (queries, gallery);
    if protocol.draws == 0 {
        return Err(Error::Input("0 draws of a gallery: want 1 or more".to_owned()));
    }
    check_finite("query", queries, 0)?;
    check_finite("gallery item", gallery, 0)?;
    let relevance = Relevance::Labels { queries: query_labels, gallery: gallery_labels };
    let judge = Judge::new(&relevance, exclude, queries.rows(), gallery.rows())?;
    let mut identities: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    (0u32..).zip(gallery_labels).for_each(|(id, &label)| identities.entry(label).or_default().push(id));
    // Of each query, the rank of its identity in each draw, and identities in the gallery.
    type Drawn = (Vec<Option<u32>>, usize);
    let slots: Vec<Mutex<Drawn>> = (0..queries.rows()).map(|_| Mutex::default()).collect();
    let sign = metric.sign() as f32;
    for_each_score_row(metric, queries, gallery, |q, row| {
        let mut verdict = Verdict::default();
        judge.judge(q, &mut verdict);
        let shown = |ids: &Vec<u32>| ids.iter().copied().filter(|&id| !verdict.excludes(id)).collect::<Vec<_>>();
        let others = identities.iter().filter(|(label, _)| **label != query_labels[q]).map(|(_, ids)| shown(ids));
        let others: Vec<Vec<u32>> = others.filter(|ids| !ids.is_empty()).collect();
        let own: Vec<u32> = verdict.relevant.iter().map(|item| item.0).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(protocol.seed);
        rng.set_stream(q as u64);
        let mut draw = || {
            let own = one_of(&own, &mut rng)?;
            let mine = distance(row[own as usize], sign);
            let before = others.iter().filter_map(|ids| one_of(ids, &mut rng)).filter(|&id| {
                let theirs = distance(row[id as usize], sign);
                theirs < mine
                    || theirs == mine
                        && match ties {
                            Ties::ById => id < own,
                            Ties::Optimistic => false,
                            Ties::Pessimistic => true,
                        }
            });
            Some(before.count() as u32 + 1)
        };
        let ranks = (0..protocol.draws).map(|_| draw()).collect();
        let drawn = (ranks, others.len() + usize::from(!own.is_empty()));
        *slots[q].lock().unwrap_or_else(PoisonError::into_inner) = drawn;
    })?;
    let drawn: Vec<Drawn> =
        slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
    let of_draw = |draw: usize| {
        let placed = drawn.iter().map(|(ranks, length)| {
            let rank = ranks.get(draw).copied().flatten();
            let found: Vec<(u32, f32)> = rank.map(|rank| (rank, 1.0)).into_iter().collect();
            Placed { relevant: found.len(), found, ideal: Vec::new(), length: *length }
        });
        Rankings::assemble(placed.collect(), None, false)
    };
    (0..protocol.draws).map(of_draw).collect()
}

fn one_of(ids: &[u32], rng: &mut ChaCha8Rng) -> Option<u32> {
    let last = u32::try_from(ids.len()).ok()?.checked_sub(1)?;
    ids.get(rng.random_range(0..=last) as usize).copied()
}
