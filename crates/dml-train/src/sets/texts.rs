//! Sets of texts with classes, and of pairs of texts.

use super::{Parts, Sets};
use crate::correlation::ScoredPairs;
use crate::examples::{Examples, LabelledTexts, PairedTexts};
use crate::{Error, Recipe, Result, weights};
use dml_data::sources::{banking77, clinc150, emoji_names, own_texts, stsb};
use dml_data::text::{Pad, Side, TextTokenizer, TokenizerOptions};
use dml_data::{SplitRule, TextPairs, Texts};
use dml_models::{Architecture, TextSizes};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sets of this file.
pub(super) const NAMES: [&str; 6] = ["emoji-names", "texts", "banking77", "clinc150", "pairs", "stsb"];

/// Opens the set of `recipe`, one of [`NAMES`].
pub(super) fn open(
    recipe: &Recipe,
    data_dir: impl Fn() -> dml_data::Result<PathBuf>,
    root: Option<&Path>,
) -> Result<Sets> {
    let config = &recipe.data;
    let wants_root =
        || Error::Recipe(format!("data.set is {:?} but data.root is missing: name the CSV file", config.set));
    let texts = match config.set.as_str() {
        "emoji-names" => emoji_names::load()?,
        "banking77" => banking77::open(&data_dir()?)?,
        "clinc150" => clinc150::open(&data_dir()?)?,
        "texts" => own_texts::open(root.ok_or_else(wants_root)?)?,
        "pairs" => return of_pairs(own_texts::pairs(root.ok_or_else(wants_root)?)?, recipe),
        _ => return of_pairs(stsb::open(&data_dir()?)?, recipe),
    };
    of_texts(texts, recipe)
}

/// Texts with classes.
fn of_texts(texts: Texts, recipe: &Recipe) -> Result<Sets> {
    let tokenizer = Arc::new(tokenizer(recipe)?);
    // As folders of images: a table without parts has its classes dealt.
    let texts = match texts.part_names() {
        [only] if only == "all" => {
            texts.split(&SplitRule { validation: recipe.data.validation, ..SplitRule::default() })?
        }
        _ => texts,
    };
    let texts = match recipe.data.held_out()? {
        Some((folds, fold)) => texts.with_fold(&folds, fold)?,
        None => texts,
    };
    let Parts { train, validation, test, groups, roles: [_, roles] } = Parts::of(&texts, &recipe.data)?;
    let examples = |texts: Texts| -> Arc<dyn Examples> {
        Arc::new(LabelledTexts { texts: Arc::new(texts), tokenizer: tokenizer.clone() })
    };
    let train = examples(train);
    Ok(Sets {
        still: train.clone(),
        groups,
        validation: validation.map(examples),
        test: test.map(examples),
        roles,
        ..Sets::of_train(train)
    })
}

/// Pairs: those that are alike to learn from, or all of them by degree; all others to measure by.
fn of_pairs(pairs: TextPairs, recipe: &Recipe) -> Result<Sets> {
    if recipe.data.folds.is_some() {
        let set = &recipe.data.set;
        return Err(Error::Recipe(format!(
            "data.folds is set but data.set {set:?} holds pairs, not classes: leave it out"
        )));
    }
    let tokenizer = Arc::new(tokenizer(recipe)?);
    let parts: Vec<String> = pairs.part_names().map(str::to_owned).collect();
    let part = |name: &str| parts.iter().any(|part| part == name).then(|| pairs.part(name)).transpose();
    let whole = match parts.as_slice() {
        [only] if only == "all" => pairs.part("all")?,
        _ => part("train")?.ok_or_else(|| {
            let (set, parts) = (&recipe.data.set, parts.join(", "));
            Error::Recipe(format!("data.set {set:?} has no part `train` but {parts}: write it in the column `split`"))
        })?,
    };
    let train = match recipe.data.positive_score {
        None => whole,
        Some(least) => alike(&whole, least)?,
    };
    let text_numbers = numbers(&train);
    let graded = recipe.data.positive_score.is_none();
    let train: Arc<dyn Examples> = Arc::new(PairedTexts::new(train, tokenizer.clone(), graded));
    let scored = [part("validation")?, part("test")?]
        .map(|pairs| pairs.map(|pairs| ScoredPairs { pairs, tokenizer: tokenizer.clone() }));
    Ok(Sets { still: train.clone(), scored, text_numbers, two_views: true, ..Sets::of_train(train) })
}

/// The pairs with a score of `least` or more.
fn alike(pairs: &TextPairs, least: f32) -> Result<TextPairs> {
    let mut kept = TextPairs::new(pairs.name(), pairs.name());
    for (index, &score) in pairs.scores().iter().enumerate().filter(|(_, score)| **score >= least) {
        kept.add("train", pairs.pair(index), score)?;
    }
    if kept.is_empty() {
        let most = pairs.scores().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        return Err(Error::Recipe(format!(
            "data.positive_score is {least} but no pair has more than {most}: lower it"
        )));
    }
    Ok(kept)
}

/// The number of each text of each pair; equal texts have equal numbers.
fn numbers(pairs: &TextPairs) -> Vec<[u32; 2]> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut number = |text| {
        let next = known.len() as u32;
        *known.entry(text).or_insert(next)
    };
    (0..pairs.len()).map(|index| pairs.pair(index).map(&mut number)).collect()
}

/// The tokenizer that the recipe names, else that of its sentence encoder, else that of the embedded set.
pub(crate) fn tokenizer(recipe: &Recipe) -> Result<TextTokenizer> {
    let config = &recipe.data;
    // Where the recipe says the texts and what embeds them.
    let (set_key, set) = match &config.texts {
        Some(texts) => ("data.texts", texts),
        None => ("data.set", &config.set),
    };
    let of_tower = recipe.model.text.is_some() && !recipe.model.architecture.embeds_texts();
    let key = if of_tower { "model.text" } else { "model" };
    let model = recipe.model.for_texts();
    let Some((model, TextSizes { places, vocabulary })) = model.and_then(|model| Some((model, model.text_sizes()?)))
    else {
        let of_texts = model.unwrap_or(&recipe.model);
        if let Some(gone) = of_texts.weights.as_deref().filter(|_| weights::are_gone(of_texts)) {
            let mend = "bring the sentence encoder there, or name another";
            return Err(Error::Recipe(format!("{key}.weights is {gone:?}, which does not exist: {mend}")));
        }
        let architecture = of_texts.architecture;
        let mend = match &config.texts {
            Some(_) => "give a second tower as model.text, e.g. model.text.architecture = \"bert\"",
            None => "give bert or distil_bert, or a sentence encoder as model.weights",
        };
        return Err(Error::Recipe(format!(
            "{set_key} has texts ({set:?}) but {key}.architecture {architecture:?} embeds images: {mend}"
        )));
    };
    let max_length = match config.max_length {
        0 => places,
        given if given > places => {
            return Err(Error::Recipe(format!(
                "data.max_length is {given} but {key} has places for {places} tokens: lower it"
            )));
        }
        given => given,
    };
    let options = TokenizerOptions { max_length, ..TokenizerOptions::default() };
    let named = match &config.tokenizer {
        Some(path) => Some(path.clone()),
        None => weights::sentence_folder(model)?.map(|folder| folder.tokenizer),
    };
    let tokenizer = match named {
        Some(path) => open_tokenizer(&path, options)?,
        None if config.set == "emoji-names" || config.texts.as_deref() == Some("emoji-names") => {
            TextTokenizer::parse(emoji_names::TOKENIZER.as_bytes(), Path::new("emoji/tokenizer.json"), &options)?
        }
        None => {
            return Err(Error::Recipe(format!(
                "{set_key} {set:?} holds texts but nothing says how they become tokens: give data.tokenizer, a tokenizer.json, \
                 or a sentence encoder as {key}.weights"
            )));
        }
    };
    let ids = tokenizer.vocabulary_size();
    if ids > vocabulary {
        let of = if model.architecture == Architecture::DistilBert { "distil_bert" } else { "bert" };
        return Err(Error::Recipe(format!(
            "the tokenizer has {ids} tokens but {key} {vocabulary}: take the model's own, or raise vocab_size under {key}.{of}"
        )));
    }
    Ok(tokenizer)
}

/// Files of models that never batched leave the padding out; BERT's is known.
fn open_tokenizer(path: &Path, options: TokenizerOptions) -> Result<TextTokenizer> {
    TextTokenizer::open(path, &options).or_else(|problem| {
        let pad = Some(Pad { token: "[PAD]".to_owned(), side: Side::Right });
        TextTokenizer::open(path, &TokenizerOptions { pad, ..options }).map_err(|_| problem.into())
    })
}
