//! STS-B: pairs of English sentences and how alike people found them, from 0 to 5 (Cer et al. 2017).

use super::lists;
use super::published::Published;
use crate::{Error, Manifest, Result, TextPairs};
use std::path::Path;

/// The parts: their name in the file names and here.
const PARTS: [(&str, &str); 3] = [("train", "train"), ("dev", "validation"), ("test", "test")];

/// The pairs in the parts `train`, `validation` and `test`, as published.
///
/// # Errors
/// When a file is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<TextPairs> {
    open_as(&Manifest::find("stsb")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<TextPairs> {
    let set = Published::of(manifest, data_dir);
    set.manifest.verify(data_dir)?;
    let pairs = read(&set.folder)?;
    pairs.check_counts(&set.manifest.expected)?;
    Ok(pairs)
}

/// Reads `stsb-en-train.csv`, `stsb-en-dev.csv` and `stsb-en-test.csv` in `folder`; the counts are not checked.
///
/// # Errors
/// When a file is missing, is not as published, or has a score outside `0..=5`.
pub fn read(folder: &Path) -> Result<TextPairs> {
    let mut pairs = TextPairs::new("stsb", folder);
    for (file, part) in PARTS {
        let path = folder.join(format!("stsb-en-{file}.csv"));
        lists::csv(&path, &lists::text(&path)?, None, |line, [left, right, score]| {
            let score =
                score.trim().parse::<f32>().ok().filter(|score| (0.0..=5.0).contains(score)).ok_or_else(|| {
                    let shown = lists::shown(score);
                    Error::format(
                        &path,
                        format!("line {line}: `{shown}` is not a score from 0 to 5: bring the file anew"),
                    )
                })?;
            pairs.add(part, [left, right], score)
        })?;
    }
    Ok(pairs)
}
