//! Text sets: read as published, dealt without a class in two parts, and damage named. Each from a tiny copy of its files, too:
//! fetched, verified, opened, sampled, batched.

mod tiny;

use dml_data::sampler::{BatchSampler, PkSampler, RandomSampler};
use dml_data::sources::{banking77, clinc150, own_texts, stsb};
use dml_data::{TextPairs, Texts};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use tiny::{Files, Trimmed, text};

fn folder(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(folder.path(), files);
    folder
}

/// Deals P×K batches of each part that has classes enough, and makes tokens of them.
fn batched(texts: &Texts) {
    for part in ["train", "test"] {
        let part = texts.part(part).unwrap();
        let sampler = PkSampler::new(part.labels(), 2, 2, 0).unwrap();
        for batch in sampler.epoch(0) {
            let classes: Vec<u32> = batch.iter().map(|&i| part.labels()[i]).collect();
            assert!(classes[0] == classes[1] && classes[1] != classes[2] && classes[2] == classes[3]);
        }
        #[cfg(feature = "text")]
        tokens::of(part, sampler);
    }
}

/// The same of pairs.
fn dealt(pairs: TextPairs) {
    let sampler = RandomSampler::new(pairs.len(), 2, 0).unwrap();
    assert!(sampler.epoch(0).iter().all(|batch| batch.len() == 2));
    #[cfg(feature = "text")]
    tokens::of_pairs(pairs, sampler);
}

#[cfg(feature = "text")]
mod tokens {
    use super::*;
    use dml_data::LoaderOptions;
    use dml_data::text::{TextTokenizer, TokenLoader, TokenizerOptions};
    use std::path::Path;
    use std::sync::Arc;

    fn tokenizer() -> Arc<TextTokenizer> {
        let (bytes, options) = (dml_data::sources::emoji_names::TOKENIZER.as_bytes(), TokenizerOptions::default());
        Arc::new(TextTokenizer::parse(bytes, Path::new("tokenizer.json"), &options).unwrap())
    }

    /// Has a loader prepare two epochs and checks that each row is its text.
    pub(super) fn of(texts: Texts, sampler: PkSampler) {
        let (texts, tokenizer, until) = (Arc::new(texts), tokenizer(), 2 * sampler.batches_per_epoch());
        let options = LoaderOptions { until: Some(until as u64), ..LoaderOptions::default() };
        let batches = TokenLoader::new(texts.clone(), tokenizer.clone(), Box::new(sampler), 0, options);
        let batches: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
        assert_eq!(batches.len(), until);
        for batch in batches {
            let of_batch: Vec<&str> = batch.indices.iter().map(|&i| texts.text(i)).collect();
            assert_eq!(batch.tokens, tokenizer.encode(&of_batch).unwrap());
            assert!(batch.indices.iter().zip(&batch.labels).all(|(&i, &label)| texts.labels()[i] == label));
        }
    }

    pub(super) fn of_pairs(pairs: TextPairs, sampler: RandomSampler) {
        let (pairs, tokenizer, until) = (Arc::new(pairs), tokenizer(), 2 * sampler.batches_per_epoch());
        let options = LoaderOptions { until: Some(until as u64), ..LoaderOptions::default() };
        let batches = TokenLoader::pairs(pairs.clone(), tokenizer.clone(), Box::new(sampler), 0, options);
        let batches: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
        assert_eq!(batches.len(), until);
        for batch in batches {
            for (side, tokens) in batch.sides.iter().enumerate() {
                let of_side: Vec<&str> = batch.indices.iter().map(|&i| pairs.pair(i)[side]).collect();
                assert_eq!(*tokens, tokenizer.encode(&of_side).unwrap());
            }
            assert!(batch.indices.iter().zip(&batch.scores).all(|(&i, &score)| pairs.scores()[i] == score));
        }
    }
}

/// Which of eight intents a text is of, and the text.
fn asked(text: &str, each: usize) -> Vec<(String, String)> {
    let intents = (0..8).flat_map(|intent| (0..each).map(move |i| (intent, i)));
    intents.map(|(intent, i)| (format!("{text} {intent}, {i}"), format!("intent {intent}"))).collect()
}

#[test]
fn banking77_goes_the_whole_way() {
    let file = |part: &str, each| {
        let rows = asked(part, each).into_iter().map(|(text, intent)| format!("\"{text}\",{intent}\n"));
        text(&format!("{part}.csv"), &format!("text,category\n{}", rows.collect::<String>()))
    };
    let files = vec![file("train", 2), file("test", 1)];
    let set = Trimmed::new("banking77", files, &[("train", 8, 16), ("test", 8, 8)]);
    let data = set.ready();
    let texts = banking77::open_as(&set.manifest, data).unwrap();
    texts.check_disjoint().unwrap();
    assert_eq!(["train", "validation", "test"].map(|part| texts.part(part).unwrap().len()), [9, 3, 12]);
    assert_eq!((texts.text(1), texts.class_names()[texts.labels()[1] as usize].as_str()), ("train 0, 1", "intent 0"));
    batched(&texts);
    for error in [banking77::open(data).unwrap_err(), banking77::classification(data).unwrap_err()] {
        assert!(error.to_string().contains("train.csv: has size"), "{error}");
    }
}

#[test]
fn clinc150_goes_the_whole_way() {
    let part = |name: &str, each| {
        let rows: Vec<_> =
            asked(name, each).into_iter().map(|(text, intent)| serde_json::json!([text, intent])).collect();
        (name.to_owned(), serde_json::Value::Array(rows))
    };
    let mut data: serde_json::Map<_, _> = [part("train", 2), part("val", 1), part("test", 1)].into_iter().collect();
    for oos in ["oos_train", "oos_val", "oos_test"] {
        data.insert(oos.to_owned(), serde_json::json!([["of what?", "oos"]]));
    }
    let intents = (0..8).map(|intent| format!("intent {intent}")).collect::<Vec<_>>();
    let domains = serde_json::json!({ "bank": intents[..4], "travel": intents[4..] }).to_string();
    let files =
        vec![text("data_full.json", &serde_json::Value::from(data).to_string()), text("domains.json", &domains)];
    let counts = [
        ("train", 8, 16),
        ("validation", 8, 8),
        ("test", 8, 8),
        ("oos-train", 1, 1),
        ("oos-validation", 1, 1),
        ("oos-test", 1, 1),
    ];
    let set = Trimmed::new("clinc150", files, &counts);
    let data = set.ready();
    let texts = clinc150::open_as(&set.manifest, data).unwrap();
    texts.check_disjoint().unwrap();
    assert_eq!(["train", "validation", "test"].map(|part| texts.part(part).unwrap().len()), [12, 4, 16]);
    assert!(!texts.part("all").unwrap().class_names().iter().any(|class| class == clinc150::OUT_OF_SCOPE));
    batched(&texts);
    for error in [clinc150::open(data).unwrap_err(), clinc150::classification(data).unwrap_err()] {
        assert!(error.to_string().contains("data_full.json: has size"), "{error}");
    }
}

#[test]
fn stsb_goes_the_whole_way() {
    let file = |part: &str, pairs: usize| {
        let rows = (0..pairs).map(|i| format!("\"One, {part} {i}.\",Another {i}.,{:.1}\n", i as f32 / 2.0));
        text(&format!("stsb-en-{part}.csv"), &rows.collect::<String>())
    };
    let files = vec![file("train", 6), file("dev", 4), file("test", 5)];
    // Pairs have no classes.
    let set = Trimmed::new("stsb", files, &[("train", 0, 6), ("validation", 0, 4), ("test", 0, 5)]);
    let data = set.ready();
    let pairs = stsb::open_as(&set.manifest, data).unwrap();
    for (part, last) in [("train", 2.5), ("validation", 1.5), ("test", 2.0)] {
        let part = pairs.part(part).unwrap();
        assert_eq!(part.scores().last(), Some(&last));
        dealt(part);
    }
    assert_eq!(pairs.part("validation").unwrap().pair(1), ["One, dev 1.", "Another 1."]);
    assert!(stsb::open(data).unwrap_err().to_string().contains("stsb-en-train.csv: has size"));
}

#[test]
fn banking77_keeps_its_commas_and_quotes() {
    let files = vec![
        text("train.csv", "text,category\n\"Where, please, is \"\"it\"\"?\",card_arrival\nHelp,top_up\n"),
        text("test.csv", "text,category\r\nHello?,top_up\r\n"),
    ];
    let texts = banking77::read(folder(&files).path()).unwrap();
    assert_eq!((texts.text(0), texts.len()), ("Where, please, is \"it\"?", 3));
    let test = texts.part("test").unwrap();
    assert_eq!(
        (test.text(0), test.labels(), test.class_names()),
        ("Hello?", [0].as_slice(), ["top_up".to_owned()].as_slice())
    );
    assert!(texts.check_disjoint().unwrap_err().to_string().contains("class `top_up` is in train and in test"));
}

#[test]
fn tables_of_ones_own_are_read_and_mistakes_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let path = write("mine.csv", "label,extra,text,split,group\na,1,\"x, y\",train,g\nb,2, z ,dev,\na,3,w,train,h\n");
    let texts = own_texts::open(&path).unwrap();
    assert_eq!(
        (texts.name(), texts.len(), texts.part_names()),
        ("mine", 3, &["train", "validation"].map(String::from)[..])
    );
    assert_eq!((texts.text(0), texts.text(1), texts.groups().len()), ("x, y", "z", 3));
    let whole = own_texts::open(&write("plain.tsv", "text\tlabel\nx\ta\n")).unwrap();
    assert_eq!((whole.part_names(), whole.groups()), (&["all".to_owned()][..], &[][..]));

    let pairs =
        own_texts::pairs(&write("p.csv", "left,right,score,split\na,b,0.5,test\nc,d,1,train\ne,f,2,test\n")).unwrap();
    assert_eq!(pairs.part_names().collect::<Vec<_>>(), ["test", "train"]);
    assert_eq!((pairs.pair(1), pairs.scores()), (["e", "f"], &[0.5, 2.0, 1.0][..]));
    assert_eq!(own_texts::pairs(&write("q.csv", "right,left\nb,a\n")).unwrap().scores(), [1.0]);

    let refused = |message: dml_data::Error, part: &str| assert!(message.to_string().contains(part), "{message}");
    let texts = |name: &str, content: &str| own_texts::open(&write(name, content)).unwrap_err();
    refused(texts("a.csv", "text,class\nx,a\n"), "a.csv: has no column `label` but text, class");
    refused(texts("b.csv", "text,label\nx,a\n ,a\n"), "line 3, column text: is empty");
    refused(texts("c.csv", "text,label,split\nx,a,train\ny,a,test\n"), "class `a` is in train and in test");
    refused(texts("d.csv", "text,label\n"), "has no rows");
    refused(texts("e.txt", "text,label\nx,a\n"), "read from .csv and .tsv");
    let pairs = |content: &str| own_texts::pairs(&write("p.csv", content)).unwrap_err();
    refused(pairs("left,right,score\na,b,much\n"), "line 2, column score: `much` is not a finite number");
    refused(pairs("left,score\na,1\n"), "has no column `right`");
}

#[test]
fn damage_in_texts_is_named() {
    let message = |files: Files| banking77::read(folder(&files).path()).unwrap_err().to_string();
    assert!(message(vec![text("train.csv", "text;category\n")]).contains("train.csv: line 1: has 1 fields, not 2"));
    assert!(message(vec![text("train.csv", "intent,text\n")]).contains("its header is intent,text, not text,category"));
    assert!(message(vec![("train.csv".into(), vec![0xff, 0xfe])]).contains("train.csv: not UTF-8"));
    assert!(message(vec![text("train.csv", "text,category\n")]).contains("test.csv"));
}

const DOMAINS: &str = r#"{"bank": ["balance", "transfer"], "travel": ["visa"]}"#;

fn clinc(oos: &str) -> Files {
    let data = format!(
        r#"{{"train": [["a", "balance"], ["b", "visa"]], "val": [["c", "balance"]], "test": [["d", "transfer"]],
            "oos_train": [{oos}], "oos_val": [], "oos_test": [["f", "oos"]]}}"#
    );
    vec![text("data_full.json", &data), text("domains.json", DOMAINS)]
}

#[test]
fn clinc150_knows_domains_and_what_is_out_of_scope() {
    let texts = clinc150::read(folder(&clinc(r#"["e", "oos"]"#)).path()).unwrap();
    assert_eq!(texts.part_names(), ["train", "validation", "test", "oos-train", "oos-test"]);
    let groups: Vec<&str> = texts.groups().iter().map(|&group| texts.group_names()[group as usize].as_str()).collect();
    assert_eq!(groups, ["bank", "travel", "bank", "bank", "", ""]);
    assert_eq!(texts.part("oos-test").unwrap().class_names(), [clinc150::OUT_OF_SCOPE]);
    for (oos, expected) in [
        (r#"["e"]"#, "oos_train: query 0 is not `[text, intent]`"),
        (r#"["e", "weather"]"#, "query 0 has intent `weather`, which is in no domain"),
        ("]", "not JSON"),
    ] {
        let error = clinc150::read(folder(&clinc(oos)).path()).unwrap_err().to_string();
        assert!(error.contains("data_full.json: ") && error.contains(expected), "{error}");
    }
}

fn sts(score: &str) -> Files {
    let part = |name: &str| text(&format!("stsb-en-{name}.csv"), &format!("\"A, b.\",C.,{score}\nD.,E.,0.5\n"));
    vec![part("train"), part("dev"), part("test")]
}

#[test]
fn stsb_has_pairs_and_scores() {
    let pairs = stsb::read(folder(&sts("5.0")).path()).unwrap();
    assert_eq!((pairs.len(), pairs.pair(0), pairs.scores()[1]), (6, ["A, b.", "C."], 0.5));
    let validation = pairs.part("validation").unwrap();
    assert_eq!((validation.len(), validation.scores()), (2, [5.0, 0.5].as_slice()));
    for score in ["5.1", "-1", "nan", "high"] {
        let error = stsb::read(folder(&sts(score)).path()).unwrap_err().to_string();
        assert!(error.contains(&format!("line 1: `{score}` is not a score from 0 to 5")), "{error}");
    }
}

#[test]
fn files_that_are_not_there_say_how_to_get_them() {
    let nowhere = tempfile::tempdir().unwrap();
    let error = banking77::open(nowhere.path()).unwrap_err().to_string();
    assert!(error.contains("not found; run cargo xtask dataset fetch banking77 (1.1 MB)"), "{error}");
    assert!(stsb::open(nowhere.path()).unwrap_err().to_string().contains("dataset fetch stsb"));
    assert!(clinc150::open(nowhere.path()).unwrap_err().to_string().contains("dataset fetch clinc150"));
}

proptest! {
    #[test]
    fn any_bytes_are_texts_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), rows in "[a-z,\"\n0-9.\\[\\]{}:]{0,200}") {
        for content in [bytes, rows.into_bytes()] {
            let folder = tempfile::tempdir().unwrap();
            for name in ["train.csv", "test.csv", "data_full.json", "domains.json", "stsb-en-train.csv"] {
                fs::write(folder.path().join(name), &content).unwrap();
            }
            let _ = banking77::read(folder.path());
            let _ = clinc150::read(folder.path());
            let _ = stsb::read(folder.path());
        }
    }
}

#[test]
fn the_real_texts_have_the_counts_of_their_manifests() {
    let mirror = std::env::var_os("DML_MIRROR").map(PathBuf::from);
    let Some(data) = mirror.filter(|mirror| mirror.join("banking77").is_dir()) else {
        println!("skipped: DML_MIRROR names no folder with banking77, clinc150 and stsb");
        return;
    };
    let banking = banking77::open(&data).unwrap();
    let sizes = |texts: &dml_data::Texts, parts: &[&str]| -> Vec<(usize, usize)> {
        let size = |part: &dml_data::Texts| (part.class_names().len(), part.len());
        parts.iter().map(|part| size(&texts.part(part).unwrap())).collect()
    };
    let dealt = sizes(&banking, &["train", "validation", "test"]);
    println!("banking77 dealt (classes, texts): {dealt:?}");
    assert_eq!(dealt.iter().map(|part| part.0).collect::<Vec<_>>(), [28, 10, 39]);
    assert_eq!(dealt.iter().map(|part| part.1).sum::<usize>(), 13_083);
    assert_eq!(sizes(&banking77::classification(&data).unwrap(), &["train", "test"]), [(77, 10_003), (77, 3_080)]);

    let clinc = clinc150::open(&data).unwrap();
    let dealt = sizes(&clinc, &["train", "validation", "test"]);
    println!("clinc150 dealt (classes, texts): {dealt:?}");
    assert_eq!(dealt, [(56, 8_400), (19, 2_850), (75, 11_250)]);
    assert_eq!(clinc.group_names().len(), 11, "ten domains and none");
    let published = sizes(&clinc150::classification(&data).unwrap(), &["train", "validation", "test", "oos-test"]);
    assert_eq!(published, [(150, 15_000), (150, 3_000), (150, 4_500), (1, 1_000)]);

    let pairs = stsb::open(&data).unwrap();
    let counts = ["train", "validation", "test"].map(|part| pairs.part(part).unwrap().len());
    assert_eq!(counts, [5_749, 1_500, 1_379]);
    assert_eq!(pairs.part("test").unwrap().pair(0), ["A girl is styling her hair.", "A girl is brushing her hair."]);
}
