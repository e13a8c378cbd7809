//! Calibration against scikit-learn and plain numpy; tables by hand; what must hold of any scores; bad input.

use dml_core::{Matrix, Metric};
use dml_eval::calibration::*;
use dml_eval::identification::{EnrolmentProtocol, Templates};
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use proptest::prelude::*;
use std::path::Path;

const E: Metric = Metric::Euclidean;

fn goldens(kind: &str, count: usize) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/calibration.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|c| c.name.starts_with(kind)).collect();
    assert_eq!(cases.len(), count);
    cases
}

#[track_caller]
fn assert_equal(case: &Case, name: &str, got: &[f64], tolerance: f64) {
    let want = case.numbers(name).unwrap();
    if let Err(difference) = compare(got, &want, &[want.len()], Tolerance::elementwise(tolerance, tolerance)) {
        panic!("{} {name}: {difference}", case.name);
    }
}

fn outcomes(case: &Case) -> Vec<bool> {
    case.labels("outcomes").unwrap().into_iter().map(|o| o == 1).collect()
}

#[test]
fn platt_isotonic_and_cllr_equal_scikit_learn_and_numpy() {
    for case in goldens("scores_", 7) {
        let (scores, outcomes) = (case.numbers("scores").unwrap(), outcomes(&case));
        let platt = Platt::fit(&scores, &outcomes).unwrap();
        let on_scores = |a: f64, b: f64| scores.iter().map(|s| 1.0 / (1.0 + (a * s + b).exp())).collect::<Vec<f64>>();
        let got: Vec<f64> = scores.iter().map(|&s| platt.probability(s)).collect();
        // As probabilities, since slope and intercept make up for each other far from 0; sklearn's own search ends
        // early.
        for (name, tolerance) in [("platt", 1e-9), ("platt_sklearn", 2e-4)] {
            let want = case.numbers(name).unwrap();
            let want = on_scores(want[0], want[1]);
            compare(&got, &want, &[want.len()], Tolerance::elementwise(tolerance, 0.0))
                .unwrap_or_else(|d| panic!("{}: {d}", case.name));
        }
        if case.has("platt_unsmoothed") {
            let plain = Platt::fit_unsmoothed(&scores, &outcomes).unwrap();
            assert_equal(&case, "platt_unsmoothed", &[plain.slope, plain.intercept], 1e-7);
        } else {
            assert!(Platt::fit_unsmoothed(&scores, &outcomes).unwrap_err().to_string().contains("parts the two kinds"));
        }
        let isotonic = Isotonic::fit(&scores, &outcomes).unwrap();
        let fitted: Vec<f64> = case.numbers("asked").unwrap().iter().map(|&s| isotonic.probability(s)).collect();
        assert_equal(&case, "isotonic", &fitted, 1e-12);
        let largest = scores.iter().fold(0.0, |m: f64, s| m.max(s.abs()));
        let ratios: Vec<f64> = scores.iter().map(|s| s / (1.0 + largest)).collect();
        assert_equal(&case, "cllr", &[cllr(&ratios, &outcomes).unwrap()], 1e-12);
        assert_equal(&case, "min_cllr", &[min_cllr(&scores, &outcomes).unwrap()], 1e-9);
        // Both survive a file, but for the last digit, which serde_json may lose.
        let platt: Platt = serde_json::from_str(&serde_json::to_string(&platt).unwrap()).unwrap();
        let read: Isotonic = serde_json::from_str(&serde_json::to_string(&isotonic).unwrap()).unwrap();
        let again: Vec<f64> = scores.iter().map(|&s| platt.probability(s)).collect();
        compare(&again, &got, &[got.len()], Tolerance::elementwise(1e-12, 1e-12)).unwrap();
        let again: Vec<f64> = read.knots().iter().flat_map(|&(x, y)| [x, y]).collect();
        let knots: Vec<f64> = isotonic.knots().iter().flat_map(|&(x, y)| [x, y]).collect();
        compare(&again, &knots, &[knots.len()], Tolerance::elementwise(1e-12, 1e-12)).unwrap();
    }
}

#[test]
fn reliability_equals_scikit_learn_and_numpy() {
    for case in goldens("probabilities_", 2) {
        let (probabilities, outcomes) = (case.numbers("probabilities").unwrap(), outcomes(&case));
        let bins: Vec<usize> = serde_json::from_value(case.description["bins"].clone()).unwrap();
        for (strategy, of) in
            [("uniform", Binning::EqualWidth as fn(usize) -> Binning), ("quantile", Binning::EqualMass)]
        {
            for &count in &bins {
                let found = reliability(&probabilities, &outcomes, of(count)).unwrap();
                let name = |what: &str| format!("{strategy}_{count}/{what}");
                let column = |of: fn(&ReliabilityBin) -> f64| found.bins.iter().map(of).collect::<Vec<f64>>();
                assert_equal(&case, &name("share"), &column(|bin| bin.share), 1e-12);
                assert_equal(&case, &name("mean"), &column(|bin| bin.probability), 1e-12);
                assert_equal(&case, &name("ece"), &[found.ece], 1e-12);
                assert_equal(&case, &name("mce"), &[found.mce], 1e-12);
                assert_equal(&case, "brier", &[found.brier], 1e-12);
                assert_equal(&case, "log_loss", &[found.log_loss], 1e-12);
                assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), probabilities.len());
            }
        }
    }
}

#[test]
fn thresholds_opis_and_class_rates_equal_numpy() {
    for case in goldens("set_", 3) {
        let metric: Metric = case.description["metric"].as_str().unwrap().parse().unwrap();
        let tensor = case.tensor("embeddings").unwrap();
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let x = Matrix::new(&values, tensor.dims()[0], tensor.dims()[1]).unwrap();
        let labels = case.labels("labels").unwrap();
        let targets: Vec<f64> = serde_json::from_value(case.description["targets"].clone()).unwrap();
        let found: Vec<CalibratedThreshold> =
            targets.iter().map(|&t| CalibratedThreshold::for_fmr(metric, x, &labels, t).unwrap()).collect();
        assert_equal(&case, "fmr", &found.iter().map(|t| t.achieved).collect::<Vec<_>>(), 1e-12);
        assert_equal(&case, "passed", &found.iter().map(|t| t.false_positives as f64).collect::<Vec<_>>(), 0.0);
        let pairs = PairOutcomes::of_set(metric, x, &labels).unwrap();
        let sign = if metric.is_similarity() { 1.0 } else { -1.0 };
        let impostors: Vec<f32> = pairs
            .closeness
            .iter()
            .zip(&pairs.same)
            .filter(|(_, same)| !**same)
            .map(|(s, _)| (sign * s) as f32)
            .collect();
        for threshold in &found {
            // From a list of scores, and asked again over the same pairs.
            let rate = ErrorRate::Fmr;
            let listed =
                CalibratedThreshold::of_scores(rate, metric.is_similarity(), &impostors, threshold.target).unwrap();
            assert_eq!((listed.false_positives, listed.trials), (threshold.false_positives, threshold.trials));
            let again = threshold.achieved_fmr(metric, x, &labels).unwrap();
            assert_eq!((again.achieved, again.trials), (threshold.achieved, threshold.trials));
            assert!(again.achieved <= threshold.target);
            assert_eq!(threshold.warning().is_some(), threshold.trials as f64 * threshold.target < 10.0);
        }
        let ends = case.numbers("ends").unwrap();
        let options = OpisOptions {
            range: CalibrationRange::Thresholds(ends[1], ends[0]),
            points: case.description["points"].as_u64().unwrap() as usize,
            c: case.description["c"].as_f64().unwrap(),
        };
        let score = opis(metric, x, &labels, &options).unwrap();
        assert_equal(&case, "opis", &[score.opis], 1e-10);
        assert_equal(&case, "utility", &[score.utility], 1e-10);
        let rates = class_rates(metric, x, &labels, case.numbers("at").unwrap()[0]).unwrap();
        assert_equal(&case, "class_fnmr", &rates.classes.iter().map(|c| c.fnmr).collect::<Vec<_>>(), 1e-12);
        assert_equal(&case, "class_fmr", &rates.classes.iter().map(|c| c.fmr).collect::<Vec<_>>(), 1e-12);
        assert_eq!((score.classes, score.lone_classes, rates.lone_classes), (7, 2, 2));
        // The default range lies between two false match rates.
        let default = opis(metric, x, &labels, &OpisOptions::default()).unwrap();
        assert!(default.opis > 0.0 && sign * default.thresholds.0 >= sign * default.thresholds.1);
        let read: Opis = serde_json::from_str(&serde_json::to_string(&default).unwrap()).unwrap();
        assert!((read.opis - default.opis).abs() < 1e-12 && read.options == default.options);
    }
}

#[test]
fn a_threshold_is_chosen_here_and_tried_there() {
    // Two points 1 apart per class, classes 10 apart: impostors at 9 to 11 and more.
    let line = |step: f32| (0..20).map(|i| (i / 2) as f32 * step + (i % 2) as f32).collect::<Vec<f32>>();
    let labels: Vec<u32> = (0..20).map(|i| i / 2).collect();
    let (held_out, test) = (line(10.0), line(2.0));
    let (held_out, test) = (Matrix::new(&held_out, 20, 1).unwrap(), Matrix::new(&test, 20, 1).unwrap());
    // 180 impostor pairs: 9 at distance 9, 18 at 10.
    let chosen = CalibratedThreshold::for_fmr(E, held_out, &labels, 0.05).unwrap();
    assert_eq!((chosen.false_positives, chosen.trials, chosen.achieved), (9, 180, 0.05));
    // The loosest of all: just short of the next distance.
    assert_eq!(chosen.threshold, 10f32.next_down());
    assert!(chosen.accepts(9.99) && !chosen.accepts(10.0) && chosen.warning().unwrap().contains("wants 200 trials"));
    let strict = CalibratedThreshold::for_fmr(E, held_out, &labels, 0.049).unwrap();
    assert_eq!((strict.false_positives, strict.threshold), (0, 9f32.next_down()));
    // Classes that lie closer: the rate is not kept, and the result says by how much.
    let there = strict.achieved_fmr(E, test, &labels).unwrap();
    assert_eq!((there.target, there.calibration, there.found), (0.049, 0.0, 1.0));
    assert!(there.achieved > 0.5 && there.warnings.len() == 2, "{there:?}");

    let protocol = EnrolmentProtocol { shots: 1, enrolled: 4, strangers: None, draws: 10, seed: 1 };
    let chosen = CalibratedThreshold::for_fpir(E, held_out, &labels, &protocol, Templates::PerImage, 0.1).unwrap();
    assert_eq!((chosen.trials, chosen.gallery), (120, Some(4)));
    assert!(chosen.achieved <= 0.1);
    let same = chosen.achieved_fpir(E, held_out, &labels, &protocol, Templates::PerImage).unwrap();
    assert_eq!((same.achieved, same.found, same.genuine, same.warnings.len()), (chosen.achieved, 1.0, 40, 0));
    let larger = EnrolmentProtocol { enrolled: 8, ..protocol.clone() };
    let there = chosen.achieved_fpir(E, test, &labels, &larger, Templates::PerImage).unwrap();
    assert!(there.achieved > 0.5 && there.warnings.iter().any(|w| w.contains("chosen for 4 identities but 8")));
    let json = serde_json::to_string(&chosen).unwrap();
    assert_eq!(serde_json::from_str::<CalibratedThreshold>(&json).unwrap(), chosen);

    let wrong = chosen.achieved_fmr(E, test, &labels).unwrap_err().to_string();
    assert!(wrong.contains("keeps Fpir"), "{wrong}");
    assert!(chosen.achieved_fpir(Metric::Cosine, test, &labels, &protocol, Templates::Mean).is_err());
}

#[test]
fn one_threshold_for_two_kinds_of_classes() {
    // Class 0 lies within 1, class 1 within 4; they are 20 apart. At 2, class 1 is not recognised at all.
    let points = [0.0, 1.0, 21.0, 25.0];
    let (x, labels) = (Matrix::new(&points, 4, 1).unwrap(), [0, 0, 1, 1]);
    let rates = class_rates(E, x, &labels, 2.0).unwrap();
    assert_eq!(rates.classes.iter().map(|c| (c.fnmr, c.fmr)).collect::<Vec<_>>(), [(0.0, 0.0), (1.0, 0.0)]);
    assert_eq!((rates.fnmr.mean, rates.fnmr.quantile(1.0), rates.fmr.std), (0.5, Some(1.0), 0.0));
    // Utilities are 1 and 0 up to 4, 1 and 1 after: variance ¼ over three of four steps, with half steps at the ends.
    let range = CalibrationRange::Thresholds(1.0, 5.0);
    let found = opis(E, x, &labels, &OpisOptions { range, points: 5, c: 1.0 }).unwrap();
    assert!((found.opis - 0.25 * 2.5 / 4.0).abs() < 1e-12, "{found:?}");
    let alike = opis(E, x, &labels, &OpisOptions { range: CalibrationRange::Thresholds(5.0, 9.0), points: 2, c: 1.0 });
    assert_eq!((alike.as_ref().unwrap().opis, alike.unwrap().utility), (0.0, 1.0));
}

#[test]
fn the_same_for_any_threads() {
    let values: Vec<f32> = (0..700 * 3).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
    let labels: Vec<u32> = (0..700).map(|i| i % 40).collect();
    let x = Matrix::new(&values, 700, 3).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let threshold = CalibratedThreshold::for_fmr(E, x, &labels, 0.003).unwrap();
            let opis = opis(E, x, &labels, &OpisOptions { points: 11, ..OpisOptions::default() }).unwrap();
            (threshold, opis)
        })
    };
    let (threshold, consistency) = on(1);
    assert_eq!((threshold.clone(), consistency), on(3));
    // Several blocks of pairs, counted one by one.
    let pairs = PairOutcomes::of_set(E, x, &labels).unwrap();
    let impostors: Vec<f64> = pairs.closeness.iter().zip(&pairs.same).filter(|(_, s)| !**s).map(|(c, _)| -c).collect();
    assert_eq!(threshold.trials, impostors.len() as u64);
    let passing = impostors.iter().filter(|&&d| d <= f64::from(threshold.threshold)).count();
    // Another kernel, which may round otherwise just at the threshold.
    assert!(threshold.achieved <= 0.003 && passing.abs_diff(threshold.false_positives as usize) <= 3);
}

#[test]
fn constants_and_extremes() {
    // Scores that are all equal say the share, smoothed.
    let platt = Platt::fit(&[7.0; 4], &[true, true, true, false]).unwrap();
    assert!((platt.probability(-3.0) - (3.0 * 0.8 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
    assert_eq!(Isotonic::fit(&[7.0; 4], &[true, true, true, false]).unwrap().knots(), [(7.0, 0.75)]);
    assert_eq!(min_cllr(&[7.0; 4], &[true, true, true, false]).unwrap(), 1.0);
    assert_eq!(cllr(&[0.0; 2], &[true, false]).unwrap(), 1.0);
    assert_eq!(min_cllr(&[1.0, 2.0], &[false, true]).unwrap(), 0.0);
    // Huge and far scores stay finite.
    let scores = [1e300, 2e300, 3e300, 4e300];
    let platt = Platt::fit(&scores, &[false, true, false, true]).unwrap();
    assert!(scores.iter().all(|&s| (0.0..=1.0).contains(&platt.probability(s))) && platt.slope < 0.0);
    // A ratio is the log-odds without the prior: of a flat fit none is left but the smoothing.
    let flat = Platt::fit_unsmoothed(&[1.0; 4], &[true, true, true, false]).unwrap();
    assert!(flat.log_likelihood_ratio(1.0).abs() < 1e-12);
    assert!((log_likelihood_ratio(0.75, 0.75).unwrap()).abs() < 1e-12);
    assert!(log_likelihood_ratio(0.5, 1.0).is_err() && log_likelihood_ratio(1.5, 0.5).is_err());
    let perfect = reliability(&[0.0, 1.0, 1.0], &[false, true, true], Binning::default()).unwrap();
    assert_eq!((perfect.ece, perfect.mce, perfect.brier, perfect.bins.len()), (0.0, 0.0, 0.0, 2));
    assert!(perfect.log_loss < 1e-15);
}

#[test]
fn bad_input_is_named() {
    let both = [true, false];
    for message in [
        Platt::fit(&[1.0, 2.0], &[true, true]).unwrap_err().to_string(),
        Isotonic::fit(&[1.0, 2.0], &[true, true]).unwrap_err().to_string(),
        reliability(&[0.5, 0.5], &[true, true], Binning::default()).unwrap_err().to_string(),
        cllr(&[1.0, 2.0], &[true, true]).unwrap_err().to_string(),
        min_cllr(&[1.0, 2.0], &[true, true]).unwrap_err().to_string(),
    ] {
        assert!(message.contains("both kinds are wanted"), "{message}");
    }
    assert!(Platt::fit(&[1.0, f64::NAN], &both).unwrap_err().to_string().contains("value 1 is NaN"));
    assert!(Isotonic::fit(&[f64::INFINITY, 0.0], &both).unwrap_err().to_string().contains("value 0 is inf"));
    assert!(cllr(&[1.0], &both).unwrap_err().to_string().contains("1 values but 2 outcomes"));
    assert!(
        reliability(&[1.2, 0.0], &both, Binning::default()).unwrap_err().to_string().contains("probability 0 is 1.2")
    );
    assert!(reliability(&[0.2, 0.0], &both, Binning::EqualMass(0)).unwrap_err().to_string().contains("0 bins"));
    assert!(pool_adjacent_violators(&[1.0], &[0.0]).unwrap_err().to_string().contains("weight 0"));
    assert!(pool_adjacent_violators(&[1.0], &[]).is_err());
    for knots in ["[]", "[[1, 0.5], [0, 0.6]]", "[[0, 0.5], [1, 0.4]]"] {
        assert!(serde_json::from_str::<Isotonic>(&format!(r#"{{"knots": {knots}}}"#)).is_err());
    }
    let x = Matrix::new(&[0.0, 1.0], 2, 1).unwrap();
    let fmr = |labels: &[u32], target| CalibratedThreshold::for_fmr(E, x, labels, target).unwrap_err().to_string();
    assert!(fmr(&[0, 0], 0.1).contains("all labels are equal"));
    assert!(fmr(&[0, 1], 1.0).contains("the target is 1"));
    assert!(fmr(&[0], 0.1).contains("one label per row"));
    assert!(CalibratedThreshold::of_scores(ErrorRate::Fmr, true, &[], 0.1).is_err());
    assert!(CalibratedThreshold::of_scores(ErrorRate::Fmr, true, &[f32::NAN], 0.1).is_err());
    let huge = [3e38, -3e38, 0.0];
    let huge = Matrix::new(&huge, 3, 1).unwrap();
    let message =
        CalibratedThreshold::for_fmr(Metric::SquaredEuclidean, huge, &[0, 1, 2], 0.1).unwrap_err().to_string();
    assert!(message.contains("not finite"), "{message}");
    let options = |points, c| opis(E, x, &[0, 1], &OpisOptions { points, c, ..OpisOptions::default() }).unwrap_err();
    assert!(options(1, 1.0).to_string().contains("1 thresholds"));
    assert!(options(5, 0.0).to_string().contains("c = 0"));
    assert!(options(5, 1.0).to_string().contains("no class with a genuine"));
    assert!(class_rates(E, x, &[0, 0], 1.0).is_err() && class_rates(E, x, &[0, 1], f64::NAN).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pooled_values_rise_once_and_for_all(values in prop::collection::vec((-9i8..9, 1u8..5), 1..40)) {
        let (values, weights): (Vec<f64>, Vec<f64>) = values.iter().map(|&(v, w)| (f64::from(v), f64::from(w))).unzip();
        let pooled = pool_adjacent_violators(&values, &weights).unwrap();
        prop_assert!(pooled.windows(2).all(|w| w[0] <= w[1]));
        prop_assert_eq!(&pool_adjacent_violators(&pooled, &weights).unwrap(), &pooled);
        let sum = |v: &[f64]| v.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>();
        prop_assert!((sum(&pooled) - sum(&values)).abs() < 1e-9);
    }

    #[test]
    fn calibrators_are_monotone_and_blind_to_rising_maps(
        points in prop::collection::vec((-30i8..30, any::<bool>()), 4..60),
    ) {
        let scores: Vec<f64> = points.iter().map(|p| f64::from(p.0)).collect();
        let mut outcomes: Vec<bool> = points.iter().map(|p| p.1).collect();
        (outcomes[0], outcomes[1]) = (true, false);
        let (platt, isotonic) = (Platt::fit(&scores, &outcomes).unwrap(), Isotonic::fit(&scores, &outcomes).unwrap());
        let asked: Vec<f64> = (-100..100).map(|i| f64::from(i) * 0.37).collect();
        let fitted: Vec<f64> = asked.iter().map(|&s| isotonic.probability(s)).collect();
        prop_assert!(fitted.windows(2).all(|w| w[0] <= w[1] + 1e-15) && fitted.iter().all(|p| (0.0..=1.0).contains(p)));
        let sigmoid: Vec<f64> = asked.iter().map(|&s| platt.probability(s)).collect();
        let rises = |w: &[f64]| if platt.slope <= 0.0 { w[0] <= w[1] } else { w[0] >= w[1] };
        let monotone = sigmoid.windows(2).all(rises);
        prop_assert!(monotone);
        // The slope of the likelihood is 0 at its largest value: probabilities sum to the smoothed targets.
        let p = outcomes.iter().filter(|&&o| o).count() as f64;
        let n = outcomes.len() as f64 - p;
        let sum: f64 = scores.iter().map(|&s| platt.probability(s)).sum();
        prop_assert!((sum - p * (p + 1.0) / (p + 2.0) - n / (n + 2.0)).abs() < 1e-6, "{} {}", sum, p);
        // Isotonic probabilities and the least Cllr depend on the order alone.
        let map = |s: f64| (s / 9.0).sinh() + 3.0;
        let mapped: Vec<f64> = scores.iter().map(|&s| map(s)).collect();
        let again = Isotonic::fit(&mapped, &outcomes).unwrap();
        for (&a, &b) in scores.iter().zip(&mapped) {
            prop_assert!((isotonic.probability(a) - again.probability(b)).abs() < 1e-12);
        }
        let least = min_cllr(&scores, &outcomes).unwrap();
        prop_assert!((least - min_cllr(&mapped, &outcomes).unwrap()).abs() < 1e-12);
        let ratios: Vec<f64> = scores.iter().map(|&s| platt.log_likelihood_ratio(s)).collect();
        prop_assert!(platt.slope > 0.0 || least <= cllr(&ratios, &outcomes).unwrap() + 1e-9);
        prop_assert!((0.0..=1.0 + 1e-12).contains(&least));
    }

    #[test]
    fn the_threshold_is_the_loosest(scores in prop::collection::vec(-20i8..20, 1..50), target in 0.0..1.0f64) {
        let scores: Vec<f32> = scores.iter().map(|&s| f32::from(s)).collect();
        for larger in [true, false] {
            let chosen = CalibratedThreshold::of_scores(ErrorRate::Fpir, larger, &scores, target).unwrap();
            let share = |t: f32| {
                scores.iter().filter(|&&s| if larger { s >= t } else { s <= t }).count() as f64 / scores.len() as f64
            };
            prop_assert_eq!(chosen.achieved, share(chosen.threshold));
            prop_assert_eq!(chosen.achieved, scores.iter().filter(|&&s| chosen.accepts(s)).count() as f64 / scores.len() as f64);
            prop_assert!(chosen.achieved <= target);
            let looser = if larger { chosen.threshold.next_down() } else { chosen.threshold.next_up() };
            prop_assert!(share(looser) > target);
        }
    }
}
