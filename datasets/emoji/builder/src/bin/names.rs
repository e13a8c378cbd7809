//! What the emoji of the data set are called in twenty languages, by the Unicode Common Locale Data Repository.
//!
//! ```text
//! npm install --prefix target/emoji cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0
//! cargo run --manifest-path datasets/emoji/builder/Cargo.toml --bin names -- target/emoji/node_modules datasets/emoji
//! ```
//!
//! Reads `classes.tsv`, writes `names.tsv`: a line for each of its classes, a column for each language. The English name,
//! in small letters and with hyphens, is the class; a class whose name is nobody's has empty cells. So have names that are
//! another one of their class but for case and accents (`taxi`, `Taxi`), whose retrieval would be no feat, and names that
//! two classes share in any language, which nobody could tell apart.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// In Latin script; English first.
const LANGUAGES: [&str; 20] = [
    "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "fi", "et", "lv", "pl", "cs", "sl", "hr", "hu", "ro", "tr",
    "id",
];

/// Package, folder, key; what comes first is the better source.
const PACKAGES: [(&str, &str, &str); 2] = [
    ("cldr-annotations-full", "annotations", "annotations"),
    ("cldr-annotations-derived-full", "annotationsDerived", "annotationsDerived"),
];
const VERSION: &str = "48.2.0";
const LICENCE: &str = "Unicode-3.0";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [packages, out] = arguments.as_slice() else {
        anyhow::bail!("usage: names PACKAGES OUT (PACKAGES holds cldr-annotations-full/ …, OUT holds classes.tsv)");
    };
    let (packages, out) = (Path::new(packages), Path::new(out));
    for (package, ..) in PACKAGES {
        let about = json(&packages.join(package).join("package.json"))?;
        ensure!(about["version"] == VERSION, "{package} is not version {VERSION}");
        ensure!(about["license"] == LICENCE, "{package} does not state the licence {LICENCE}");
    }
    let names = LANGUAGES.iter().map(|language| names(packages, language)).collect::<Result<Vec<_>>>()?;
    let emoji_of: HashMap<String, &String> = names[0].iter().map(|(emoji, name)| (slug(name), emoji)).collect();
    let classes = std::fs::read_to_string(out.join("classes.tsv")).context("classes.tsv")?;
    let classes: Vec<&str> = classes.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let name = |class: &str, language: usize| emoji_of.get(class).and_then(|emoji| names[language].get(*emoji));
    let mut owners: HashMap<String, BTreeSet<&str>> = HashMap::new();
    for (&class, language) in classes.iter().flat_map(|class| (0..LANGUAGES.len()).map(move |l| (class, l))) {
        if let Some(name) = name(class, language) {
            owners.entry(folded(name)).or_default().insert(class);
        }
    }
    let mut table = format!("name\t{}\n", LANGUAGES.join("\t"));
    let (mut texts, mut shared, mut repeated) = (0, 0, 0);
    for &class in &classes {
        table += class;
        let mut seen = BTreeSet::new();
        for language in 0..LANGUAGES.len() {
            table.push('\t');
            let Some(name) = name(class, language) else { continue };
            ensure!(!name.contains(['\t', '\n']), "{class}: {name:?} does not fit a table");
            let folded = folded(name);
            if owners[&folded].len() > 1 {
                shared += 1;
            } else if !seen.insert(folded) {
                repeated += 1;
            } else {
                texts += 1;
                table += name;
            }
        }
        table.push('\n');
    }
    std::fs::write(out.join("names.tsv"), &table).context("names.tsv")?;
    eprintln!("{texts} names; left out: {shared} that classes share, {repeated} that their class has already");
    print!("{}", emoji_builder::manifest_block(out, "names.tsv")?);
    Ok(())
}

/// The name of each emoji in `language`.
fn names(packages: &Path, language: &str) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for (package, folder, key) in PACKAGES {
        let path = packages.join(package).join(folder).join(language).join("annotations.json");
        let all = json(&path)?;
        let all = all[key]["annotations"].as_object().with_context(|| format!("{}: no annotations", path.display()))?;
        for (emoji, said) in all {
            if let Some(name) = said["tts"][0].as_str() {
                names.entry(emoji.clone()).or_insert_with(|| name.trim().to_owned());
            }
        }
    }
    Ok(names)
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Small letters without accents.
fn folded(name: &str) -> String {
    name.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

/// A name as the icon packages write it: `a-button-blood-type`.
fn slug(name: &str) -> String {
    let kept: String = folded(name).replace('&', "and").chars().filter(|c| !"’'.".contains(*c)).collect();
    let words = kept.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
