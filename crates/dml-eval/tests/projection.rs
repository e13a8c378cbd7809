//! Maps: the same on any number of threads, true to groups, calm on degenerate sets.

mod blobs;

use blobs::blobs;
use dml_core::{Exclude, Matrix, Metric, nearest};
use dml_eval::assessment::{AssessmentOptions, EvaluationSet, assess};
use dml_eval::projection::{MapKind, TsneMap, TsneOptions, neighbours_kept, pca_map, tsne_map, tsne_map_from};

fn matrix(values: &[f32], d: usize) -> Matrix<'_> {
    Matrix::new(values, values.len() / d, d).unwrap()
}

/// Share of rows whose nearest in the map is of their class.
fn agreement(places: &[[f32; 2]], labels: &[u32]) -> f64 {
    let plane = matrix(places.as_flattened(), 2);
    let found = nearest(Metric::Euclidean, plane, plane, 1, Exclude::SelfIndex).unwrap();
    let right = (0..labels.len()).filter(|&row| labels[found.ids_of(row)[0] as usize] == labels[row]);
    right.count() as f64 / labels.len() as f64
}

fn finite(map: &TsneMap) -> bool {
    map.places.as_flattened().iter().all(|v| v.is_finite())
}

#[test]
fn the_same_seed_gives_the_same_map_on_any_number_of_threads() {
    // The crate's own sums of so many rows differ with the number of threads.
    let (values, _) = blobs(12, 25, 20, 3);
    let x = matrix(&values, 20);
    let on = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = TsneOptions { iterations: 300, seed, ..TsneOptions::default() };
        pool.install(|| {
            let map = tsne_map(Metric::Cosine, x, &options).unwrap();
            (neighbours_kept(Metric::Cosine, x, &map.places).unwrap(), pca_map(Metric::Cosine, x).unwrap(), map)
        })
    };
    let one = on(1, 0);
    assert_eq!(one, on(3, 0));
    assert_eq!(one, on(1, 0));
    assert_ne!(one.2.places, on(3, 1).2.places, "the seed moves the start");
}

#[test]
fn groups_stay_apart_and_neighbours_near() {
    // Of 60 dimensions PCA's plane can hold the centres of three groups, not of thirty.
    let (values, labels) = blobs(30, 12, 60, 11);
    let x = matrix(&values, 60);
    let own = |metric| {
        let found = nearest(metric, x, x, 1, Exclude::SelfIndex).unwrap();
        (0..labels.len()).filter(|&i| labels[found.ids_of(i)[0] as usize] == labels[i]).count() as f64
            / labels.len() as f64
    };
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::Dot, Metric::Lp(3.0)] {
        let pca = pca_map(metric, x).unwrap();
        let tsne = tsne_map(metric, x, &TsneOptions::default()).unwrap();
        assert!(own(metric) > 0.8, "{metric}: the space itself has no groups");
        assert!(agreement(&tsne.places, &labels) >= 0.95, "{metric}: {}", agreement(&tsne.places, &labels));
        let kept = |places: &[[f32; 2]]| neighbours_kept(metric, x, places).unwrap().0;
        assert!(kept(&tsne.places) > 2.0 * kept(&pca.places), "{metric}: {}", kept(&tsne.places));
    }
    let (values, labels) = blobs(3, 40, 16, 5);
    let map = tsne_map(Metric::Cosine, matrix(&values, 16), &TsneOptions::default()).unwrap();
    assert!(agreement(&map.places, &labels) >= 0.95);
}

#[test]
fn perplexity_and_learning_rate_are_as_documented() {
    let (values, _) = blobs(3, 10, 8, 1);
    let x = matrix(&values, 8);
    let n = x.rows();
    let with = |perplexity| {
        tsne_map(Metric::Euclidean, x, &TsneOptions { perplexity, iterations: 30, ..TsneOptions::default() }).unwrap()
    };
    assert_eq!(with(30.0).perplexity, (n - 1) as f64 / 3.0);
    assert_eq!(with(5.0).perplexity, 5.0);
    assert_eq!(with(0.1).perplexity, 2.0);
    assert_eq!(with(5.0).learning_rate, 200.0);
    let refused = |options: TsneOptions| tsne_map(Metric::Euclidean, x, &options).unwrap_err().to_string();
    let default = TsneOptions::default;
    assert!(refused(TsneOptions { perplexity: f64::NAN, ..default() }).contains("perplexity NaN"));
    assert!(refused(TsneOptions { theta: 0.0, ..default() }).contains("theta 0"));
    assert!(refused(TsneOptions { iterations: 0, ..default() }).contains("0 steps"));
    assert!(refused(TsneOptions { learning_rate: Some(-1.0), ..default() }).contains("learning rate -1"));
    let short = tsne_map_from(Metric::Euclidean, x, &[[0.0; 2]; 4], &default()).unwrap_err().to_string();
    assert!(short.contains("from 4 places"), "{short}");
}

#[test]
fn duplicates_zeros_and_extremes_are_drawn() {
    let (mut values, _) = blobs(4, 12, 6, 2);
    // Half of the rows are one row; five are zeros.
    let half = values.len() / 12 * 6;
    let first: Vec<f32> = values[..6].to_vec();
    values[..half].chunks_exact_mut(6).for_each(|row| row.copy_from_slice(&first));
    values[half..half + 30].fill(0.0);
    for metric in [Metric::Cosine, Metric::Euclidean] {
        assert!(finite(&tsne_map(metric, matrix(&values, 6), &TsneOptions::default()).unwrap()));
    }
    for same in [0.0f32, 2.0] {
        let map = tsne_map(Metric::Cosine, matrix(&[same; 60], 3), &TsneOptions::default()).unwrap();
        assert!(finite(&map), "twenty rows of {same}");
    }
    // One number per row, and rows of very large and very small ones.
    assert!(finite(&tsne_map(Metric::Euclidean, matrix(&values, 1), &TsneOptions::default()).unwrap()));
    for scale in [1e-15f32, 1e15] {
        let scaled: Vec<f32> = values.iter().map(|v| v * scale).collect();
        assert!(finite(&tsne_map(Metric::Euclidean, matrix(&scaled, 6), &TsneOptions::default()).unwrap()), "{scale}");
    }
    let huge: Vec<f32> = values.iter().map(|v| v * 1e30).collect();
    let refused = tsne_map(Metric::Euclidean, matrix(&huge, 6), &TsneOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("scale the embeddings down"), "{refused}");
    let few = tsne_map(Metric::Cosine, matrix(&values[..42], 6), &TsneOptions::default()).unwrap_err().to_string();
    assert!(few.contains("7 rows"), "{few}");
    assert!(finite(
        &tsne_map(Metric::Cosine, matrix(&values[values.len() - 48..], 6), &TsneOptions::default()).unwrap()
    ));
}

#[test]
fn an_assessment_draws_what_it_can() {
    let (values, _) = blobs(4, 12, 6, 9);
    let labels: Vec<u32> = (0..40).map(|i| i / 10).collect();
    let names: Vec<String> = (0..4).map(|c| format!("class {c}")).collect();
    let quick =
        || AssessmentOptions { resamples: 0, episodes: 0, clustering: None, perplexity: 6.0, ..Default::default() };
    let of = |rows: usize, options: &AssessmentOptions| {
        let mine: Vec<u32> =
            (0..rows as u32).map(|i| labels[if rows < 40 { 10 * (i as usize % 2) } else { i as usize }]).collect();
        let set = EvaluationSet::new(matrix(&values[..6 * rows], 6), &mine, &names);
        let found = assess(&set, options, &dml_core::unwatched).unwrap();
        let report = found.report("Maps", &set);
        (found, report.html().unwrap(), report.markdown())
    };
    let (found, html, markdown) = of(40, &quick());
    let kinds: Vec<MapKind> = found.maps.maps.iter().map(|map| map.kind).collect();
    assert_eq!(kinds, MapKind::ALL);
    assert_eq!(found.maps.rows, (0..40).collect::<Vec<u32>>());
    assert!(html.contains("Perplexity 6, 750 steps") && html.matches("<noscript><svg").count() == 2);
    assert!(markdown.contains("- PCA: First two principal components: ") && !markdown.contains("Drawn from"));
    assert!(!found.warnings.iter().any(|w| w.contains("t-SNE")));

    let (found, _, markdown) = of(40, &AssessmentOptions { mapped_rows: 20, ..quick() });
    let drawn: Vec<u32> = found.maps.rows.iter().map(|&row| labels[row as usize]).collect();
    assert_eq!(drawn.len(), 20);
    assert!(drawn.chunk_by(|a, b| a == b).all(|class| class.len() == 10), "whole classes: {drawn:?}");
    assert!(markdown.contains("Drawn from 40 rows"), "{markdown}");

    let (found, html, _) = of(7, &quick());
    assert_eq!(found.maps.maps.iter().map(|map| map.kind).collect::<Vec<_>>(), [MapKind::Pca]);
    assert!(found.warnings.iter().any(|w| w.contains("t-SNE") && w.contains("7 rows")), "{:?}", found.warnings);
    assert!(html.contains("t-SNE: 7 rows were given"));

    let (found, html, _) = of(40, &AssessmentOptions { maps: vec![MapKind::Tsne], ..quick() });
    assert_eq!(found.maps.maps.len(), 1);
    assert!(!html.contains("<h3>PCA</h3>"));
    let (found, html, _) = of(40, &AssessmentOptions { maps: Vec::new(), ..quick() });
    assert!(found.maps.maps.is_empty() && !html.contains("class=\"projection\""));
}
