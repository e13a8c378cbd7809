//! All of Omniglot: the set `omniglot-full`.

use crate::sources::idx;
use crate::{Error, ImageSet, Manifest, Result, Split};
use std::path::Path;

/// All 1,623 characters at 28 × 28, cut as Vinyals et al. (2016) did: 1,028 to train, 172 to validate, 423 to test. Few-shot
/// papers turn each part into four times the classes with [`ImageSet::with_rotations`].
///
/// The cut is by character: Gurmukhi is on both sides of it. Drawers are not known.
///
/// # Errors
/// When a file of the set `omniglot-full` is missing or not the one of the manifest.
pub fn full(data_dir: &Path) -> Result<Split> {
    full_as(&Manifest::find("omniglot-full")?, data_dir)
}

/// As [`full`], of the files that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn full_as(manifest: &Manifest, data_dir: &Path) -> Result<Split> {
    let (set, classes) = all(manifest, data_dir)?;
    let part = |vinyals: &str, name: &str| of_classes(&set, &classes, name, |class| class.vinyals == vinyals);
    Ok(Split { train: part("train", "train")?, validation: part("val", "validation")?, test: part("test", "test")? })
}

/// The 964 characters of the owner's background set and the 659 of the evaluation set at 28 × 28: whole alphabets, as Lake et al.
/// (2015) cut them. Drawers are not known.
///
/// # Errors
/// As [`full`].
pub fn background_and_evaluation(data_dir: &Path) -> Result<[ImageSet; 2]> {
    background_and_evaluation_as(&Manifest::find("omniglot-full")?, data_dir)
}

/// As [`background_and_evaluation`], of the files that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn background_and_evaluation_as(manifest: &Manifest, data_dir: &Path) -> Result<[ImageSet; 2]> {
    let (set, classes) = all(manifest, data_dir)?;
    let part = |name: &str| of_classes(&set, &classes, name, |class| class.part == name);
    Ok([part("background")?, part("evaluation")?])
}

/// All images of `omniglot-full`, and where each class belongs.
fn all(manifest: &Manifest, data_dir: &Path) -> Result<(ImageSet, Vec<Class>)> {
    let read = |name: &str| Ok::<_, Error>((manifest.folder(data_dir).join(name), manifest.read(data_dir, name)?));
    let (classes_path, classes) = read("omniglot-classes.tsv")?;
    let classes = String::from_utf8(classes).map_err(|error| Error::format(&classes_path, error.to_string()))?;
    let classes = class_table(&classes_path, &classes)?;
    let names = classes.iter().map(|class| class.name.clone()).collect();
    let images = read("omniglot28-lanczos-idx3-ubyte.gz")?;
    let labels = read("omniglot-labels-idx1-int.gz")?;
    let set = idx::image_set("omniglot", (&images.0, &images.1), (&labels.0, &labels.1), Some(names))?;
    Ok((set, classes))
}

/// The images of the classes that `belong` to a part.
fn of_classes(set: &ImageSet, classes: &[Class], part: &str, belong: impl Fn(&Class) -> bool) -> Result<ImageSet> {
    let chosen: Vec<u32> = (0..).zip(classes).filter(|(_, class)| belong(class)).map(|(number, _)| number).collect();
    Ok(set.subset_of_classes(&chosen)?.renamed(format!("omniglot/{part}")))
}

/// A character of `omniglot-classes.tsv`.
#[derive(Debug, PartialEq)]
struct Class {
    name: String,
    /// The owner's: `background` or `evaluation`.
    part: String,
    /// Vinyals': `train`, `val` or `test`.
    vinyals: String,
}

fn class_table(path: &Path, table: &str) -> Result<Vec<Class>> {
    let mut lines = table.lines();
    if lines.next() != Some("class\tpart\talphabet\tcharacter\tvinyals") {
        return Err(Error::format(
            path,
            "its header is not class, part, alphabet, character, vinyals: use the mirror's file",
        ));
    }
    let row = |(class, line): (usize, &str)| {
        let cells: Vec<&str> = line.split('\t').collect();
        match cells.as_slice() {
            [
                number,
                part @ ("background" | "evaluation"),
                alphabet,
                character,
                vinyals @ ("train" | "val" | "test"),
            ] if *number == class.to_string() => {
                let name = format!("{alphabet}/{character}");
                Ok(Class { name, part: (*part).to_owned(), vinyals: (*vinyals).to_owned() })
            }
            _ => Err(Error::format(
                path,
                format!("line {}: `{line}` is not class {class} with its alphabet, character and part", class + 2),
            )),
        }
    };
    lines.enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_table_must_be_whole() {
        let header = "class\tpart\talphabet\tcharacter\tvinyals\n";
        let table = |rows: &str| class_table(Path::new("t.tsv"), &format!("{header}{rows}"));
        let [name, part, vinyals] = ["Greek/character01", "background", "val"].map(str::to_owned);
        assert_eq!(table("0\tbackground\tGreek\tcharacter01\tval\n").unwrap(), [Class { name, part, vinyals }]);
        for row in [
            "1\tbackground\tGreek\tcharacter01\tval",
            "0\tbackground\tGreek\tcharacter01\tdev",
            "0\tfront\tGreek\tcharacter01\tval",
            "0",
        ] {
            assert!(table(row).unwrap_err().to_string().contains("t.tsv: line 2"), "{row}");
        }
        assert!(class_table(Path::new("t.tsv"), "0").unwrap_err().to_string().contains("its header"));
    }
}
