//! CLINC150: what people ask an assistant, in 150 intents of ten domains, and queries out of scope (Larson et al. 2019).
//!
//! Groups are the domains. Queries out of scope have the class [`OUT_OF_SCOPE`] and parts of their own.

use super::lists;
use super::published::Published;
use crate::{CatalogBuilder, Error, Manifest, Membership, Result, Strings, Texts};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The class of queries that belong to no intent.
pub const OUT_OF_SCOPE: &str = "oos";

/// The parts: the key in the file and its name here.
const PARTS: [(&str, &str); 6] = [
    ("train", "train"),
    ("val", "validation"),
    ("test", "test"),
    ("oos_train", "oos-train"),
    ("oos_val", "oos-validation"),
    ("oos_test", "oos-test"),
];

/// The set for metric learning: all queries in scope, the intents dealt to train, validation and test by the manifest's
/// rule, so that no intent is in two parts. For queries out of scope take [`classification`]'s parts `oos-…`.
///
/// # Errors
/// When a file is missing below `data_dir`, is not the one of the manifest, or has other counts.
pub fn open(data_dir: &Path) -> Result<Texts> {
    open_as(&Manifest::find("clinc150")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Texts> {
    let set = Published::of(manifest, data_dir);
    let published = set.counted(published(&set, data_dir)?)?;
    let in_scope = (0..published.len()).filter(|&i| !published.part_of(i).starts_with("oos-")).collect::<Vec<_>>();
    published.select(&in_scope).split(&set.manifest.split.unwrap_or_default())
}

/// The split that is published, for classification: every intent is in `train`, `validation` and `test`; `oos-train`,
/// `oos-validation` and `oos-test` hold the queries out of scope.
///
/// # Errors
/// As [`open`].
pub fn classification(data_dir: &Path) -> Result<Texts> {
    let manifest = Manifest::find("clinc150")?;
    let set = Published::of(&manifest, data_dir);
    set.counted(published(&set, data_dir)?)
}

fn published(set: &Published<'_>, data_dir: &Path) -> Result<Texts> {
    set.manifest.verify(data_dir)?;
    read(&set.folder)
}

/// Reads `data_full.json` and `domains.json` in `folder`; the counts are not checked.
///
/// # Errors
/// When a file is missing or is not as published.
pub fn read(folder: &Path) -> Result<Texts> {
    let domains = domains(&folder.join("domains.json"))?;
    let path = folder.join("data_full.json");
    let data = json(&path)?;
    let mut builder = CatalogBuilder::new("clinc150", folder, Strings::default());
    for (key, part) in PARTS {
        let wrong = |problem: String| Error::format(&path, format!("{key}: {problem}"));
        let queries = data.get(key).and_then(Value::as_array).ok_or_else(|| wrong("is no list of queries".into()))?;
        for (i, query) in queries.iter().enumerate() {
            let fields = query.as_array().map(Vec::as_slice);
            let Some([Value::String(text), Value::String(intent)]) = fields else {
                return Err(wrong(format!("query {i} is not `[text, intent]`")));
            };
            let group = domains.get(intent).map(String::as_str);
            if group.is_none() && intent != OUT_OF_SCOPE {
                return Err(wrong(format!("query {i} has intent `{intent}`, which is in no domain of domains.json")));
            }
            builder.add(Membership { group, ..Membership::new(intent, part) }, text)?;
        }
    }
    Ok(builder.finish())
}

/// The domain of each intent.
fn domains(path: &Path) -> Result<HashMap<String, String>> {
    let wrong = || Error::format(path, "is not `{domain: [intent, …], …}`: bring the file anew");
    let data = json(path)?;
    let mut domains = HashMap::new();
    for (domain, intents) in data.as_object().ok_or_else(wrong)? {
        for intent in intents.as_array().ok_or_else(wrong)? {
            domains.insert(intent.as_str().ok_or_else(wrong)?.to_owned(), domain.clone());
        }
    }
    Ok(domains)
}

fn json(path: &Path) -> Result<Value> {
    serde_json::from_str(&lists::text(path)?)
        .map_err(|error| Error::format(path, format!("not JSON ({error}): bring the file anew")))
}
