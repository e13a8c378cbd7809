//! Exact search.

use crate::{Error, Matrix, Metric, Result, for_each_score_row};
use std::cmp::Ordering;
use std::sync::Mutex;

/// What a query must not find.
#[derive(Clone, Copy, Debug)]
pub enum Exclude<'a> {
    /// Nothing is left out.
    Nothing,
    /// Query `i` is gallery row `i` and does not find itself.
    SelfIndex,
    /// One gallery row per query is left out; `u32::MAX` leaves out none.
    Ids(&'a [u32]),
}

impl Exclude<'_> {
    fn of(self, query: usize) -> usize {
        match self {
            Self::Nothing => usize::MAX,
            Self::SelfIndex => query,
            Self::Ids(ids) => ids[query] as usize,
        }
    }
}

/// The `k` nearest gallery rows of each query, best first, ties by smaller id.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// Neighbours per query.
    pub k: usize,
    /// Gallery rows, `[queries, k]`.
    pub ids: Vec<u32>,
    /// Their scores, `[queries, k]`, as the metric reports them.
    pub scores: Vec<f32>,
}

impl Nearest {
    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.ids.len().checked_div(self.k).unwrap_or(0)
    }

    /// Neighbours of query `q`.
    pub fn ids_of(&self, q: usize) -> &[u32] {
        &self.ids[q * self.k..][..self.k]
    }

    /// Scores of the neighbours of query `q`.
    pub fn scores_of(&self, q: usize) -> &[f32] {
        &self.scores[q * self.k..][..self.k]
    }
}

/// Best first; NaN last; ties by smaller id.
fn order(metric: Metric, a: (f32, u32), b: (f32, u32)) -> Ordering {
    let by_score = match (a.0.is_nan(), b.0.is_nan()) {
        (false, false) if metric.is_similarity() => b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal),
        (false, false) => a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal),
        (x, y) => x.cmp(&y),
    };
    by_score.then(a.1.cmp(&b.1))
}

/// The `k` nearest rows of `gallery` (`[m, d]`) for each row of `queries` (`[q, d]`).
///
/// # Errors
/// When vectors differ in length, `k` is more than there is to find, or exclusions are not one per query.
pub fn nearest(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    k: usize,
    exclude: Exclude<'_>,
) -> Result<Nearest> {
    let available = match exclude {
        Exclude::Nothing => gallery.rows(),
        _ => gallery.rows().saturating_sub(1),
    };
    if k > available {
        return Err(Error::Shape(format!(
            "k = {k} neighbours were asked for but the gallery has {available} to give: lower k"
        )));
    }
    match exclude {
        Exclude::Ids(ids) if ids.len() != queries.rows() => {
            let (given, want) = (ids.len(), queries.rows());
            return Err(Error::Shape(format!("{given} exclusions for {want} queries: give one per query")));
        }
        Exclude::SelfIndex if queries.rows() > gallery.rows() => {
            let (q, g) = (queries.rows(), gallery.rows());
            return Err(Error::Shape(format!(
                "{q} queries exclude themselves from a gallery of {g}: they are not its rows"
            )));
        }
        _ => {}
    }
    let found: Vec<Mutex<Vec<(f32, u32)>>> = (0..queries.rows()).map(|_| Mutex::default()).collect();
    for_each_score_row(metric, queries, gallery, |q, row| {
        let skip = exclude.of(q);
        let candidates = row.iter().enumerate().filter(|&(j, _)| j != skip);
        let mut candidates: Vec<(f32, u32)> = candidates.map(|(j, &s)| (s, j as u32)).collect();
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, |a, b| order(metric, *a, *b));
        }
        candidates.truncate(k);
        candidates.sort_unstable_by(|a, b| order(metric, *a, *b));
        *found[q].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = candidates;
    })?;
    let mut result = Nearest { k, ids: Vec::new(), scores: Vec::new() };
    for row in found {
        for (score, id) in row.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            result.ids.push(id);
            result.scores.push(score);
        }
    }
    Ok(result)
}
