//! Identification against plain numpy; tables by hand; what must hold of any scores; bad input; the numbers of before.

mod blobs;

use blobs::blobs;
use dml_core::{Matrix, Metric};
use dml_eval::identification::*;
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use proptest::prelude::*;
use std::path::Path;

const E: Metric = Metric::Euclidean;

#[track_caller]
fn assert_equal(case: &Case, name: &str, got: &[f64], tolerance: f64) {
    let want = case.numbers(name).unwrap();
    if let Err(difference) = compare(got, &want, &[want.len()], Tolerance::elementwise(tolerance, tolerance)) {
        panic!("{} {name}: {difference}", case.name);
    }
}

#[test]
fn identification_equals_its_definition_on_the_whole_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/recognition.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|case| case.has("gallery")).collect();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let metric: Metric = case.description["metric"].as_str().unwrap().parse().unwrap();
        let templates: Templates = serde_json::from_value(case.description["templates"].clone()).unwrap();
        let fpirs: Vec<f64> = serde_json::from_value(case.description["fpirs"].clone()).unwrap();
        let ranks: Vec<usize> = serde_json::from_value(case.description["ranks"].clone()).unwrap();
        let tensor = case.tensor("embeddings").unwrap();
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let x = Matrix::new(&values, tensor.dims()[0], tensor.dims()[1]).unwrap();
        let labels = case.labels("labels").unwrap();
        let rows = |name: &str| case.labels(name).unwrap().into_iter().map(|row| row as usize).collect::<Vec<_>>();
        let drawn = Enrolment::from_lists(&labels, &rows("gallery"), &rows("probes")).unwrap();
        let k = drawn.identities().len();

        let scores = ProbeScores::measure(metric, x, &drawn, templates, k).unwrap();
        assert_equal(&case, "cmc", &scores.cmc().unwrap(), 1e-12);
        assert_equal(&case, "mated", &[scores.mated() as f64], 0.0);
        assert_equal(&case, "non_mated", &[scores.non_mated() as f64], 0.0);
        let points: Vec<OpenSetPoint> = fpirs
            .iter()
            .flat_map(|&f| ranks.iter().map(move |&r| (f, r)))
            .map(|(f, r)| scores.tpir_at_fpir(f, r).unwrap())
            .collect();
        assert_equal(&case, "tpir", &points.iter().map(|p| p.tpir).collect::<Vec<_>>(), 1e-12);
        let achieved: Vec<f64> = points.iter().step_by(ranks.len()).map(|p| p.fpir).collect();
        assert_equal(&case, "achieved_fpir", &achieved, 1e-12);
        let at = case.numbers("at").unwrap()[0] as f32;
        let just_closer = if metric.is_similarity() { at + 1e-6 } else { at - 1e-6 };
        assert_equal(&case, "fpir_at", &[scores.fpir(just_closer).unwrap()], 1e-12);
        let tpir: Vec<f64> = ranks.iter().map(|&rank| scores.tpir(just_closer, rank).unwrap()).collect();
        assert_equal(&case, "tpir_at", &tpir, 1e-12);

        // The report says the same, and a shorter candidate list, too.
        let options = RecognitionOptions { templates, fpirs, ranks: ranks.clone(), cmc: 3, curve_points: 5 };
        let report = recognition_with(metric, x, std::slice::from_ref(&drawn), &options).unwrap();
        let tpir: Vec<f64> = report.tpir_at_fpir.iter().map(|p| p.tpir.mean).collect();
        assert_equal(&case, "tpir", &tpir, 1e-12);
        let cmc: Vec<f64> = report.cmc.iter().map(|p| p.rate.mean).collect();
        assert_eq!(cmc, scores.cmc().unwrap()[..3]);
        assert_eq!((report.identities, report.draws, report.tpir_at_fpir[0].tpir.ci95), (k as f64, 1, None));
        let read: Recognition = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!((read.to_string(), read.curve.len()), (report.to_string(), report.curve.len()));
    }
}

fn mated(rank: usize, score: f32) -> MatedProbe {
    MatedProbe { rank: Some(rank), score }
}

#[test]
fn ties_at_the_threshold_pass_together() {
    // Similarities. Non-mated 9 7 7 3, so FPIR is 1/4 above 7, 3/4 from 7 on.
    let probes = [mated(1, 8.0), mated(1, 7.0), mated(2, 7.5), mated(1, 2.0), MatedProbe { rank: None, score: 99.0 }];
    let scores = ProbeScores::from_scores(true, &probes, &[7.0, 9.0, 3.0, 7.0], 2).unwrap();
    assert_eq!((scores.fpir(7.0).unwrap(), scores.fpir(7.1).unwrap()), (0.75, 0.25));
    assert_eq!((scores.tpir(7.0, 1).unwrap(), scores.tpir(7.0, 2).unwrap()), (0.4, 0.6));
    // Two of four may pass, but 7 passes twice: the threshold is just above it.
    let point = scores.tpir_at_fpir(0.5, 2).unwrap();
    assert_eq!((point.fpir, point.tpir, point.threshold), (0.25, 0.4, 7f32.next_up()));
    assert_eq!(scores.tpir_at_fpir(0.0, 2).unwrap().tpir, 0.0);
    assert_eq!(scores.tpir_at_fpir(0.75, 1).unwrap().tpir, 0.4);
    assert_eq!(scores.cmc().unwrap(), [0.6, 0.8]);
    // The same as distances.
    let turned = probes.map(|p| MatedProbe { score: -p.score, ..p });
    let scores = ProbeScores::from_scores(false, &turned, &[-7.0, -9.0, -3.0, -7.0], 2).unwrap();
    let distance = scores.tpir_at_fpir(0.5, 2).unwrap();
    assert_eq!((distance.fpir, distance.tpir, distance.threshold), (0.25, 0.4, -7f32.next_up()));
    // The whole curve: FPIR cannot be 1/2.
    let curve = scores.curve(1, 100).unwrap();
    assert_eq!(curve.iter().map(|p| (p.fpir, p.tpir)).collect::<Vec<_>>(), [(0.0, 0.0), (0.25, 0.2), (0.75, 0.4)]);
    let many = ProbeScores::from_scores(true, &[mated(1, 1.0)], &[0.5; 40], 1).unwrap();
    assert_eq!([0.2, 0.25].map(|fpir| many.too_few_non_mated(fpir)), [true, false]);
}

#[test]
fn strangers_only_and_nobody_else() {
    let points = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
    let x = Matrix::new(&points, 6, 1).unwrap();
    let labels = [0, 0, 1, 1, 2, 2];
    // All strangers: FPIR can be measured, TPIR cannot.
    let strangers = Enrolment::from_lists(&labels, &[0, 1], &[2, 3, 4, 5]).unwrap();
    let scores = ProbeScores::measure(E, x, &strangers, Templates::PerImage, 1).unwrap();
    assert_eq!((scores.mated(), scores.non_mated(), scores.fpir(10.0).unwrap()), (0, 4, 0.5));
    assert!(scores.tpir(1.0, 1).unwrap_err().to_string().contains("no probe is of an enrolled identity"));
    assert!(scores.cmc().is_err());
    let options = RecognitionOptions::default();
    assert!(recognition_with(E, x, &[strangers], &options).unwrap_err().to_string().contains("no probe"));
    // No strangers: closed set.
    let closed = EnrolmentProtocol { shots: 1, enrolled: 3, strangers: None, draws: 2, seed: 0 };
    let message = recognition(E, x, &labels, &closed, &options).unwrap_err().to_string();
    assert!(message.contains("ask for no FPIR"), "{message}");
    let report = recognition(E, x, &labels, &closed, &RecognitionOptions { fpirs: vec![], ..options }).unwrap();
    assert_eq!((report.cmc[0].rate.mean, report.cmc.len(), report.non_mated), (1.0, 3, 0.0));
    assert!(report.curve.is_empty() && report.warnings().is_empty());
}

#[test]
fn shots_beyond_a_class_enrol_all_of_it() {
    let points: Vec<f32> = [0.0, 1.0, 10.0, 11.0, 12.0, 20.0, 21.0, 30.0].to_vec();
    let labels = [0, 0, 1, 1, 1, 2, 2, 3];
    let x = Matrix::new(&points, 8, 1).unwrap();
    let protocol = EnrolmentProtocol { shots: 2, enrolled: 4, strangers: Some(0), draws: 1, seed: 3 };
    let drawn = protocol.draw(&labels, 0).unwrap();
    let mut sizes: Vec<usize> = drawn.identities().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!((sizes, drawn.mated().len(), drawn.non_mated().len()), (vec![1, 2, 2, 2], 1, 0));
    let options = RecognitionOptions { fpirs: vec![], ..RecognitionOptions::default() };
    let report = recognition(E, x, &labels, &protocol, &options).unwrap();
    assert_eq!((report.without_probes, report.enrolled_images, report.mated), (3.0, 7.0, 1.0));
    let all = EnrolmentProtocol { shots: 3, ..protocol };
    assert!(recognition(E, x, &labels, &all, &options).unwrap_err().to_string().contains("lower shots"));
}

#[test]
fn templates_by_hand() {
    // Identity 0 enrols 0, 1 and 8: its mean is 3, its medoid 1. Identity 1 enrols 5. The probe of 0 stands at 4.
    let points = [0.0, 1.0, 8.0, 5.0, 4.0];
    let (x, labels) = (Matrix::new(&points, 5, 1).unwrap(), [0, 0, 0, 1, 0]);
    let drawn = Enrolment::from_lists(&labels, &[0, 1, 2, 3], &[4]).unwrap();
    let rank = |templates| {
        let scores = ProbeScores::measure(E, x, &drawn, templates, 2).unwrap();
        let rank = if scores.cmc().unwrap()[0] == 1.0 { 1 } else { 2 };
        let reach = |t: f32| scores.tpir(t, 2).unwrap() == 1.0;
        (rank, [1.0, 3.0].map(reach))
    };
    // Mean: distance 1, a tie with identity 1, which was enrolled later.
    assert_eq!(rank(Templates::Mean), (1, [true, true]));
    assert_eq!(rank(Templates::Medoid), (2, [false, true]));
    assert_eq!(rank(Templates::PerImage), (2, [false, true]));
    // Cosine: long vectors do not outweigh short ones.
    let points = [100.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let drawn = Enrolment::from_lists(&[0, 0, 0], &[0, 1], &[2]).unwrap();
    let scores =
        ProbeScores::measure(Metric::Cosine, Matrix::new(&points, 3, 2).unwrap(), &drawn, Templates::Mean, 1).unwrap();
    assert_eq!(scores.tpir(1.0 - 1e-6, 1).unwrap(), 1.0);
}

#[test]
fn open_set_gives_the_numbers_it_gave() {
    let ((v, lv), (t, lt)) = (blobs(20, 6, 8, 1), blobs(24, 7, 8, 2));
    let (v, t) = (Matrix::new(&v, lv.len(), 8).unwrap(), Matrix::new(&t, lt.len(), 8).unwrap());
    let measure = |metric, shots, fpir| {
        let protocol = OpenSetProtocol { shots, enrolled: 9, fpir, draws: 7, seed: 5 };
        let found = open_set(metric, &protocol, (v, &lv), (t, &lt)).unwrap();
        assert_eq!((found.gallery, found.non_mated, found.draws), (9, 91.28571428571429, 7));
        [found.tpir, found.calibrated_tpir, found.achieved_fpir, found.threshold]
    };
    // By the code before `identification` became a folder.
    let before = [
        (Metric::Cosine, 1, 0.01, [0.03617067686835129, 0.03565555891137287, 0.015838509316770187, 0.8711005875042507]),
        (Metric::Cosine, 3, 0.1, [0.2668050468050468, 0.23321123321123322, 0.12215245072387927, 0.8164460148130145]),
        (E, 1, 0.01, [0.006644518272425249, 0.023255813953488375, 0.024982746721877152, 0.5504722339766366]),
        (E, 3, 0.1, [0.16655270655270654, 0.18327228327228326, 0.1221001221001221, 0.6310716101101467]),
    ];
    for (metric, shots, fpir, want) in before {
        let got = measure(metric, shots, fpir);
        compare(&got, &want, &[4], Tolerance::elementwise(1e-7, 1e-7)).unwrap();
    }
    // And what the general protocol says of the same draws.
    let protocol = EnrolmentProtocol { shots: 3, enrolled: 9, strangers: None, draws: 7, seed: 5 };
    let options = RecognitionOptions { fpirs: vec![0.1], ..RecognitionOptions::default() };
    let report = recognition(E, t, &lt, &protocol, &options).unwrap();
    assert!((report.dir_at_far(0.1).unwrap().tpir.mean - 0.16655270655270654).abs() < 1e-12);
    assert!(report.dir_at_far(0.2).is_none());
    // (91 probes of strangers) · 0.1 < 10.
    assert!(report.warnings()[0].contains("FPIR 0.1 wants 100 non-mated probes"));
    let text = report.to_string();
    assert!(text.contains("K = 9 identities") && text.contains("7 draws") && text.contains("training seeds"), "{text}");
}

#[test]
fn same_seed_same_numbers_for_any_threads() {
    let (x, labels) = blobs(15, 7, 6, 4);
    let x = Matrix::new(&x, labels.len(), 6).unwrap();
    let protocol = EnrolmentProtocol { shots: 2, enrolled: 6, strangers: Some(5), draws: 4, seed: 9 };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| recognition(Metric::Cosine, x, &labels, &protocol, &RecognitionOptions::default()).unwrap())
    };
    let report = on(1);
    assert_eq!(report, on(3));
    assert!(report.tpir_at_fpir[0].tpir.std > 0.0 && report.tpir_at_fpir[0].tpir.ci95.is_some());
    let other = EnrolmentProtocol { seed: 10, ..protocol.clone() };
    assert_ne!(report, recognition(Metric::Cosine, x, &labels, &other, &RecognitionOptions::default()).unwrap());
    // Every draw deals the classes anew, and nobody is a stranger to himself.
    let drawn: Vec<Enrolment> = (0..4).map(|i| protocol.draw(&labels, i).unwrap()).collect();
    assert!(drawn[0] != drawn[1]);
    for one in &drawn {
        let enrolled: Vec<u32> = one.identities().iter().map(|rows| labels[rows[0]]).collect();
        assert!(one.non_mated().iter().all(|&row| !enrolled.contains(&labels[row])));
        assert!(one.mated().iter().all(|&(row, place)| labels[row] == enrolled[place as usize]));
    }
}

#[test]
fn bad_input_is_named() {
    let x = Matrix::new(&[0.0, 1.0, 2.0, 3.0], 4, 1).unwrap();
    let labels = [0, 0, 1, 1];
    let lists =
        |gallery: &[usize], probes: &[usize]| Enrolment::from_lists(&labels, gallery, probes).unwrap_err().to_string();
    assert!(lists(&[], &[1]).contains("0 gallery rows"));
    assert!(lists(&[0], &[4]).contains("row 4 is named but there are 4 rows"));
    assert!(lists(&[0], &[0]).contains("row 0 is named twice"));
    let scores = |mated: &[MatedProbe], others: &[f32], length| {
        ProbeScores::from_scores(true, mated, others, length).unwrap_err().to_string()
    };
    assert!(scores(&[], &[f32::NAN], 1).contains("a score is NaN"));
    assert!(scores(&[mated(3, 1.0)], &[], 2).contains("rank 3: want 1 to 2"));
    assert!(scores(&[], &[], 0).contains("length 0"));
    let good = ProbeScores::from_scores(true, &[mated(1, 1.0)], &[0.5], 2).unwrap();
    for fpir in [-0.1, 1.0, f64::NAN] {
        assert!(good.threshold(fpir).unwrap_err().to_string().contains("want 0 or more and less than 1"));
    }
    assert!(good.tpir(0.0, 3).unwrap_err().to_string().contains("rank 3"));
    let protocol = EnrolmentProtocol { shots: 1, enrolled: 2, strangers: Some(1), draws: 1, seed: 0 };
    assert!(protocol.draw(&labels, 0).unwrap_err().to_string().contains("of 2 classes"));
    let huge = EnrolmentProtocol { enrolled: usize::MAX, strangers: Some(usize::MAX), ..protocol.clone() };
    assert!(huge.draw(&labels, 0).is_err());
    let none = EnrolmentProtocol { enrolled: 1, draws: 0, ..protocol };
    let options = RecognitionOptions::default();
    assert!(recognition(E, x, &labels, &none, &options).unwrap_err().to_string().contains("no draws"));
    // A list for another, larger set, and one that somebody wrote by hand.
    let other = Enrolment::from_lists(&[0; 9], &[7], &[8]).unwrap();
    assert!(ProbeScores::measure(E, x, &other, Templates::Mean, 1).unwrap_err().to_string().contains("4 embeddings"));
    let empty: Enrolment = serde_json::from_str(r#"{"identities": [[]], "mated": [[0, 0]], "non_mated": []}"#).unwrap();
    assert!(
        ProbeScores::measure(E, x, &empty, Templates::Medoid, 1).unwrap_err().to_string().contains("without images")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn rates_are_shares_and_rise_together(
        mates in prop::collection::vec((1usize..6, -20i8..20), 1..40),
        others in prop::collection::vec(-20i8..20, 1..40),
        fpirs in prop::collection::vec(0.0..1.0f64, 6),
    ) {
        // Rank 5 of 4 is not on the list.
        let probe = |&(rank, score): &(usize, i8)| MatedProbe { rank: Some(rank).filter(|&r| r < 5), score: f32::from(score) };
        let probes: Vec<MatedProbe> = mates.iter().map(probe).collect();
        let strangers: Vec<f32> = others.iter().map(|&s| f32::from(s)).collect();
        let scores = ProbeScores::from_scores(true, &probes, &strangers, 4).unwrap();
        let mut fpirs = fpirs;
        fpirs.sort_by(f64::total_cmp);
        let mut before = [0.0; 4];
        for fpir in fpirs {
            let points: Vec<OpenSetPoint> = (1..5).map(|rank| scores.tpir_at_fpir(fpir, rank).unwrap()).collect();
            let t = points[0].threshold;
            prop_assert!(points[0].fpir <= fpir);
            // The loosest: the next score below it would break the rate.
            let broken = strangers.iter().filter(|&&s| s >= t.next_down()).count() as f64 / strangers.len() as f64;
            prop_assert!(broken > fpir);
            for (rank, point) in points.iter().enumerate() {
                let count = probes.iter().filter(|p| p.rank.is_some_and(|r| r <= rank + 1) && p.score >= t).count();
                prop_assert_eq!(point.tpir, count as f64 / probes.len() as f64);
                prop_assert!(point.tpir >= before[rank] && (rank == 0 || point.tpir >= points[rank - 1].tpir));
                before[rank] = point.tpir;
            }
        }
        let cmc = scores.cmc().unwrap();
        prop_assert!(cmc.windows(2).all(|w| w[0] <= w[1]) && cmc[3] <= 1.0);
        let curve = scores.curve(2, 9).unwrap();
        prop_assert!(curve.len() <= 9 && curve[0].fpir == 0.0);
        prop_assert!(curve.windows(2).all(|w| w[0].fpir < w[1].fpir && w[0].tpir <= w[1].tpir));

        // A rising map of the scores changes no rate.
        let map = |s: f32| (s / 7.0).exp();
        let mapped: Vec<MatedProbe> = probes.iter().map(|p| MatedProbe { score: map(p.score), ..*p }).collect();
        let others: Vec<f32> = strangers.iter().map(|&s| map(s)).collect();
        let after = ProbeScores::from_scores(true, &mapped, &others, 4).unwrap();
        for (a, b) in after.curve(2, 9).unwrap().iter().zip(&curve) {
            prop_assert_eq!((a.fpir, a.tpir), (b.fpir, b.tpir));
        }
    }
}
