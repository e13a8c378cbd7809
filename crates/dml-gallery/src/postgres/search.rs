//! Who is near, by SQL.

use super::schema::operator;
use crate::roster::Key;
use crate::server::{SLACK, Searched};
use crate::{Error, Filter, Model, Result};
use ::postgres::types::ToSql;
use ::postgres::{Client, Row};
use pgvector::Vector;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a gallery in PostgreSQL is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// Every template is compared: the answer of every other gallery. The default.
    #[default]
    Exact,
    /// By pgvector's graph, Malkov and Yashunin 2020: fewer comparisons, and some of the nearest may be missed. Scores of those
    /// found are the same. Where the graph finds fewer than were asked for (a narrow filter), the search is exact.
    Hnsw {
        /// Links of a node, 2 to 100.
        m: u16,
        /// Candidates while the graph is built, `2·m` to 1,000.
        ef_construction: u16,
        /// Candidates of a search, 1 to 1,000: more find more, and take longer.
        ef_search: u16,
    },
}

impl Search {
    /// The graph as pgvector builds it, searched with 100 candidates.
    pub const HNSW: Self = Self::Hnsw { m: 16, ef_construction: 64, ef_search: 100 };

    pub(super) fn check(self) -> Result<()> {
        let Self::Hnsw { m, ef_construction, ef_search } = self else { return Ok(()) };
        let fits =
            (2..=100).contains(&m) && (2 * m..=1000).contains(&ef_construction) && (1..=1000).contains(&ef_search);
        match fits {
            true => Ok(()),
            false => Err(Error::Input(format!(
                "a graph of m {m}, ef_construction {ef_construction}, ef_search {ef_search}: want 2..100, 2·m..1000, 1..1000"
            ))),
        }
    }
}

type Said<T> = std::result::Result<T, ::postgres::Error>;

/// A filter as a condition on the column `metadata`, whose parameters are numbered from `first`.
pub(super) struct Condition {
    pub(super) sql: String,
    parameters: Vec<Box<dyn ToSql + Sync>>,
}

impl Condition {
    pub(super) fn new(filter: &Filter, first: usize) -> Self {
        let (mut sql, mut parameters) = ("true".to_owned(), Vec::<Box<dyn ToSql + Sync>>::new());
        // The server's texts hold no NUL, so nobody's metadata does.
        let holds = |text: &&String| !text.contains('\0');
        for (key, values) in filter.wanted() {
            if !holds(&key) {
                sql.push_str(" AND false");
                continue;
            }
            let n = first + parameters.len();
            sql.push_str(&format!(" AND metadata ->> ${n} = ANY(${})", n + 1));
            parameters.push(Box::new(key.clone()));
            parameters.push(Box::new(values.iter().filter(holds).cloned().collect::<Vec<String>>()));
        }
        Self { sql, parameters }
    }

    pub(super) fn parameters<'a>(&'a self, before: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        before.iter().copied().chain(self.parameters.iter().map(|boxed| &**boxed as &(dyn ToSql + Sync))).collect()
    }
}

/// For each probe, as it is compared, the identities that may be its best `k`.
pub(super) fn nearest(
    client: &mut Client,
    model: &Model,
    search: Search,
    probes: &[f32],
    k: usize,
    filter: &Filter,
) -> Result<Said<Vec<Vec<Key>>>> {
    let operator = operator(model.metric)?.0;
    let condition = Condition::new(filter, 3);
    let wanted = k.saturating_add(SLACK);
    let mut ask = || -> Said<Vec<Vec<Key>>> {
        // An aggregate is never answered by a graph.
        let exact = client.prepare(&format!(
            "SELECT key FROM templates WHERE {} GROUP BY key ORDER BY min(embedding {operator} $1) LIMIT $2",
            condition.sql
        ))?;
        let graph = match search {
            Search::Exact => None,
            Search::Hnsw { ef_search, .. } => {
                // It goes on until enough pass the filter. Planned for any limit at all, the server would rather read all rows.
                client.batch_execute(&format!(
                    "SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = {ef_search}; \
                     SET LOCAL plan_cache_mode = force_custom_plan"
                ))?;
                Some(client.prepare(&format!(
                    "SELECT key FROM templates WHERE {} ORDER BY embedding {operator} $1 LIMIT $2",
                    condition.sql
                ))?)
            }
        };
        let mut lists = Vec::with_capacity(probes.len() / model.dim);
        for probe in probes.chunks_exact(model.dim) {
            let probe = Vector::from(probe.to_vec());
            let mut rows = |statement: &::postgres::Statement, limit: usize| -> Said<Vec<Key>> {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let rows = client.query(statement, &condition.parameters(&[&probe, &limit]))?;
                Ok(rows.iter().map(|row| row.get::<_, i64>(0) as Key).collect())
            };
            let mut list = None;
            if let Some(graph) = &graph {
                // An identity may have several templates: the list grows until it names identities enough, or the graph ends.
                let mut limit = wanted.saturating_mul(2);
                list = loop {
                    let found = rows(graph, limit)?;
                    let named: BTreeSet<Key> = found.iter().copied().collect();
                    match (named.len() >= k, found.len() < limit) {
                        (true, _) => break Some(named.into_iter().collect()),
                        (false, true) => break None,
                        (false, false) => limit = limit.saturating_mul(4),
                    }
                };
            }
            lists.push(match list {
                Some(list) => list,
                None => rows(&exact, wanted)?,
            });
        }
        Ok(lists)
    };
    Ok(ask())
}

const SEARCHED: &str = "SELECT key, name, t.embedding FROM identities i JOIN templates t USING (key)";

/// What is searched of these identities.
pub(super) fn of_keys(client: &mut Client, keys: &BTreeSet<Key>) -> Said<Searched> {
    let keys: Vec<i64> = keys.iter().map(|&key| key as i64).collect();
    client.query(&format!("{SEARCHED} WHERE i.key = ANY($1) ORDER BY key, number"), &[&keys]).map(searched)
}

/// What is searched of these identities, as far as they are there.
pub(super) fn of_names(client: &mut Client, names: &[&str]) -> Said<Searched> {
    client.query(&format!("{SEARCHED} WHERE i.name = ANY($1) ORDER BY key, number"), &[&names]).map(searched)
}

fn searched(rows: Vec<Row>) -> Searched {
    let mut all = Searched::new();
    for row in rows {
        let (_, values) = all.entry(row.get::<_, i64>(0) as Key).or_insert_with(|| (row.get(1), Vec::new()));
        values.extend(row.get::<_, Vector>(2).to_vec());
    }
    all
}
