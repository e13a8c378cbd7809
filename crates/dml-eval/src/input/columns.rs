//! Which column of a table is which.

use super::refused;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Label,
    Id,
    Split,
    IsQuery,
    IsGallery,
    Group,
}

impl Role {
    pub(super) const ALL: [Self; 6] = [Self::Label, Self::Id, Self::Split, Self::IsQuery, Self::IsGallery, Self::Group];

    /// The names that columns of this role go by, in small letters.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Label => &["label", "class", "target", "labels", "classes", "targets"],
            Self::Id => &["id", "path", "image", "file"],
            Self::Split => &["split"],
            Self::IsQuery => &["is_query"],
            Self::IsGallery => &["is_gallery"],
            Self::Group => &["group", "camera", "sequence"],
        }
    }
}

/// Columns by name, exactly as the file has them. Where none is given the usual names are looked for:
///
/// | column | usual names, in any case |
/// |---|---|
/// | `label` | label, class, target, and their plurals |
/// | `id` | id, path, image, file: the first of them |
/// | `split`, `is_query`, `is_gallery` | the same |
/// | `group` | group, camera, sequence |
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnNames {
    /// The class of a row.
    pub label: Option<String>,
    /// The name of a row, often the path of its picture.
    pub id: Option<String>,
    /// The part of the data a row belongs to.
    pub split: Option<String>,
    /// Whether a row is a query.
    pub is_query: Option<String>,
    /// Whether a row is in the gallery.
    pub is_gallery: Option<String>,
    /// The group of a row within its class, such as its camera.
    pub group: Option<String>,
}

impl ColumnNames {
    fn given(&self, role: Role) -> Option<&str> {
        match role {
            Role::Label => &self.label,
            Role::Id => &self.id,
            Role::Split => &self.split,
            Role::IsQuery => &self.is_query,
            Role::IsGallery => &self.is_gallery,
            Role::Group => &self.group,
        }
        .as_deref()
    }

    /// For each of [`Role::ALL`] the place of its column among `header`.
    pub(super) fn choose(&self, path: &Path, header: &[String]) -> Result<[Option<usize>; 6]> {
        let mut chosen = [None; 6];
        for (role, place) in Role::ALL.into_iter().zip(&mut chosen) {
            *place = self.find(path, header, role)?;
        }
        match chosen[0] {
            Some(_) => Ok(chosen),
            None => Err(refused(
                path,
                format!("no column is named label, class or target: say which of {} is the label", header.join(", ")),
            )),
        }
    }

    fn find(&self, path: &Path, header: &[String], role: Role) -> Result<Option<usize>> {
        let places = |fits: &dyn Fn(&str) -> bool| (0..header.len()).filter(|&i| fits(header[i].trim())).collect();
        if let Some(name) = self.given(role) {
            let places: Vec<usize> = places(&|column| column == name.trim());
            return match places[..] {
                [place] => Ok(Some(place)),
                [] => Err(refused(path, format!("there is no column {name:?}: name one of {}", header.join(", ")))),
                _ => Err(refused(path, format!("{} columns are named {name:?}: rename all but one", places.len()))),
            };
        }
        let mut found: Vec<usize> = Vec::new();
        for alias in role.aliases() {
            found.append(&mut places(&|column| column.eq_ignore_ascii_case(alias)));
        }
        // An id is only shown; any other column decides over results, and none is preferred silently.
        match found[..] {
            [first, second, ..] if role != Role::Id => Err(refused(
                path,
                format!(
                    "columns {:?} and {:?} could both be the {}: say which",
                    header[first],
                    header[second],
                    role.aliases()[0]
                ),
            )),
            _ => Ok(found.first().copied()),
        }
    }
}
