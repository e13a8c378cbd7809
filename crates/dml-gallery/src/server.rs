//! What galleries in servers share: their names, and answers from what a server has found.
//!
//! A server names candidates; scores are taken here, by the kernel that every other gallery uses. So they are the same bits
//! everywhere, and what two servers round differently decides nothing but who is at the very end of a list.

use crate::plan::{Next, Record, Update};
use crate::roster::{Key, Roster};
use crate::{Candidate, Change, Error, Filter, Identity, Metadata, Model, Result};
use dml_core::Matrix;
use dml_eval::identification::Templates;
use std::collections::BTreeMap;

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
) -> Result<Roster> {
    let mut roster = Roster::new(model.clone(), templates);
    for (key, (name, rows)) in who {
        let identity = Identity { name: name.clone(), metadata: Metadata::new(), samples: Vec::new() };
        roster.push(key, identity, rows)?;
    }
    Ok(roster)
}

/// What changes come to, of which `there` are all who are there of those whom they name.
pub(crate) fn plan(
    model: &Model,
    templates: Templates,
    next: Next,
    there: &BTreeMap<Key, Record>,
    changes: &[Change<'_>],
) -> Result<Update> {
    let mut roster = Roster::new(model.clone(), templates);
    roster.next = next;
    for (key, record) in there {
        // Nothing is searched here.
        roster.push(*key, record.identity(), &[])?;
    }
    let stored =
        |key: Key| there.get(&key).cloned().ok_or_else(|| Error::Input(format!("identity number {key} is gone")));
    roster.plan(changes, &stored)
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
    let roster = roster(model, templates, who)?;
    let found = roster.nearest(Matrix::new(probe, 1, model.dim)?, k, &Filter::everybody())?;
    Ok(crate::memory::candidates(&roster, found).pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_no_server_are_refused() {
        for name in ["a", "staff_2", &"x".repeat(40)] {
            check_name(name).unwrap();
        }
        for name in ["", "2a", "_a", "Staff", "a-b", "a b", "a\"; drop", "ä", &"x".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
