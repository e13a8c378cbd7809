//! Queries to look at, and classes that are taken for others.

use super::AssessmentOptions;
use super::set::Parts;
use crate::Result;
use crate::retrieval::{Measure, Measurements};
use dml_core::{Exclude, Matrix, Metric, Nearest, NearestSearch, nearest, unwatched};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeMap;

/// Neighbours shown.
const NEIGHBOURS: usize = 8;

/// A query and what it found first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// `best`, `worst` or `random`.
    pub kind: String,
    /// Row of the query.
    pub query: u32,
    /// Value of the measure that it was chosen by.
    pub value: f64,
    /// Rows found, with their scores and whether they are of the query's class.
    pub found: Vec<(u32, f32, bool)>,
}

/// A class whose queries find another one first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// The queries' class.
    pub class: u32,
    /// The class of their nearest neighbour.
    pub taken_for: u32,
    /// Queries.
    pub queries: usize,
    /// Their share of the class's queries.
    pub share: f64,
}

/// Neighbours of some of the queries.
fn search(
    metric: Metric,
    (queries, gallery): (Matrix<'_>, Matrix<'_>),
    parts: &Parts,
    chosen: &[u32],
) -> Result<Nearest> {
    let values: Vec<f32> = chosen.iter().flat_map(|&q| queries.row(q as usize)).copied().collect();
    let hides = |i: usize, place: u32| parts.hides(chosen[i] as usize, place);
    let asked = Matrix::new(&values, chosen.len(), queries.cols())?;
    let mut search = NearestSearch::new(metric, asked, NEIGHBOURS, Exclude::Where(&hides));
    search.add(gallery, &unwatched)?;
    Ok(search.finish())
}

/// The best, the worst and random queries, by the first of MAP@R, mAP or whatever was measured.
pub(super) fn examples(
    metric: Metric,
    sides: (Matrix<'_>, Matrix<'_>),
    parts: &Parts,
    measured: &Measurements,
    options: &AssessmentOptions,
) -> Result<Vec<Example>> {
    let by = [Measure::MAP_AT_R, Measure::MAP].into_iter().find_map(|measure| measured.get(measure));
    let Some(by) = by.or_else(|| measured.measured.first()) else { return Ok(Vec::new()) };
    let mut order: Vec<usize> = (0..by.values.len()).collect();
    order.sort_by(|&a, &b| by.values[b].total_cmp(&by.values[a]).then(a.cmp(&b)));
    let shown = options.shown.min(order.len() / 3);
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let worst = order.iter().rev().take(shown).copied();
    let best = order.iter().take(shown).copied();
    let drawn = sample(&mut random, order.len(), shown).into_iter();
    let kinds = worst.map(|i| ("worst", i)).chain(drawn.map(|i| ("random", i))).chain(best.map(|i| ("best", i)));
    let chosen: Vec<(&str, usize)> = kinds.collect();
    let queries: Vec<u32> = chosen.iter().map(|&(_, i)| measured.queries[i]).collect();
    let found = search(metric, sides, parts, &queries)?;
    let example = |(at, (&(kind, i), &q)): (usize, (&(&str, usize), &u32))| {
        let label = parts.query_labels[q as usize];
        let list = found.ids_of(at).iter().zip(found.scores_of(at));
        let found = list.map(|(&place, &score)| {
            (parts.gallery[place as usize], score, parts.gallery_labels[place as usize] == label)
        });
        let query = parts.queries[q as usize];
        Example { kind: kind.to_owned(), query, value: by.values[i], found: found.collect() }
    };
    Ok(chosen.iter().zip(&queries).enumerate().map(example).collect())
}

/// Which classes' queries find which other class first, most queries first.
pub(super) fn confusions(metric: Metric, sides: (Matrix<'_>, Matrix<'_>), parts: &Parts) -> Result<Vec<Confusion>> {
    let hides = |q: usize, place: u32| parts.hides(q, place);
    let found = nearest(metric, sides.0, sides.1, 1, Exclude::Where(&hides))?;
    let mut asked: BTreeMap<u32, usize> = BTreeMap::new();
    let mut taken: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for (q, &class) in parts.query_labels.iter().enumerate() {
        *asked.entry(class).or_default() += 1;
        for &place in found.ids_of(q) {
            let other = parts.gallery_labels[place as usize];
            if other != class {
                *taken.entry((class, other)).or_default() += 1;
            }
        }
    }
    let confusion = |((class, taken_for), queries): ((u32, u32), usize)| {
        let share = queries as f64 / asked.get(&class).copied().unwrap_or(1) as f64;
        Confusion { class, taken_for, queries, share }
    };
    let mut confusions: Vec<Confusion> = taken.into_iter().map(confusion).collect();
    confusions.sort_by(|a, b| b.queries.cmp(&a.queries).then(b.share.total_cmp(&a.share)));
    Ok(confusions)
}
