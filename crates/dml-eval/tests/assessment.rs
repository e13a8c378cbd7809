//! What is tried on a set beside its own measures: other classes' thresholds, re-ranking, pair lists.

mod blobs;

use blobs::blobs;
use dml_core::{Matrix, Metric, scores, unwatched};
use dml_eval::assessment::*;
use dml_eval::calibration::ErrorRate;
use dml_eval::identification::EnrolmentProtocol;
use dml_eval::postprocess::*;
use dml_eval::retrieval::*;

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

    /// Cosine of each row with each.
    fn scores(&self) -> Vec<Vec<f32>> {
        let n = self.labels.len();
        let mut table = vec![0.0; n * n];
        scores(Metric::Cosine, self.matrix(), self.matrix(), &mut table).unwrap();
        table.chunks(n).map(<[f32]>::to_vec).collect()
    }

    /// Cosine and sameness of each pair.
    fn pairs(&self) -> Vec<(f32, bool)> {
        let (table, n) = (self.scores(), self.labels.len());
        let pair = |(i, j): (usize, usize)| (table[i][j], self.labels[i] == self.labels[j]);
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(pair).collect()
    }

    /// Strangers that pass the threshold, and probes of enrolled classes that find theirs first and pass, over all draws.
    fn passing(&self, protocol: &EnrolmentProtocol, threshold: f32) -> (u64, f64) {
        let table = self.scores();
        let (mut strangers, mut found, mut mated) = (0, 0, 0);
        for number in 0..protocol.draws {
            let drawn = protocol.draw(&self.labels, number).unwrap();
            // Score and place of the best enrolled class.
            let best = |row: usize| {
                let of_class = |rows: &Vec<usize>| rows.iter().map(|&g| table[row][g]).fold(f32::MIN, f32::max);
                let classes = drawn.identities().iter().map(of_class).enumerate();
                classes.fold((f32::MIN, 0), |best, (k, score)| if score > best.0 { (score, k) } else { best })
            };
            strangers += drawn.non_mated().iter().filter(|row| best(**row).0 >= threshold).count() as u64;
            let hit = |&&(row, own): &&(usize, u32)| best(row).0 >= threshold && best(row).1 == own as usize;
            found += drawn.mated().iter().filter(hit).count();
            mated += drawn.mated().len();
        }
        (strangers, found as f64 / mated as f64)
    }
}

fn options() -> AssessmentOptions {
    let policy = Policy { bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..Policy::default() };
    let (episodes, resamples) = (0, 0);
    AssessmentOptions { policy, resamples, episodes, clustering: None, fars: vec![0.1, 0.02], ..Default::default() }
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
        assert!(tried.chosen.achieved <= tried.chosen.target, "{tried:?}");
        let (strangers, share) = test.passing(&found.protocol, tried.chosen.threshold);
        assert_eq!(tried.here.false_positives, strangers);
        assert!((tried.here.found - share).abs() < 1e-12 && share > 0.0, "{tried:?}");
        assert_eq!(tried.chosen.false_positives, held.passing(&found.protocol, tried.chosen.threshold).0);
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

/// The set's retrieval after `process`, with its value of `measure`.
fn processed(set: &EvaluationSet<'_>, process: &PostProcess) -> PostProcessed {
    let how = AssessmentOptions {
        policy: Policy { bootstrap: Bootstrap { resamples: 100, seed: 0 }, ..Policy::default() },
        ..options()
    };
    let before = assess(set, &how, &unwatched).unwrap();
    let done = post_process(set, &before, process, None, &how, &unwatched).unwrap();
    for (gain, (after, before)) in done.gains.iter().zip(done.retrieval.measured.iter().zip(&before.retrieval.measured))
    {
        assert!((gain.test.difference - (after.micro_mean - before.micro_mean)).abs() < 1e-12);
    }
    assert_eq!(done.gains.len(), before.retrieval.measured.len());
    done
}

fn average_precision(ranked: impl Iterator<Item = bool>) -> f64 {
    let (mut hits, mut sum) = (0.0, 0.0);
    for (place, hit) in ranked.enumerate() {
        if hit {
            hits += 1.0;
            sum += hits / (place + 1) as f64;
        }
    }
    sum / hits
}

#[test]
fn re_ranked_retrieval_is_that_of_the_re_ranked_lists() {
    let set = Set::new(30, 0, 5);
    let how = KReciprocal { k1: 6, k2: 3, lambda: 0.3 };
    let labels = &set.labels;
    let map = |done: &PostProcessed| done.retrieval.get(Measure::MAP).unwrap().values.clone();
    // All ask, all are found.
    let done = processed(&set.set(), &PostProcess::KReciprocal(how.clone()));
    let found = k_reciprocal_within(Metric::Cosine, set.matrix(), labels.len() - 1, &how).unwrap();
    for (q, value) in map(&done).into_iter().enumerate() {
        let hits = found.ids_of(q).iter().map(|&id| labels[id as usize] == labels[q]);
        assert!((value - average_precision(hits)).abs() < 1e-12, "query {q}");
    }
    // Half ask; all are found, so a query is in the gallery, but never its own answer.
    let asks: Vec<bool> = (0..labels.len()).map(|i| i % 2 == 0).collect();
    let some = EvaluationSet { is_query: Some(&asks), ..set.set() };
    let half = map(&processed(&some, &PostProcess::KReciprocal(how.clone())));
    let every_other: Vec<f64> = map(&done).into_iter().step_by(2).collect();
    assert_eq!(half, every_other);
    // The others answer: two sets apart.
    let answers: Vec<bool> = asks.iter().map(|asks| !asks).collect();
    let apart = EvaluationSet { is_gallery: Some(&answers), ..some };
    let done = processed(&apart, &PostProcess::KReciprocal(how.clone()));
    let rows = |start: usize| set.values.chunks(D).skip(start).step_by(2).flatten().copied().collect::<Vec<f32>>();
    let (queries, gallery) = (rows(0), rows(1));
    let of = |values| Matrix::new(values, values.len() / D, D).unwrap();
    let found = k_reciprocal(Metric::Cosine, of(&queries), of(&gallery), gallery.len() / D, &how).unwrap();
    for (q, value) in map(&done).into_iter().enumerate() {
        let hits = found.ids_of(q).iter().map(|&id| labels[2 * id as usize + 1] == labels[2 * q]);
        assert!((value - average_precision(hits)).abs() < 1e-12, "query {q}");
    }
}

#[test]
fn expansion_leaves_a_query_out_of_its_own_neighbours() {
    let set = Set::new(30, 0, 5);
    let how = Expansion { neighbours: 3, weights: NeighbourWeights::Power(3.0) };
    let done = processed(&set.set(), &PostProcess::Expansion(how.clone()));
    let expanded = augment_database(Metric::Cosine, set.matrix(), &how).unwrap();
    let queries = Matrix::new(&expanded, set.labels.len(), D).unwrap();
    let (relevance, own) = (Relevance::within(&set.labels), [Exclusion::SelfIndex]);
    let rankings = Rankings::whole(Metric::Cosine, queries, set.matrix(), &relevance, &own, Ties::ById).unwrap();
    let want = evaluate(&rankings, &[Measure::MAP], None, &Policy::default()).unwrap();
    assert_eq!(done.retrieval.get(Measure::MAP).unwrap().values, want.measured[0].values);
    let gain = done.gains.iter().find(|gain| gain.measure == Measure::MAP).unwrap();
    assert!(gain.test.difference > 0.0, "neighbours help in blobs: {gain:?}");
    // Some of the queries are not in the gallery: they are expanded by all of it.
    let answers: Vec<bool> = (0..set.labels.len()).map(|i| i % 3 > 0).collect();
    let mixed = EvaluationSet { is_gallery: Some(&answers), ..set.set() };
    let done = processed(&mixed, &PostProcess::Expansion(how));
    assert_eq!(done.retrieval.queries.len() + done.retrieval.lone_queries, set.labels.len());
}

#[test]
fn whitening_is_fitted_elsewhere_and_large_sets_are_not_re_ranked() {
    let (set, held) = (Set::new(30, 0, 5), Set::new(24, 100, 9));
    let before = assess(&set.set(), &options(), &unwatched).unwrap();
    let whiten = PostProcess::Whitening(WhiteningOptions::default());
    let run = |validation: Option<&EvaluationSet<'_>>| {
        post_process(&set.set(), &before, &whiten, validation, &options(), &unwatched)
    };
    assert!(run(None).unwrap_err().to_string().contains("validation set"));
    let done = run(Some(&held.set())).unwrap();
    let values = Whitening::fit(held.matrix(), &WhiteningOptions::default()).unwrap().apply(set.matrix()).unwrap();
    let whitened = Matrix::new(&values, set.labels.len(), D).unwrap();
    let want = assess(&EvaluationSet { embeddings: whitened, ..set.set() }, &options(), &unwatched).unwrap();
    assert_eq!(done.retrieval, want.retrieval);
    assert!(done.gains.is_empty(), "no resamples, no test");

    let n = 10_001;
    let values: Vec<f32> = (0..n).map(|i| (i % 97) as f32 + 1.0).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let large = EvaluationSet::new(Matrix::new(&values, n, 1).unwrap(), &labels, &set.names);
    let how = AssessmentOptions { metric: Metric::Euclidean, ..options() };
    let rerank = PostProcess::KReciprocal(KReciprocal::default());
    let error = post_process(&large, &before, &rerank, None, &how, &unwatched).unwrap_err().to_string();
    assert!(error.contains("10,000 rows") && error.contains("100020001"), "{error}");
}
