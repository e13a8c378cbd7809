//! `dml gallery`, `enroll`, `verify` and `identify`, as users run them: on files of embeddings, and on pictures.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const DIM: usize = 8;

fn dml(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
    command.current_dir(folder).args(arguments);
    command
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    String::from_utf8(succeed(&mut dml(folder, arguments)).stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    refusal(&mut dml(folder, arguments))
}

/// A line of JSON each.
fn json(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    said(folder, &[arguments, &["--json"]].concat()).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers as NumPy saves them.
fn npy(path: &Path, values: &[f32]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {DIM}), }}", values.len() / DIM);
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

fn number(seed: usize) -> f32 {
    let mut z = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// Embeddings of people, `each` of one, a little around their own directions, and labels.
fn people(folder: &Path, name: &str, who: std::ops::Range<usize>, each: usize) {
    let (mut values, mut csv) = (Vec::new(), "person,file\n".to_owned());
    for i in who {
        for sample in 0..each {
            values
                .extend((0..DIM).map(|j| number(i * DIM + j) + 0.3 * number((i * 31 + sample) * DIM + j + 1_000_000)));
            csv += &format!("person {i},{i}-{sample}.png\n");
        }
    }
    npy(&folder.join(format!("{name}.npy")), &values);
    fs::write(folder.join(format!("{name}.csv")), csv).unwrap();
}

/// What says whose the rows are.
const COLUMNS: [&str; 2] = ["--column", "label=person"];

fn set() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    people(folder.path(), "known", 0..40, 2);
    people(folder.path(), "held", 100..180, 4);
    // Others of the same people, and people who are not enrolled.
    people(folder.path(), "probes", 38..42, 3);
    folder
}

#[test]
fn people_are_enrolled_asked_for_and_forgotten() {
    let set = set();
    recognises(set.path(), "g", "again");
}

/// The same in a server, where there is one.
#[cfg(feature = "pgvector")]
#[test]
fn so_they_are_in_postgres() {
    let Ok(server) = std::env::var("DML_TEST_POSTGRES") else {
        println!("skipped: DML_TEST_POSTGRES names no server; tests/servers/servers.py starts one");
        return;
    };
    let set = set();
    let [g, again] = ["g", "again"].map(|name| format!("{server}?gallery=cli_{}_{name}", std::process::id()));
    recognises(set.path(), &g, &again);
    let run = |arguments: &[&str]| said(set.path(), arguments);
    assert!(run(&["gallery", "search", &g, "--graph"]).contains("by a graph (m 16"));
    assert!(run(&["gallery", "search", &g]).contains("exactly"));
    let there = refused(set.path(), &["gallery", "create", &g, "--dim", "8"]);
    assert!(there.contains("there is such a gallery already") && !there.contains("only-for-tests"), "{there}");
    // Encrypted, where the server can be: only if its authority is trusted.
    let tls = ["TLS", "AUTHORITY"].map(|what| std::env::var(format!("DML_TEST_POSTGRES_{what}")).ok());
    if let [Some(tls), Some(authority)] = tls {
        let encrypted = format!("{}&sslmode=require", g.replace(&server, &tls));
        let info = || {
            let mut command = dml(set.path(), &["gallery", "info", &encrypted]);
            command.env_remove("SSL_CERT_DIR");
            command
        };
        succeed(info().env("SSL_CERT_FILE", &authority));
        fs::write(set.path().join("nobody.pem"), "").unwrap();
        let nobody = refusal(info().env("SSL_CERT_FILE", set.path().join("nobody.pem")));
        assert!(nobody.contains("trusts no authority"), "{nobody}");
        // Another host name than the certificate's.
        let other = encrypted.replace("localhost", "127.0.0.1");
        let other = refusal(dml(set.path(), &["gallery", "info", &other]).env("SSL_CERT_FILE", &authority));
        assert!(!other.contains("only-for-tests") && other.contains("certificate"), "{other}");
    }
    // What cannot be imported leaves nothing.
    fs::write(set.path().join("out/identities.jsonl"), "").unwrap();
    let third = g.replace("_g", "_third");
    refused(set.path(), &["gallery", "import", "out", &third]);
    assert!(refused(set.path(), &["gallery", "info", &third]).contains("there is no such gallery"));
    for gallery in [&g, &again] {
        run(&["gallery", "destroy", gallery]);
        assert!(refused(set.path(), &["gallery", "info", gallery]).contains("there is no such gallery"));
    }
}

#[cfg(feature = "milvus")]
#[test]
fn so_they_are_in_milvus() {
    let Ok(server) = std::env::var("DML_TEST_MILVUS") else {
        println!("skipped: DML_TEST_MILVUS names no server; tests/servers/servers.py starts one");
        return;
    };
    let set = set();
    let [g, again] = ["g", "again"].map(|name| format!("{server}?gallery=cli_{}_{name}", std::process::id()));
    recognises(set.path(), &g, &again);
    assert!(said(set.path(), &["gallery", "search", &g]).contains("exactly"));
    let there = refused(set.path(), &["gallery", "create", &g, "--dim", "8"]);
    assert!(there.contains("there is such a gallery already"), "{there}");
    for gallery in [&g, &again] {
        said(set.path(), &["gallery", "destroy", gallery]);
        assert!(refused(set.path(), &["gallery", "info", gallery]).contains("there is no such gallery"));
    }
}

/// What users do with the gallery `g`, which comes back from an export as `again`.
fn recognises<'a>(folder: &Path, g: &'a str, again: &'a str) {
    let run = |arguments: &[&str]| said(folder, arguments);
    fs::write(folder.join("weights"), b"some weights").unwrap();
    let model = ["--weights", "weights", "--preprocessing", "crop"];
    run(&[&["gallery", "create", g, "--dim", "8"], &model[..]].concat());
    let with = |start: &[&'a str]| [start, &COLUMNS, &model].concat();
    let enrol = with(&["enroll", g, "known.npy", "--labels", "known.csv", "--metadata", "site=north"]);
    let enrolled = json(folder, &enrol);
    assert_eq!(enrolled[0]["new_identities"], 40);
    assert_eq!(enrolled[0]["samples"], 80);

    // Without a threshold nothing is decided; calibrated, the known are found and the others unknown.
    let identify = with(&["identify", g, "probes.npy", "--labels", "probes.csv", "-k", "2"]);
    assert!(json(folder, &identify).iter().all(|answer| answer["decision"] == "no_threshold"));
    let calibrate =
        with(&["gallery", "calibrate", g, "held.npy", "--labels", "held.csv", "--fpir", "0.02", "--fmr", "0.01"]);
    let calibration = json(folder, &calibrate);
    let threshold = &calibration[0]["identification"]["threshold"];
    assert_eq!(threshold["gallery"], 40);
    assert!(threshold["achieved"].as_f64().unwrap() <= 0.02);
    let answers = json(folder, &identify);
    assert_eq!(answers.len(), 12);
    for (i, answer) in answers.iter().enumerate() {
        let (who, sample) = (38 + i / 3, i % 3);
        assert_eq!(answer["probe"], format!("{who}-{sample}.png"));
        let known = answer["decision"] == "accepted";
        assert_eq!(answer["threshold"], threshold["threshold"]);
        assert_eq!(answer["candidates"].as_array().unwrap().len(), 2);
        assert!(answer["gap"].as_f64().unwrap() >= 0.0 && answer["probability"].as_f64().unwrap() <= 1.0);
        if who < 40 && sample < 2 {
            // Enrolled with these very samples.
            assert!(known && answer["candidates"][0]["name"] == format!("person {who}"), "{answer}");
        }
        assert!(!known || who < 40, "a stranger was accepted: {answer}");
    }
    assert!(run(&identify).contains("38-0.png: person 38 (person 38 "), "words for people");

    // 1:1, as they are labelled and as somebody else.
    let verify = with(&["verify", g, "known.npy", "--labels", "known.csv"]);
    assert!(json(folder, &verify).iter().all(|answer| answer["decision"] == "accepted"));
    let verify = [&["verify", g, "probes.npy", "--name", "person 1"], &model[..]].concat();
    assert!(json(folder, &verify).iter().all(|answer| answer["decision"] == "unknown" && answer["name"] == "person 1"));

    // A filter, and the list.
    let south = [&identify[..], &["--where", "site=south"]].concat();
    assert!(json(folder, &south).iter().all(|answer| answer["candidates"].as_array().unwrap().is_empty()));
    let info = json(folder, &["gallery", "info", g, "--list", "--where", "site=north"]);
    assert_eq!(info[0]["count"]["identities"], 40);
    assert_eq!(info[0]["identities"][0]["metadata"]["site"], "north");
    assert!(run(&["gallery", "info", g]).contains("40 identities with 80 samples"));

    // Forgotten: from the answers, the file and what is exported, which comes back with its calibration.
    run(&["gallery", "remove", g, "person 38", "person 7"]);
    let answers = json(folder, &identify);
    assert!(answers.iter().all(|answer| answer["candidates"][0]["name"] != "person 38"));
    run(&["gallery", "export", g, "out"]);
    let own = folder.join(g).is_file().then_some(g);
    let files = ["out/identities.jsonl", "out/gallery.json", "out/embeddings.safetensors"];
    for file in files.into_iter().chain(own) {
        let bytes = fs::read(folder.join(file)).unwrap();
        assert!(!bytes.windows(9).any(|window| window == b"person 38"), "person 38 is in {file}");
    }
    run(&["gallery", "import", "out", again]);
    let again: Vec<&str> = identify.iter().map(|&word| if word == g { again } else { word }).collect();
    let found = json(folder, &again);
    for (a, b) in found.iter().zip(&answers) {
        assert_eq!((&a["candidates"], &a["decision"]), (&b["candidates"], &b["decision"]));
    }
    // Enrolled once more, the known get samples.
    let enrolled = json(folder, &enrol);
    assert_eq!((&enrolled[0]["new_identities"], &enrolled[0]["known_identities"]), (&Value::from(2), &Value::from(38)));
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let set = set();
    let folder = set.path();
    fs::write(folder.join("weights"), b"some weights").unwrap();
    said(folder, &["gallery", "create", "g", "--dim", "8", "--weights", "weights"]);
    let labels = [&["--labels", "known.csv"], &COLUMNS[..]].concat();
    let enrol = |more: &[&str]| refused(folder, &[&["enroll", "g", "known.npy"], &labels[..], more].concat());
    assert!(enrol(&[]).contains("embeddings have weights unknown but the gallery was made with SHA-256"));
    fs::write(folder.join("others"), b"other weights").unwrap();
    assert!(enrol(&["--weights", "others"]).contains("embed with the gallery's model"));
    assert!(enrol(&["--weights", "weights", "--preprocessing", "flip"]).contains("preprocessing \"flip\""));
    assert!(enrol(&["--weights", "weights", "--metadata", "site"]).contains("want KEY=VALUE"));
    let with = ["--weights", "weights"];
    assert!(refused(folder, &[&["enroll", "g", "known.npy"], &with[..]].concat()).contains("give --labels"));
    assert!(refused(folder, &[&["enroll", "g", "."], &with[..]].concat()).contains("is a folder: give --run-dir"));
    assert!(refused(folder, &["gallery", "create", "g", "--dim", "8"]).contains("there is such a file already"));
    assert!(refused(folder, &["gallery", "create", "h"]).contains("--dim"));
    assert!(refused(folder, &["gallery", "info", "known.csv"]).contains("known.csv"));
    assert!(refused(folder, &["gallery", "remove", "g", "Ada"]).contains("\"Ada\" is not enrolled"));
    assert!(refused(folder, &["gallery", "export", "g", "."]).contains("name another folder"));
    assert!(refused(folder, &["gallery", "import", "nowhere", "h"]).contains("gallery.json"));
    assert!(!folder.join("h").exists());
    let mut bytes = fs::read(folder.join("known.npy")).unwrap();
    bytes[128 + 4 * (DIM * 3 + 2)..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(folder.join("nan.npy"), bytes).unwrap();
    let error = refused(folder, &[&["enroll", "g", "nan.npy"], &labels[..], &with].concat());
    assert!(error.contains("embedding 1 of \"person 1\" holds NaN in column 2"), "{error}");
    assert_eq!(json(folder, &["gallery", "info", "g"])[0]["count"]["identities"], 0);
    // Whoever is enrolled cannot be held out.
    said(folder, &[&["enroll", "g", "known.npy"], &labels[..], &with].concat());
    let error = refused(folder, &[&["gallery", "calibrate", "g", "known.npy"], &labels[..], &with].concat());
    assert!(error.contains("is enrolled: calibrate on identities that are not"), "{error}");
}

/// Pictures through the encoder of a run: embedded as `dml embed` does it.
#[test]
fn pictures_are_embedded_by_the_run_that_made_the_gallery() {
    let place = Place::new();
    succeed(place.train("run").args(["--set", "train.steps=20"]));
    let folder = place.path("");
    said(&folder, &["gallery", "create", "g", "--run-dir", "run"]);
    let enrolled = json(&folder, &["enroll", "g", "images", "--run-dir", "run"]);
    assert_eq!(enrolled[0]["new_identities"], 32);
    let mut classes: Vec<_> = fs::read_dir(place.path("images")).unwrap().map(|e| e.unwrap().path()).collect();
    classes.sort();
    let class = classes[5].file_name().unwrap().to_str().unwrap().to_owned();
    let mut pictures: Vec<_> = fs::read_dir(&classes[5]).unwrap().map(|e| e.unwrap().path()).collect();
    pictures.sort();
    let one = pictures[0].to_str().unwrap();
    let answers = json(&folder, &["identify", "g", one, "--run-dir", "run", "--threshold", "0.99", "-k", "1"]);
    assert_eq!((answers.len(), &answers[0]["decision"]), (1, &Value::from("accepted")));
    assert_eq!(answers[0]["candidates"][0]["name"], class.as_str());
    assert_eq!(answers[0]["probe"], pictures[0].file_name().unwrap().to_str().unwrap());
    let verified = json(&folder, &["verify", "g", "images", "--run-dir", "run", "--threshold", "0.99"]);
    assert!(verified.iter().all(|answer| answer["decision"] == "accepted"));

    // Every embedding that `dml embed` writes is one of the enrolled, to the bit.
    succeed(dml(&folder, &["embed", "--run-dir", "run", "--out", "test.safetensors"]).env("DML_DATA_DIR", "no-sets"));
    said(&folder, &["gallery", "export", "g", "out"]);
    let rows = |file: &str| -> Vec<Vec<u8>> {
        let bytes = place.read(file);
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let found = tensors.tensor("embeddings").unwrap();
        found.data().chunks(4 * found.shape()[1]).map(<[u8]>::to_vec).collect()
    };
    let (test, enrolled) = (rows("test.safetensors"), rows("out/embeddings.safetensors"));
    assert!(test.len() >= 10 && test.iter().all(|row| enrolled.contains(row)), "{} rows of the test", test.len());

    // Another run's encoder is refused before anything is embedded.
    succeed(place.train("other").args(["--seed", "1", "--set", "train.steps=20"]));
    let error = refused(&folder, &["enroll", "g", "images", "--run-dir", "other"]);
    assert!(error.contains("weights SHA-256") && error.contains("embed with the gallery's model"), "{error}");
}
