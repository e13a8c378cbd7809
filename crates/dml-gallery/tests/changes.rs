//! Any changes, in any order: both back-ends hold and find what plain `f64` loops over a list do.

use dml_core::{Matrix, Metric, reference};
use dml_gallery::{Embeddings, FileGallery, Filter, Gallery, MemoryGallery, Metadata, Model, Templates};
use proptest::prelude::*;

const DIM: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Enrol(usize, Vec<f32>),
    Add(usize, Vec<f32>),
    Forget(usize, usize),
    Remove(Vec<usize>),
}

/// Whole samples; random numbers do not tie.
fn samples() -> impl Strategy<Value = Vec<f32>> {
    (1usize..4).prop_flat_map(|n| proptest::collection::vec(-1f32..1.0, n * DIM))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0usize..8;
    let step = prop_oneof![
        4 => (who.clone(), samples()).prop_map(|(i, x)| Step::Enrol(i, x)),
        2 => (who.clone(), samples()).prop_map(|(i, x)| Step::Add(i, x)),
        2 => (who.clone(), 0usize..6).prop_map(|(i, at)| Step::Forget(i, at)),
        1 => proptest::collection::vec(who, 1..3).prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..24)
}

type Plain = Vec<(String, Vec<f32>)>;

/// A step on a plain list; whether it can be made.
fn plain(list: &mut Plain, step: &Step) -> bool {
    let place = |list: &Plain, i: usize| list.iter().position(|(name, _)| *name == i.to_string());
    match step {
        Step::Enrol(i, x) => {
            let free = place(list, *i).is_none();
            free.then(|| list.push((i.to_string(), x.clone()))).is_some()
        }
        Step::Add(i, x) => place(list, *i).map(|at| list[at].1.extend(x)).is_some(),
        Step::Forget(i, sample) => match place(list, *i) {
            Some(at) if list[at].1.len() > DIM && sample * DIM < list[at].1.len() => {
                list[at].1.drain(sample * DIM..(sample + 1) * DIM);
                true
            }
            _ => false,
        },
        Step::Remove(who) => {
            let known = who.iter().all(|&i| place(list, i).is_some());
            let twice = who.len() == 2 && who[0] == who[1];
            let removes = known && !twice;
            if removes {
                list.retain(|(name, _)| !who.iter().any(|i| i.to_string() == *name));
            }
            removes
        }
    }
}

fn make(gallery: &dyn Gallery, step: &Step) -> dml_gallery::Result<()> {
    let model = gallery.model().clone();
    fn embeddings<'a>(model: &'a Model, x: &'a [f32]) -> Embeddings<'a> {
        Embeddings::new(model, Matrix::new(x, x.len() / DIM, DIM).unwrap())
    }
    match step {
        Step::Enrol(i, x) => gallery.enrol(&i.to_string(), embeddings(&model, x), Metadata::new()).map(drop),
        Step::Add(i, x) => gallery.add_samples(&i.to_string(), embeddings(&model, x)).map(drop),
        Step::Forget(i, at) => {
            let ids = gallery.samples(&i.to_string())?.0.samples;
            gallery.remove_samples(&i.to_string(), &[ids.get(*at).copied().unwrap_or(u64::MAX)])
        }
        Step::Remove(who) => {
            let names: Vec<String> = who.iter().map(usize::to_string).collect();
            gallery.remove(&names.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

fn holds(gallery: &dyn Gallery, list: &Plain, probes: &[f32]) {
    let mut all: Plain = Vec::new();
    gallery
        .for_each(&mut |who, values| {
            all.push((who.name.clone(), values.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(&all, list);
    let (metric, model) = (gallery.model().metric, gallery.model().clone());
    let asked = Embeddings::new(&model, Matrix::new(probes, probes.len() / DIM, DIM).unwrap());
    for k in [1, 3, 20] {
        let found = gallery.nearest(asked, k, &Filter::everybody()).unwrap();
        for (probe, found) in probes.chunks_exact(DIM).zip(found) {
            let score = |(name, values): &(String, Vec<f32>)| {
                let x = Matrix::new(values, values.len() / DIM, DIM).unwrap();
                let kept = gallery.templates().of_rows(metric, x, &(0..x.rows()).collect::<Vec<_>>());
                let scores = kept.chunks_exact(DIM).map(|row| metric.sign() * reference::score(metric, probe, row));
                (scores.fold(f64::INFINITY, f64::min), name.clone())
            };
            let mut expected: Vec<(f64, String)> = list.iter().map(score).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            expected.truncate(k);
            assert_eq!(found.len(), expected.len());
            for (place, (candidate, (distance, name))) in found.iter().zip(&expected).enumerate() {
                assert!(
                    (metric.sign() * f64::from(candidate.score) - distance).abs() < 1e-5,
                    "{candidate:?}, not {distance}"
                );
                // Scores that single precision cannot tell apart may change places.
                let apart = |other: usize| expected.get(other).is_none_or(|o| (o.0 - distance).abs() > 1e-5);
                if apart(place + 1) && (place == 0 || apart(place - 1)) && place + 1 < expected.len() {
                    assert_eq!(&candidate.name, name);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_come_to_what_plain_loops_hold(
        steps in steps(),
        probes in proptest::collection::vec(-1f32..1.0, 3 * DIM),
        templates in prop_oneof![Just(Templates::PerImage), Just(Templates::Mean), Just(Templates::Medoid)],
        metric in prop_oneof![Just(Metric::Cosine), Just(Metric::Euclidean), Just(Metric::Dot)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.gallery");
        let model = Model { weights_sha256: None, dim: DIM, metric, preprocessing: String::new() };
        let memory = MemoryGallery::new(model.clone(), templates).unwrap();
        let file = FileGallery::create(&path, model, templates).unwrap();
        let mut list = Plain::new();
        for step in &steps {
            let can = plain(&mut list, step);
            for gallery in [&memory as &dyn Gallery, &file] {
                let outcome = make(gallery, step);
                assert_eq!(outcome.is_ok(), can, "{step:?}: {outcome:?}");
            }
        }
        holds(&memory, &list, &probes);
        holds(&file, &list, &probes);
        drop(file);
        holds(&FileGallery::open(&path).unwrap(), &list, &probes);
    }
}
