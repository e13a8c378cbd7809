//! One's own images in tar archives, as WebDataset lays them out, read in place.
//!
//! Files that follow each other and are called alike up to the first dot make a sample: `a/0001.jpg` is its image,
//! `a/0001.cls` holds the name or number of its class as text. Files with other endings are passed over. Archives are
//! plain: compressed ones cannot be read at any place.

use super::{image_folder, tar_index};
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Membership, Result, Span};
use std::path::Path;

/// The samples of the archives `shards`, each with the part it belongs to, in their order. Classes are numbered as they
/// come.
///
/// # Errors
/// When an archive cannot be read or holds links or paths that lead out of it, a sample lacks its image or its class, or
/// a class is in two parts. [`classification`] takes such parts.
pub fn open(name: &str, shards: &[(&str, &Path)]) -> Result<Catalog> {
    let catalog = classification(name, shards)?;
    catalog.check_disjoint()?;
    Ok(catalog)
}

/// As [`open`], but classes may be in several parts.
///
/// # Errors
/// As [`open`], but for classes in two parts.
pub fn classification(name: &str, shards: &[(&str, &Path)]) -> Result<Catalog> {
    let [(_, first), ..] = shards else {
        return Err(Error::Invalid(format!("{name}: no archives: name at least one")));
    };
    let mut files = Files::below(first.parent().unwrap_or(Path::new("")));
    let numbered: Vec<_> = shards.iter().map(|&(part, path)| (part, path, files.archive(path))).collect();
    let mut builder = CatalogBuilder::new(name, *first, files);
    for (part, path, archive) in numbered {
        let mut sample = Sample::default();
        tar_index::visit(
            path,
            |name| name.ends_with(".cls"),
            |entry| {
                let start = entry.name.rfind('/').map_or(0, |slash| slash + 1);
                let Some(dot) = entry.name[start..].find('.').map(|dot| start + dot) else { return Ok(()) };
                let (key, ending) = (&entry.name[..dot], &entry.name[dot + 1..]);
                if key != sample.key {
                    let before = std::mem::replace(&mut sample, Sample { key: key.to_owned(), ..Sample::default() });
                    before.add(path, part, &mut builder)?;
                }
                if let Some(content) = entry.content {
                    let class = String::from_utf8(content).map(|text| text.trim().to_owned()).unwrap_or_default();
                    if class.is_empty() {
                        return Err(Error::format(path, format!("`{}` names no class: write it as text", entry.name)));
                    }
                    sample.class = Some(class);
                } else if image_folder::is_image_ending(ending) {
                    if sample.image.is_some() {
                        return Err(Error::format(path, format!("sample `{key}` has two images: name them apart")));
                    }
                    let span = Span { archive, offset: entry.offset, bytes: entry.bytes };
                    sample.image = Some((entry.name, span));
                }
                Ok(())
            },
        )?;
        sample.add(path, part, &mut builder)?;
    }
    if builder.is_empty() {
        return Err(Error::format(first, "holds no samples: pairs of <key>.jpg and <key>.cls"));
    }
    Ok(builder.finish())
}

/// What is known of a sample.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<(String, Span)>,
    class: Option<String>,
}

impl Sample {
    /// Takes the sample if it is whole; one with neither image nor class is none.
    fn add(self, path: &Path, part: &str, builder: &mut CatalogBuilder<Files>) -> Result<()> {
        let key = &self.key;
        match (self.image, self.class) {
            (Some((image, span)), Some(class)) => {
                let entry = FileEntry { path: &image, bounding_box: None, span: Some(span) };
                builder.add(Membership::new(&class, part), entry)
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err(Error::format(path, format!("sample `{key}` has no class: add `{key}.cls`"))),
            (None, Some(_)) => Err(Error::format(path, format!("sample `{key}` has no image: add `{key}.jpg`"))),
        }
    }
}
