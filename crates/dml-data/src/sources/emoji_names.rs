//! The embedded set of texts: what the emoji of [`emoji`](super::emoji) are called in twenty languages, 28,483 names.
//!
//! A class is an emoji, a group is a language: to find an unseen emoji's other names is zero-shot retrieval across
//! languages. Classes and parts are those of the pictures, so that neither set knows what the other is tested on. Names,
//! licence and their builder lie in `datasets/emoji`.

use crate::{CatalogBuilder, Error, Manifest, Membership, Result, Strings, Texts};
use std::path::Path;

/// A line for each class, a column for each language.
const NAMES: &str = include_str!("../../../../datasets/emoji/names.tsv");

/// A tokenizer for them, a `tokenizer.json`: byte pair encoding of small letters without accents, learned from the names of
/// the training classes alone.
pub const TOKENIZER: &str = include_str!("../../../../datasets/emoji/tokenizer.json");

/// Tokens of [`TOKENIZER`].
pub const VOCABULARY: usize = 1000;

/// The set in the parts `train`, `validation` and `test`, by the split rule of the pictures.
///
/// # Errors
/// When the embedded files are damaged, which a build cannot bring about.
pub fn load() -> Result<Texts> {
    let mut lines = NAMES.lines();
    let languages: Vec<&str> = lines.next().unwrap_or_default().split('\t').skip(1).collect();
    let rows: Vec<(&str, &str)> = lines.map(|line| line.split_once('\t').unwrap_or((line, ""))).collect();
    let classes: Vec<String> = rows.iter().map(|(class, _)| (*class).to_owned()).collect();
    // Of all classes, those without a name too: the rule counts them.
    let dealt = Manifest::find("emoji")?.split.unwrap_or_default().classes(&classes)?;
    let mut parts = vec!["train"; classes.len()];
    for (part, classes) in [("validation", &dealt.validation), ("test", &dealt.test)] {
        classes.iter().for_each(|&class| parts[class as usize] = part);
    }
    let mut builder = CatalogBuilder::new("emoji-names", "emoji/names.tsv", Strings::default());
    for (line, (&(class, names), part)) in rows.iter().zip(parts).enumerate() {
        let names: Vec<&str> = names.split('\t').collect();
        if names.len() != languages.len() {
            let problem = format!("line {}: {} names in {} languages", line + 2, names.len(), languages.len());
            return Err(Error::format(Path::new("emoji/names.tsv"), problem));
        }
        for (name, language) in names.into_iter().zip(&languages).filter(|(name, _)| !name.is_empty()) {
            builder.add(Membership { group: Some(language), ..Membership::new(class, part) }, name)?;
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;
    use crate::sources::emoji;
    use std::collections::HashSet;

    #[test]
    fn has_the_classes_and_parts_of_the_pictures() {
        let (names, pictures) = (load().unwrap(), emoji::load().unwrap());
        assert_eq!((names.len(), names.class_names().len(), names.group_names().len()), (28_483, 1_568, 20));
        names.check_disjoint().unwrap();
        for (part, of_pictures) in
            [("train", &pictures.train), ("validation", &pictures.validation), ("test", &pictures.test)]
        {
            let known: HashSet<&String> = of_pictures.class_names().iter().collect();
            let part = names.part(part).unwrap();
            assert!(part.class_names().iter().all(|class| known.contains(class)));
            assert!(part.class_names().len() + 30 >= known.len());
        }
    }

    #[test]
    fn no_name_comes_twice() {
        let names = load().unwrap();
        let different: HashSet<String> = (0..names.len()).map(|i| names.text(i).to_lowercase()).collect();
        assert_eq!(different.len(), names.len());
    }

    #[cfg(feature = "text")]
    #[test]
    fn its_tokenizer_knows_every_letter() {
        use crate::text::{TextTokenizer, TokenizerOptions};
        let names = load().unwrap();
        let options = TokenizerOptions { max_length: 128, ..TokenizerOptions::default() };
        let tokenizer =
            TextTokenizer::parse(TOKENIZER.as_bytes(), Path::new("emoji/tokenizer.json"), &options).unwrap();
        assert_eq!((tokenizer.vocabulary_size(), tokenizer.pad_id()), (VOCABULARY, 0));
        let all: Vec<&str> = (0..names.len()).map(|i| names.text(i)).collect();
        let tokens = tokenizer.encode(&all).unwrap();
        // 1 is the unknown letter.
        assert!(!tokens.ids.contains(&1));
        let letters = tokenizer.encode(&["Été à Łódź"]).unwrap();
        assert_eq!(letters.ids, tokenizer.encode(&["ete a łodz"]).unwrap().ids);
    }
}
