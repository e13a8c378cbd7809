//! Times the losses: fused, composed, and the floor. `cargo xtask bench losses` drives it.
//!
//! `time_losses cases [--quick]` prints what there is to time, one JSON object a line. `time_losses serve` greets with a
//! line, then reads such lines and answers each with `{"seconds": {contestant: [seconds of each repetition]}}`:
//!
//!     time_losses cases --quick | time_losses serve
//!
//! A repetition goes from an embedding tensor to its gradient on the host, and to that of the proxies where there are
//! any. Contestants take turns; `RAYON_NUM_THREADS` sets the threads of all.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary talks to its user")]

use std::env;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use candle_core::{Device, Tensor, Var};
use dml_core::{Matrix, Metric, scores};
use dml_losses::{Context, Family, LOSSES, LossSpec, Objective};
use dml_tests::{batch, composed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batch sizes, and the classes of the data set: one proxy each.
const ROWS: [usize; 3] = [128, 512, 2048];
const QUICK_ROWS: [usize; 2] = [128, 512];
const DIM: usize = 128;
const CLASSES: usize = 1000;
const PER_CLASS: usize = 4;

/// Modes beside the defaults that do other work.
const VARIANTS: [(&str, &str, &str); 3] = [
    ("triplet", "mining", "\"semi_hard\""),
    ("triplet", "mining", "\"batch_hard\""),
    ("multi_similarity", "epsilon", "0.1"),
];

/// What is timed.
#[derive(Serialize, Deserialize)]
struct Case {
    /// For people.
    title: String,
    /// Name in the registry.
    loss: String,
    /// All parameters.
    params: Map<String, Value>,
    /// Rows.
    n: usize,
    /// Length of an embedding.
    d: usize,
    /// Number of proxies.
    classes: usize,
    /// Row `i` is of class `i / per_class`.
    per_class: usize,
    /// Seconds of a turn.
    budget_s: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cases"] => print_cases(&ROWS, 0.5),
        ["cases", "--quick"] => print_cases(&QUICK_ROWS, 0.15),
        ["serve"] => serve(),
        _ => Err(anyhow::anyhow!("usage: time_losses cases [--quick] | time_losses serve")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_cases(rows: &[usize], budget_s: f64) -> Result<()> {
    for spec in LOSSES {
        let Value::Object(defaults) = (spec.default_params)() else { bail!("{}: parameters are no object", spec.name) };
        let mut modes = vec![(spec.name.to_owned(), defaults.clone())];
        for (_, key, value) in VARIANTS.iter().filter(|variant| variant.0 == spec.name) {
            let mut params = defaults.clone();
            params.insert((*key).to_owned(), serde_json::from_str(value)?);
            modes.push((format!("{}, {key} = {}", spec.name, value.trim_matches('"')), params));
        }
        for (title, params) in modes {
            for &n in rows {
                let (title, params, loss) = (title.clone(), params.clone(), spec.name.to_owned());
                let case = Case { title, loss, params, n, d: DIM, classes: CLASSES, per_class: PER_CLASS, budget_s };
                println!("{}", serde_json::to_string(&case)?);
            }
        }
    }
    Ok(())
}

fn serve() -> Result<()> {
    let say = |value: Value| -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{value}")?;
        Ok(out.flush()?)
    };
    let program = format!("dml-losses {}", env!("CARGO_PKG_VERSION"));
    say(json!({"program": program, "threads": candle_core::utils::get_num_threads()}))?;
    for line in io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        say(turn(&case).with_context(|| format!("{} at n = {}", case.title, case.n))?)?;
    }
    Ok(())
}

/// Repetitions of all contestants, one after the other, until the time is up.
fn turn(case: &Case) -> Result<Value> {
    let spec = dml_losses::registry::find(&case.loss)?;
    let context = Context { dim: case.d, classes: case.classes, seed: 1, device: Device::Cpu };
    let params = Value::Object(case.params.clone());
    let labels: Vec<u32> = (0..case.n).map(|i| (i / case.per_class) as u32).collect();
    let values = batch::embeddings(&labels, case.d, 2);
    let embeddings = Var::from_tensor(&Tensor::from_vec(values, (case.n, case.d), &Device::Cpu)?)?;
    let mut fused = dml_losses::build(&case.loss, &params, &context)?;
    let mut composed = composed::build(&case.loss, &params, &context)?;
    let mut floor = Floor::new(spec, case);

    let mut seconds = [vec![], vec![], vec![]];
    let mut round = || -> Result<[f64; 3]> {
        Ok([
            timed(|| forward_backward(fused.as_mut(), &embeddings, &labels))?,
            timed(|| forward_backward(composed.as_mut(), &embeddings, &labels))?,
            timed(|| floor.run())?,
        ])
    };
    // Caches, threads and the allocator's pages are warm after one.
    round()?;
    let started = Instant::now();
    while seconds[0].is_empty() || started.elapsed().as_secs_f64() < case.budget_s {
        seconds.iter_mut().zip(round()?).for_each(|(all, one)| all.push(one));
    }
    let [fused, composed, floor] = seconds;
    Ok(json!({"seconds": {"fused": fused, "composed": composed, "floor": floor}}))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// What a training step asks of a loss.
fn forward_backward(objective: &mut dyn Objective, embeddings: &Var, labels: &[u32]) -> Result<()> {
    let gradients = objective.loss(embeddings, labels)?.backward()?;
    let parameters = objective.parameters().into_iter().map(|(_, var)| var);
    for var in parameters.chain([embeddings.clone()]) {
        let gradient = gradients.get(&var).context("the loss gave no gradient")?;
        black_box(gradient.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}

/// The matrix products that no implementation can avoid: `S = A·Bᵀ`, then `G·B` and, unless both sides are one, `Gᵀ·A`.
/// For a batch with itself `(G + Gᵀ)·X` is one product. Run by dml-core's own kernel, without any allocation.
struct Floor {
    n: usize,
    m: usize,
    d: usize,
    one_side: bool,
    /// `[n, d]` and `[d, n]`; the value of a number does not matter for its product's time.
    a: Vec<f32>,
    /// `[m, d]` and `[d, m]`.
    b: Vec<f32>,
    /// `[n, m]` and `[m, n]`.
    scores: Vec<f32>,
    gradient: Vec<f32>,
}

impl Floor {
    fn new(spec: &LossSpec, case: &Case) -> Self {
        let present = case.n / case.per_class;
        let (n, m, one_side) = match (spec.name, spec.family) {
            // One pair of each class.
            ("n_pairs", _) => (present, present, false),
            (_, Family::Pair) => (case.n, case.n, true),
            (_, Family::Proxy) => (case.n, case.classes, false),
            // One sample of each class is its support.
            (_, Family::FewShot) => (case.n - present, present, false),
        };
        let numbers = |count: usize| (0..count).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect::<Vec<_>>();
        let d = case.d;
        let gradient = vec![0.0; n.max(m) * d];
        Self { n, m, d, one_side, a: numbers(n * d), b: numbers(m * d), scores: numbers(n * m), gradient }
    }

    fn run(&mut self) -> Result<()> {
        let Self { n, m, d, one_side, ref a, ref b, ref mut scores, ref mut gradient } = *self;
        product((a, n), (b, m), d, scores)?;
        product((scores, n), (b, d), m, &mut gradient[..n * d])?;
        if !one_side {
            product((scores, m), (a, d), n, &mut gradient[..m * d])?;
        }
        black_box(gradient);
        Ok(())
    }
}

/// `a [rows, k] · b [rows, k]ᵀ`.
fn product((a, n): (&[f32], usize), (b, m): (&[f32], usize), k: usize, out: &mut [f32]) -> Result<()> {
    Ok(scores(Metric::Dot, Matrix::new(a, n, k)?, Matrix::new(b, m, k)?, out)?)
}
