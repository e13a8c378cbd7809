//! People of the tests: whatever is known of one follows from their number.
#![allow(dead_code, reason = "each test uses some of it")]

use dml_core::{Matrix, Metric};
use dml_gallery::{Change, Embeddings, Error, Filter, Gallery, Metadata, Model, ServerProblem};
use std::io::ErrorKind;
use std::path::Path;

pub(crate) const DIM: usize = 16;

pub(crate) fn model() -> Model {
    Model {
        weights_sha256: Some("c0ffee".to_owned()),
        dim: DIM,
        metric: Metric::Cosine,
        preprocessing: "crop 112".to_owned(),
    }
}

pub(crate) fn name(i: usize) -> String {
    format!("Nominal Person {i:06}")
}

pub(crate) fn metadata(i: usize) -> Metadata {
    [("badge".to_owned(), format!("secret badge {i:06}"))].into()
}

/// One to three samples.
pub(crate) fn values(i: usize) -> Vec<f32> {
    let number = |j: usize| {
        let mut z = (i as u64) << 20 | j as u64;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..DIM * (1 + i % 3)).map(number).collect()
}

/// Enrols people, all at once.
pub(crate) fn enrol(gallery: &dyn Gallery, who: impl Iterator<Item = usize>) -> dml_gallery::Result<()> {
    let model = model();
    let people: Vec<(usize, String, Vec<f32>)> = who.map(|i| (i, name(i), values(i))).collect();
    let mut changes = Vec::new();
    for (i, name, values) in &people {
        let embeddings = Embeddings::new(&model, Matrix::new(values, values.len() / DIM, DIM).unwrap());
        changes.push(Change::Enrol { name, embeddings, metadata: metadata(*i) });
    }
    gallery.apply(&changes).map(drop)
}

pub(crate) fn remove(gallery: &dyn Gallery, who: impl Iterator<Item = usize>) -> dml_gallery::Result<()> {
    let names: Vec<String> = who.map(name).collect();
    gallery.remove(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether a person is there, as they were enrolled; panics where a part of them is.
pub(crate) fn is_there(gallery: &dyn Gallery, i: usize) -> bool {
    match gallery.samples(&name(i)) {
        Ok((identity, found)) => {
            assert_eq!((identity.metadata, found), (metadata(i), values(i)), "{}", name(i));
            true
        }
        Err(dml_gallery::Error::NotEnrolled(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whether anything of a person stands in a file of the folder.
pub(crate) fn leaves_a_trace(folder: &Path, i: usize) -> Option<String> {
    let values: Vec<u8> = values(i).iter().take(4).flat_map(|v| v.to_le_bytes()).collect();
    let needles = [name(i).into_bytes(), metadata(i)["badge"].clone().into_bytes(), values];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = leaves_a_trace(&path, i) {
                return Some(found);
            }
            continue;
        }
        let bytes = contents(&path);
        if let Some(at) = needles.iter().position(|needle| contains(&bytes, needle)) {
            return Some(format!("{} of person {i} in {}", ["name", "metadata", "embedding"][at], path.display()));
        }
    }
    None
}

/// What a file holds: nothing where it is gone by now, as a server's may be.
pub(crate) fn contents(path: &Path) -> Vec<u8> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => vec![],
        read => read.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// What a server's gallery has to say.
pub(crate) fn problem(error: Error) -> ServerProblem {
    match error {
        Error::Server { problem, .. } => problem,
        other => panic!("not of the server: {other}"),
    }
}

/// Names and scores of the candidates of a probe, to the bit.
pub(crate) type Found = Vec<(String, u32)>;

/// What twenty probes find.
pub(crate) fn answers(gallery: &dyn Gallery, k: usize, filter: &Filter) -> Vec<Found> {
    let (model, probes): (_, Vec<f32>) = (model(), (0..20).flat_map(|i| values(1_000_000 + 3 * i)).collect());
    let probes = Embeddings::new(&model, Matrix::new(&probes, probes.len() / DIM, DIM).unwrap());
    let found = gallery.nearest(probes, k, filter).unwrap();
    found.into_iter().map(|list| list.into_iter().map(|c| (c.name, c.score.to_bits())).collect()).collect()
}
