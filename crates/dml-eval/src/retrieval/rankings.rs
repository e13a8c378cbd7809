//! Where the relevant items of each query stand in its ranking: all that any retrieval measure needs to know.

use super::exclusion::Exclusion;
use super::judge::{Judge, Verdict};
use super::relevance::Relevance;
use crate::{Error, Result};
use dml_core::Nearest;
use rayon::prelude::*;

/// Where the relevant items of each query stand in its ranking.
///
/// From embeddings by [`Rankings::whole`], from a search's lists by [`Rankings::from_nearest`], from anything else by
/// [`Rankings::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Rankings {
    /// Query `q` has `ranks[starts[q]..starts[q + 1]]`.
    starts: Vec<usize>,
    /// From 1, rising within a query.
    ranks: Vec<u32>,
    /// R per query.
    relevant: Vec<u32>,
    /// Items per ranking.
    length: Vec<u32>,
    /// Places known of each ranking; `None`: all.
    depth: Option<usize>,
    /// Where items differ in worth.
    grades: Option<Grades>,
}

#[derive(Clone, Debug, PartialEq)]
struct Grades {
    /// One per rank.
    gains: Vec<f32>,
    /// Query `q` has `ideal[starts[q]..starts[q + 1]]`.
    starts: Vec<usize>,
    /// All gains of a query's relevant items, falling.
    ideal: Vec<f32>,
}

/// The ranking of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranking<'a> {
    /// Ranks of the relevant items found, from 1, rising.
    pub ranks: &'a [u32],
    /// Their gains; empty where all are 1.
    pub gains: &'a [f32],
    /// Gains of all relevant items, found or not, falling; empty where all are 1.
    pub ideal: &'a [f32],
    /// R, the relevant items of the gallery without excluded ones.
    pub relevant: usize,
    /// Items in the ranking, without excluded ones.
    pub length: usize,
    /// How many of its first places are known; `length` when all are.
    pub known: usize,
}

/// One query's part of the arrays.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// Rank and gain of each relevant item found, ranks rising.
    pub(crate) found: Vec<(u32, f32)>,
    /// Gains of all relevant items in any order; empty where all are 1.
    pub(crate) ideal: Vec<f32>,
    /// R.
    pub(crate) relevant: usize,
    /// Items in the ranking.
    pub(crate) length: usize,
}

impl Rankings {
    /// Rankings of n queries whose relevant items are all worth the same.
    ///
    /// * `starts` `[n + 1]`: `ranks[starts[q]..starts[q + 1]]` belong to query q;
    /// * `ranks`: places of the relevant items found, from 1, rising within a query;
    /// * `relevant` `[n]`: R, which may be more than were found where rankings are cut;
    /// * `length` `[n]`: items in the ranking, relevant or not, found or not, without excluded ones;
    /// * `depth`: `None` when rankings are whole, `Some(k)` when only their first k places are known.
    ///
    /// # Errors
    /// When the arrays do not fit together, naming the query.
    pub fn new(
        starts: Vec<usize>,
        ranks: Vec<u32>,
        relevant: Vec<u32>,
        length: Vec<u32>,
        depth: Option<usize>,
    ) -> Result<Self> {
        let n = relevant.len();
        let rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if length.len() != n || starts.len() != n + 1 || starts[0] != 0 || starts[n] != ranks.len() || !rising {
            return Err(Error::Input(format!(
                "rankings of {n} queries with {} lengths, {} starts and {} ranks: want a length per query, and starts that \
                 rise from 0 to the number of ranks, one more than queries",
                length.len(),
                starts.len(),
                ranks.len()
            )));
        }
        let rankings = Self { starts, ranks, relevant, length, depth, grades: None };
        rankings.iter().enumerate().try_for_each(|(q, ranking)| ranking.check(q, depth.is_none()))?;
        Ok(rankings)
    }

    /// The same rankings with items of different worth: a gain above 0 per rank, and `ideal`, the gains of all relevant
    /// items of query 0, then those of query 1 and so on, R each, found or not.
    ///
    /// # Errors
    /// When there are not as many, a gain is not a number above 0, or found gains are no part of all gains.
    pub fn with_gains(self, gains: Vec<f32>, mut ideal: Vec<f32>) -> Result<Self> {
        let starts = running_sum(self.relevant.iter().map(|&r| r as usize));
        let want = starts.last().copied().unwrap_or(0);
        if gains.len() != self.ranks.len() || ideal.len() != want {
            return Err(Error::Input(format!(
                "{} gains for {} ranks and {} for {want} relevant items: give one each",
                gains.len(),
                self.ranks.len(),
                ideal.len()
            )));
        }
        if let Some(gain) = gains.iter().chain(&ideal).find(|gain| !(gain.is_finite() && **gain > 0.0)) {
            return Err(Error::Input(format!("a relevant item has the gain {gain}: want a number above 0")));
        }
        for (q, bounds) in starts.windows(2).enumerate() {
            let all = &mut ideal[bounds[0]..bounds[1]];
            all.sort_unstable_by(|a, b| b.total_cmp(a));
            let mut found = gains[self.starts[q]..self.starts[q + 1]].to_vec();
            found.sort_unstable_by(|a, b| b.total_cmp(a));
            if found.iter().zip(all.iter()).any(|(found, all)| found > all) {
                return Err(Error::Input(format!(
                    "query {q} found more gain than its relevant items have: check `ideal`"
                )));
            }
        }
        Ok(Self { grades: Some(Grades { gains, starts, ideal }), ..self })
    }

    /// Rankings from a search's lists, best first: known as deep as the shortest list after exclusion, and in the order of
    /// the lists, whatever their ties. `gallery` is the number of items that were searched.
    ///
    /// What the search left out (itself, by `dml_core::Exclude`) must be named in `exclude` too: it tells how long the
    /// whole ranking is. What only `exclude` names is taken out of the lists, so search deeper by as many.
    ///
    /// # Errors
    /// When labels or lists are not one per query and gallery item, a list names a row that the gallery has not, or one
    /// row twice.
    pub fn from_nearest(
        found: &Nearest,
        gallery: usize,
        relevance: &Relevance<'_>,
        exclude: &[Exclusion<'_>],
    ) -> Result<Self> {
        let judge = Judge::new(relevance, exclude, found.queries(), gallery)?;
        let graded = relevance.is_graded();
        let place = |verdict: &mut Verdict, q: usize| {
            judge.judge(q, verdict);
            let ids = found.ids_of(q);
            check_ids(q, ids, gallery)?;
            let shown = ids.iter().filter(|&&id| !verdict.excludes(id));
            let hits = shown.clone().zip(1u32..).filter_map(|(&id, rank)| Some((rank, verdict.gain(id)?)));
            let placed = Placed { found: hits.collect(), ..Placed::of(&judge, verdict, graded) };
            Ok((placed, shown.count()))
        };
        let placed: Vec<(Placed, usize)> =
            (0..found.queries()).into_par_iter().map_init(Verdict::default, place).collect::<Result<_>>()?;
        let cut = placed.iter().filter(|(placed, listed)| *listed < placed.length);
        let depth = cut.map(|(_, listed)| *listed).min();
        Self::assemble(placed.into_iter().map(|(placed, _)| placed).collect(), depth, graded)
    }

    /// Puts the queries' parts together, without ranks beyond `depth`.
    pub(crate) fn assemble(placed: Vec<Placed>, depth: Option<usize>, graded: bool) -> Result<Self> {
        let known = |rank: u32| depth.is_none_or(|depth| rank as usize <= depth);
        let within = |placed: &Placed| placed.found.iter().filter(|(rank, _)| known(*rank)).count();
        let starts = running_sum(placed.iter().map(within));
        let hits = || placed.iter().flat_map(|placed| &placed.found[..within(placed)]);
        let column = |number: fn(&Placed) -> usize| placed.iter().map(|placed| number(placed) as u32).collect();
        let ranks = hits().map(|hit| hit.0).collect();
        let rankings = Self::new(starts, ranks, column(|p| p.relevant), column(|p| p.length), depth)?;
        if !graded {
            return Ok(rankings);
        }
        let ideal = placed.iter().flat_map(|placed| &placed.ideal).copied().collect();
        rankings.with_gains(hits().map(|hit| hit.1).collect(), ideal)
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.relevant.len()
    }

    /// Places known of each ranking; `None` when rankings are whole.
    pub fn depth(&self) -> Option<usize> {
        self.depth
    }

    /// The ranking of query `q`; `None` when there is no such query.
    pub fn get(&self, q: usize) -> Option<Ranking<'_>> {
        let (length, relevant) = (*self.length.get(q)? as usize, self.relevant[q] as usize);
        let within = self.starts[q]..self.starts[q + 1];
        let (gains, ideal) = match &self.grades {
            Some(grades) => (&grades.gains[within.clone()], &grades.ideal[grades.starts[q]..grades.starts[q + 1]]),
            None => (&[][..], &[][..]),
        };
        let known = self.depth.map_or(length, |depth| depth.min(length));
        Some(Ranking { ranks: &self.ranks[within], gains, ideal, relevant, length, known })
    }

    /// All queries' rankings, in order.
    pub fn iter(&self) -> impl Iterator<Item = Ranking<'_>> {
        (0..self.queries()).filter_map(|q| self.get(q))
    }
}

impl Placed {
    /// Of a query of which nothing is found yet.
    pub(crate) fn of(judge: &Judge<'_>, verdict: &Verdict, graded: bool) -> Self {
        let gains = verdict.relevant.iter().map(|item| item.1);
        let ideal = if graded { gains.collect() } else { Vec::new() };
        Self { found: Vec::new(), ideal, relevant: verdict.relevant.len(), length: judge.length(verdict) }
    }
}

impl Ranking<'_> {
    fn check(&self, q: usize, whole: bool) -> Result<()> {
        let Self { ranks, relevant, length, known, .. } = *self;
        let found = ranks.len();
        let wrong = if ranks.first() == Some(&0) || ranks.windows(2).any(|pair| pair[0] >= pair[1]) {
            "ranks count from 1 and rise"
        } else if ranks.last().is_some_and(|&last| last as usize > known) {
            "ranks lie within what is known of the ranking"
        } else if found > relevant || relevant > length {
            "no more are found than are relevant, and no more are relevant than are ranked"
        } else if whole && found != relevant {
            "a whole ranking holds all relevant items"
        } else {
            return Ok(());
        };
        let last = ranks.last().copied().unwrap_or(0);
        Err(Error::Input(format!(
            "query {q} found {found} of {relevant} relevant items, the last at rank {last}, in a ranking of {length} items of \
             which {known} are known: {wrong}"
        )))
    }
}

fn check_ids(q: usize, ids: &[u32], gallery: usize) -> Result<()> {
    if let Some(id) = ids.iter().find(|&&id| id as usize >= gallery) {
        return Err(Error::Input(format!(
            "query {q} found row {id}, but the gallery has {gallery} rows, counted from 0"
        )));
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::Input(format!("query {q} found row {} twice: a ranking holds an item once", pair[0]))),
        None => Ok(()),
    }
}

/// 0, then the sums of the first one, two, … numbers.
fn running_sum(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sum = 0;
    let sums = numbers.map(|number| {
        sum += number;
        sum
    });
    std::iter::once(0).chain(sums).collect()
}
