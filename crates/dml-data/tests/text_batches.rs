//! Texts become the batches that transformers makes, whatever is done side by side.

use dml_data::sampler::{PkSampler, RandomSampler};
use dml_data::text::{
    Pad, PadTo, PairBatch, Side, TextTokenizer, TokenBatch, TokenBudget, TokenLoader, TokenizerOptions, Tokens,
    budget_batches, pair_batches, token_batches,
};
use dml_data::{CatalogBuilder, Error, LoaderOptions, Membership, Strings, TextPairs, Texts};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Words of one letter, `[CLS]` before and `[SEP]` behind; what is no letter is unknown, spaces are nothing.
fn word_level() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let words = special.into_iter().chain(('a'..='z').map(String::from));
    let vocabulary: serde_json::Map<String, Value> = words.enumerate().map(|(id, word)| (word, json!(id))).collect();
    json!({
        "version": "1.0",
        "padding": {
            "strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": 3,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
}

fn tokenizer_of(file: &Value, options: &TokenizerOptions) -> dml_data::Result<TextTokenizer> {
    TextTokenizer::parse(file.to_string().as_bytes(), Path::new("tokenizer.json"), options)
}

fn tokenizer(options: &TokenizerOptions) -> TextTokenizer {
    tokenizer_of(&word_level(), options).unwrap()
}

fn set(texts: &[String]) -> Texts {
    let mut builder = CatalogBuilder::new("questions", "questions.csv", Strings::default());
    for (index, text) in texts.iter().enumerate() {
        builder.add(Membership::new(["one", "two", "three"][index % 3], "train"), text).unwrap();
    }
    builder.finish()
}

/// Texts of 0 to 11 words, never the same number twice in a row.
fn questions(count: usize) -> Vec<String> {
    let letter = |i: usize, j: usize| char::from(b'a' + ((7 * i + 3 * j) % 26) as u8).to_string();
    (0..count).map(|i| (0..5 * i % 12).map(|j| letter(i, j)).collect::<Vec<_>>().join(" ")).collect()
}

/// Row `row` without its padding.
fn unpadded(tokens: &Tokens, row: usize) -> Vec<u32> {
    let row = row * tokens.shape[1]..(row + 1) * tokens.shape[1];
    tokens.ids[row.clone()].iter().zip(&tokens.mask[row]).filter(|(_, mask)| **mask == 1).map(|(&id, _)| id).collect()
}

#[test]
fn batches_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data/text_tokens.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
    let block = |rows: &Value| serde_json::from_value::<Vec<Vec<u32>>>(rows.clone()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let name = case["tokenizer"].as_str().unwrap();
        let mut options: TokenizerOptions = serde_json::from_value(case["options"].clone()).unwrap();
        let mut file = golden[name].clone();
        let found = tokenizer_of(&file, &options).unwrap().encode(&texts).unwrap();
        let ids = block(&case["ids"]);
        assert_eq!(found.shape, [texts.len(), ids[0].len()], "{name} {options:?}");
        assert_eq!(found.ids, ids.concat(), "{name} {options:?}");
        assert_eq!(found.mask, block(&case["mask"]).concat(), "{name} {options:?}");
        assert_eq!(found.type_ids, block(&case["type_ids"]).concat(), "{name} {options:?}");

        // The same when the options say what the file does not.
        let padding = file["padding"].take();
        let side = if padding["direction"] == "Left" { Side::Left } else { Side::Right };
        options.pad = Some(Pad { token: padding["pad_token"].as_str().unwrap().into(), side });
        assert_eq!(tokenizer_of(&file, &options).unwrap().encode(&texts).unwrap(), found);
    }
}

fn any_pad_to() -> impl Strategy<Value = PadTo> {
    prop_oneof![Just(PadTo::Longest), (1..20usize).prop_map(PadTo::Multiple), (12..40usize).prop_map(PadTo::Fixed)]
}

proptest! {
    #[test]
    fn padding_changes_no_token(
        texts in prop::collection::vec("[a-z ä!]{0,30}", 1..12), pad_to in any_pad_to(), left: bool,
    ) {
        let side = if left { Side::Left } else { Side::Right };
        let pad = Some(Pad { token: "[PAD]".into(), side });
        let together = tokenizer(&TokenizerOptions { max_length: 12, pad_to, pad, ..Default::default() });
        let alone = tokenizer(&TokenizerOptions { max_length: 12, ..Default::default() });
        let tokens = together.encode(&texts).unwrap();
        let [n, length] = tokens.shape;
        prop_assert_eq!((n, n * length), (texts.len(), tokens.ids.len()));
        for (row, text) in texts.iter().enumerate() {
            let single = alone.encode(&[text]).unwrap();
            prop_assert!(single.mask.iter().all(|&mask| mask == 1));
            prop_assert_eq!(unpadded(&tokens, row), single.ids);
            let mask = &tokens.mask[row * length..(row + 1) * length];
            prop_assert!(mask.is_sorted_by(|a, b| if left { a <= b } else { a >= b }), "all padding is on one side");
            let ids = &tokens.ids[row * length..(row + 1) * length];
            prop_assert!(ids.iter().zip(mask).all(|(&id, &mask)| (id == 0) == (mask == 0)));
        }
        let fits = match pad_to {
            PadTo::Longest => (0..n).any(|row| unpadded(&tokens, row).len() == length),
            PadTo::Multiple(of) => length % of == 0 && (0..n).any(|row| unpadded(&tokens, row).len() + of > length),
            PadTo::Fixed(fixed) => length == fixed,
        };
        prop_assert!(fits, "{:?} gave {}", pad_to, length);
    }

    #[test]
    fn batches_within_a_budget_hold_every_text_once(
        texts in prop::collection::vec("[a-z ]{0,30}", 0..40), pad_to in any_pad_to(),
        max_tokens in 1usize..100, max_texts in 1usize..9,
    ) {
        let tokenizer = tokenizer(&TokenizerOptions { max_length: 12, pad_to, ..Default::default() });
        let texts = set(&texts);
        let batches = |budget| budget_batches(&texts, &tokenizer, budget).unwrap().collect::<Vec<TokenBatch>>();
        let found = batches(TokenBudget { max_tokens, max_texts });
        let mut seen: Vec<usize> = found.iter().flat_map(|batch| batch.indices.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..texts.len()).collect::<Vec<_>>());
        let whole = batches(TokenBudget { max_tokens: usize::MAX, max_texts: usize::MAX });
        prop_assert_eq!(whole.len(), usize::from(!texts.is_empty()));
        for (number, batch) in found.iter().enumerate() {
            let [n, length] = batch.tokens.shape;
            prop_assert_eq!((batch.step, n), (number as u64, batch.indices.len()));
            prop_assert!(n <= max_texts && (n * length <= max_tokens || n == 1));
            for (row, &index) in batch.indices.iter().enumerate() {
                prop_assert_eq!(batch.labels[row], texts.labels()[index]);
                let single = tokenizer.encode(&[texts.text(index)]).unwrap();
                prop_assert_eq!(unpadded(&batch.tokens, row), unpadded(&single, 0));
            }
            // No batch ends before it must: the next text would be too much.
            if number + 1 < found.len() {
                prop_assert!(n == max_texts || (n + 1) * length > max_tokens);
            }
        }
        let lengths: Vec<usize> = found.iter().map(|batch| batch.tokens.shape[1]).collect();
        prop_assert!(lengths.is_sorted_by(|a, b| a >= b), "the longest first");
    }

    #[test]
    fn any_bytes_are_a_tokenizer_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at: usize, to: u8) {
        let mut file = word_level().to_string().into_bytes();
        let at = at % file.len();
        file[at] = to;
        for bytes in [bytes, file] {
            let parsed = TextTokenizer::parse(&bytes, Path::new("tokenizer.json"), &TokenizerOptions::default());
            let _ = parsed.map(|tokenizer| tokenizer.encode(&["a b c"]));
        }
    }
}

/// Of 31 texts none is a multiple of the batch, and an epoch ends within what is taken.
fn stream(start: u64, count: usize, options: LoaderOptions) -> Vec<TokenBatch> {
    let texts = Arc::new(set(&questions(31)));
    let sampler = PkSampler::new(texts.labels(), 3, 2, 1).unwrap();
    let tokenizer = Arc::new(tokenizer(&TokenizerOptions::default()));
    let loader = TokenLoader::new(texts, tokenizer, Box::new(sampler), start, options);
    loader.take(count).collect::<Result<_, _>>().unwrap()
}

fn pair_set() -> TextPairs {
    let mut pairs = TextPairs::new("similar", "similar.csv");
    let texts = questions(40);
    for (index, two) in texts.chunks_exact(2).enumerate() {
        pairs.add("train", [&two[0], &two[1]], index as f32 / 2.0).unwrap();
    }
    pairs
}

#[test]
fn a_loader_gives_what_its_sampler_deals_from_any_step_by_any_number_of_workers() {
    let all = stream(0, 9, LoaderOptions::default());
    let texts = set(&questions(31));
    for (step, batch) in all.iter().enumerate() {
        assert_eq!((batch.step, batch.indices.len()), (step as u64, 6));
        let held: Vec<&str> = batch.indices.iter().map(|&index| texts.text(index)).collect();
        assert_eq!(batch.tokens, tokenizer(&TokenizerOptions::default()).encode(&held).unwrap());
        let labels: Vec<u32> = batch.indices.iter().map(|&index| texts.labels()[index]).collect();
        assert_eq!(batch.labels, labels);
    }
    assert!(all.iter().any(|batch| batch.tokens.shape[1] != all[0].tokens.shape[1]), "each as long as its longest");
    for (start, workers, ahead) in [(0, 3, 5), (2, 2, 1), (5, 4, 9)] {
        let options = LoaderOptions { workers, ahead, ..LoaderOptions::default() };
        assert_eq!(stream(start, 4, options), all[start as usize..start as usize + 4], "{workers} workers");
    }
}

#[test]
fn pairs_have_two_sides_and_their_scores() {
    let (pairs, tokenizer) = (Arc::new(pair_set()), Arc::new(tokenizer(&TokenizerOptions::default())));
    let stream = |start: u64, workers: usize| -> Vec<PairBatch> {
        let sampler = Box::new(RandomSampler::new(pairs.len(), 4, 3).unwrap());
        let options = LoaderOptions { workers, ..LoaderOptions::default() };
        let loader = TokenLoader::pairs(pairs.clone(), tokenizer.clone(), sampler, start, options);
        loader.take(7).collect::<Result<_, _>>().unwrap()
    };
    let trained = stream(0, 1);
    assert_eq!(stream(2, 3)[..5], trained[2..]);
    // Both sides as one list, sorted by length, and put back.
    let texts: Vec<&str> = (0..pairs.len()).flat_map(|index| pairs.pair(index)).collect();
    let mut rows = vec![vec![]; texts.len()];
    for (indices, tokens) in tokenizer.encode_within(&texts, TokenBudget { max_tokens: 40, max_texts: 9 }).unwrap() {
        indices.iter().enumerate().for_each(|(row, &index)| rows[index] = unpadded(&tokens, row));
    }
    for (row, text) in rows.iter().zip(&texts) {
        assert_eq!(*row, tokenizer.encode(&[text]).unwrap().ids, "{text}");
    }
    let in_order: Vec<PairBatch> = pair_batches(&pairs, &tokenizer, 8).collect::<Result<_, _>>().unwrap();
    assert_eq!(in_order.iter().map(|batch| batch.indices.len()).collect::<Vec<_>>(), [8, 8, 4]);
    assert_eq!(in_order.iter().flat_map(|batch| batch.scores.clone()).collect::<Vec<_>>(), pairs.scores());
    for batch in trained.iter().chain(&in_order) {
        for (row, &index) in batch.indices.iter().enumerate() {
            assert_eq!(batch.scores[row], pairs.scores()[index]);
            for (side, text) in pairs.pair(index).into_iter().enumerate() {
                assert_eq!(unpadded(&batch.sides[side], row), tokenizer.encode(&[text]).unwrap().ids);
            }
        }
    }
}

#[test]
fn texts_come_in_order() {
    let (texts, tokenizer) = (set(&questions(10)), tokenizer(&TokenizerOptions::default()));
    let batches: Vec<TokenBatch> = token_batches(&texts, &tokenizer, 4).collect::<Result<_, _>>().unwrap();
    let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!((batches.len(), indices), (3, (0..10).collect()));
    assert_eq!((batches[2].step, batches[2].labels.as_slice()), (2, [2, 0].as_slice()));
    assert_eq!(token_batches(&set(&[]), &tokenizer, 4).count(), 0);
}

#[test]
fn a_file_is_opened_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let open = || TextTokenizer::open(&path, &TokenizerOptions::default());
    let missing = open().unwrap_err();
    assert!(
        matches!(missing, Error::Missing { .. }) && missing.to_string().contains("tokenizer.json: not found; bring")
    );
    std::fs::write(&path, "[PAD]\n[UNK]\n").unwrap();
    let damaged = open().unwrap_err();
    assert!(
        matches!(damaged, Error::Format { .. }) && damaged.to_string().contains("give a tokenizer.json"),
        "{damaged}"
    );
    std::fs::write(&path, word_level().to_string()).unwrap();
    let tokenizer = open().unwrap();
    assert_eq!((tokenizer.vocabulary_size(), tokenizer.pad_id(), tokenizer.max_length()), (30, 0, 128));
    assert_eq!(tokenizer.encode(&["a b"]).unwrap().ids, [2, 4, 5, 3], "the lengths of the file are not used");
}

#[test]
fn what_does_not_fit_is_refused_with_the_mend() {
    let problem = |file: &Value, options: TokenizerOptions| tokenizer_of(file, &options).unwrap_err().to_string();
    let default = TokenizerOptions::default;
    let cases = [
        (TokenizerOptions { max_length: 2, ..default() }, "beside 2 special tokens: give at least 3"),
        (TokenizerOptions { max_length: 0, special_tokens: false, ..default() }, "give at least 1"),
        (TokenizerOptions { pad_to: PadTo::Multiple(0), ..default() }, "pad_to.multiple = 0: give at least 1"),
        (TokenizerOptions { pad_to: PadTo::Fixed(64), ..default() }, "lower max_length to 64"),
        (
            TokenizerOptions { pad: Some(Pad { token: "<pad>".into(), side: Side::Left }), ..default() },
            "`<pad>` is not in the vocabulary of tokenizer.json",
        ),
    ];
    for (options, expected) in cases {
        let found = problem(&word_level(), options);
        assert!(found.contains(expected), "{found}");
    }
    let mut silent = word_level();
    silent["padding"] = Value::Null;
    assert!(problem(&silent, default()).contains("tokenizer.json: has no `padding`"));
    let mut outside = word_level();
    outside["padding"]["pad_id"] = json!(30);
    assert!(problem(&outside, default()).contains("pad_id = 30 is not in its vocabulary"));
    let random = json!({
        "padding": word_level()["padding"],
        "model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    });
    assert!(problem(&random, default()).contains("model.dropout = 0.1: set it to null"));
    let budget = TokenBudget { max_tokens: 0, max_texts: 4 };
    let (texts, tokenizer) = (set(&questions(3)), tokenizer(&default()));
    assert!(budget_batches(&texts, &tokenizer, budget).err().unwrap().to_string().contains("max_tokens = 0"));
}

#[test]
fn a_text_that_cannot_be_embedded_is_named() {
    let texts = set(&["a".into(), "b".into(), "  ".into(), "c".into(), String::new()]);
    let bare = tokenizer(&TokenizerOptions { special_tokens: false, ..Default::default() });
    let named = |error: Error| {
        let message = error.to_string();
        assert!(matches!(error, Error::Text { index: 2, .. }), "{message}");
        assert!(message.contains("questions: text 2 has no tokens") && message.contains("leave it out"), "{message}");
    };
    let results: Vec<_> = token_batches(&texts, &bare, 2).collect();
    assert_eq!(results.len(), 2, "an error is the last item");
    named(results.into_iter().next_back().unwrap().unwrap_err());
    named(budget_batches(&texts, &bare, TokenBudget::default()).err().unwrap());
    assert_eq!(tokenizer(&TokenizerOptions::default()).encode(&[""]).unwrap().ids, [2, 3]);

    let mut pairs = TextPairs::new("similar", "similar.csv");
    pairs.add("train", ["a", ""], 1.0).unwrap();
    let error = pair_batches(&pairs, &bare, 1).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("similar, right side: text 0 has no tokens"), "{error}");

    let mut strict = word_level();
    strict["model"]["unk_token"] = json!("[NONE]");
    let strict = tokenizer_of(&strict, &TokenizerOptions::default()).unwrap();
    let error = strict.encode(&["a", "b !"]).unwrap_err().to_string();
    assert!(error.contains("text 1 is not tokenised by tokenizer.json"), "{error}");
}

#[test]
fn a_sampler_of_another_set_is_refused() {
    let sampler = PkSampler::new(&[0, 1, 0, 1, 0, 1, 2, 2], 3, 2, 0).unwrap();
    let (texts, tokenizer) = (Arc::new(set(&questions(4))), Arc::new(tokenizer(&TokenizerOptions::default())));
    let mut loader = TokenLoader::new(texts, tokenizer, Box::new(sampler), 0, LoaderOptions::default());
    let error = loader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("but there are 4: give it this set's labels"), "{error}");
    assert!(loader.next().is_none());
}

#[cfg(feature = "candle")]
#[test]
fn tensors_hold_the_same() {
    use candle_core::Device;
    let tokens = tokenizer(&TokenizerOptions::default()).encode(&["a b c", "d"]).unwrap();
    let tensors = tokens.to_tensors(&Device::Cpu).unwrap();
    assert_eq!(tensors.ids.to_vec2::<u32>().unwrap(), [[2, 4, 5, 6, 3], [2, 7, 3, 0, 0]]);
    assert_eq!(tensors.mask.to_vec2::<u32>().unwrap(), [[1; 5], [1, 1, 1, 0, 0]]);
    assert_eq!(tensors.type_ids.to_vec2::<u32>().unwrap(), [[0; 5]; 2]);
}
