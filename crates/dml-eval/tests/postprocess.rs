//! Re-ranking, query expansion, PCA and whitening against numpy, scipy and scikit-learn; tables by hand; bad input.

use dml_core::{Exclude, Matrix, Metric, nearest};
use dml_eval::postprocess::*;
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use std::path::Path;

/// Results are `f32`.
const TOLERANCE: Tolerance = Tolerance::elementwise(2e-6, 2e-6);

fn goldens(kind: &str, count: usize) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/postprocess.safetensors");
    let cases: Vec<Case> = load_goldens(&path).unwrap().into_iter().filter(|c| c.name.starts_with(kind)).collect();
    assert_eq!(cases.len(), count);
    cases
}

/// A matrix of a case, which owns its values.
struct Rows(Vec<f32>, usize, usize);

impl Rows {
    fn of(case: &Case, name: &str) -> Self {
        let tensor = case.tensor(name).unwrap();
        Self(tensor.flatten_all().unwrap().to_vec1().unwrap(), tensor.dims()[0], tensor.dims()[1])
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.0, self.1, self.2).unwrap()
    }
}

#[track_caller]
fn assert_equal<T: Copy + Into<f64>>(case: &Case, name: &str, got: &[T]) {
    let (got, want): (Vec<f64>, _) = (got.iter().map(|&v| v.into()).collect(), case.numbers(name).unwrap());
    if let Err(difference) = compare(&got, &want, &[want.len()], TOLERANCE) {
        panic!("{} {name}: {difference}", case.name);
    }
}

fn metric(case: &Case) -> Metric {
    case.description["metric"].as_str().unwrap().parse().unwrap()
}

#[test]
fn re_ranking_equals_the_algorithm_on_the_whole_matrix() {
    for case in goldens("k_reciprocal", 4) {
        let options: KReciprocal = serde_json::from_value(case.description.clone()).unwrap();
        let queries = Rows::of(&case, "queries");
        let within = !case.has("gallery");
        let (found, columns) = if within {
            let k = queries.1 - 1;
            (k_reciprocal_within(metric(&case), queries.matrix(), k, &options).unwrap(), queries.1)
        } else {
            let gallery = Rows::of(&case, "gallery");
            (k_reciprocal(metric(&case), queries.matrix(), gallery.matrix(), gallery.1, &options).unwrap(), gallery.1)
        };
        // The whole ranking, back in the order of the gallery.
        let want = case.numbers("final").unwrap();
        let mut table: Vec<f64> = want.clone();
        for q in 0..queries.1 {
            assert_eq!(found.ids_of(q).len(), columns - usize::from(within));
            assert!(found.scores_of(q).is_sorted());
            for (&id, &score) in found.ids_of(q).iter().zip(found.scores_of(q)) {
                assert!(!(within && id as usize == q));
                table[q * columns + id as usize] = f64::from(score);
            }
        }
        assert_equal(&case, "final", &table);
    }
}

#[test]
fn a_short_list_is_the_start_of_the_ranking_on_any_number_of_threads() {
    let case = &goldens("k_reciprocal_paper", 1)[0];
    let (queries, gallery) = (Rows::of(case, "queries"), Rows::of(case, "gallery"));
    let options = KReciprocal::default();
    let of = |k, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| k_reciprocal(metric(case), queries.matrix(), gallery.matrix(), k, &options).unwrap())
    };
    let (all, short) = (of(60, 1), of(5, 3));
    for q in 0..queries.1 {
        assert_eq!(short.ids_of(q), &all.ids_of(q)[..5]);
        assert_eq!(short.scores_of(q), &all.scores_of(q)[..5]);
    }
}

#[test]
fn with_lambda_1_re_ranking_is_the_first_ranking() {
    let case = &goldens("k_reciprocal_cosine", 1)[0];
    let (queries, gallery) = (Rows::of(case, "queries"), Rows::of(case, "gallery"));
    let options = KReciprocal { lambda: 1.0, ..KReciprocal::default() };
    let ranked = k_reciprocal(Metric::Cosine, queries.matrix(), gallery.matrix(), 10, &options).unwrap();
    let first = nearest(Metric::Cosine, queries.matrix(), gallery.matrix(), 10, Exclude::Nothing).unwrap();
    (0..queries.1).for_each(|q| assert_eq!(ranked.ids_of(q), first.ids_of(q)));
}

#[test]
fn re_ranking_survives_rows_that_are_all_the_same() {
    let same = [0.5f32; 24];
    let x = Matrix::new(&same, 12, 2).unwrap();
    let found = k_reciprocal_within(Metric::Euclidean, x, 3, &KReciprocal { k1: 4, k2: 2, lambda: 0.3 }).unwrap();
    assert_eq!(found.ids_of(0), [1, 2, 3]);
    assert!((0..12).all(|q| found.scores_of(q).iter().all(|s| s.is_finite())));
}

#[test]
fn expansion_equals_numpy() {
    for case in goldens("expansion", 4) {
        let weights = match case.description["weights"].as_str() {
            Some("average") => NeighbourWeights::Average,
            Some("rank") => NeighbourWeights::Rank,
            _ => NeighbourWeights::Power(case.description["weights"].as_f64().unwrap()),
        };
        let neighbours = case.description["neighbours"].as_u64().unwrap() as usize;
        let expansion = Expansion { neighbours, weights };
        let (queries, gallery) = (Rows::of(&case, "queries"), Rows::of(&case, "gallery"));
        let expanded = expand_queries(metric(&case), queries.matrix(), gallery.matrix(), &expansion).unwrap();
        assert_equal(&case, "expanded", &expanded);
        assert_equal(&case, "augmented", &augment_database(metric(&case), gallery.matrix(), &expansion).unwrap());
    }
}

#[test]
fn pca_equals_scikit_learn() {
    for case in goldens("pca", 2) {
        let keep = case.description["keep"].as_u64().unwrap() as usize;
        let (fitted, new) = (Rows::of(&case, "fitted"), Rows::of(&case, "new"));
        let pca = Pca::fit(fitted.matrix(), Some(keep)).unwrap();
        assert_equal(&case, "mean", &pca.map.mean);
        // scikit-learn fixes signs as we do.
        assert_equal(&case, "components", &pca.map.matrix);
        assert_equal(&case, "explained_variance", &pca.explained_variance);
        assert_equal(&case, "explained_variance_ratio", &pca.explained_variance_ratio());
        assert_equal(&case, "projected", &pca.transform(new.matrix()).unwrap());
        let options = WhiteningOptions { keep: Some(keep), normalize: false, ..WhiteningOptions::default() };
        let whitening = Whitening::fit(fitted.matrix(), &options).unwrap();
        assert_equal(&case, "whitened", &whitening.apply(new.matrix()).unwrap());
        let text = serde_json::to_string(&(&pca, &whitening)).unwrap();
        let (pca, whitening): (Pca, Whitening) = serde_json::from_str(&text).unwrap();
        assert_equal(&case, "projected", &pca.transform(new.matrix()).unwrap());
        assert_equal(&case, "whitened", &whitening.apply(new.matrix()).unwrap());
    }
}

#[test]
fn whitening_with_shrinkage_and_from_labels_equals_numpy() {
    let (shrunk, learned) = (&goldens("whitening_shrunk", 1)[0], &goldens("whitening_learned", 1)[0]);
    let new = Rows::of(shrunk, "new");
    let options: WhiteningOptions = serde_json::from_value(shrunk.description.clone()).unwrap();
    assert!(options.normalize && options.shrinkage == 0.2);
    let fitted = Rows::of(shrunk, "fitted");
    let whitening = Whitening::fit(fitted.matrix(), &options).unwrap();
    assert_equal(shrunk, "whitened", &whitening.apply(new.matrix()).unwrap());

    let options: WhiteningOptions = serde_json::from_value(learned.description.clone()).unwrap();
    let (fitted, labels) = (Rows::of(learned, "fitted"), learned.labels("labels").unwrap());
    let whitening = Whitening::fit_supervised(fitted.matrix(), &labels, &options).unwrap();
    assert_equal(learned, "whitened", &whitening.apply(new.matrix()).unwrap());
}

#[test]
fn whitened_rows_have_unit_covariance() {
    let case = &goldens("pca_7", 1)[0];
    let fitted = Rows::of(case, "fitted");
    let options = WhiteningOptions { normalize: false, ..WhiteningOptions::default() };
    let white = Whitening::fit(fitted.matrix(), &options).unwrap().apply(fitted.matrix()).unwrap();
    let again = Pca::fit(Matrix::new(&white, fitted.1, 7).unwrap(), None).unwrap();
    assert!(again.explained_variance.iter().all(|v| (v - 1.0).abs() < 1e-5), "{:?}", again.explained_variance);
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, dml_eval::Error>, text: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn bad_rankings_are_refused() {
    let values = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0, 0.0];
    let (three, zero) = (Matrix::new(&values[..6], 3, 2).unwrap(), Matrix::new(&values, 4, 2).unwrap());
    let nan = [f32::NAN; 4];
    let nan = Matrix::new(&nan, 2, 2).unwrap();
    let small = KReciprocal { k1: 2, k2: 2, lambda: 0.3 };
    let e = Metric::Euclidean;
    says(k_reciprocal(e, three, three, 3, &KReciprocal::default()), "k1 = 20 of 6 rows");
    says(k_reciprocal(e, three, three, 3, &KReciprocal { k2: 0, ..small.clone() }), "k2 = 0");
    says(k_reciprocal(e, three, three, 3, &KReciprocal { lambda: f64::NAN, ..small.clone() }), "lambda NaN");
    says(k_reciprocal(e, three, three, 4, &small), "want 1 to 3");
    says(k_reciprocal_within(e, zero, 4, &small), "want 1 to 3");
    says(k_reciprocal(e, nan, three, 1, &small), "embedding 0 holds");
    says(k_reciprocal(Metric::Cosine, three, zero, 1, &small), "all zeros");
    let huge = Matrix::new(&[1e20, 0.0, 1.0, -1e20], 4, 1).unwrap();
    says(k_reciprocal_within(e, huge, 1, &small), "scale the embeddings down");
    says(k_reciprocal(Metric::Dot, three, three, 1, &small), "defined for");
    says(k_reciprocal(e, three, Matrix::new(&values, 2, 4).unwrap(), 1, &small), "length 2");
    says(k_reciprocal_within(e, Matrix::new(&values[..2], 1, 2).unwrap(), 1, &small), "want 2 or more");

    let expansion = |neighbours, weights| Expansion { neighbours, weights };
    let average = expansion(2, NeighbourWeights::Average);
    says(expand_queries(e, three, three, &expansion(4, NeighbourWeights::Average)), "want 1 to 3");
    says(expand_queries(e, three, three, &expansion(2, NeighbourWeights::Power(3.0))), "powers of the cosine");
    says(expand_queries(Metric::Cosine, three, three, &expansion(2, NeighbourWeights::Power(-1.0))), "0 or more");
    says(expand_queries(Metric::Cosine, zero, three, &average), "embedding 3 is all zeros");
    says(expand_queries(e, nan, three, &average), "embedding 0 holds");
    says(augment_database(e, three, &expansion(3, NeighbourWeights::Rank)), "want 1 to 2");
    let opposite = [1.0, 0.0, -1.0, 0.0];
    let opposite = Matrix::new(&opposite, 2, 2).unwrap();
    says(augment_database(Metric::Cosine, opposite, &expansion(1, NeighbourWeights::Average)), "cancel out");
}

#[test]
fn bad_fits_are_refused() {
    let line: Vec<f32> = (0..6).flat_map(|i| [i as f32, 2.0 * i as f32]).collect();
    let x = Matrix::new(&line, 6, 2).unwrap();
    let options = WhiteningOptions::default();
    says(Pca::fit(Matrix::new(&line[..2], 1, 2).unwrap(), None), "want 2 or more");
    says(Pca::fit(x, Some(3)), "keep 1 to 2");
    says(Pca::fit(x, Some(0)), "keep 1 to 2");
    says(Whitening::fit(x, &options), "keep 1 at most");
    says(Whitening::fit(x, &WhiteningOptions { shrinkage: 1.5, ..options.clone() }), "want 0 to 1");
    says(Whitening::fit(x, &WhiteningOptions { epsilon: -1.0, ..options.clone() }), "want 0 or more");
    says(Whitening::fit_supervised(x, &[0, 1, 2, 3, 4, 5], &options), "no class has two rows");
    says(Whitening::fit_supervised(x, &[0; 6], &options), "set shrinkage");
    says(Whitening::fit_supervised(x, &[0; 5], &options), "one label per row");
    let shrunk = WhiteningOptions { shrinkage: 0.1, ..options };
    let whitening = Whitening::fit(x, &shrunk).unwrap();
    says(whitening.apply(Matrix::new(&line, 4, 3).unwrap()), "length 3");
    says(whitening.apply(Matrix::new(&[f32::NAN, 0.0], 1, 2).unwrap()), "not finite");
    let torn = LinearMap { mean: vec![0.0; 2], matrix: vec![1.0; 3] };
    says(torn.apply(x), "is no map");
    // All rows are the same: nothing varies, and shrinkage towards nothing does not help.
    let same = [1.0f32; 8];
    says(Whitening::fit(Matrix::new(&same, 4, 2).unwrap(), &shrunk), "does not vary");
    let pca = Pca::fit(Matrix::new(&same, 4, 2).unwrap(), None).unwrap();
    assert_eq!((pca.total_variance, pca.explained_variance_ratio()), (0.0, vec![0.0, 0.0]));
}
