//! Renders the emoji data set: the same emoji as four designers drew them.
//!
//! ```text
//! npm install --prefix target/emoji @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 \
//!     @iconify-json/emojione@1.2.3 @iconify-json/fluent-emoji-flat@1.2.6
//! cargo run --manifest-path datasets/emoji/builder/Cargo.toml -- \
//!     target/emoji/node_modules/@iconify-json datasets/emoji
//! ```
//!
//! Writes `images-<designer>.png` (a mosaic, tile `i` is class `i`) and `classes.tsv`, and prints the `[[files]]` that
//! belong into `datasets/emoji.toml`; counts and dropped names go to the error output. The same packages give the same
//! bytes. `src/bin/names.rs` adds what the emoji are called.

mod icons;
mod mosaic;

use anyhow::{Context, Result, ensure};
use icons::IconSet;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

/// Package, version, licence it must state. The order is the designers' number in the data set.
const DESIGNERS: [(&str, &str, &str); 4] = [
    ("noto", "1.2.9", "Apache-2.0"),
    ("twemoji", "1.2.5", "CC-BY-4.0"),
    ("emojione", "1.2.3", "CC-BY-4.0"),
    ("fluent-emoji-flat", "1.2.6", "MIT"),
];

/// A class needs this many designers.
const FEWEST_DESIGNERS: usize = 3;

/// The image of a class by each designer, where there is one.
type Drawings = [Option<Vec<u8>>; DESIGNERS.len()];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [packages, out] = arguments.as_slice() else {
        anyhow::bail!("usage: emoji-builder PACKAGES OUT (PACKAGES holds noto/, twemoji/, …)");
    };
    let sets = DESIGNERS
        .iter()
        .map(|(name, version, licence)| IconSet::open(&Path::new(packages).join(name), version, licence))
        .collect::<Result<Vec<_>>>()?;
    let classes = without_twins(render(&sets)?);
    ensure!(!classes.is_empty(), "no names are shared by {FEWEST_DESIGNERS} packages");
    for (designer, (name, ..)) in DESIGNERS.iter().enumerate() {
        let tiles: Vec<_> = classes.values().map(|drawings| drawings[designer].as_deref()).collect();
        mosaic::write(&Path::new(out).join(format!("images-{name}.png")), &tiles)?;
        eprintln!("{name}: {} images", tiles.iter().flatten().count());
    }
    let table = classes.iter().fold("name\tdesigners\n".to_owned(), |mut table, (name, drawings)| {
        let present: Vec<_> = (0..DESIGNERS.len()).filter(|&d| drawings[d].is_some()).map(|d| DESIGNERS[d].0).collect();
        writeln!(table, "{name}\t{}", present.join(",")).expect("writing to a string");
        table
    });
    std::fs::write(Path::new(out).join("classes.tsv"), table).context("classes.tsv")?;
    eprintln!("{} classes", classes.len());
    let mosaics = DESIGNERS.iter().map(|(name, ..)| format!("images-{name}.png"));
    for file in mosaics.chain(["classes.tsv".to_owned()]) {
        print!("{}", emoji_builder::manifest_block(Path::new(out), &file)?);
    }
    Ok(())
}

/// Every name that enough packages share, in each of their drawings. Skin tones are variants of another emoji: left out.
fn render(sets: &[IconSet]) -> Result<BTreeMap<String, Drawings>> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in sets.iter().flat_map(IconSet::names).filter(|name| !name.contains("skin-tone")) {
        *counts.entry(name).or_default() += 1;
    }
    let shared = counts.into_iter().filter(|&(_, count)| count >= FEWEST_DESIGNERS);
    shared
        .map(|(name, _)| {
            let mut drawings = Drawings::default();
            for (drawing, set) in drawings.iter_mut().zip(sets) {
                *drawing = set.render(name).with_context(|| format!("{}: {name}", set.name))?;
            }
            Ok((name.to_owned(), drawings))
        })
        .collect()
}

/// Drops classes that a designer drew exactly like an earlier one (aliases, flags of dependencies):
/// neither a person nor a metric could tell them apart.
fn without_twins(classes: BTreeMap<String, Drawings>) -> BTreeMap<String, Drawings> {
    let mut seen = [(); DESIGNERS.len()].map(|()| HashSet::new());
    let mut kept = BTreeMap::new();
    for (name, drawings) in classes {
        let twin = (0..DESIGNERS.len()).find(|&d| drawings[d].as_ref().is_some_and(|pixels| seen[d].contains(pixels)));
        if let Some(designer) = twin {
            eprintln!("dropped {name}: {} draws it like an earlier name", DESIGNERS[designer].0);
            continue;
        }
        for (designer, drawing) in drawings.iter().enumerate() {
            seen[designer].extend(drawing.clone());
        }
        kept.insert(name, drawings);
    }
    kept
}
