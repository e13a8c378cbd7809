//! ROC curves and all pairs, against scikit-learn and scipy, by hand, and against counting.

use dml_core::{Matrix, Metric};
use dml_eval::verification::{
    Curve, DetPoint, Limits, OperatingPoint, Verification, from_scores, probit, verification, verification_with_roc,
};
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use proptest::prelude::*;
use std::path::Path;

const TIGHT: Tolerance = Tolerance::elementwise(1e-12, 1e-12);

fn goldens(prefix: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/verification.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|c| c.name.starts_with(prefix)).collect();
    assert!(!cases.is_empty(), "no case {prefix}");
    cases
}

fn assert_equal(case: &Case, name: &str, got: &[f64], tolerance: Tolerance) {
    let want = case.numbers(name).unwrap();
    if let Err(difference) = compare(got, &want, &[want.len()], tolerance) {
        panic!("{} {name}: {difference}", case.name);
    }
}

fn f32s(case: &Case, name: &str) -> Vec<f32> {
    case.numbers(name).unwrap().into_iter().map(|v| v as f32).collect()
}

fn fars(case: &Case) -> Vec<f64> {
    case.description["fars"].as_array().unwrap().iter().map(|far| far.as_f64().unwrap()).collect()
}

fn metric(case: &Case) -> Metric {
    case.description["metric"].as_str().unwrap().parse().unwrap()
}

#[test]
fn curves_equal_scikit_learn() {
    for case in goldens("curve_") {
        let curve = Curve::of_metric(metric(&case), f32s(&case, "genuine"), f32s(&case, "impostors")).unwrap();
        let roc = curve.roc();
        let of = |value: fn(&OperatingPoint) -> f64| roc.iter().skip(1).map(value).collect::<Vec<f64>>();
        assert_eq!((roc[0].far, roc[0].tar), (0.0, 0.0));
        assert_equal(&case, "far", &of(|p| p.far), TIGHT);
        assert_equal(&case, "tar", &of(|p| p.tar), TIGHT);
        assert_equal(&case, "thresholds", &of(|p| f64::from(p.threshold)), TIGHT);
        assert_equal(&case, "auc", &[curve.auc()], TIGHT);
        assert_equal(&case, "eer", &[curve.equal_error().eer], TIGHT);
        let best = curve.best_accuracy();
        assert_equal(&case, "best_accuracy", &[best.accuracy], TIGHT);
        assert_eq!(best.accuracy, curve.accuracy_at(best.threshold));
        let at: Vec<_> = fars(&case).into_iter().map(|far| curve.tar_at_far(far).unwrap()).collect();
        assert_equal(&case, "tar_at_far", &at.iter().map(|t| t.tar).collect::<Vec<f64>>(), TIGHT);
        for t in at {
            let point = t.point.unwrap();
            assert!(point.far <= t.far && curve.at(point.threshold) == point);
            assert_eq!(curve.fnmr_at_fmr(t.far).unwrap(), 1.0 - t.tar);
        }
        // scikit-learn leaves out ends where nothing changes any more.
        let [fmr, fnmr] = ["fmr", "fnmr"].map(|name| case.numbers(name).unwrap());
        for ((threshold, fmr), fnmr) in f32s(&case, "det_thresholds").into_iter().zip(fmr).zip(fnmr) {
            let point = curve.at(threshold);
            assert!((point.far - fmr).abs() < 1e-12 && (1.0 - point.tar - fnmr).abs() < 1e-12, "{}", case.name);
            let inner = |rate: f64| rate > 0.0 && rate < 1.0;
            assert_eq!(DetPoint::of(&point).is_some(), inner(fmr) && inner(1.0 - point.tar), "{point:?}");
        }
    }
}

#[test]
fn probit_equals_scipy() {
    let case = &goldens("probit")[0];
    let got: Vec<f64> = case.numbers("p").unwrap().into_iter().map(probit).collect();
    assert_equal(case, "quantiles", &got, Tolerance::elementwise(1e-15, 4e-15));
    assert_eq!((probit(0.0), probit(1.0), probit(0.5)), (f64::NEG_INFINITY, f64::INFINITY, 0.0));
    assert!(probit(-0.1).is_nan() && probit(1.1).is_nan() && probit(f64::NAN).is_nan());
}

#[test]
fn ties_by_hand() {
    // Closeness:       3    2      1    0
    // genuine          1    2      0    1
    // impostors        0    1      2    1
    let curve = Curve::new(vec![0.0, 2.0, 3.0, 2.0], vec![1.0, 0.0, 2.0, 1.0]).unwrap();
    let roc: Vec<(f32, f64, f64, u64)> =
        curve.roc().iter().map(|p| (p.threshold, p.far, p.tar, p.false_accepts)).collect();
    assert_eq!(roc[1..], [(3.0, 0.0, 0.25, 0), (2.0, 0.25, 0.75, 1), (1.0, 0.75, 0.75, 3), (0.0, 1.0, 1.0, 4)]);
    // 3 beats 4, each 2 beats 3 and ties one, 0 ties one.
    assert_eq!(curve.auc(), (4.0 + 2.0 * 3.5 + 0.5) / 16.0);
    // FAR = FNMR = 1/4 at threshold 2.
    let equal = curve.equal_error();
    assert_eq!((equal.eer, equal.threshold), (0.25, 2.0));
    // Right at 3: 1 + 4; at 2: 3 + 3; at 1: 3 + 1; at 0: 4.
    let best = curve.best_accuracy();
    assert_eq!((best.accuracy, best.threshold), (0.75, 2.0));
    // FAR < 1/4 wants a threshold above the tie at 2, which takes its genuine pairs away too.
    let at = curve.tar_at_far(0.2499).unwrap();
    let point = at.point.unwrap();
    assert_eq!((at.tar, point.far, point.threshold), (0.25, 0.0, 2.0f32.next_up()));
    assert_eq!(curve.tar_at_far(0.25).unwrap().tar, 0.75);
    assert!(at.too_few_impostors && !at.rule_of_30());
}

#[test]
fn few_impostors_are_told_of() {
    let impostors: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let curve = Curve::of_metric(Metric::Euclidean, vec![0.5, 40.0], impostors).unwrap();
    let warned = |far: f64| {
        let at = curve.tar_at_far(far).unwrap();
        (at.too_few_impostors, at.rule_of_30())
    };
    assert_eq!((warned(0.001), warned(0.01), warned(0.03)), ((true, false), (false, false), (false, true)));
    // Distances: 30 impostors lie at 0..29, and the threshold just before 30.
    assert_eq!(curve.threshold_at_far(0.03).unwrap(), 30f32.next_down());
}

#[test]
fn thin_curves_keep_their_shape() {
    let wave =
        |i: u32, shift: f64| ((f64::from(i) * 0.618_034).fract() + (f64::from(i) * 0.414_21).fract() + shift) as f32;
    let genuine: Vec<f32> = (0..3000).map(|i| wave(i, 0.7)).collect();
    let curve = Curve::new(genuine, (0..20_000).map(|i| wave(i, 0.0)).collect()).unwrap();
    let (whole, thin) = (curve.roc(), curve.roc_thinned(300));
    assert!(whole.len() > 20_000 && thin.len() <= 300 && thin.len() > 150, "{}", thin.len());
    assert_eq!((thin[0], thin[thin.len() - 1]), (whole[0], whole[whole.len() - 1]));
    assert!(thin.iter().all(|point| whole.contains(point)));
    // Each of the closest impostors is there.
    let tail: Vec<u64> = thin.iter().map(|p| p.false_accepts).filter(|&n| n <= 4).collect();
    assert!((0..=4).all(|n| tail.contains(&n)), "{tail:?}");
    let area: f64 = thin.windows(2).map(|w| (w[1].far - w[0].far) * (w[0].tar + w[1].tar) / 2.0).sum();
    assert!((area - curve.auc()).abs() < 1e-3, "{area} {}", curve.auc());
    assert_eq!(curve.roc_thinned(0).len(), 2);
    let det = curve.det(100);
    assert!(det.len() > 50 && det.windows(2).all(|w| w[0].x <= w[1].x && w[0].y >= w[1].y));
}

#[test]
fn bad_scores_are_refused() {
    let refused = |genuine: &[f32], impostors: &[f32], mend: &str| {
        let error = Curve::new(genuine.to_vec(), impostors.to_vec()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    };
    refused(&[], &[1.0], "two classes");
    refused(&[1.0], &[], "two classes");
    refused(&[1.0, f32::NAN], &[1.0], "genuine pair 1 has the score NaN");
    refused(&[1.0], &[f32::INFINITY], "impostor pair 0");
    for far in [-0.1, 1.0, f64::NAN] {
        assert!(from_scores(vec![1.0], &[0.0], &[far]).unwrap_err().to_string().contains("FAR is"));
    }
    // Finite embeddings whose products are not: both ways name the pair.
    let x = [1.0, 1e30, 1.0, 1e30];
    let x = Matrix::new(&x, 4, 1).unwrap();
    for limits in [Limits::default(), Limits { stored_pairs: 0, tail_pairs: 10, ..Limits::default() }] {
        let error = verification_with_roc(Metric::Dot, x, &[0, 0, 1, 1], &[0.1], 2, &limits).unwrap_err().to_string();
        assert!(error.contains("inf"), "{error}");
    }
}

fn streamed(
    metric: Metric,
    x: Matrix<'_>,
    labels: &[u32],
    fars: &[f64],
    tail: usize,
) -> (Verification, Vec<OperatingPoint>) {
    let limits = Limits { stored_pairs: 0, tail_pairs: tail, ..Limits::default() };
    verification_with_roc(metric, x, labels, fars, 500, &limits).unwrap()
}

/// That what was counted in bins agrees with what was stored.
fn assert_bounded(got: &Verification, want: &Verification, tail: usize) {
    let bounds = got.bounds.unwrap();
    let within = |(least, most): (f64, f64), value: f64| least - 1e-12 <= value && value <= most + 1e-12;
    assert!(within(bounds.eer, want.eer) && within(bounds.eer, got.eer), "{bounds:?} {} {}", want.eer, got.eer);
    assert!(within(bounds.auc, want.auc) && within(bounds.auc, got.auc), "{bounds:?} {} {}", want.auc, got.auc);
    assert_eq!((got.genuine, got.impostors), (want.genuine, want.impostors));
    let impostors = want.impostors;
    for (got, want) in got.tar_at_far.iter().zip(&want.tar_at_far) {
        if (got.far * impostors as f64) as usize + 2 <= tail {
            assert_eq!(got, want);
        }
        let most = got.tar_at_most.unwrap_or(got.tar);
        assert!(got.tar <= want.tar && want.tar <= most, "{got:?} {want:?}");
        assert!(got.point.unwrap().far <= got.far && got.point.unwrap().threshold.is_finite());
    }
}

#[test]
fn all_pairs_equal_scikit_learn_stored_or_streamed() {
    let case = &goldens("all_pairs")[0];
    let (values, labels) = (f32s(case, "embeddings"), case.labels("labels").unwrap());
    let x = Matrix::new(&values, labels.len(), values.len() / labels.len()).unwrap();
    let stored = verification(metric(case), x, &labels, &fars(case)).unwrap();
    assert_eq!(stored.bounds, None);
    assert_equal(case, "auc", &[stored.auc], TIGHT);
    assert_equal(case, "eer", &[stored.eer], TIGHT);
    assert_equal(case, "tar_at_far", &stored.tar_at_far.iter().map(|t| t.tar).collect::<Vec<f64>>(), TIGHT);
    for tail in [0, 1, 2000, 1 << 22] {
        let (measured, roc) = streamed(metric(case), x, &labels, &fars(case), tail);
        assert_bounded(&measured, &stored, tail);
        let bounds = measured.bounds.unwrap();
        assert!(bounds.eer.1 - bounds.eer.0 < 2e-3 && bounds.auc.1 - bounds.auc.0 < 2e-4, "{bounds:?}");
        assert!(roc.len() <= 500 && roc.windows(2).all(|w| w[0].far <= w[1].far && w[0].tar <= w[1].tar));
        assert_eq!((roc[0].tar, roc[roc.len() - 1].far, roc[roc.len() - 1].tar), (0.0, 1.0, 1.0));
    }
}

#[test]
fn threads_change_nothing() {
    let values: Vec<f32> = (0..700 * 3).map(|i| ((i * i * 31 + i * 7) % 1009) as f32 * 0.01).collect();
    let labels: Vec<u32> = (0..700).map(|i| i * i % 90).collect();
    let x = Matrix::new(&values, 700, 3).unwrap();
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Snr] {
        let measure = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let fars = [1e-4, 0.01, 0.5];
            let stored = verification(metric, x, &labels, &fars).unwrap();
            pool.install(|| {
                (streamed(metric, x, &labels, &fars, 3000), verification(metric, x, &labels, &fars).unwrap(), stored)
            })
        };
        let one = measure(1);
        assert_eq!(one, measure(3));
        assert_bounded(&one.0.0, &one.1, 3000);
    }
}

#[test]
fn equal_scores_everywhere() {
    let x = Matrix::new(&[1.0; 8], 8, 1).unwrap();
    let labels = [0, 0, 1, 1, 2, 2, 3, 3];
    let stored = verification(Metric::Euclidean, x, &labels, &[0.0, 0.5]).unwrap();
    assert_eq!((stored.eer, stored.auc), (0.5, 0.5));
    assert_bounded(&streamed(Metric::Euclidean, x, &labels, &[0.0, 0.5], 0).0, &stored, 0);
}

#[test]
fn older_files_are_read() {
    let old = r#"{"eer":0.1,"auc":0.9,"tar_at_far":[{"far":0.01,"tar":0.5,"too_few_impostors":true}],"genuine":3,"impostors":9}"#;
    let read: Verification = serde_json::from_str(old).unwrap();
    assert_eq!((read.eer, read.eer_threshold, read.bounds, read.tar_at_far[0].point), (0.1, None, None, None));
    let new = from_scores(vec![1.0, 0.5], &[0.0, 0.7], &[0.0]).unwrap();
    assert_eq!(serde_json::from_str::<Verification>(&serde_json::to_string(&new).unwrap()).unwrap(), new);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn rising_maps_of_scores_change_nothing(
        genuine in prop::collection::vec(-20i16..20, 1..40),
        impostors in prop::collection::vec(-25i16..15, 1..60),
    ) {
        let measure = |map: fn(f32) -> f32| {
            let map = |scores: &[i16]| scores.iter().map(|&s| map(f32::from(s))).collect::<Vec<f32>>();
            let v = from_scores(map(&genuine), &map(&impostors), &[0.0, 0.1, 0.35]).unwrap();
            (v.eer, v.auc, v.tar_at_far.iter().map(|t| (t.tar, t.point.unwrap().false_accepts)).collect::<Vec<_>>())
        };
        let plain = measure(|s| s);
        prop_assert_eq!(&plain, &measure(|s| s * s * s));
        prop_assert_eq!(&plain, &measure(|s| (s * 0.1).exp()));
        // Distances are closeness the other way round.
        let away = |scores: &[i16]| scores.iter().map(|&s| -f32::from(s)).collect::<Vec<f32>>();
        let curve = Curve::of_metric(Metric::Euclidean, away(&genuine), away(&impostors)).unwrap();
        prop_assert_eq!((plain.0, plain.1), (curve.equal_error().eer, curve.auc()));
        prop_assert!((0.0..=1.0).contains(&plain.0) && (0.0..=1.0).contains(&plain.1));
    }

    #[test]
    fn bounds_hold_what_is_exact(values in prop::collection::vec(-40i8..40, 12..60), tail in 0usize..60, similar in any::<bool>()) {
        let x: Vec<f32> = values.iter().map(|&v| f32::from(v) * 0.37).collect();
        let labels: Vec<u32> = (0..x.len() as u32).map(|i| i % 5).collect();
        let metric = if similar { Metric::Dot } else { Metric::SquaredEuclidean };
        let x = Matrix::new(&x, x.len(), 1).unwrap();
        let fars = [0.0, 0.01, 0.07, 0.3, 0.9];
        assert_bounded(&streamed(metric, x, &labels, &fars, tail).0, &verification(metric, x, &labels, &fars).unwrap(), tail);
    }
}
