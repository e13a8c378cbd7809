//! The table of the README, made from a record.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

const END: &str = "<!-- end of bench -->";

/// Replaces what lies between the marks of a bench.
pub(super) fn put(what: &str, table: &str) -> Result<()> {
    let path = workspace::root().join("README.md");
    let text = fs::read_to_string(&path).context("cannot read README.md")?;
    let text =
        replaced(&text, what, table).context("README.md has no place for the table: want the marks of the bench")?;
    workspace::write_atomically(&path, text.as_bytes())
}

fn replaced(text: &str, what: &str, table: &str) -> Option<String> {
    let start = format!("<!-- bench: cargo xtask bench {what} --peers --record -->\n");
    let (before, rest) = text.split_once(&start)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{start}\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let start = "<!-- bench: cargo xtask bench eval --peers --record -->\n";
        let text = format!("a\n{start}old\n{END}\nb\n");
        let new = replaced(&text, "eval", "new").unwrap();
        assert_eq!(new, format!("a\n{start}\nnew\n\n{END}\nb\n"));
        assert_eq!(replaced(&new, "eval", "new").unwrap(), new);
        assert!(replaced(&text, "losses", "new").is_none());
    }
}
