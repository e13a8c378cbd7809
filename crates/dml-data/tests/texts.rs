//! Text sets: read as published, dealt without a class in two parts, and damage named.

mod tiny;

use dml_data::sources::{banking77, clinc150, own_texts, stsb};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use tiny::{Files, text};

fn folder(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::write(folder.path(), files);
    folder
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
