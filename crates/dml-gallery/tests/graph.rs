//! The approximate index beside a gallery's file: what it finds, and what becomes of it when somebody comes, changes or goes.

mod people;

use dml_core::{Matrix, Metric, unwatched};
use dml_gallery::{
    ApproximateOptions, Candidate, Embeddings, Error, FileGallery, Filter, Gallery, IndexState, Metadata, Model,
    Templates,
};
use people::{DIM, enrol, is_there, model, name, remove, values};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const PEOPLE: usize = 3000;
const OPTIONS: ApproximateOptions =
    ApproximateOptions { connectivity: 16, expansion_add: 64, expansion_search: 64, threads: 1 };

fn gallery(folder: &Path) -> (FileGallery, PathBuf) {
    let path = folder.join("g.gallery");
    let gallery = FileGallery::create(&path, model(), Templates::PerImage).unwrap();
    enrol(&gallery, 0..PEOPLE).unwrap();
    (gallery, path)
}

/// The files beside a gallery.
fn indices(path: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|other| other.extension().is_some_and(|end| end == "index")).collect()
}

/// Whether a file holds somebody's first embedding, of unit length.
fn holds(file: &Path, who: usize) -> bool {
    let wanted = &values(who)[..DIM];
    let norm = wanted.iter().map(|v| v * v).sum::<f32>().sqrt();
    let numbers: Vec<f32> =
        fs::read(file).unwrap().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    numbers.windows(DIM).any(|held| held.iter().zip(wanted).all(|(a, b)| (a - b / norm).abs() < 1e-5))
}

fn nearest(gallery: &dyn Gallery, who: usize, k: usize) -> Vec<Candidate> {
    let (model, probe) = (model(), values(who)[..DIM].to_vec());
    let probe = Embeddings::new(&model, Matrix::new(&probe, 1, DIM).unwrap());
    gallery.nearest(probe, k, &Filter::everybody()).unwrap().remove(0)
}

#[test]
fn scores_are_those_of_an_exact_search_and_most_of_the_nearest_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path());
    assert_eq!(gallery.index(), IndexState::None);
    let exact: Vec<Vec<Candidate>> = (0..200).map(|i| nearest(&gallery, 1_000_000 + i, 10)).collect();
    let report = gallery.build_index(OPTIONS, &unwatched).unwrap();
    let rows = report.rows;
    assert!(rows >= PEOPLE && report.recall > 0.95, "{report:?}");
    assert_eq!(gallery.index(), IndexState::Used { rows, later: 0 });
    let check = |gallery: &dyn Gallery| {
        let mut found = 0;
        for (i, exact) in exact.iter().enumerate() {
            let near = nearest(gallery, 1_000_000 + i, 10);
            assert_eq!(near.len(), 10);
            assert!(near.is_sorted_by(|a, b| a.score >= b.score));
            for candidate in &near {
                if let Some(same) = exact.iter().find(|other| other.name == candidate.name) {
                    assert_eq!(same.score.to_bits(), candidate.score.to_bits());
                    found += 1;
                }
            }
        }
        assert!(found > 1900, "{found} of 2000");
    };
    check(&gallery);
    // A filter is obeyed, whatever the index says.
    let filter = Filter::everybody().with("nothing", "like this");
    let (model, probe) = (model(), values(5)[..DIM].to_vec());
    let probe = Embeddings::new(&model, Matrix::new(&probe, 1, DIM).unwrap());
    assert!(gallery.nearest(probe, 3, &filter).unwrap()[0].is_empty());
    drop(gallery);
    let again = FileGallery::open(&path).unwrap();
    assert_eq!(again.index(), IndexState::Used { rows, later: 0 });
    check(&again);
    again.drop_index().unwrap();
    assert_eq!((again.index(), indices(&path)), (IndexState::None, Vec::new()));
    assert_eq!(nearest(&again, 1_000_000, 10), exact[0]);
}

#[test]
fn who_comes_later_is_found_and_who_goes_is_gone_from_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path());
    let rows = gallery.build_index(OPTIONS, &unwatched).unwrap().rows;
    enrol(&gallery, PEOPLE..PEOPLE + 50).unwrap();
    let IndexState::Used { later, .. } = gallery.index() else { panic!("{:?}", gallery.index()) };
    assert!(later >= 50);
    for who in [3, PEOPLE + 7, PEOPLE + 49] {
        assert_eq!(nearest(&gallery, who, 2)[0].name, name(who));
    }
    drop(gallery);
    let gallery = FileGallery::open(&path).unwrap();
    assert_eq!(gallery.index(), IndexState::Used { rows, later });
    assert_eq!(nearest(&gallery, PEOPLE + 7, 2)[0].name, name(PEOPLE + 7));

    assert!(holds(&indices(&path)[0], 17));
    remove(&gallery, 17..18).unwrap();
    assert_eq!((gallery.index(), indices(&path)), (IndexState::Stale, Vec::new()));
    assert_ne!(nearest(&gallery, 17, 1)[0].name, name(17));
    assert!(gallery.refresh(&unwatched).unwrap() && !gallery.refresh(&unwatched).unwrap());
    let IndexState::Used { rows, later: 0 } = gallery.index() else { panic!("{:?}", gallery.index()) };
    assert!(!holds(&indices(&path)[0], 17) && holds(&indices(&path)[0], 18));
    assert!(!is_there(&gallery, 17));
    assert_eq!(nearest(&gallery, PEOPLE + 7, 2)[0].name, name(PEOPLE + 7));
    // Once a quarter has come later it is built again, and takes the place of the one before.
    enrol(&gallery, PEOPLE + 50..2 * PEOPLE).unwrap();
    assert!(gallery.refresh(&unwatched).unwrap());
    let IndexState::Used { rows: grown, later: 0 } = gallery.index() else { panic!("{:?}", gallery.index()) };
    assert!(grown > rows);
    assert_eq!(indices(&path).len(), 1);
}

#[test]
fn an_index_that_is_damaged_or_of_another_gallery_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path());
    gallery.build_index(OPTIONS, &unwatched).unwrap();
    let before = nearest(&gallery, 1_000_000, 10);
    drop(gallery);
    let index = indices(&path).remove(0);
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).unwrap();
    let gallery = FileGallery::open(&path).unwrap();
    assert_eq!(gallery.index(), IndexState::Stale);
    assert_eq!(nearest(&gallery, 1_000_000, 10), before);
    assert!(gallery.refresh(&unwatched).unwrap());
    assert!(!index.exists());
}

#[test]
fn what_has_no_index_is_refused_and_a_building_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let of = |metric: Metric, file: &str| {
        let model = Model { metric, ..model() };
        FileGallery::create(folder.path().join(file), model, Templates::PerImage).unwrap()
    };
    let empty = of(Metric::Cosine, "empty");
    assert!(matches!(empty.build_index(OPTIONS, &unwatched), Err(Error::Eval(_))));
    let by_l1 = of(Metric::Lp(1.0), "l1");
    let (model, row) = (by_l1.model().clone(), values(1)[..DIM].to_vec());
    let row = Embeddings::new(&model, Matrix::new(&row, 1, DIM).unwrap());
    by_l1.enrol("one", row, Metadata::new()).unwrap();
    let refused = by_l1.build_index(OPTIONS, &unwatched).unwrap_err().to_string();
    assert!(refused.contains("no approximate index"), "{refused}");
    let (gallery, path) = gallery(folder.path());
    assert!(gallery.build_index(OPTIONS, &|_| ControlFlow::Break(())).is_err());
    assert_eq!((gallery.index(), indices(&path)), (IndexState::None, Vec::new()));
    // Nobody has got one that could be stale.
    assert!(!gallery.refresh(&unwatched).unwrap());
}
