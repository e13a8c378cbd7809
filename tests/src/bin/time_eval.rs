//! Times search and evaluation. `cargo xtask bench eval` drives it.
//! Called and asked as `dml_tests::timing` says; the vectors of a case are what other contestants find in its folder.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use dml_core::{Exclude, Matrix, Metric, for_each_pair_tile, nearest, scores, unwatched};
use dml_eval::clustering::{Agreement, KMeans};
use dml_eval::retrieval::{Exclusion, Measure, Policy, Rankings, Relevance, Ties, evaluate};
use dml_eval::statistics::Bootstrap;
use dml_tests::embedded;
use dml_tests::timing::{self, Answer, Repeat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stanford Online Products' test set: images, classes.
const SOP: (usize, usize) = (60_502, 11_316);
/// Short times are taken three times.
const REPEAT: Repeat = Repeat { times: 3, unless_first_takes: 3.0 };

type Case = timing::Case<Params>;

/// What a case needs to know. `Case::loss` is `product`, `self_search`, `gallery_search`, `metrics`, `metrics_and_nmi` or
/// `all_pairs`.
#[derive(Default, Serialize, Deserialize)]
struct Params {
    /// Neighbours.
    k: usize,
    /// The first of the vectors, where not all of them ask.
    queries: usize,
}

fn main() -> ExitCode {
    let serve = |folder: &Path| {
        timing::serve("dml-eval", |line| {
            let case: Case = serde_json::from_str(&line)?;
            turn(&case, folder).with_context(|| case.title.clone())
        })
    };
    timing::run(|quick| print_cases(if quick { 8 } else { 1 }), serve)
}

/// All cases, with so many times fewer vectors.
fn print_cases(fewer: usize) -> Result<()> {
    let print = |title: &str, what: &str, (n, classes): (usize, usize), d: usize, k: usize, queries: usize| {
        let case = Case {
            title: title.to_owned(),
            loss: what.to_owned(),
            params: Params { k, queries },
            n,
            d,
            classes,
            per_class: n.div_ceil(classes.max(1)),
            tile: 0,
            budget_s: 0.0,
        };
        case.print()
    };
    let sop = (SOP.0 / fewer, SOP.1 / fewer);
    print("product of 4,096 × 4,096 pairs", "product", (4096, 512), 512, 0, 0)?;
    print("set against itself, k = 10", "self_search", sop, 512, 10, 0)?;
    print("set against itself, k = 1,000", "self_search", sop, 512, 1000, 0)?;
    let gallery = 1_000_000 / fewer;
    print("1,000 queries, k = 100", "gallery_search", (gallery, gallery / 10), 128, 100, 1000)?;
    print("R@1/10/100/1000, MAP@R, R-precision, mAP", "metrics", sop, 512, 1000, 0)?;
    print("the same with NMI by k-means, 20 iterations", "metrics_and_nmi", sop, 512, 1000, 0)?;
    print("verification of all pairs", "all_pairs", (20_000 / fewer, 4000 / fewer), 512, 0, 0)?;
    Ok(())
}

/// Where the vectors of a case lie: float32, row by row.
fn file(case: &Case, folder: &Path) -> PathBuf {
    folder.join(format!("{}x{}x{}.f32", case.n, case.d, case.classes))
}

fn turn(case: &Case, folder: &Path) -> Result<Value> {
    let labels: Vec<u32> = (0..case.n).map(|i| (i % case.classes) as u32).collect();
    let path = file(case, folder);
    let values: Vec<f32> = if path.exists() {
        let bytes = std::fs::read(&path)?;
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    } else {
        let values = embedded::vectors(&labels, case.d, 1);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(&path, bytes)?;
        values
    };
    let x = Matrix::new(&values, case.n, case.d)?;
    let mut answer = Answer::new(REPEAT);
    match case.loss.as_str() {
        "product" => {
            let mut out = vec![0f32; case.n * case.n];
            let copy = values.clone();
            let other = Matrix::new(&copy, case.n, case.d)?;
            answer.time("ours", || Ok(scores(Metric::Dot, x, other, &mut out)?))?;
        }
        "self_search" => {
            answer.time("ours", || {
                black_box(nearest(Metric::Dot, x, x, case.params.k, Exclude::Nothing)?);
                Ok(())
            })?;
        }
        "gallery_search" => {
            let queries = Matrix::new(&values[..case.params.queries * case.d], case.params.queries, case.d)?;
            answer.time("ours", || {
                black_box(nearest(Metric::Dot, queries, x, case.params.k, Exclude::Nothing)?);
                Ok(())
            })?;
        }
        "metrics" | "metrics_and_nmi" => answer.time("ours", || measure(case, x, &labels))?,
        "all_pairs" => {
            answer.time("ours", || {
                black_box(dml_eval::verification(Metric::Dot, x, &labels, &[1e-1, 1e-2, 1e-3, 1e-4])?);
                Ok(())
            })?;
            answer.time("floor", || {
                Ok(for_each_pair_tile(Metric::Dot, x, &unwatched, |tile| {
                    black_box(tile.scores);
                })?)
            })?;
        }
        other => bail!("nothing is called {other:?}"),
    }
    Ok(serde_json::to_value(answer)?)
}

/// All the measures of a case: every query's whole ranking is known.
fn measure(case: &Case, x: Matrix<'_>, labels: &[u32]) -> Result<()> {
    let relevance = Relevance::within(labels);
    let rankings = Rankings::whole(Metric::Dot, x, x, &relevance, &[Exclusion::SelfIndex], Ties::ById)?;
    let names = ["recall@1", "recall@10", "recall@100", "recall@1000", "map@r", "r-precision", "map", "mrr"];
    let measures = names.into_iter().map(str::parse).collect::<std::result::Result<Vec<Measure>, _>>()?;
    // Others have no intervals either.
    let policy = Policy { bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..Policy::default() };
    black_box(evaluate(&rankings, &measures, Some(labels), &policy)?);
    if case.loss == "metrics_and_nmi" {
        // As faiss begins and ends.
        let found = KMeans { iterations: 20, ..KMeans::faiss(case.classes) }.fit(x)?;
        black_box(Agreement::new(labels, &found.assignment)?);
    }
    Ok(())
}
