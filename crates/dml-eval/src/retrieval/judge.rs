//! Relevance and exclusion, looked up query by query.

use super::exclusion::Exclusion;
use super::relevance::{Relevance, SharedGain};
use crate::{Error, Result};
use std::collections::HashMap;

/// Says of each query what is relevant and what is left out. Inputs are checked once, here.
pub(crate) struct Judge<'a> {
    relevance: Relevant<'a>,
    exclude: Vec<Excluded<'a>>,
    queries: usize,
    gallery: usize,
}

enum Relevant<'a> {
    Labels(&'a [u32], Index),
    Sets { queries: Vec<Vec<u32>>, sizes: Vec<usize>, holders: Index, gain: SharedGain },
    Lists(&'a [Vec<(u32, f32)>]),
}

enum Excluded<'a> {
    Itself,
    Group(&'a [u32], Index),
    Camera(&'a [u32], &'a [u32]),
    Ids(&'a [Vec<u32>]),
}

/// Label to the gallery rows that have it, rising.
type Index = HashMap<u32, Vec<u32>>;

/// What one query finds and what it is not shown; kept between queries for its memory.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Relevant gallery rows with their gains, ids rising, without excluded ones.
    pub(crate) relevant: Vec<(u32, f32)>,
    /// Excluded gallery rows, rising.
    pub(crate) excluded: Vec<u32>,
}

impl Verdict {
    /// Gain of a gallery row, where it is relevant.
    pub(crate) fn gain(&self, id: u32) -> Option<f32> {
        self.relevant.binary_search_by_key(&id, |item| item.0).ok().map(|at| self.relevant[at].1)
    }

    /// Whether a gallery row is left out.
    pub(crate) fn excludes(&self, id: u32) -> bool {
        self.excluded.binary_search(&id).is_ok()
    }
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        relevance: &Relevance<'a>,
        exclude: &[Exclusion<'a>],
        queries: usize,
        gallery: usize,
    ) -> Result<Self> {
        if u32::try_from(gallery).is_err() {
            return Err(Error::Input(format!("a gallery of {gallery} items: at most {} can be ranked", u32::MAX)));
        }
        let relevance = match *relevance {
            Relevance::Labels { queries: q, gallery: g } => {
                one_per("labels", q.len(), g.len(), queries, gallery)?;
                Relevant::Labels(q, index(g.iter().map(std::slice::from_ref)))
            }
            Relevance::LabelSets { queries: q, gallery: g, gain } => {
                one_per("label sets", q.len(), g.len(), queries, gallery)?;
                let (q, g) = (distinct(q), distinct(g));
                let sizes = g.iter().map(Vec::len).collect();
                Relevant::Sets { queries: q, sizes, holders: index(g.iter().map(Vec::as_slice)), gain }
            }
            Relevance::Lists(lists) => {
                one_per("lists of relevant items", lists.len(), gallery, queries, gallery)?;
                lists.iter().enumerate().try_for_each(|(q, list)| check_list(q, list, gallery))?;
                Relevant::Lists(lists)
            }
        };
        let exclude = exclude.iter().map(|exclusion| match *exclusion {
            Exclusion::SelfIndex if queries > gallery => Err(Error::Input(format!(
                "{queries} queries leave themselves out of a gallery of {gallery}: they are not its rows"
            ))),
            Exclusion::SelfIndex => Ok(Excluded::Itself),
            Exclusion::SameGroup { queries: q, gallery: g } => {
                one_per("groups", q.len(), g.len(), queries, gallery)?;
                Ok(Excluded::Group(q, index(g.iter().map(std::slice::from_ref))))
            }
            Exclusion::SameCamera { queries: q, gallery: g } => {
                one_per("cameras", q.len(), g.len(), queries, gallery)?;
                Ok(Excluded::Camera(q, g))
            }
            Exclusion::Ids(ids) => {
                one_per("lists of excluded items", ids.len(), gallery, queries, gallery)?;
                match ids
                    .iter()
                    .enumerate()
                    .find_map(|(q, ids)| Some((q, *ids.iter().find(|&&id| id as usize >= gallery)?)))
                {
                    Some((q, id)) => Err(outside(q, id, gallery)),
                    None => Ok(Excluded::Ids(ids)),
                }
            }
        });
        let exclude = exclude.collect::<Result<Vec<_>>>()?;
        Ok(Self { relevance, exclude, queries, gallery })
    }

    pub(crate) fn queries(&self) -> usize {
        self.queries
    }

    /// Items that query's ranking holds.
    pub(crate) fn length(&self, verdict: &Verdict) -> usize {
        self.gallery - verdict.excluded.len()
    }

    /// Judges query `q` into `verdict`.
    pub(crate) fn judge(&self, q: usize, verdict: &mut Verdict) {
        let Verdict { relevant, excluded } = verdict;
        relevant.clear();
        excluded.clear();
        self.relevance.of(q, relevant);
        for exclusion in &self.exclude {
            match exclusion {
                Excluded::Itself => excluded.push(q as u32),
                Excluded::Group(groups, members) => excluded.extend(members.get(&groups[q]).into_iter().flatten()),
                Excluded::Camera(of_query, of_gallery) => {
                    let junk = relevant.iter().map(|item| item.0).filter(|&id| of_gallery[id as usize] == of_query[q]);
                    excluded.extend(junk);
                }
                Excluded::Ids(ids) => excluded.extend(&ids[q]),
            }
        }
        excluded.sort_unstable();
        excluded.dedup();
        relevant.retain(|(id, _)| excluded.binary_search(id).is_err());
    }
}

impl Relevant<'_> {
    fn of(&self, q: usize, relevant: &mut Vec<(u32, f32)>) {
        match self {
            Self::Labels(labels, holders) => {
                relevant.extend(holders.get(&labels[q]).into_iter().flatten().map(|&id| (id, 1.0)));
            }
            Self::Sets { queries, sizes, holders, gain } => {
                let set = &queries[q];
                let mut ids: Vec<u32> = set.iter().filter_map(|label| holders.get(label)).flatten().copied().collect();
                ids.sort_unstable();
                relevant.extend(ids.chunk_by(|a, b| a == b).map(|copies| {
                    let (id, shared) = (copies[0], copies.len());
                    let union = set.len() + sizes[id as usize] - shared;
                    let gain = match gain {
                        SharedGain::One => 1.0,
                        SharedGain::Count => shared as f32,
                        SharedGain::Jaccard => shared as f32 / union as f32,
                    };
                    (id, gain)
                }));
            }
            Self::Lists(lists) => {
                relevant.extend(lists[q].iter().filter(|(_, gain)| *gain > 0.0));
                relevant.sort_unstable_by_key(|item| item.0);
            }
        }
    }
}

fn one_per(what: &str, of_queries: usize, of_gallery: usize, queries: usize, gallery: usize) -> Result<()> {
    for (side, given, want) in [("queries", of_queries, queries), ("gallery items", of_gallery, gallery)] {
        if given != want {
            return Err(Error::Input(format!("there are {given} {what} for {want} {side}: give each one")));
        }
    }
    Ok(())
}

fn outside(query: usize, id: u32, gallery: usize) -> Error {
    Error::Input(format!("query {query} names gallery row {id}, but the gallery has {gallery} rows, counted from 0"))
}

fn check_list(query: usize, list: &[(u32, f32)], gallery: usize) -> Result<()> {
    if let Some((id, _)) = list.iter().find(|item| item.0 as usize >= gallery) {
        return Err(outside(query, *id, gallery));
    }
    if let Some((id, gain)) = list.iter().find(|item| !(item.1.is_finite() && item.1 >= 0.0)) {
        return Err(Error::Input(format!("query {query} gives row {id} the gain {gain}: want a number of 0 or more")));
    }
    let mut ids: Vec<u32> = list.iter().map(|item| item.0).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::Input(format!("query {query} lists gallery row {} twice: list it once", pair[0]))),
        None => Ok(()),
    }
}

fn index<'a>(labels: impl Iterator<Item = &'a [u32]>) -> Index {
    let mut index = Index::new();
    for (id, labels) in labels.enumerate() {
        labels.iter().for_each(|&label| index.entry(label).or_default().push(id as u32));
    }
    index
}

fn distinct(sets: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let one = |set: &Vec<u32>| {
        let mut set = set.clone();
        set.sort_unstable();
        set.dedup();
        set
    };
    sets.iter().map(one).collect()
}
