//! The embedded set: 1,598 emoji, each as three or four designers drew it, 32×32 RGB on white.
//!
//! A class is an emoji, a domain is a designer: to recognise an unseen emoji in another hand is zero-shot retrieval, with
//! three or four images per class as in Stanford Online Products. Pictures, names, licences and their builder lie in
//! `datasets/emoji`, the split rule in `datasets/emoji.toml`.

use crate::image::decode;
use crate::{Error, ImageSet, Manifest, Result, Split};
use std::path::Path;

/// Side of an image in pixels.
const SIDE: usize = 32;
/// Images in a row of a mosaic.
const COLUMNS: usize = 40;
const CHANNELS: usize = 3;

/// Name of each class and who drew it.
const CLASSES: &str = include_str!("../../../../datasets/emoji/classes.tsv");

/// A designer and the mosaic of all their drawings; tile `i` is class `i`.
const DESIGNERS: [(&str, &[u8]); 4] = [
    ("noto", include_bytes!("../../../../datasets/emoji/images-noto.png")),
    ("twemoji", include_bytes!("../../../../datasets/emoji/images-twemoji.png")),
    ("emojione", include_bytes!("../../../../datasets/emoji/images-emojione.png")),
    ("fluent-emoji-flat", include_bytes!("../../../../datasets/emoji/images-fluent-emoji-flat.png")),
];

/// The set, cut by the split rule of its manifest: half of the classes for the test, a quarter of the others for
/// validation.
///
/// # Errors
/// When the embedded files are damaged, which a build cannot bring about.
pub fn load() -> Result<Split> {
    Manifest::find("emoji")?.split.unwrap_or_default().split(&whole()?)
}

/// All classes; images class by class, in the order of the designers.
///
/// # Errors
/// As [`load`].
pub fn whole() -> Result<ImageSet> {
    let mosaics = DESIGNERS
        .iter()
        .map(|(name, bytes)| decode(Path::new(&format!("emoji/images-{name}.png")), bytes, CHANNELS))
        .collect::<Result<Vec<_>>>()?;
    let (mut names, mut labels, mut domains, mut pixels) = (vec![], vec![], vec![], vec![]);
    for (class, line) in CLASSES.lines().skip(1).enumerate() {
        let damaged =
            |problem: String| Error::format(Path::new("emoji/classes.tsv"), format!("line {}: {problem}", class + 2));
        let (name, designers) = line.split_once('\t').ok_or_else(|| damaged("no tab".into()))?;
        names.push(name.to_owned());
        for designer in designers.split(',') {
            let domain = DESIGNERS.iter().position(|(known, _)| *known == designer);
            let domain = domain.ok_or_else(|| damaged(format!("unknown designer {designer}")))?;
            let mosaic = &mosaics[domain];
            let (left, top) = (class % COLUMNS * SIDE, class / COLUMNS * SIDE);
            if top + SIDE > mosaic.height || left + SIDE > mosaic.width {
                return Err(damaged(format!("the mosaic of {designer} has no tile {class}")));
            }
            for y in top..top + SIDE {
                let start = (y * mosaic.width + left) * CHANNELS;
                pixels.extend_from_slice(&mosaic.pixels[start..start + SIDE * CHANNELS]);
            }
            labels.push(class as u32);
            domains.push(domain as u32);
        }
    }
    let designers = DESIGNERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    ImageSet::from_pixels("emoji", [CHANNELS, SIDE, SIDE], pixels, labels, names)?.with_domains(domains, designers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;
    use std::collections::BTreeSet;

    #[test]
    fn has_the_counts_of_its_manifest() {
        let all = whole().unwrap();
        assert_eq!((all.class_names().len(), all.shape()), (1598, [3, 32, 32]));
        let mut per_class = vec![0; 1598];
        all.labels().iter().for_each(|&label| per_class[label as usize] += 1);
        assert!(per_class.iter().all(|&n| n == 3 || n == 4));
        // A tile that was cut wrong would be blank or twice there.
        let different: BTreeSet<_> = (0..all.len()).map(|i| all.pixels(i).to_vec()).collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn parts_share_no_class() {
        let split = load().unwrap();
        let parts = [&split.train, &split.validation, &split.test].map(|part| part.class_names().to_vec());
        assert_eq!(parts.each_ref().map(Vec::len), [599, 200, 799]);
        let names: BTreeSet<_> = parts.iter().flatten().collect();
        assert_eq!(names.len(), 1598);
    }
}
