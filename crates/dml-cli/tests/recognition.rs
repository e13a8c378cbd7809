//! Recognition from end to end on real data: who was never seen in training is enrolled from one sample and from five, and others
//! of the same kind come as strangers. Prints how many are found and how many strangers are taken for somebody, by thresholds
//! that were calibrated on a third group.
//!
//! Needs `DML_DATA_DIR` with `omniglot-full` for characters, and with `clinc150` beside `DML_MINILM` (the folder of
//! all-MiniLM-L6-v2, as sentence-transformers lays it out) for texts; skips without.
#![allow(clippy::print_stdout, reason = "figures are what it is for, and a test that skips says why")]

mod place;

use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::Manifest;
use dml_data::sources::clinc150;
use dml_data::text::{TextTokenizer, TokenizerOptions};
use dml_eval::input::{ColumnNames, Labelled};
use dml_gallery::{
    CalibrationOptions, Change, Embeddings, FileGallery, Gallery, IdentifyOptions, Metadata, Model, Templates,
};
use dml_models::pretrained::from_sentence_transformer;
use place::succeed;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The folder that `variable` names; says if it names none.
fn folder(variable: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {variable} is not set");
    }
    folder
}

/// The data folder, if it holds a set; says if it does not.
fn data(set: &str) -> Option<PathBuf> {
    let (data, manifest) = (folder("DML_DATA_DIR")?, Manifest::find(set).unwrap());
    match manifest.verify(&data) {
        Ok(()) => Some(data),
        Err(dml_data::Error::Missing { .. }) => {
            println!("skipped: {}", manifest.fetch_command());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Embeddings of some classes, and of strangers that belong to none.
struct Embedded {
    model: Model,
    values: Vec<f32>,
    labels: Vec<u32>,
    strangers: Vec<f32>,
}

impl Embedded {
    fn rows(&self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.labels.len()).filter(|&row| wanted(row)).collect()
    }

    fn chosen(&self, rows: &[usize]) -> Vec<f32> {
        let d = self.model.dim;
        rows.iter().flat_map(|&row| &self.values[row * d..(row + 1) * d]).copied().collect()
    }

    /// What a gallery finds with `shots` samples of each member. A third of the classes calibrates, a third is enrolled, a third
    /// are strangers. For each FPIR that is calibrated for: it, the FPIR that came out, and TPIR.
    fn figures(&self, shots: usize) -> Vec<[f64; 3]> {
        let d = self.model.dim;
        let of = |third: u32| {
            // Classes that are numbered side by side are alike.
            self.rows(move |row| self.labels[row] % 3 == third)
        };
        let [held_out, members, others] = [0, 1, 2].map(of);
        // The first samples of each member are enrolled.
        let mut seen = vec![0; 1 + *self.labels.iter().max().unwrap() as usize];
        let (enrolled, probes): (Vec<usize>, Vec<usize>) = members.into_iter().partition(|&row| {
            let seen = &mut seen[self.labels[row] as usize];
            *seen += 1;
            *seen <= shots
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("members.gallery");
        let gallery = FileGallery::create(path, self.model.clone(), Templates::Mean).unwrap();
        let mut names: Vec<u32> = enrolled.iter().map(|&row| self.labels[row]).collect();
        names.sort_unstable();
        names.dedup();
        let people = names.iter().map(|&label| {
            let rows: Vec<usize> = enrolled.iter().copied().filter(|&row| self.labels[row] == label).collect();
            (label.to_string(), self.chosen(&rows))
        });
        let people: Vec<(String, Vec<f32>)> = people.collect();
        let embeddings = |values| Embeddings::new(&self.model, Matrix::new(values, values.len() / d, d).unwrap());
        let changes = people.iter().map(|(name, values)| Change::Enrol {
            name,
            embeddings: embeddings(values),
            metadata: Metadata::new(),
        });
        gallery.apply(&changes.collect::<Vec<_>>()).unwrap();

        let (held, probed) = (self.chosen(&held_out), self.chosen(&probes));
        let labels: Vec<u32> = held_out.iter().map(|&row| self.labels[row]).collect();
        let strangers = [self.chosen(&others), self.strangers.clone()].concat();
        let of_fpir = |fpir: f64| {
            let options = CalibrationOptions { fpir, shots, ..CalibrationOptions::default() };
            gallery.calibrate(embeddings(&held), &labels, &options).unwrap();
            let ask = |values| gallery.identify(embeddings(values), &IdentifyOptions::default()).unwrap();
            let alarms = ask(&strangers).iter().filter(|answer| answer.accepted().is_some()).count();
            let found = ask(&probed).into_iter().zip(&probes).filter(|(answer, row)| {
                answer.accepted().is_some_and(|who| who.name == self.labels[**row].to_string())
            });
            let share = |count: usize, of: usize| count as f64 / of as f64;
            [fpir, share(alarms, strangers.len() / d), share(found.count(), probes.len())]
        };
        let figures: Vec<[f64; 3]> = [0.01, 0.1].map(of_fpir).into();
        println!(
            "{} enrolled from {shots}, {} probes of them, {} of strangers, {} of others calibrate",
            names.len(),
            probes.len(),
            strangers.len() / d,
            held_out.len()
        );
        for [wanted, fpir, tpir] in &figures {
            println!("  calibrated for FPIR {wanted}: FPIR {fpir:.4}, TPIR {tpir:.4}");
        }
        figures
    }
}

/// TPIR is at least what was seen when this was written, less what chance takes; FPIR is near to what was asked for.
fn check(figures: &[[f64; 3]], least: [f64; 2]) {
    for ([wanted, fpir, tpir], least) in figures.iter().zip(least) {
        assert!(*fpir <= 3.0 * wanted, "FPIR {fpir}, calibrated for {wanted}");
        assert!(*tpir >= least, "TPIR {tpir} at FPIR {wanted}, want {least} or more");
    }
}

#[test]
fn characters_that_were_never_seen_are_known_from_one_sample_and_from_five() {
    let Some(data) = data("omniglot-full") else { return };
    let place = tempfile::tempdir().unwrap();
    let (run, file) = (place.path().join("run"), place.path().join("test.safetensors"));
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/prototypical-omniglot-full.toml");
    let dml = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
        command.env("DML_DATA_DIR", &data);
        command
    };
    succeed(dml().arg("train").arg(recipe).arg("--run-dir").arg(&run).args(["--set", "train.steps=150"]));
    succeed(dml().arg("embed").arg("--run-dir").arg(&run).arg("--out").arg(&file));
    let embedded = Labelled::open(&file, Some("embeddings"), &file, &ColumnNames::default()).unwrap();
    let (rows, dim) = (embedded.vectors.rows(), embedded.vectors.dim());
    let model = Model { weights_sha256: None, dim, metric: Metric::Euclidean, preprocessing: String::new() };
    let values = embedded.vectors.block(0..rows).unwrap().into_owned();
    let characters = Embedded { model, values, labels: embedded.table.labels.ids, strangers: Vec::new() };
    println!("Omniglot, characters of the test part, a network of 150 steps:");
    check(&characters.figures(1), [0.01, 0.1]);
    check(&characters.figures(5), [0.02, 0.2]);
}

#[test]
fn intents_are_known_from_one_query_and_from_five_and_others_are_none_of_them() {
    let (Some(minilm), Some(data)) = (folder("DML_MINILM"), data("clinc150")) else { return };
    let encoder = from_sentence_transformer(&minilm, &Device::Cpu).unwrap();
    let options = TokenizerOptions { max_length: encoder.max_length, ..TokenizerOptions::default() };
    let tokenizer = TextTokenizer::open(&encoder.tokenizer, &options).unwrap();
    let queries = clinc150::classification(&data).unwrap();
    let embed = |rows: &[usize]| {
        let texts: Vec<&str> = rows.iter().map(|&row| queries.text(row)).collect();
        dml_train::embedding::embed_texts(&encoder.network, &tokenizer, &texts, &Device::Cpu).unwrap()
    };
    let part = |name: &str| (0..queries.len()).filter(|&row| queries.part_of(row) == name).collect::<Vec<_>>();
    // Samples to enrol are training queries, probes those of the test.
    let mut seen = vec![0; queries.class_names().len()];
    let mut rows = part("train");
    rows.retain(|&row| {
        let seen = &mut seen[queries.labels()[row] as usize];
        *seen += 1;
        *seen <= 5
    });
    rows.extend(part("test"));
    let model = Model { weights_sha256: None, dim: 384, metric: Metric::Cosine, preprocessing: String::new() };
    let labels = rows.iter().map(|&row| queries.labels()[row]).collect();
    let intents = Embedded { model, values: embed(&rows), labels, strangers: embed(&part("oos-test")) };
    println!("CLINC150, all-MiniLM-L6-v2 as published, strangers are other intents and the queries out of scope:");
    check(&intents.figures(1), [0.1, 0.3]);
    check(&intents.figures(5), [0.3, 0.5]);
}
