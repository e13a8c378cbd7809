//! Times a gallery in a file, and in the servers that the environment names. `cargo xtask bench gallery` drives it. Called and
//! asked as `dml_tests::timing` says; the vectors of a case are what other contestants find in its folder.

mod servers;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use dml_core::{Matrix, Metric, scores, unwatched};
use dml_gallery::{
    ApproximateOptions, Candidate, Change, Embeddings, FileGallery, Gallery, IdentifyOptions, Metadata, Model,
    Templates,
};
use dml_tests::embedded;
use dml_tests::timing::{self, Answer, Repeat};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Short times are taken often.
const REPEAT: Repeat = Repeat { times: 7, unless_first_takes: 10.0 };
/// Identities that are enrolled in one durable step.
const BATCH: usize = 10_000;

type Case = timing::Case<Params>;

/// What a case needs to know. `Case::loss` is `identify`, `by_index`, `open` or `enrol`.
#[derive(Default, Serialize, Deserialize)]
struct Params {
    /// Probes that ask together; by an index, one after another.
    probes: usize,
    /// Candidates.
    k: usize,
    /// Servers take part.
    servers: bool,
    /// Directions of the surface that the vectors lie on, 0 if on none.
    surface: usize,
}

fn main() -> ExitCode {
    // As in the `dml` binary, too.
    // SAFETY: no other thread runs yet; `mi_option_purge_delay`, never.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    let serve = |folder: &Path| {
        // Opened once for all cases that ask.
        let mut open: Option<(PathBuf, FileGallery)> = None;
        timing::serve("dml-gallery", |line| {
            let case: Case = serde_json::from_str(&line)?;
            turn(&case, folder, &mut open).with_context(|| case.title.clone())
        })
    };
    timing::run(|quick| print_cases(if quick { 10 } else { 1 }), serve)
}

/// All cases, with so many times fewer identities.
fn print_cases(fewer: usize) -> Result<()> {
    let print = |title: &str, what: &str, n: usize, params: Params| {
        let (title, loss, n) = (title.to_owned(), what.to_owned(), n / fewer);
        let case = Case { title, loss, params, n, d: 128, classes: n, per_class: 1, tile: 0, budget_s: 0.0 };
        case.print()
    };
    let asked = |probes: usize, servers: bool, surface: usize| Params { probes, k: 10, servers, surface };
    const ALL: usize = 1_000_000;
    print("identify 1", "identify", ALL, asked(1, false, 0))?;
    print("identify 64 together", "identify", ALL, asked(64, false, 0))?;
    print("open", "open", ALL, asked(0, false, 0))?;
    print("identify 1", "identify", ALL / 10, asked(1, true, 0))?;
    print("identify 64 together", "identify", ALL / 10, asked(64, true, 0))?;
    print("enrol, 10,000 in a durable step", "enrol", ALL / 10, asked(0, true, 0))?;
    print("identify 100, each alone, by an index", "by_index", ALL, asked(100, false, embedded::FACES))?;
    print("the same of vectors on no surface", "by_index", ALL / 4, asked(100, false, 0))
}

fn model(d: usize) -> Model {
    Model { weights_sha256: None, dim: d, metric: Metric::Cosine, preprocessing: String::new() }
}

fn enrol(gallery: &dyn Gallery, x: Matrix<'_>) -> Result<()> {
    let (model, d) = (model(x.cols()), x.cols());
    for start in (0..x.rows()).step_by(BATCH) {
        let end = (start + BATCH).min(x.rows());
        let names: Vec<String> = (start..end).map(|i| format!("identity {i:07}")).collect();
        let mut changes = Vec::with_capacity(names.len());
        for (i, name) in (start..end).zip(&names) {
            let embeddings = Embeddings::new(&model, Matrix::new(&x.data()[i * d..(i + 1) * d], 1, d)?);
            changes.push(Change::Enrol { name, embeddings, metadata: Metadata::new() });
        }
        gallery.apply(&changes)?;
    }
    Ok(())
}

/// The vectors of a case, of unit length, and in the file where others find them.
fn vectors(case: &Case, folder: &Path) -> Result<Vec<f32>> {
    if case.params.surface > 0 {
        // As many more are probes: nobody else asks them.
        return Ok(embedded::on_a_surface(case.n + case.params.probes, case.d, case.params.surface, 1));
    }
    let path = folder.join(format!("{}x{}.f32", case.n, case.d));
    if path.exists() {
        let bytes = std::fs::read(&path)?;
        return Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect());
    }
    let labels: Vec<u32> = (0..case.n as u32).collect();
    let values = embedded::vectors(&labels, case.d, 1);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&path, bytes)?;
    Ok(values)
}

fn turn(case: &Case, folder: &Path, open: &mut Option<(PathBuf, FileGallery)>) -> Result<Value> {
    let values = vectors(case, folder)?;
    let x = Matrix::new(&values[..case.n * case.d], case.n, case.d)?;
    let path = folder.join(format!("{}_{}.gallery", case.n, case.params.surface));
    let mut answer = Answer::new(REPEAT);
    if case.loss != "enrol" && !path.exists() {
        enrol(&FileGallery::create(&path, model(case.d), Templates::PerImage)?, x)?;
    }
    if !matches!(&case.loss[..], "identify" | "by_index") || open.as_ref().is_some_and(|(opened, _)| *opened != path) {
        *open = None;
    }
    match case.loss.as_str() {
        "identify" => {
            let gallery = opened(&path, open)?;
            let model = model(case.d);
            let probes = Matrix::new(&values[..case.params.probes * case.d], case.params.probes, case.d)?;
            let options = IdentifyOptions { k: case.params.k, ..IdentifyOptions::default() };
            answer.time("ours", || {
                black_box(gallery.identify(Embeddings::new(&model, probes), &options)?);
                Ok(())
            })?;
            let servers = if case.params.servers { servers::enrolled(x)? } else { Vec::new() };
            for (contestant, gallery) in servers {
                answer.time(contestant, || {
                    black_box(gallery.identify(Embeddings::new(&model, probes), &options)?);
                    Ok(())
                })?;
            }
            match case.params.probes {
                1 => answer.time("floor", || {
                    black_box(streamed(&values));
                    Ok(())
                })?,
                _ => answer.time("floor", || product(probes, x))?,
            }
        }
        "by_index" => {
            let gallery = opened(&path, open)?;
            let probes = match case.params.surface {
                0 => between(x, case.params.probes),
                _ => values[case.n * case.d..].to_vec(),
            };
            let ask = || -> Result<Vec<Vec<Candidate>>> {
                let model = model(case.d);
                let options = IdentifyOptions { k: case.params.k, ..IdentifyOptions::default() };
                let each = probes.chunks_exact(case.d).map(|probe| {
                    let probe = Embeddings::new(&model, Matrix::new(probe, 1, case.d)?);
                    Ok(gallery.identify(probe, &options)?.remove(0).candidates)
                });
                each.collect()
            };
            let exact = ask()?;
            answer.time("exact", || ask().map(|found| drop(black_box(found))))?;
            let options = ApproximateOptions { threads: rayon::current_num_threads(), ..ApproximateOptions::default() };
            answer.time("building", || Ok(gallery.build_index(options, &unwatched).map(|_| ())?))?;
            answer.time("ours", || ask().map(|found| drop(black_box(found))))?;
            answer.recall("ours", shared(&exact, &ask()?));
            gallery.drop_index()?;
        }
        "open" => {
            answer.time("ours", || {
                black_box(FileGallery::open(&path)?);
                Ok(())
            })?;
            answer.time("floor", || {
                black_box(std::fs::read(&path)?);
                Ok(())
            })?;
        }
        "enrol" => {
            answer.time("ours", || {
                let place = tempfile::tempdir_in(folder)?;
                enrol(&FileGallery::create(place.path().join("g"), model(case.d), Templates::PerImage)?, x)
            })?;
            if case.params.servers {
                servers::enrol_into(x, &mut answer)?;
            }
        }
        other => bail!("nothing is called {other:?}"),
    }
    Ok(serde_json::to_value(answer)?)
}

/// The gallery of a case, opened unless it is.
fn opened<'a>(path: &Path, open: &'a mut Option<(PathBuf, FileGallery)>) -> Result<&'a FileGallery> {
    if open.is_none() {
        *open = Some((path.to_owned(), FileGallery::open(path)?));
    }
    Ok(&open.as_ref().context("it was opened")?.1)
}

/// Probes that are no rows: each from between two rows that are near to each other.
fn between(x: Matrix<'_>, count: usize) -> Vec<f32> {
    let rows = (0..count).map(|i| i * (x.rows() - 1) / count);
    rows.flat_map(|row| x.row(row).iter().zip(x.row(row + 1)).map(|(a, b)| 0.7 * a + 0.3 * b)).collect()
}

/// The share of right candidates that were found.
fn shared(exact: &[Vec<Candidate>], found: &[Vec<Candidate>]) -> f64 {
    let right = |(exact, found): (&Vec<Candidate>, &Vec<Candidate>)| {
        exact.iter().filter(|right| found.iter().any(|candidate| candidate.name == right.name)).count()
    };
    let all: usize = exact.iter().map(Vec::len).sum();
    exact.iter().zip(found).map(right).sum::<usize>() as f64 / all as f64
}

/// Reads all values once.
fn streamed(values: &[f32]) -> f32 {
    let sum = |chunk: &[f32]| {
        let mut sums = [0f32; 64];
        chunk.chunks_exact(64).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v));
        sums.iter().sum::<f32>()
    };
    values.par_chunks(1 << 20).map(sum).sum()
}

/// All scores, a block of the gallery at a time, with nothing done to them.
fn product(probes: Matrix<'_>, x: Matrix<'_>) -> Result<()> {
    const ROWS: usize = 1 << 14;
    let d = x.cols();
    let mut out = vec![0f32; probes.rows() * ROWS];
    for block in x.data().chunks(ROWS * d) {
        let rows = block.len() / d;
        scores(Metric::Dot, probes, Matrix::new(block, rows, d)?, &mut out[..probes.rows() * rows])?;
        black_box(&out);
    }
    Ok(())
}
