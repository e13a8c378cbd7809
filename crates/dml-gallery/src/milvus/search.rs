//! Search: the server names identities, by its own arithmetic.

use super::log::State;
use super::table::{LONGEST_LIST, Row, listed, windows};
use super::tables::Tables;
use super::write::{WIDTH, hash};
use crate::roster::Key;
use crate::server::{SLACK, Searched};
use crate::{Filter, Model, Result};
use std::collections::BTreeSet;

/// Rows that a server answers at once, for all probes.
const ANSWER: usize = 100_000;

/// What rows must be for the filter: hashes of their metadata are compared.
pub(super) fn condition(state: &State, filter: &Filter) -> String {
    let mut all = state.condition();
    for (key, values) in filter.wanted() {
        let hashes: Vec<i64> = values.iter().map(|value| hash([key, value])).collect();
        all.push_str(&format!(" and json_contains_any(tags['t'], [{}])", listed(&hashes)));
    }
    all
}

/// For each probe, as it is compared, the identities that may be its best `k`. `None`: the server's lists are too short to say.
pub(super) fn nearest(
    tables: &Tables<'_>,
    state: &State,
    model: &Model,
    probes: &[f32],
    k: usize,
    filter: &Filter,
) -> Result<Option<Vec<Vec<Key>>>> {
    let probes: Vec<&[f32]> = probes.chunks_exact(model.dim).collect();
    let mut lists = vec![Vec::new(); probes.len()];
    let condition = condition(state, filter);
    // Neighbours that the server's rounding may have put in the other order stand in the slack.
    let wanted = k.saturating_add(SLACK);
    let mut open: Vec<usize> = (0..probes.len()).collect();
    // An identity may have several templates: the lists grow until they name identities enough, or the rows end.
    let mut limit = wanted.saturating_mul(2).min(LONGEST_LIST);
    while !open.is_empty() {
        let mut left = Vec::new();
        for part in open.chunks((ANSWER / limit).clamp(1, 1000)) {
            let asked: Vec<&[f32]> = part.iter().map(|&place| probes[place]).collect();
            let found = tables.templates.search(model.metric, &asked, limit, &condition, state.at())?;
            for (&place, found) in part.iter().zip(found) {
                let ended = found.len() < limit;
                let named: BTreeSet<Key> = found.into_iter().collect();
                if ended || named.len() >= wanted {
                    lists[place] = named.into_iter().collect();
                } else if limit == LONGEST_LIST {
                    return Ok(None);
                } else {
                    left.push(place);
                }
            }
        }
        open = left;
        limit = limit.saturating_mul(4).min(LONGEST_LIST);
    }
    Ok(Some(lists))
}

/// What is searched of the rows of which `column` is one of these numbers.
pub(super) fn searched(tables: &Tables<'_>, state: &State, column: &str, numbers: &[i64]) -> Result<Searched> {
    let mut all = Searched::new();
    for numbers in numbers.chunks(WIDTH) {
        let condition = format!("{column} in [{}] and {}", listed(numbers), state.condition());
        take(&mut all, tables.templates.whole(&condition, state.at())?);
    }
    Ok(all)
}

/// What is searched of everybody whom the filter admits.
pub(super) fn everybody(tables: &Tables<'_>, state: &State, filter: &Filter) -> Result<Searched> {
    let mut all = Searched::new();
    for keys in windows(state.committed.next_key, WIDTH) {
        let among = format!("key >= {} and key < {} and {}", keys.start, keys.end, condition(state, filter));
        take(&mut all, tables.templates.whole(&among, state.at())?);
    }
    Ok(all)
}

fn take(all: &mut Searched, mut rows: Vec<Row>) {
    rows.sort_unstable_by_key(|row| (row.key, row.number));
    for row in rows {
        let (_, values) = all.entry(row.key as Key).or_insert_with(|| (row.text, Vec::new()));
        values.extend(row.values);
    }
}
