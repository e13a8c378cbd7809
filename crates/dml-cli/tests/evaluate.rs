//! `dml evaluate` on files, as a user runs it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Numbers as NumPy saves them.
fn npy(path: &Path, values: &[f32], columns: usize) {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {columns}), }}", values.len() / columns);
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// 20 classes of 18 vectors around their own directions, the last class a little of the first.
fn set(folder: &Path) -> Vec<f32> {
    let (classes, each, d) = (20usize, 18usize, 24usize);
    let mut values = Vec::new();
    let mut csv = "label,image,is_query\n".to_owned();
    for i in 0..classes * each {
        let class = i % classes;
        values.extend((0..d).map(|j| {
            let noise = ((i * 7919 + j * 104_729) % 211) as f32 / 211.0 - 0.5;
            f32::from(u8::from(j == class)) + f32::from(u8::from(class == classes - 1 && j == 0)) + 0.5 * noise
        }));
        let _ = writeln!(csv, "\"bird <{class}>\",img/{i}.png,{}", u8::from(i % 2 == 0));
    }
    npy(&folder.join("x.npy"), &values, d);
    fs::write(folder.join("labels.csv"), csv).unwrap();
    values
}

fn evaluate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
    command.current_dir(folder).arg("evaluate").args(arguments).output().unwrap()
}

fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = evaluate(folder, arguments);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

const QUICK: [&str; 3] = ["--resamples", "50", "--metric=cosine"];

#[test]
fn embeddings_and_labels_become_a_report() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    let output = evaluate(folder.path(), &[&["x.npy", "--labels", "labels.csv", "--out", "out"][..], &QUICK].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for measure in ["Recall@1", "MAP@R", "EER", "TAR@FAR", "5-way 1-shot", "NMI", "Alignment"] {
        assert!(said.contains(measure), "{measure} is missing:\n{said}");
    }
    let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    let html = read("report.html");
    assert!(html.contains("bird &lt;4&gt;") && !html.contains("bird <4>"));
    assert!(read("report.md").contains("MAP@R"));
    assert!(html.contains("<h3>PCA</h3>") && html.contains("<h3>t-SNE</h3>"));
    let found: serde_json::Value = serde_json::from_str(&read("evaluation.json")).unwrap();
    assert_eq!(
        (found["rows"].as_u64(), found["queries"].as_u64(), found["classes"].as_u64()),
        (Some(360), Some(180), Some(20))
    );
    // The last class leans to the first, and the report knows.
    let names = ["class", "taken_for"].map(|key| found["confusions"][0][key].as_u64());
    let recall = found["retrieval"]["measured"][0]["micro_mean"].as_f64().unwrap();
    assert!(recall > 0.5 && (recall == 1.0 || names.iter().all(Option::is_some)), "{recall} {names:?}");

    let again = &["x.npy", "--labels", "labels.csv", "--out", "again"][..];
    assert!(evaluate(folder.path(), &[again, &QUICK].concat()).status.success());
    assert_eq!(
        html,
        fs::read_to_string(folder.path().join("again/report.html")).unwrap(),
        "the same input, the same report"
    );
}

#[test]
fn presets_and_measures_are_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    let base = ["x.npy", "--labels", "labels.csv", "--no-clustering", "--resamples", "0"];
    let output = evaluate(folder.path(), &[&base[..], &["--measures", "recall@5,map@10:min"]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    let html = || fs::read_to_string(folder.path().join("evaluation/report.html")).unwrap();
    assert!(said.contains("Recall@5") && !said.contains("R-precision") && !said.contains("NMI"), "{said}");
    let output = evaluate(folder.path(), &[&base[..], &["--preset", "pml"]].concat());
    assert!(String::from_utf8(output.stdout).unwrap().contains("R-precision"));
    assert!(evaluate(folder.path(), &[&base[..], &["--maps", "pca"]].concat()).status.success());
    assert!(html().contains("<h3>PCA</h3>") && !html().contains("<h3>t-SNE</h3>"));
    assert!(evaluate(folder.path(), &[&base[..], &["--no-maps"]].concat()).status.success());
    assert!(!html().contains("<canvas"));
    let error = refusal(folder.path(), &[&base[..], &["--maps", "umap"]].concat());
    assert!(error.contains("there is no map umap: use pca or tsne"), "{error}");
    let error = refusal(folder.path(), &[&base[..], &["--measures", "map@10"]].concat());
    assert!(error.contains("does not say what it divides by"), "{error}");
    let error = refusal(folder.path(), &[&base[..], &["--measures", "recall@1000"]].concat());
    assert!(error.contains("lower k"), "{error}");
    let error = refusal(folder.path(), &[&base[..], &["--camera-rule"]].concat());
    assert!(error.contains("camera"), "{error}");
    let error = refusal(folder.path(), &[&base[..], &["--split", "test"]].concat());
    assert!(error.contains("no column split"), "{error}");
}

#[test]
fn bad_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut values = set(folder.path());
    fs::write(folder.path().join("short.txt"), "a\nb\n").unwrap();
    let error = refusal(folder.path(), &["x.npy", "--labels", "short.txt"]);
    assert!(error.contains("short.txt has 2 rows but x.npy has 360"), "{error}");
    let error = refusal(folder.path(), &["x.npy"]);
    assert!(error.contains("x.npy"), "{error}");
    let error = refusal(folder.path(), &["none.npy", "--labels", "labels.csv"]);
    assert!(error.contains("none.npy"), "{error}");
    values[24 * 7 + 3] = f32::NAN;
    npy(&folder.path().join("nan.npy"), &values, 24);
    let error = refusal(folder.path(), &["nan.npy", "--labels", "labels.csv"]);
    assert!(error.contains("embedding 7"), "{error}");
    assert!(!folder.path().join("evaluation").exists(), "nothing is half written");
}

#[test]
fn two_runs_are_compared_on_the_same_queries() {
    let folder = tempfile::tempdir().unwrap();
    let values = set(folder.path());
    // The other run has lost a third of what tells classes apart.
    let blunt: Vec<f32> = values.chunks(24).flat_map(|row| row.iter().take(16).copied()).collect();
    npy(&folder.path().join("b.npy"), &blunt, 16);
    let base = ["x.npy", "--labels", "labels.csv", "--no-clustering", "--resamples", "200"];
    let output = evaluate(folder.path(), &[&base[..], &["--against", "b.npy", "--out", "ab"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Compared with b") && said.contains("Recall@1 (p = "), "{said}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("ab/report.md").contains("## Compared with b"));
    let found = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
    let forth = found("ab/evaluation.json")["comparison"]["measures"].clone();
    assert!(forth[0]["test"]["difference"].as_f64().unwrap() > 0.05, "{forth}");
    assert!(forth[0]["test"]["interval"]["low"].as_f64().unwrap() > 0.0, "{forth}");

    // The other way round every difference turns its sign, and p stays.
    let back = ["b.npy", "--labels", "labels.csv", "--no-clustering", "--resamples", "200", "--against", "x.npy"];
    assert!(evaluate(folder.path(), &[&back[..], &["--out", "ba"]].concat()).status.success());
    let back = found("ba/evaluation.json")["comparison"]["measures"].clone();
    for (a, b) in forth.as_array().unwrap().iter().zip(back.as_array().unwrap()) {
        let of = |m: &serde_json::Value, key: &str| m["test"][key].as_f64().unwrap();
        assert!((of(a, "difference") + of(b, "difference")).abs() < 1e-12 && a["this"] == b["other"], "{a} {b}");
        assert!((of(a, "p_value") - of(b, "p_value")).abs() < 1e-12, "{a} {b}");
    }

    // A run against itself differs in nothing.
    assert!(evaluate(folder.path(), &[&base[..], &["--against", "x.npy", "--out", "aa"]].concat()).status.success());
    let same = found("aa/evaluation.json")["comparison"]["measures"].clone();
    for measure in same.as_array().unwrap() {
        assert_eq!(
            (measure["test"]["difference"].as_f64(), measure["test"]["p_value"].as_f64()),
            (Some(0.0), Some(1.0))
        );
    }

    npy(&folder.path().join("short.npy"), &blunt[16 * 10..], 16);
    let error = refusal(folder.path(), &[&base[..], &["--against", "short.npy"]].concat());
    assert!(error.contains("350 rows") && error.contains("360"), "{error}");
    let error = refusal(folder.path(), &["x.npy", "--labels", "labels.csv", "--resamples", "0", "--against", "b.npy"]);
    assert!(error.contains("--resamples 1 or more"), "{error}");
}

#[test]
fn thresholds_are_chosen_on_validation_classes() {
    let folder = tempfile::tempdir().unwrap();
    let values = set(folder.path());
    // The first ten classes are for choosing, and so named.
    let csv = fs::read_to_string(folder.path().join("labels.csv")).unwrap();
    let split = |(i, line): (usize, &str)| match i {
        0 => format!("{line},split\n"),
        i => format!("{line},{}\n", if (i - 1) % 20 < 10 { "choose" } else { "try" }),
    };
    fs::write(folder.path().join("labels.csv"), csv.lines().enumerate().map(split).collect::<String>()).unwrap();
    let base = ["x.npy", "--labels", "labels.csv", "--no-clustering", "--resamples", "0", "--fars", "0.1,0.01"];
    let output = evaluate(folder.path(), &[&base[..], &["--validation", "choose", "--out", "one"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for row in ["Rank-1 rate", "TPIR@FPIR=0.1", "FPIR, target 0.1", "FMR, target 0.01", "ECE, Platt", "OPIS"] {
        assert!(said.contains(row), "{row} is missing:\n{said}");
    }
    let found = |name: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(folder.path().join(name)).unwrap()).unwrap()
    };
    let one = found("one/evaluation.json");
    assert_eq!((one["rows"].as_u64(), one["classes"].as_u64()), (Some(180), Some(10)), "the rest is measured");
    assert_eq!((&one["calibration"]["rows"], &one["calibration"]["shared_classes"]), (&180.into(), &0.into()));

    // The same classes from files of their own.
    let rows = |from: usize| -> Vec<f32> {
        values
            .chunks(24)
            .enumerate()
            .filter(|(i, _)| i % 20 >= from && i % 20 < from + 10)
            .flat_map(|(_, row)| row.to_vec())
            .collect()
    };
    let labels = (0..180).map(|i| format!("bird <{}>\n", i % 10)).collect::<String>();
    npy(&folder.path().join("held.npy"), &rows(0), 24);
    fs::write(folder.path().join("held.txt"), &labels).unwrap();
    let files =
        ["--split", "try", "--validation-embeddings", "held.npy", "--validation-labels", "held.txt", "--out", "two"];
    assert!(evaluate(folder.path(), &[&base[..], &files].concat()).status.success());
    assert_eq!(found("two/evaluation.json")["calibration"], one["calibration"]);

    // Validation classes that are measured, too.
    let files = ["--validation-embeddings", "held.npy", "--validation-labels", "held.txt"];
    let output = evaluate(folder.path(), &[&base[..], &files].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains("10 of 10 validation classes"), "{output:?}");
    let error = refusal(folder.path(), &[&base[..], &["--validation", "none"]].concat());
    assert!(error.contains("--validation none: there is choose, try"), "{error}");
    let error = refusal(folder.path(), &[&base[..], &["--validation", "try", "--split", "try"]].concat());
    assert!(error.contains("both try"), "{error}");
}

#[test]
fn retrieval_is_measured_once_more_after_re_ranking() {
    let folder = tempfile::tempdir().unwrap();
    set(folder.path());
    let base = ["x.npy", "--labels", "labels.csv", "--no-clustering", "--resamples", "50"];
    let more = ["--rerank", "k1=8,lambda=0.5", "--expand-queries", "4", "--whiten"];
    let error = refusal(folder.path(), &[&base[..], &more].concat());
    assert!(error.contains("--whiten is fitted on other rows"), "{error}");
    let held = ["--validation-embeddings", "x.npy", "--validation-labels", "labels.csv"];
    let output = evaluate(folder.path(), &[&base[..], &more, &held].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read_to_string(folder.path().join("evaluation/report.md")).unwrap();
    for said in [
        "## Retrieval after k-reciprocal re-ranking",
        "k1 = 8, k2 = 6, λ = 0.5",
        "## Retrieval after query expansion",
        "4 neighbours of the gallery, weighed by cos^3",
        "## Retrieval after whitening",
        "percentage points against before, p = ",
    ] {
        assert!(report.contains(said), "{said} is missing:\n{report}");
    }
    for (rerank, why) in
        [("k1=a", "--rerank k1=a: want"), ("k3=2", "--rerank k3=2"), ("k1=9999", "k1 = 9999"), ("lambda=2", "lambda 2")]
    {
        let error = refusal(folder.path(), &[&base[..], &["--rerank", rerank]].concat());
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_pair_list_is_verified_fold_by_fold() {
    let folder = tempfile::tempdir().unwrap();
    // Ten people of four pictures, on a line; the last two stand in each other's place.
    let place = |person: usize, picture: usize| [person as f32 * 10.0 + picture as f32, 1.0];
    let (mut values, mut csv) = (Vec::new(), "label,path\n".to_owned());
    for person in 0..10 {
        for picture in 1..5 {
            let stands = if person == 9 && picture == 4 { 8 } else { person };
            values.extend(place(stands, picture));
            let _ = writeln!(csv, "P_{person},faces/P_{person}/P_{person}_{picture:04}.jpg");
        }
    }
    npy(&folder.path().join("faces.npy"), &values, 2);
    fs::write(folder.path().join("faces.csv"), csv).unwrap();
    let fold = |a: usize| {
        let (b, genuine) = (a + 1, |p: usize, i: usize, j: usize| format!("P_{p}\t{i}\t{j}\n"));
        let other = |i: usize, j: usize| format!("P_{a}\t{i}\tP_{b}\t{j}\n");
        [genuine(a, 1, 2), genuine(b, 1, 4), other(1, 1), other(4, 4)].concat()
    };
    fs::write(folder.path().join("pairs.txt"), format!("5\t2\n{}", (0..5).map(|i| fold(2 * i)).collect::<String>()))
        .unwrap();
    let base = ["faces.npy", "--labels", "faces.csv", "--metric", "euclidean", "--no-clustering", "--resamples", "0"];
    let output = evaluate(folder.path(), &[&base[..], &["--pairs", "pairs.txt", "--fars", "0.1"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Verification of the pair list") && said.contains("Accuracy ± s.e."), "{said}");
    let json = fs::read_to_string(folder.path().join("evaluation/evaluation.json")).unwrap();
    let found = serde_json::from_str::<serde_json::Value>(&json).unwrap()["pair_list"].clone();
    // Four folds are parted by any threshold from 3 to 10. In the last the misplaced picture spoils one pair of its own person
    // (7 apart) and one of two people (0 apart): wrong are the second surely, and the first unless 7 passes.
    assert_eq!((found["genuine"].as_u64(), found["impostors"].as_u64()), (Some(10), Some(10)));
    let accuracies: Vec<f64> =
        found["folds"]["folds"].as_array().unwrap().iter().map(|fold| fold["accuracy"].as_f64().unwrap()).collect();
    assert_eq!(accuracies[..4], [1.0; 4]);
    assert_eq!(accuracies[4], 0.5);
    let (mean, error) = (&found["folds"]["accuracy"]["mean"], &found["folds"]["accuracy"]["standard_error"]);
    // Of 1, 1, 1, 1, 1/2: mean 0.9, s = √0.05, s/√5 = 0.1.
    assert!((mean.as_f64().unwrap() - 0.9).abs() < 1e-12 && (error.as_f64().unwrap() - 0.1).abs() < 1e-12, "{found}");

    fs::write(folder.path().join("more.txt"), "1\nP_0\t1\t9\nP_0\t1\tP_1\t1\n").unwrap();
    let error = refusal(folder.path(), &[&base[..], &["--pairs", "more.txt"]].concat());
    assert!(error.contains("P_0_0009"), "{error}");
    fs::write(folder.path().join("more.txt"), "10 300\nP_0 1\n").unwrap();
    let error = refusal(folder.path(), &[&base[..], &["--pairs", "more.txt"]].concat());
    assert!(error.contains("more.txt") && error.contains("line 2"), "{error}");
}
