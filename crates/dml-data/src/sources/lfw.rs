//! Labeled Faces in the Wild: 13,233 photographs of 5,749 people (Huang et al. 2007).
//!
//! View 1 (`peopleDevTrain.txt`, `peopleDevTest.txt`: no person in both) is for choices, the ten folds of view 2
//! (`people.txt`, `pairs.txt`) are for the report; here they are groups. Say with which outside data a network was
//! trained: the protocols of the owners ask for it.

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::collections::HashMap;
use std::path::Path;

/// Most images a list may claim of one person; the real maximum is 530.
const MOST_IMAGES: usize = 1 << 12;
/// Most images of all people; really there are 13,233. A line of a few bytes makes thousands of them.
const MOST_IN_ALL: usize = 1 << 17;
/// Longest name, which is the name of a folder, too.
const LONGEST_NAME: usize = 255;

/// A pair to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FacePair {
    /// One image: its index in the catalogue.
    pub left: usize,
    /// The other.
    pub right: usize,
    /// Whether they show the same person.
    pub same: bool,
    /// Its fold, from 0.
    pub fold: usize,
}

/// The images of the original (not aligned) archive in the parts `train` and `test` of view 1, folds of view 2 as groups.
///
/// # Errors
/// When a list or the unpacked archive is missing below `data_dir`, or the counts are others.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("lfw")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    let images = set.tree("lfw", &[])?.join("lfw");
    let images = if images.join("lfw").is_dir() { images.join("lfw") } else { images };
    set.disjoint(read(&set.tree("peopleDevTrain.txt", &["lfw"])?, &images)?)
}

/// Reads `peopleDevTrain.txt`, `peopleDevTest.txt` and `people.txt` in `lists_folder`; images lie as
/// `images/<Name>/<Name>_0001.jpg`, as in the archives of any alignment. The counts are not checked.
///
/// # Errors
/// When a list is missing or is not as published.
pub fn read(lists_folder: &Path, images: &Path) -> Result<Catalog> {
    let path = lists_folder.join("people.txt");
    let mut folds = HashMap::new();
    for (name, _, fold) in people(&path, &lists::text(&path)?, true)? {
        folds.insert(name, format!("fold {}", fold + 1));
    }
    let mut builder = CatalogBuilder::new("lfw", lists_folder, Files::below(images));
    for (file, part) in [("peopleDevTrain.txt", "train"), ("peopleDevTest.txt", "test")] {
        let path = lists_folder.join(file);
        for (name, images, _) in people(&path, &lists::text(&path)?, false)? {
            if builder.len() + images > MOST_IN_ALL {
                let problem = format!("names more than {MOST_IN_ALL} images, the last of {name}: bring it anew");
                return Err(Error::format(&path, problem));
            }
            for number in 1..=images {
                let group = folds.get(&name).map(String::as_str);
                let membership = Membership { group, ..Membership::new(&name, part) };
                builder.add(membership, FileEntry::file(&image(&name, number)))?;
            }
        }
    }
    Ok(builder.finish())
}

/// The pairs of a list of the owners: `pairs.txt` (ten folds), `pairsDevTrain.txt` or `pairsDevTest.txt` (one). Images are
/// looked up in `people`, the whole catalogue or a part of it.
///
/// # Errors
/// When the list is missing, is not as published, or names an image that `people` has not.
pub fn pairs(path: &Path, people: &Catalog) -> Result<Vec<FacePair>> {
    let index: HashMap<&str, usize> = (0..people.len()).map(|i| (people.path(i), i)).collect();
    let text = lists::text(path)?;
    let mut lines = text.lines();
    let header: Vec<Option<usize>> =
        lines.next().unwrap_or_default().split_whitespace().map(|n| n.parse().ok()).collect();
    let (folds, per_kind) = match header.as_slice() {
        [Some(pairs)] => (1, *pairs),
        [Some(folds), Some(pairs)] => (*folds, *pairs),
        _ => return Err(Error::format(path, "its first line is not `<folds> <pairs>` or `<pairs>`: bring it anew")),
    };
    let expected = per_kind.checked_mul(2).and_then(|fold| fold.checked_mul(folds));
    let rows: Vec<(usize, &str)> = lines.enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    if expected != Some(rows.len()) || rows.is_empty() {
        let got = rows.len();
        return Err(Error::format(
            path,
            format!("has {got} pairs, not 2 x {per_kind} in each of {folds} folds: bring it anew"),
        ));
    }
    let pair = |(place, (number, line)): (usize, (usize, &str))| {
        let wrong = |why: &str| Error::format(path, format!("line {}: `{}` {why}", number + 2, lists::shown(line)));
        let found = |name: &str, number: &str| {
            let number = number.parse().map_err(|_| wrong("has no image number"))?;
            let image = image(name, number);
            index.get(image.as_str()).copied().ok_or_else(|| wrong(&format!("names {image}, which is not in the set")))
        };
        let fold = place / (2 * per_kind);
        // In each fold the pairs of one person come first.
        let same = place % (2 * per_kind) < per_kind;
        match (line.split_whitespace().collect::<Vec<_>>().as_slice(), same) {
            (&[name, left, right], true) => {
                Ok(FacePair { left: found(name, left)?, right: found(name, right)?, same, fold })
            }
            (&[one, left, other, right], false) if one != other => {
                Ok(FacePair { left: found(one, left)?, right: found(other, right)?, same, fold })
            }
            (_, true) => Err(wrong("is not `<name> <image> <image>`")),
            (_, false) => Err(wrong("is not `<name> <image> <other name> <image>`")),
        }
    };
    rows.into_iter().enumerate().map(pair).collect()
}

fn image(name: &str, number: usize) -> String {
    format!("{name}/{name}_{number:04}.jpg")
}

/// Name, number of images and fold of each person of a list, which begins with the number of folds if it has folds;
/// each fold begins with the number of its people.
fn people(path: &Path, text: &str, folds: bool) -> Result<Vec<(String, usize, usize)>> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let wrong = |number: usize, line: &str, what: &str| {
        Error::format(path, format!("line {}: `{}` is not {what}: bring it anew", number + 1, lists::shown(line)))
    };
    let folds: usize = match folds {
        false => 1,
        true => {
            let (number, line) = lines.next().ok_or_else(|| Error::format(path, "is empty: bring it anew"))?;
            line.trim().parse().map_err(|_| wrong(number, line, "the number of folds"))?
        }
    };
    let mut people = vec![];
    for fold in 0..folds {
        let (number, line) =
            lines.next().ok_or_else(|| Error::format(path, format!("ends before fold {}", fold + 1)))?;
        let count: usize = line.trim().parse().map_err(|_| wrong(number, line, "the number of people"))?;
        for _ in 0..count {
            let ends = || Error::format(path, format!("ends within fold {}: bring it anew", fold + 1));
            let (number, line) = lines.next().ok_or_else(ends)?;
            let mut fields = line.split_whitespace();
            let name = fields.next().filter(|name| name.len() <= LONGEST_NAME);
            let row = (name, fields.next().and_then(|images| images.parse().ok()), fields.next());
            let (Some(name), Some(images @ 1..=MOST_IMAGES), None) = row else {
                return Err(wrong(number, line, "`<name> <images>`"));
            };
            people.push((name.to_owned(), images, fold));
        }
    }
    match lines.next() {
        Some((number, line)) => Err(wrong(number, line, "the end")),
        None => Ok(people),
    }
}
