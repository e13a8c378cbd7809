//! Rows of a table, and what is known of them.

use anyhow::{Context, Result, bail};
use dml_eval::input::{ColumnNames, Table};
use std::borrow::Cow;

pub(crate) fn column_names(columns: &[String]) -> Result<ColumnNames> {
    let mut names = ColumnNames::default();
    for column in columns {
        let (role, name) = column.split_once('=').with_context(|| format!("--column {column}: want ROLE=NAME"))?;
        let place = match role {
            "label" => &mut names.label,
            "id" => &mut names.id,
            "split" => &mut names.split,
            "is_query" => &mut names.is_query,
            "is_gallery" => &mut names.is_gallery,
            "group" => &mut names.group,
            _ => bail!("--column {column}: roles are label, id, split, is_query, is_gallery, group"),
        };
        *place = Some(name.to_owned());
    }
    Ok(names)
}

/// Rows of a split, which is named by `option`.
pub(super) fn of_split(table: &Table, option: &str, name: &str) -> Result<Vec<usize>> {
    let Some(splits) = &table.splits else { bail!("{option} {name}: the labels have no column split") };
    let Some(split) = splits.names.iter().position(|known| known == name) else {
        bail!("{option} {name}: there is {}", splits.names.join(", "));
    };
    Ok((0..table.rows()).filter(|&i| splits.ids[i] as usize == split).collect())
}

/// Rows of a table, with all that is known of them.
pub(super) struct Chosen {
    rows: Vec<usize>,
    /// Rows of the table.
    of: usize,
    pub(super) labels: Vec<u32>,
    pub(super) ids: Option<Vec<String>>,
    pub(super) is_query: Option<Vec<bool>>,
    pub(super) is_gallery: Option<Vec<bool>>,
    pub(super) groups: Option<Vec<u32>>,
}

impl Chosen {
    /// Those rows of the table.
    pub(super) fn new(table: &Table, rows: Vec<usize>) -> Self {
        Self {
            labels: of_rows(&rows, &table.labels.ids),
            ids: table.ids.as_ref().map(|ids| of_rows(&rows, ids)),
            is_query: table.is_query.as_ref().map(|marks| of_rows(&rows, marks)),
            is_gallery: table.is_gallery.as_ref().map(|marks| of_rows(&rows, marks)),
            groups: table.groups.as_ref().map(|groups| of_rows(&rows, &groups.ids)),
            of: table.rows(),
            rows,
        }
    }

    /// Their values, out of those of all rows of the table, `d` each.
    pub(super) fn values<'a>(&self, all: Cow<'a, [f32]>, d: usize) -> Cow<'a, [f32]> {
        if self.rows.len() == self.of {
            return all;
        }
        self.rows.iter().flat_map(|&i| &all[i * d..(i + 1) * d]).copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

fn of_rows<T: Clone>(rows: &[usize], values: &[T]) -> Vec<T> {
    rows.iter().map(|&i| values[i].clone()).collect()
}
