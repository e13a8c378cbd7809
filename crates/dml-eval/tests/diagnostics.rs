//! Diagnostics of embedding spaces against numpy, scipy, scikit-learn and torch; tables by hand; properties; bad input.

use dml_core::{Exclude, Matrix, Metric, nearest};
use dml_eval::diagnostics::*;
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use proptest::prelude::*;
use std::path::Path;

/// Rows are `f32`; those of length 1 are rounded to it.
const TOLERANCE: Tolerance = Tolerance::elementwise(1e-7, 1e-6);

fn goldens() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/diagnostics.safetensors");
    let cases = load_goldens(&path).unwrap();
    assert_eq!(cases.len(), 5);
    cases
}

#[track_caller]
fn assert_equal(case: &Case, name: &str, got: &[f64]) {
    let want = case.numbers(name).unwrap();
    if let Err(difference) = compare(got, &want, &[want.len()], TOLERANCE) {
        panic!("{} {name}: {difference}", case.name);
    }
}

fn spread(spread: &Spread) -> Vec<f64> {
    [spread.mean, spread.std].into_iter().chain(spread.quantiles.iter().map(|q| q.1)).collect()
}

#[test]
fn diagnostics_equal_their_references() {
    for case in goldens() {
        let metric: Metric = case.description["metric"].as_str().unwrap().parse().unwrap();
        let neighbours = case.description["neighbours"].as_u64().unwrap() as usize;
        let tensor = case.tensor("embeddings").unwrap();
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let x = Matrix::new(&values, tensor.dims()[0], tensor.dims()[1]).unwrap();
        let labels = case.labels("labels").unwrap();
        let options = DiagnosticOptions { neighbours, ..DiagnosticOptions::default() };
        let found = diagnose(metric, x, &labels, &options).unwrap();

        assert_equal(&case, "norms", &spread(&found.norms.spread));
        let d = &found.distances;
        let (intra, inter) = (d.intra.as_ref().unwrap(), d.inter.as_ref().unwrap());
        assert_equal(&case, "intra", &spread(&intra.spread));
        assert_equal(&case, "inter", &spread(&inter.spread));
        assert_equal(&case, "pairs", &[intra.pairs as f64, inter.pairs as f64]);
        assert_equal(&case, "pairs", &[intra.measured as f64, inter.measured as f64]);
        assert_equal(&case, "mean_square", &[d.mean_square_intra.unwrap(), d.mean_square_inter.unwrap()]);
        let of_classes = |f: &dyn Fn(&ClassDistances) -> f64| d.by_class.iter().map(f).collect::<Vec<f64>>();
        assert_equal(&case, "class_mean_square", &of_classes(&|c| c.mean_square.unwrap_or(-1.0)));
        assert_equal(&case, "class_to_centre", &of_classes(&|c| c.to_centre));
        assert_equal(&case, "class_nearest", &of_classes(&|c| f64::from(c.nearest_class.unwrap().0)));
        assert_equal(&case, "class_nearest_distance", &of_classes(&|c| c.nearest_class.unwrap().1));
        let density = d.density.as_ref().unwrap();
        assert_equal(&case, "density", &[density.intra, density.inter, density.ratio.unwrap()]);

        let s = &found.spectrum;
        let numbers = [
            ("rho_spectrum", s.rho_spectrum.unwrap()),
            ("rho_spectrum_reversed", s.rho_spectrum_reversed.unwrap()),
            ("effective_rank", s.effective_rank),
            ("rank_me", s.rank_me),
            ("effective_rank_centred", s.effective_rank_centred),
            ("participation_ratio", s.participation_ratio),
            ("rank", s.collapse.rank as f64),
        ];
        numbers.iter().for_each(|(name, got)| assert_equal(&case, name, &[*got]));
        assert_equal(&case, "singular_values", &s.singular_values);
        assert_equal(&case, "variances", &s.variances);
        assert_equal(&case, "components", &s.pcf.iter().map(|p| p.components as f64).collect::<Vec<f64>>());
        assert!(s.pcf.iter().all(|p| p.fraction == p.components as f64 / s.dimensions as f64));
        assert!(!s.collapse.dimensional && !s.collapse.complete && s.collapse.dead_dimensions == 0);

        let h = &found.hubness;
        assert_eq!((h.k, h.queries, h.gallery), (neighbours, labels.len(), labels.len()));
        let got = [h.skewness, h.largest as f64, h.hubs, h.hub_occurrence, h.antihubs, h.robin_hood];
        assert_equal(&case, "hubness", &got);
        assert_eq!(*h, hubness(metric, x, neighbours).unwrap());

        let sampling = PairSampling::default();
        assert_equal(&case, "alignment", &[found.alignment.as_ref().unwrap().value]);
        assert_equal(&case, "alignment_1", &[alignment(x, &labels, 1.0, &sampling).unwrap().value]);
        assert_equal(&case, "uniformity", &[found.uniformity.value]);
        assert_equal(&case, "uniformity_5", &[uniformity(x, 5.0, 1000, &sampling).unwrap().value]);
        if metric != Metric::Cosine {
            let options = SpectrumOptions { skip: 2, ..SpectrumOptions::default() };
            let without = spectrum(x, &options).unwrap();
            assert_equal(&case, "rho_spectrum_without_2", &[without.rho_spectrum.unwrap()]);
        }
    }
}

/// 300 rows of 4 numbers in 10 classes.
fn rows() -> (Vec<f32>, Vec<u32>) {
    let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5;
    let labels: Vec<u32> = (0..300).map(|i| i % 10).collect();
    (
        labels
            .iter()
            .enumerate()
            .flat_map(|(i, &l)| (0..4).map(move |k| noise(l * 4 + k) + 0.5 * noise(1000 + 4 * i as u32 + k)))
            .collect(),
        labels,
    )
}

#[test]
fn samples_are_near_the_whole_and_say_so() {
    let (values, labels) = rows();
    let x = Matrix::new(&values, 300, 4).unwrap();
    let sampled = DiagnosticOptions {
        pairs: PairSampling { limit: 2000, seed: 5 },
        exact_rows: 100,
        ..DiagnosticOptions::default()
    };
    let whole = diagnose(Metric::Euclidean, x, &labels, &DiagnosticOptions::default()).unwrap();
    let part = diagnose(Metric::Euclidean, x, &labels, &sampled).unwrap();
    let (whole_intra, part_intra) = (whole.distances.intra.unwrap(), part.distances.intra.unwrap());
    assert_eq!((whole_intra.pairs, whole_intra.measured), (4350, 4350));
    assert_eq!((part_intra.pairs, part_intra.measured), (4350, 2000));
    assert_eq!((part.uniformity.pairs, part.uniformity.measured), (44_850, 2000));
    // Four standard errors of a sample of 2000.
    let close = |a: f64, b: f64, std: f64| (a - b).abs() < 4.0 * std / 2000f64.sqrt();
    assert!(close(part_intra.spread.mean, whole_intra.spread.mean, whole_intra.spread.std));
    let (whole_inter, part_inter) = (whole.distances.inter.unwrap(), part.distances.inter.unwrap());
    assert!(close(part_inter.spread.mean, whole_inter.spread.mean, whole_inter.spread.std));
    assert!((part.uniformity.value - whole.uniformity.value).abs() < 0.1);
    // What is exact without pairs is exact still.
    assert_eq!(part.distances.mean_square_inter, whole.distances.mean_square_inter);
    assert_eq!((part.distances.density, part.spectrum), (whole.distances.density, whole.spectrum));
}

#[test]
fn the_same_on_any_number_of_threads_and_through_json() {
    let (values, labels) = rows();
    let options = DiagnosticOptions { pairs: PairSampling { limit: 500, seed: 1 }, ..DiagnosticOptions::default() };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let x = Matrix::new(&values, 300, 4).unwrap();
        pool.install(|| diagnose(Metric::Cosine, x, &labels, &options).unwrap())
    };
    let found = on(1);
    assert_eq!(found, on(3));
    // serde_json reads numbers back to the last digit but one.
    let back: Diagnostics = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!((&back.metric, back.classes, back.hubness.k), (&found.metric, 10, 10));
    assert_eq!((&back.spectrum.collapse, back.distances.by_class.len()), (&found.spectrum.collapse, 10));
    assert!((back.uniformity.value - found.uniformity.value).abs() < 1e-14);
    let partial: DiagnosticOptions = serde_json::from_str(r#"{"neighbours": 3}"#).unwrap();
    assert_eq!(partial, DiagnosticOptions { neighbours: 3, ..DiagnosticOptions::default() });
}

#[test]
fn hubness_by_hand() {
    // A star: all find the middle; the middle finds the first tip (ties by smaller id).
    let star = [0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    let x = Matrix::new(&star, 5, 2).unwrap();
    let found = nearest(Metric::Euclidean, x, x, 1, Exclude::SelfIndex).unwrap();
    assert_eq!(k_occurrences(&found, 5).unwrap(), [4, 1, 0, 0, 0]);
    let h = hubness_of(&found, 5).unwrap();
    assert_eq!((h.largest, h.hubs, h.hub_occurrence, h.antihubs), (4, 0.2, 0.8, 0.6));
    assert!((h.robin_hood - 0.6).abs() < 1e-12);
    // A ring has no hubs.
    let ring: Vec<f32> = (0..12)
        .flat_map(|i| {
            let a = std::f32::consts::TAU * i as f32 / 12.0;
            [a.cos(), a.sin()]
        })
        .collect();
    let h = hubness(Metric::Euclidean, Matrix::new(&ring, 12, 2).unwrap(), 2).unwrap();
    assert_eq!((h.skewness, h.hubs, h.antihubs, h.robin_hood), (0.0, 0.0, 0.0, 0.0));
}

#[test]
fn spectrum_by_hand() {
    // Singular values √18 and √2, without a mean.
    let values = [3.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    let s = spectrum(Matrix::new(&values, 4, 2).unwrap(), &SpectrumOptions { variance: vec![0.9, 0.91, 1.0], skip: 0 })
        .unwrap();
    assert!((s.singular_values[0] - 18f64.sqrt()).abs() < 1e-12 && (s.singular_values[1] - 2f64.sqrt()).abs() < 1e-12);
    let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
    assert!((s.effective_rank - entropy.exp()).abs() < 1e-6);
    assert!((s.rho_spectrum.unwrap() - 0.5 * ((0.5f64 / 0.75).ln() + (0.5f64 / 0.25).ln())).abs() < 1e-6);
    assert!((s.participation_ratio - 100.0 / 82.0).abs() < 1e-6);
    // Variance 9 of 10 in the first: 0.9 is reached by it, and all of it by two, not by three.
    assert_eq!(s.pcf.iter().map(|p| p.components).collect::<Vec<_>>(), [1, 2, 2]);
}

#[test]
fn collapse_shows() {
    // The third column is constant, the second twice the first.
    let line: Vec<f32> = (0..6).flat_map(|i| [i as f32, 2.0 * i as f32, 7.0]).collect();
    let s = spectrum(Matrix::new(&line, 6, 3).unwrap(), &SpectrumOptions::default()).unwrap();
    assert_eq!(s.collapse, Collapse { dead_dimensions: 1, rank: 1, dimensional: true, complete: false });
    assert_eq!(s.rho_spectrum, None);
    assert!(s.rho_spectrum_reversed.unwrap() > 0.0);
    assert!((s.effective_rank_centred - 1.0).abs() < 1e-6 && (s.participation_ratio - 1.0).abs() < 1e-6);

    for value in [0.0, 0.3] {
        let same = [value; 12];
        let x = Matrix::new(&same, 4, 3).unwrap();
        let found = diagnose(Metric::Cosine, x, &[0, 0, 1, 1], &DiagnosticOptions::default()).unwrap();
        let s = &found.spectrum;
        assert_eq!(s.collapse, Collapse { dead_dimensions: 3, rank: 0, dimensional: true, complete: true });
        assert_eq!((s.effective_rank_centred, s.participation_ratio, s.pcf[3].components), (0.0, 0.0, 0));
        assert_eq!((found.norms.repeated_rows, found.near_duplicates.rows), (3, 4));
        assert_eq!(found.norms.zero_rows, if value == 0.0 { 4 } else { 0 });
        assert!(found.uniformity.value.abs() < 1e-6);
        // 1 − cos is 0, by the metric's convention 1 for zeros.
        assert!((found.distances.inter.unwrap().spread.mean - if value == 0.0 { 1.0 } else { 0.0 }).abs() < 1e-12);
        // JSON has no NaN and no infinity, so all that is there must be finite.
        let text = serde_json::to_string(&found.spectrum).unwrap();
        assert_eq!(serde_json::from_str::<Spectrum>(&text).unwrap(), found.spectrum);
    }
}

#[test]
fn one_class_lone_classes_and_few_rows() {
    let values = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
    let x = Matrix::new(&values, 3, 2).unwrap();
    let options = DiagnosticOptions::default();
    let one = diagnose(Metric::Euclidean, x, &[4, 4, 4], &options).unwrap();
    assert_eq!((one.classes, one.lone_classes, one.hubness.k), (1, 0, 2));
    assert!(one.distances.inter.is_none() && one.distances.density.is_none());
    assert_eq!((one.distances.mean_square_inter, one.distances.by_class[0].nearest_class), (None, None));
    let lone = diagnose(Metric::Euclidean, x, &[1, 2, 3], &options).unwrap();
    assert!(lone.distances.intra.is_none() && lone.alignment.is_none() && lone.distances.density.is_none());
    assert_eq!((lone.lone_classes, lone.distances.mean_square_intra), (3, None));
    assert_eq!(lone.distances.by_class[1].mean_square, None);
    let alone = diagnose(Metric::Euclidean, Matrix::new(&values[..2], 1, 2).unwrap(), &[1], &options);
    assert!(alone.unwrap_err().to_string().contains("want 2 or more"));
}

#[test]
fn near_duplicates_by_hand() {
    let values = [1.0, 0.0, 1.0, 0.0005, 0.0, 1.0, 0.0, 1.0, 3.0, 3.0];
    let x = Matrix::new(&values, 5, 2).unwrap();
    let found = nearest(Metric::Euclidean, x, x, 1, Exclude::SelfIndex).unwrap();
    let near = near_duplicates(x, &[0, 1, 2, 2, 2], &found, 1e-3).unwrap();
    assert_eq!((near.rows, near.of_other_classes), (4, 2));
    assert_eq!(near_duplicates(x, &[0; 5], &found, 0.0).unwrap().rows, 2);
    assert_eq!(norms(x).unwrap().repeated_rows, 1);
    assert!(near_duplicates(x, &[0; 5], &found, f64::NAN).is_err());
    assert!(near_duplicates(Matrix::new(&values[..4], 2, 2).unwrap(), &[0; 2], &found, 0.0).is_err());
}

#[test]
fn bad_input_is_refused() {
    let values = [1.0, 0.0, 0.0, f32::NAN];
    let x = Matrix::new(&values, 2, 2).unwrap();
    let (pairs, options) = (PairSampling::default(), DiagnosticOptions::default());
    let says = |error: dml_eval::Error, text: &str| {
        assert!(error.to_string().contains(text), "{error}");
    };
    says(diagnose(Metric::Cosine, x, &[0, 0], &options).unwrap_err(), "embedding 1 holds");
    says(spectrum(x, &SpectrumOptions::default()).unwrap_err(), "embedding 1 holds");
    says(norms(x).unwrap_err(), "embedding 1 holds");
    says(uniformity(x, 2.0, 10, &pairs).unwrap_err(), "embedding 1 holds");
    says(hubness(Metric::Euclidean, x, 1).unwrap_err(), "embedding 1 holds");
    let good = Matrix::new(&values[..3], 3, 1).unwrap();
    says(diagnose(Metric::Cosine, good, &[0], &options).unwrap_err(), "one label per row");
    says(hubness(Metric::Euclidean, good, 3).unwrap_err(), "want k of 1 to 2");
    says(alignment(good, &[0, 1, 2], 2.0, &pairs).unwrap_err(), "no class has two rows");
    says(alignment(good, &[0, 0, 0], -1.0, &pairs).unwrap_err(), "above 0");
    says(uniformity(good, f64::NAN, 10, &pairs).unwrap_err(), "above 0");
    let none = PairSampling { limit: 0, seed: 0 };
    says(distances(Metric::Euclidean, good, &[0, 0, 1], &none).unwrap_err(), "1 or more");
    let share = SpectrumOptions { variance: vec![1.5], skip: 0 };
    says(spectrum(good, &share).unwrap_err(), "1.5 of the variance");
    says(spectrum(good, &SpectrumOptions { skip: 1, ..SpectrumOptions::default() }).unwrap_err(), "lower skip");
    says(spectrum(Matrix::new(&[], 3, 0).unwrap(), &SpectrumOptions::default()).unwrap_err(), "no columns");
    // Outside of the ball there is no hyperbolic distance.
    let far = Matrix::new(&[0.5, 3.0, 0.1], 3, 1).unwrap();
    says(distances(Metric::Hyperbolic(1.0), far, &[0, 0, 1], &pairs).unwrap_err(), "embeddings 0 and 1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn class_sums_equal_sums_over_pairs(values in prop::collection::vec(-3f32..3.0, 36), labels in prop::collection::vec(0u32..4, 12)) {
        let x = Matrix::new(&values, 12, 3).unwrap();
        let found = distances(Metric::SquaredEuclidean, x, &labels, &PairSampling::default()).unwrap();
        for (pairs, sums) in [(found.intra, found.mean_square_intra), (found.inter, found.mean_square_inter)] {
            prop_assert_eq!(pairs.is_some(), sums.is_some());
            if let (Some(pairs), Some(sums)) = (pairs, sums) {
                prop_assert!((pairs.spread.mean - sums).abs() < 1e-9 * (1.0 + sums));
            }
        }
        let spectrum = spectrum(x, &SpectrumOptions::default()).unwrap();
        prop_assert!(spectrum.effective_rank >= 1.0 - 1e-9 && spectrum.effective_rank <= 3.0 + 1e-9);
        prop_assert!(spectrum.participation_ratio >= 1.0 - 1e-9 && spectrum.participation_ratio <= 3.0 + 1e-9);
    }
}
