//! What is tried on a set beside its own measures: other classes' thresholds, re-ranking, pair lists.

mod blobs;

use blobs::blobs;
use dml_core::{Matrix, Metric, scores, unwatched};
use dml_eval::assessment::*;
use dml_eval::calibration::ErrorRate;

/// Classes named `from`, `from + 1` … with 4 to 6 points each.
struct Set {
    values: Vec<f32>,
    labels: Vec<u32>,
    names: Vec<String>,
}

const D: usize = 8;

impl Set {
    fn new(classes: usize, from: usize, salt: u64) -> Self {
        let (values, labels) = blobs(classes, 6, D, salt);
        let names = (from..from + classes).map(|class| class.to_string()).collect();
        Self { values, labels: labels.iter().map(|label| (label - 1) / 7).collect(), names }
    }

    fn set(&self) -> EvaluationSet<'_> {
        EvaluationSet::new(self.matrix(), &self.labels, &self.names)
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.values, self.labels.len(), D).unwrap()
    }

    /// Cosine and sameness of each pair.
    fn pairs(&self) -> Vec<(f32, bool)> {
        let (x, n) = (self.matrix(), self.labels.len());
        let mut table = vec![0.0; n * n];
        scores(Metric::Cosine, x, x, &mut table).unwrap();
        let pair = |i: usize, j: usize| (table[i * n + j], self.labels[i] == self.labels[j]);
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|(i, j)| pair(i, j)).collect()
    }
}

fn options() -> AssessmentOptions {
    AssessmentOptions { resamples: 0, episodes: 0, clustering: None, fars: vec![0.1, 0.02], ..Default::default() }
}

#[test]
fn thresholds_of_other_classes_do_here_what_plain_loops_count() {
    let (test, held) = (Set::new(30, 0, 5), Set::new(24, 100, 9));
    let found = calibrate(&test.set(), &held.set(), &options()).unwrap();
    assert_eq!((found.classes, found.rows, found.shared_classes), (24, held.labels.len(), 0));
    for (tried, far) in found.verification.iter().zip([0.1, 0.02]) {
        let share = |pairs: &[(f32, bool)], same: bool| {
            let of_kind: Vec<f32> = pairs.iter().filter(|pair| pair.1 == same).map(|pair| pair.0).collect();
            let passing = of_kind.iter().filter(|score| **score >= tried.chosen.threshold).count();
            passing as f64 / of_kind.len() as f64
        };
        assert!(tried.chosen.rate == ErrorRate::Fmr && tried.chosen.target == far);
        assert!((share(&held.pairs(), false) - tried.chosen.achieved).abs() < 1e-12 && tried.chosen.achieved <= far);
        assert!((share(&test.pairs(), false) - tried.here.achieved).abs() < 1e-12);
        assert!((share(&test.pairs(), true) - tried.here.found).abs() < 1e-12);
    }
    // Half of the smaller set's classes are enrolled on both sides, so the FPIRs can be compared.
    assert_eq!((found.protocol.enrolled, found.protocol.draws), (12, 10));
    for tried in &found.recognition {
        assert_eq!((tried.chosen.gallery, tried.here.gallery), (Some(12), Some(12)));
        assert!(tried.chosen.achieved <= tried.chosen.target && tried.here.found > 0.2, "{tried:?}");
    }
    // Probabilities fitted on classes like these hold here, and say more than nothing.
    let probabilities = found.probabilities.unwrap();
    let genuine = test.pairs().iter().filter(|pair| pair.1).count();
    assert_eq!(probabilities.platt.reliability.positives, genuine);
    for scaled in [&probabilities.platt, &probabilities.isotonic] {
        assert!(scaled.cllr >= probabilities.min_cllr && scaled.cllr < 0.95, "{scaled:?}");
        assert!(scaled.reliability.ece < 0.05, "{scaled:?}");
    }
    assert!(found.opis.unwrap().opis > 0.0);
}

#[test]
fn a_set_calibrated_on_itself_keeps_every_rate_and_is_warned_of() {
    let set = Set::new(30, 0, 5);
    let found = calibrate(&set.set(), &set.set(), &options()).unwrap();
    assert_eq!(found.shared_classes, 30);
    assert!(found.warnings[0].contains("30 of 30 validation classes"), "{:?}", found.warnings);
    for tried in found.verification.iter().chain(&found.recognition) {
        assert_eq!(tried.here.achieved, tried.chosen.achieved);
    }
    // The isotonic fit on the very pairs it is tried on is the best rising function there is.
    let probabilities = found.probabilities.unwrap();
    assert!((probabilities.isotonic.cllr - probabilities.min_cllr).abs() < 1e-3, "{probabilities:?}");
    assert!(probabilities.isotonic.reliability.ece < 1e-3, "{probabilities:?}");
}

#[test]
fn sets_that_do_not_fit_are_refused_and_small_ones_warned_of() {
    let (test, held) = (Set::new(30, 0, 5), Set::new(24, 100, 9));
    let rows = held.values.len() / 4;
    let labels = vec![0; rows];
    let short = EvaluationSet::new(Matrix::new(&held.values[..4 * rows], rows, 4).unwrap(), &labels, &held.names);
    let error = calibrate(&test.set(), &short, &options()).unwrap_err().to_string();
    assert!(error.contains("length 8") && error.contains("classes 4"), "{error}");
    // One class: no impostors, no strangers.
    let labels = vec![3; held.labels.len()];
    let one = EvaluationSet::new(held.matrix(), &labels, &held.names);
    let found = calibrate(&test.set(), &one, &options()).unwrap();
    assert!(found.verification.is_empty() && found.recognition.is_empty() && found.probabilities.is_none());
    assert!(found.warnings.iter().any(|warning| warning.contains("two classes")), "{:?}", found.warnings);
    let wrong = AssessmentOptions { fpirs: vec![1.0], ..options() };
    let error = assess(&test.set(), &wrong, &unwatched).unwrap_err().to_string();
    assert!(error.contains("FPIR is 1"), "{error}");
}

#[test]
fn recognition_and_calibration_are_in_the_report() {
    let (test, held) = (Set::new(30, 0, 5), Set::new(24, 100, 9));
    let mut found = assess(&test.set(), &options(), &unwatched).unwrap();
    let titles = |found: &Assessment| -> Vec<String> {
        let report = found.report("t", &test.set());
        report.sections.iter().map(|section| section.title().to_owned()).collect()
    };
    let alone = titles(&found);
    assert!(alone.iter().any(|t| t == "Recognition") && alone.iter().any(|t| t == "Cumulative match"), "{alone:?}");
    assert!(!alone.iter().any(|t| t == "Calibration"), "{alone:?}");
    let recognition = found.recognition.as_ref().unwrap();
    assert_eq!((recognition.identities, recognition.draws, recognition.cmc.len()), (15.0, 10, 15));
    found.calibration = Some(calibrate(&test.set(), &held.set(), &options()).unwrap());
    let both = titles(&found);
    assert!(both.iter().any(|t| t == "Calibration") && both.iter().any(|t| t == "Reliability"), "{both:?}");
    let page = found.report("t", &test.set()).markdown();
    for row in ["TPIR@FPIR=0.1", "FPIR, target 0.1", "FMR, target 0.02", "ECE, Platt", "Cllr, isotonic", "OPIS"] {
        assert!(page.contains(row), "{row}\n{page}");
    }
}
