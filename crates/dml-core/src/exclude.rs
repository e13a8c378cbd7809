//! Which gallery rows a query must not find.

use crate::{Error, Result};
use std::fmt;

/// What a query must not find.
#[derive(Clone, Copy)]
pub enum Exclude<'a> {
    /// Nothing is left out.
    Nothing,
    /// Query `i` is gallery row `i` and does not find itself.
    SelfIndex,
    /// One gallery row per query is left out; `u32::MAX` leaves out none.
    Ids(&'a [u32]),
    /// Gallery rows of the query's own group (sequence, camera) are left out.
    Groups {
        /// Group of each query.
        queries: &'a [u32],
        /// Group of each gallery row.
        gallery: &'a [u32],
    },
    /// Whatever pairs (query, gallery row) it is true for.
    Where(&'a (dyn Fn(usize, u32) -> bool + Sync)),
}

impl fmt::Debug for Exclude<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::SelfIndex => "SelfIndex",
            Self::Ids(_) => "Ids",
            Self::Groups { .. } => "Groups",
            Self::Where(_) => "Where",
        })
    }
}

impl Exclude<'_> {
    /// Whether this query must not find this gallery row.
    #[inline(always)]
    pub fn excludes(self, query: usize, id: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::SelfIndex => query == id as usize,
            Self::Ids(ids) => ids[query] == id,
            Self::Groups { queries, gallery } => queries[query] == gallery[id as usize],
            Self::Where(excludes) => excludes(query, id),
        }
    }

    /// Refuses exclusions that are not one per query, or per gallery row.
    ///
    /// # Errors
    /// As said.
    pub fn check(self, queries: usize, gallery: usize) -> Result<()> {
        match self {
            Self::Ids(ids) if ids.len() != queries => {
                Err(Error::Shape(format!("{} exclusions for {queries} queries: give one per query", ids.len())))
            }
            Self::SelfIndex if queries > gallery => Err(Error::Shape(format!(
                "{queries} queries exclude themselves from a gallery of {gallery}: they are not its rows"
            ))),
            Self::Groups { queries: q, gallery: g } if q.len() != queries || g.len() != gallery => {
                Err(Error::Shape(format!(
                    "groups of {} queries and {} gallery rows, but there are {queries} and {gallery}: give one for each",
                    q.len(),
                    g.len()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Refuses exclusions as [`check`](Self::check) does, and more neighbours than there are to find.
    pub(crate) fn check_length(self, k: usize, queries: usize, gallery: usize) -> Result<()> {
        let available = match self {
            Self::SelfIndex | Self::Ids(_) => gallery.saturating_sub(1),
            _ => gallery,
        };
        if k > available {
            return Err(Error::Shape(format!(
                "k = {k} neighbours were asked for but the gallery has {available} to give: lower k"
            )));
        }
        self.check(queries, gallery)
    }
}
