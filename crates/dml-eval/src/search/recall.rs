//! How much of the exact answer an approximate one holds.

use crate::statistics::{mean, std};
use crate::{Error, Result};
use dml_core::Nearest;
use serde::{Deserialize, Serialize};

/// Recall@k of an index: which share of the `k` nearest it found. Not the Recall@K of retrieval, which asks for labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// Neighbours looked at per query.
    pub k: usize,
    /// Mean over the queries that have neighbours.
    pub mean: f64,
    /// `s/√n` over the same queries, s with divisor n − 1; `None` of a single one.
    pub standard_error: Option<f64>,
    /// The least of the queries' recalls, and the first query that has it.
    pub worst: (usize, f64),
    /// Of each query; `None` where exclusions leave nothing to be found, which no mean counts.
    pub per_query: Vec<Option<f64>>,
}

/// Recall@k of `approximate` answers against `exact` ones, query by query:
/// `|{j in A : j in E or score(j) = score of the last of E}| / |E|`, at most 1.
///
/// E is the first `k` of the exact answer, or all of it where exclusions left fewer; A the first `k` of the approximate one, each
/// row once. A row that ties with the last of E, bit for bit, counts as found: which of equals comes first is a matter of their
/// numbers, not of nearness. Both must come from the same metric, with scores of this crate ([`Index`](super::Index)), and be asked
/// for at least `k`.
///
/// # Errors
/// When `k` is 0, the answers are of different numbers of queries, or no query has anything to be found.
pub fn recall_against(exact: &Nearest, approximate: &Nearest, k: usize) -> Result<Recall> {
    if k == 0 {
        return Err(Error::Input("recall@0 was asked for: want k of 1 or more".to_owned()));
    }
    if exact.queries() != approximate.queries() {
        return Err(Error::Input(format!(
            "{} queries were answered exactly but {} approximately: ask both the same queries",
            exact.queries(),
            approximate.queries()
        )));
    }
    let per_query: Vec<Option<f64>> = (0..exact.queries()).map(|q| of_query(exact, approximate, q, k)).collect();
    let recalls: Vec<f64> = per_query.iter().copied().flatten().collect();
    let each = per_query.iter().enumerate().filter_map(|(q, recall)| recall.map(|recall| (q, recall)));
    // The first of equals.
    let Some(worst) = each.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Err(Error::Input("no query has a neighbour: there is nothing to be found".to_owned()));
    };
    let standard_error = (recalls.len() > 1).then(|| std(&recalls) / (recalls.len() as f64).sqrt());
    Ok(Recall { k, mean: mean(&recalls), standard_error, worst, per_query })
}

fn of_query(exact: &Nearest, approximate: &Nearest, q: usize, k: usize) -> Option<f64> {
    let count = exact.ids_of(q).len().min(k);
    let last = *exact.scores_of(q)[..count].last()?;
    let mut wanted = exact.ids_of(q)[..count].to_vec();
    wanted.sort_unstable();
    let mut given: Vec<_> = approximate.ids_of(q).iter().zip(approximate.scores_of(q)).take(k).collect();
    given.sort_by_key(|(id, _)| **id);
    given.dedup_by_key(|(id, _)| **id);
    let found = given.iter().filter(|(id, score)| wanted.binary_search(id).is_ok() || **score == last).count();
    Some(found.min(count) as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(lists: &[&[(u32, f32)]]) -> Nearest {
        Nearest::from_lists(lists.iter().map(|list| list.iter().copied()))
    }

    #[test]
    fn shares_by_hand() {
        let exact = answers(&[
            &[(4, 0.9), (7, 0.8), (1, 0.7), (2, 0.6)],
            &[(3, 0.5), (0, 0.4), (5, 0.3), (9, 0.3)],
            &[(8, 1.0), (6, 0.9), (2, 0.2)],
            &[],
        ]);
        let approximate = answers(&[
            // One of the three is missing; the fourth nearest does not make up for it.
            &[(4, 0.9), (1, 0.7), (2, 0.6)],
            // 9 ties with the last of three.
            &[(3, 0.5), (0, 0.4), (9, 0.3)],
            // A row named twice is found once.
            &[(8, 1.0), (8, 1.0), (8, 1.0)],
            &[],
        ]);
        let recall = recall_against(&exact, &approximate, 3).unwrap();
        assert_eq!(recall.per_query, [Some(2.0 / 3.0), Some(1.0), Some(1.0 / 3.0), None]);
        assert_eq!(recall.worst, (2, 1.0 / 3.0));
        assert!((recall.mean - 2.0 / 3.0).abs() < 1e-12);
        // s = 1/3 of 3 values.
        assert!((recall.standard_error.unwrap() - 1.0 / 27f64.sqrt()).abs() < 1e-12);
        let first = recall_against(&exact, &approximate, 1).unwrap();
        assert_eq!((first.mean, first.worst, first.standard_error), (1.0, (0, 1.0), Some(0.0)));
    }

    #[test]
    fn fewer_neighbours_than_k() {
        let (exact, none) = (answers(&[&[(2, 1.0), (0, 3.0)]]), answers(&[&[]]));
        let half = answers(&[&[(0, 3.0)]]);
        let of = |given: &Nearest| recall_against(&exact, given, 10).unwrap();
        assert_eq!((of(&exact).mean, of(&half).mean, of(&none).mean), (1.0, 0.5, 0.0));
        assert_eq!(of(&half).standard_error, None);
        // All of equal scores: any two of them are the two nearest.
        let (tied, others) = (answers(&[&[(0, 1.0), (1, 1.0)]]), answers(&[&[(5, 1.0), (6, 1.0)]]));
        assert_eq!(recall_against(&tied, &others, 2).unwrap().mean, 1.0);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let (one, two) = (answers(&[&[(0, 1.0)]]), answers(&[&[(0, 1.0)], &[]]));
        let error = |a: &Nearest, b: &Nearest, k| recall_against(a, b, k).unwrap_err().to_string();
        assert!(error(&one, &one, 0).contains("1 or more"));
        assert!(error(&one, &two, 1).contains("1 queries were answered exactly but 2"));
        assert!(error(&answers(&[&[]]), &one, 1).contains("no query has a neighbour"));
    }
}
