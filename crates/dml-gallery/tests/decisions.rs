//! Thresholds from held-out identities, and what answers say by them.

mod people;

use dml_core::Matrix;
use dml_eval::calibration::{CalibratedThreshold, ErrorRate};
use dml_eval::identification::{EnrolmentProtocol, ProbeScores};
use dml_gallery::{
    CalibrationOptions, Decision, Embeddings, Filter, Gallery, IdentifyOptions, MemoryGallery, Metadata, Model,
    Templates, export, import,
};
use people::{DIM, enrol, model, name, values};
use std::fs;

/// Identities with four samples around a direction of their own, more or less apart.
fn held_out(identities: usize, noise: f32) -> (Vec<f32>, Vec<u32>) {
    let mut all = Vec::new();
    for i in 0..identities {
        for sample in 0..4 {
            let (own, other) = (values(3 * i + 50_000), values(3 * (4 * i + sample) + 900_000));
            all.extend(own.iter().zip(&other).map(|(own, other)| own + noise * other));
        }
    }
    (all, (0..identities as u32).flat_map(|i| [i; 4]).collect())
}

fn of<'a>(model: &'a Model, values: &'a [f32]) -> Embeddings<'a> {
    Embeddings::new(model, Matrix::new(values, values.len() / DIM, DIM).unwrap())
}

/// The threshold for FPIR, and TPIR, are those that dml-eval finds for the same draws.
#[test]
fn thresholds_are_those_of_dml_eval() {
    let (model, (x, labels)) = (model(), held_out(60, 0.8));
    for templates in [Templates::PerImage, Templates::Mean, Templates::Medoid] {
        let gallery = MemoryGallery::new(model.clone(), templates).unwrap();
        let options = CalibrationOptions { shots: 2, draws: 4, seed: 7, fpir: 0.05, fmr: 0.01, enrolled: None };
        let found = gallery.calibrate(of(&model, &x), &labels, &options).unwrap();
        let protocol = EnrolmentProtocol { shots: 2, enrolled: 30, strangers: None, draws: 4, seed: 7 };
        let matrix = Matrix::new(&x, labels.len(), DIM).unwrap();
        let expected =
            CalibratedThreshold::for_fpir(model.metric, matrix, &labels, &protocol, templates, 0.05).unwrap();
        assert_eq!(found.identification.threshold, expected);
        let (mut passing, mut mated) = (0.0, 0);
        for number in 0..4 {
            let drawn = protocol.draw(&labels, number).unwrap();
            let probes = ProbeScores::measure(model.metric, matrix, &drawn, templates, 1).unwrap();
            passing += probes.tpir(expected.threshold, 1).unwrap() * probes.mated() as f64;
            mated += probes.mated();
        }
        assert_eq!(found.identification.genuine, mated);
        assert!((found.identification.found - passing / mated as f64).abs() < 1e-12);
        let pairs = &found.verification;
        assert_eq!((pairs.threshold.rate, pairs.threshold.gallery), (ErrorRate::Fmr, None));
        // Each probe meets each of the 30, once as itself if it is one of them.
        assert_eq!(pairs.threshold.trials as usize + pairs.genuine, 4 * (30 * 2 + 30 * 4) * 30);
        assert!(pairs.threshold.achieved <= 0.01 && pairs.found > 0.3, "{pairs:?}");
        assert_eq!(gallery.calibration().unwrap(), Some(found));
    }
}

#[test]
fn answers_carry_what_was_calibrated() {
    let (model, (x, labels)) = (model(), held_out(80, 0.9));
    let gallery = MemoryGallery::new(model.clone(), Templates::PerImage).unwrap();
    enrol(&gallery, 0..40).unwrap();
    let options = CalibrationOptions { fpir: 0.05, fmr: 0.01, ..CalibrationOptions::default() };
    let found = gallery.calibrate(of(&model, &x), &labels, &options).unwrap();
    // To those who are enrolled, all who are held out are strangers.
    let best = gallery.nearest(of(&model, &x), 1, &Filter::everybody()).unwrap();
    let best: Vec<f32> = best.iter().map(|list| list[0].score).collect();
    let expected = CalibratedThreshold::of_scores(ErrorRate::Fpir, true, &best, 0.05).unwrap();
    assert_eq!(found.identification.threshold, CalibratedThreshold { gallery: Some(40), ..expected });
    let own = values(9);
    let probes = [&own[..DIM], &values(777_777)[..DIM]].concat();
    let options = IdentifyOptions::default();
    let answers = gallery.identify(of(&model, &probes), &options).unwrap();
    let threshold = found.identification.threshold.threshold;
    assert_eq!(answers[0].accepted().map(|who| who.name.clone()), Some(name(9)));
    assert_eq!((answers[1].decision, answers[1].accepted()), (Decision::Unknown, None));
    let [sure, unsure] = [0, 1].map(|i| answers[i].probability.unwrap());
    assert!(
        sure > 0.9 && unsure < 0.5 && answers.iter().all(|answer| answer.threshold == Some(threshold)),
        "{answers:?}"
    );
    assert!(answers.iter().all(|answer| answer.warnings.is_empty()), "{answers:?}");
    let verified = gallery.verify(of(&model, &probes), &[&name(9), &name(9)], None).unwrap();
    assert_eq!([0, 1].map(|i| verified[i].decision), [Decision::Accepted, Decision::Unknown]);
    assert_eq!(verified[0].threshold, Some(found.verification.threshold.threshold));
    // The gallery outgrows its calibration, and says so; a threshold of one's own is one's own business.
    enrol(&gallery, 40..41).unwrap();
    let answers = gallery.identify(of(&model, &probes), &options).unwrap();
    assert!(
        answers[0].warnings.iter().any(|said| said.contains("41 identities") && said.contains("with 40")),
        "{answers:?}"
    );
    let options = IdentifyOptions { threshold: Some(0.99), ..options };
    assert!(gallery.identify(of(&model, &probes), &options).unwrap()[0].warnings.is_empty());
    let error = gallery.identify(of(&model, &probes), &IdentifyOptions { threshold: Some(f32::NAN), ..options });
    assert!(error.unwrap_err().to_string().contains("not a number"));
    // Too few strangers for the rate wanted: said with each answer.
    let rare = CalibrationOptions { fpir: 1e-6, ..CalibrationOptions::default() };
    gallery.calibrate(of(&model, &x), &labels, &rare).unwrap();
    let answers = gallery.identify(of(&model, &probes), &IdentifyOptions::default()).unwrap();
    assert!(answers[0].warnings.iter().any(|said| said.contains("a rate of 0.000001 wants")), "{answers:?}");
}

#[test]
fn what_cannot_be_calibrated_is_refused() {
    let (model, (x, labels)) = (model(), held_out(10, 0.5));
    let gallery = MemoryGallery::new(model.clone(), Templates::PerImage).unwrap();
    let error = |labels: &[u32], options: CalibrationOptions| {
        gallery.calibrate(of(&model, &x), labels, &options).unwrap_err().to_string()
    };
    let default = CalibrationOptions::default;
    assert!(error(&labels[1..], default()).contains("39 labels for 40 embeddings"));
    assert!(error(&labels, CalibrationOptions { draws: 0, ..default() }).contains("0 draws"));
    assert!(error(&labels, CalibrationOptions { draws: usize::MAX, ..default() }).contains("lower the draws"));
    assert!(error(&labels, CalibrationOptions { enrolled: Some(10), ..default() }).contains("of strangers"));
    assert!(error(&labels, CalibrationOptions { shots: 4, ..default() }).contains("0 probes of enrolled"));
    assert!(error(&labels, CalibrationOptions { fpir: 1.5, ..default() }).contains("1.5"));
    assert_eq!(gallery.calibration().unwrap(), None);
}

/// Whatever is done to the files of an export: refused with the file's name, or taken whole.
#[test]
fn damaged_exports_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, there) = (model(), folder.path().join("export"));
    let gallery = MemoryGallery::new(model.clone(), Templates::PerImage).unwrap();
    enrol(&gallery, 0..12).unwrap();
    export(&gallery, &there).unwrap();
    let mut refused = 0;
    for file in ["gallery.json", "identities.jsonl", "embeddings.safetensors"] {
        let whole = fs::read(there.join(file)).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..60).map(|i| whole[..whole.len() * i / 60].to_vec()).collect();
        for i in 0..240usize {
            let mut bytes = whole.clone();
            let at = (i * 7919) % bytes.len();
            bytes[at] = [0, b'"', b'9', b'}', 0xff, bytes[at] ^ 1][i % 6];
            damaged.push(bytes);
        }
        for bytes in damaged {
            fs::write(there.join(file), &bytes).unwrap();
            let empty = MemoryGallery::new(model.clone(), Templates::PerImage).unwrap();
            let count = |gallery: &MemoryGallery| gallery.count(&Default::default()).unwrap().identities;
            match import(&empty, &there) {
                Ok(found) => assert_eq!((found.identities, count(&empty)), (12, 12)),
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                    assert_eq!(count(&empty), 0, "half of a damaged export was taken: {error}");
                }
            }
        }
        fs::write(there.join(file), &whole).unwrap();
    }
    assert!(refused > 300, "{refused}");
    let other = Model { preprocessing: "resize 224".to_owned(), ..model };
    let other = MemoryGallery::new(other, Templates::PerImage).unwrap();
    assert!(import(&other, &there).unwrap_err().to_string().contains("preprocessing"));
    other.enrol("x", of(other.model(), &values(0)), Metadata::new()).unwrap();
}
