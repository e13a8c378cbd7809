//! What galleries in servers share: their names, their errors, and answers from what a server has found.
//!
//! A server names candidates; scores are taken here, by the kernel that every other gallery uses. So they are the same bits
//! everywhere, and what two servers round differently decides nothing but who is at the very end of a list.

use crate::roster::{Key, Roster};
use crate::{Candidate, Error, Filter, Identity, Metadata, Model, Result};
use dml_core::Matrix;
use dml_eval::identification::Templates;
use std::collections::BTreeMap;

/// What can go wrong with a gallery in a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerProblem {
    /// Nobody answers, or no longer.
    #[error("no server answers ({0}): check that it runs, its host and its port")]
    Unreachable(String),
    /// User, password or rights.
    #[error("the server refuses ({0}): check user, password, database, rights and certificate")]
    Denied(String),
    /// The server lacks what a gallery needs.
    #[error("{0}")]
    Lacks(String),
    /// A gallery of this name is there.
    #[error("there is such a gallery already: name another, or open it")]
    Exists,
    /// No gallery of this name is there.
    #[error("there is no such gallery: check the name, or create it")]
    Missing,
    /// Another version of this crate made the gallery.
    #[error("a gallery of layout {found}, this dml reads layout {known}: use the dml that wrote it")]
    Layout {
        /// The gallery's.
        found: i64,
        /// Of this crate.
        known: i64,
    },
    /// The last word of a change was not heard. All of it is made, or nothing.
    #[error(
        "the connection broke while the change was committed ({0}): it is made whole or not at all; ask the gallery which"
    )]
    Unanswered(String),
    /// Somebody was removed for good, but their bytes may still be in the server's files.
    #[error("removed, but not yet erased from the server's files: {0}; the next removal tries again")]
    NotErased(String),
    /// Anything else that the server said.
    #[error("the server says: {0}")]
    Said(String),
}

/// Slack of a server's list: neighbours that its rounding may have put in the other order at the end.
pub(crate) const SLACK: usize = 8;

/// Refuses what cannot be part of a table's name in every server.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits) && name.len() <= 40 {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "{name:?} is no name for a gallery in a server: want a small letter, then small letters, digits or _, 40 at most"
        ))),
    }
}

/// Identities as a server keeps them: the name and the rows that are searched, by the order of enrolment.
pub(crate) type Searched = BTreeMap<Key, (String, Vec<f32>)>;

/// These identities as they are searched.
pub(crate) fn roster<'a>(
    model: &Model,
    templates: Templates,
    who: impl Iterator<Item = (Key, &'a (String, Vec<f32>))>,
) -> Roster {
    let mut roster = Roster::new(model.clone(), templates);
    for (key, (name, rows)) in who {
        let identity = Identity { name: name.clone(), metadata: Metadata::new(), samples: Vec::new() };
        roster.push(key, identity, rows);
    }
    roster
}

/// The best `k` for a probe `[1, d]` of those that a server has named for it.
pub(crate) fn best(
    model: &Model,
    templates: Templates,
    probe: &[f32],
    k: usize,
    mut named: Vec<Key>,
    searched: &Searched,
) -> Result<Vec<Candidate>> {
    named.sort_unstable();
    let who = named.iter().filter_map(|key| Some((*key, searched.get(key)?)));
    let roster = roster(model, templates, who);
    let found = roster.nearest(Matrix::new(probe, 1, model.dim)?, k, &Filter::everybody())?;
    Ok(crate::memory::candidates(&roster, found).pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_no_server_are_refused() {
        ["a", "staff_2", &"x".repeat(40)].map(|name| check_name(name).unwrap());
        for name in ["", "2a", "_a", "Staff", "a-b", "a b", "a\"; drop", "ä", &"x".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
