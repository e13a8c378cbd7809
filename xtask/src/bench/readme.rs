//! The table of the README, made from a record.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

const START: &str = "<!-- bench: cargo xtask bench losses --peers --record -->\n";
const END: &str = "<!-- end of bench -->";

/// Replaces what lies between the marks.
pub(super) fn put(table: &str) -> Result<()> {
    let path = workspace::root().join("README.md");
    let text = fs::read_to_string(&path).context("cannot read README.md")?;
    let text = replaced(&text, table).context("README.md has no place for the table: want the marks of the bench")?;
    workspace::write_atomically(&path, text.as_bytes())
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let text = format!("a\n{START}old\n{END}\nb\n");
        let new = replaced(&text, "new").unwrap();
        assert_eq!(new, format!("a\n{START}\nnew\n\n{END}\nb\n"));
        assert_eq!(replaced(&new, "new").unwrap(), new);
        assert!(replaced("no marks", "new").is_none());
    }
}
