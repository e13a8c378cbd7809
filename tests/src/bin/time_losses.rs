//! Times the losses: fused, composed, and the floor. `cargo xtask bench losses` drives it.
//! Called and asked as `dml_tests::timing` says; it leaves nothing in its folder:
//!
//!     time_losses cases --quick | time_losses serve .
//!
//! A repetition goes from an embedding tensor to its gradient on the host, and to those of the parameters where there are
//! any. Contestants take turns; `RAYON_NUM_THREADS` sets the threads of all.

use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use candle_core::{Device, Tensor, Var};
use dml_core::rowwise::Memory;
use dml_core::{Matrix, Metric, Projection, scores};
use dml_losses::{Batch, Context, Family, Kernel, LOSSES, Objective, References, Supervision};
use dml_tests::{batch, peak, timing};
use serde_json::{Map, Value, json};

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batch sizes, and the proxies of the losses that have them.
const ROWS: [usize; 4] = [128, 512, 1024, 4096];
const QUICK_ROWS: [usize; 2] = [128, 512];
const DIM: usize = 512;
const FEW_PROXIES: usize = 1000;
const MANY_PROXIES: usize = 100_000;
/// Rows beside so many proxies.
const ROWS_OF_MANY: usize = 128;
/// A case whose first repetition takes this many seconds is measured by it alone, once.
const SLOW: f64 = 4.0;
const PER_CLASS: usize = 4;
/// Above this batch the composed forms are not timed: they take long, and much memory.
const LARGEST_COMPOSED: usize = 512;

/// Modes beside the defaults that do other work.
const VARIANTS: [(&str, &str, &str); 5] = [
    ("triplet", "mining", "\"semi_hard\""),
    ("triplet", "mining", "\"batch_hard\""),
    ("triplet", "soft", "true"),
    ("triplet", "swap", "true"),
    ("multi_similarity", "epsilon", "0.1"),
];

/// `Case::loss` is a name in the registry, or `gemm` for the product `X·Xᵀ` alone. Row `i` is of class `i / per_class`, counted
/// round again from the last class of those that have proxies.
type Case = timing::Case<Map<String, Value>>;

fn main() -> ExitCode {
    let cases = |quick| if quick { print_cases(&QUICK_ROWS, 0.15) } else { print_cases(&ROWS, 0.3) };
    timing::run(cases, |_| serve())
}

fn print_cases(rows: &[usize], budget_s: f64) -> Result<()> {
    let case = |title: &str, loss: &str, params: &Map<String, Value>, n: usize, classes: usize| Case {
        title: title.to_owned(),
        loss: loss.to_owned(),
        params: params.clone(),
        n,
        d: DIM,
        classes,
        per_class: PER_CLASS,
        tile: 0,
        budget_s,
    };
    let print = |case: Case| case.print();
    for &n in rows {
        print(case("product X·Xᵀ", "gemm", &Map::new(), n, 0))?;
    }
    let whole = rows.len() == ROWS.len();
    for spec in LOSSES {
        let Value::Object(defaults) = (spec.default_params)() else { bail!("{}: parameters are no object", spec.name) };
        let mut modes = vec![(spec.name.to_owned(), defaults.clone())];
        for (_, key, value) in VARIANTS.iter().filter(|variant| variant.0 == spec.name) {
            let mut params = defaults.clone();
            params.insert((*key).to_owned(), serde_json::from_str(value)?);
            modes.push((format!("{}, {key} = {}", spec.name, value.trim_matches('"')), params));
        }
        for (title, params) in modes {
            // It inverts a matrix of n rows.
            let rows = rows.iter().filter(|&&n| spec.name != "manifold" || n <= 1024);
            for &n in rows {
                print(case(&title, spec.name, &params, n, FEW_PROXIES))?;
            }
            // Ten centres for each of so many classes do not fit beside their gradients.
            if whole && spec.family == Family::Proxy && !params.contains_key("centers_per_class") {
                let title = format!("{title}, {MANY_PROXIES} classes");
                print(case(&title, spec.name, &params, ROWS_OF_MANY, MANY_PROXIES))?;
            }
        }
    }
    if whole {
        for name in ["multi_similarity", "nt_xent"] {
            let Value::Object(defaults) = (dml_losses::registry::find(name)?.default_params)() else { continue };
            let title = format!("{name}, streaming");
            print(Case { d: 128, ..case(&title, name, &defaults, 65_536, 0) })?;
        }
        let Value::Object(mut params) = (dml_losses::registry::find("arc_face")?.default_params)() else {
            return Ok(());
        };
        params.insert("sample_rate".to_owned(), json!(0.1));
        print(case("arc_face, Partial FC of 1,000,000 classes", "arc_face", &params, 128, 1_000_000))?;
    }
    Ok(())
}

fn serve() -> Result<()> {
    let mut slow: HashMap<String, Value> = HashMap::new();
    timing::serve("dml-losses", |line| {
        let case: Case = serde_json::from_str(&line)?;
        let answer = match slow.get(&line) {
            Some(answer) => answer.clone(),
            None => turn(&case).with_context(|| format!("{} at n = {}", case.title, case.n))?,
        };
        if answer["slow"] == true {
            slow.insert(line, answer.clone());
        }
        Ok(json!({"seconds": answer["seconds"], "bytes": answer["bytes"]}))
    })
}

/// The inputs of a case.
struct Inputs {
    embeddings: Var,
    supervision: Supervision,
    /// The other view, for losses of two.
    references: Option<Var>,
}

impl Inputs {
    fn new(case: &Case, family: Option<Family>) -> Result<Self> {
        let classes = if case.classes > 0 { case.classes } else { usize::MAX };
        let labels: Vec<u64> = (0..case.n).map(|i| (i / case.per_class % classes) as u64).collect();
        let tensor = |seed| -> Result<Var> {
            let values = batch::embeddings(&labels, case.d, seed);
            Ok(Var::from_tensor(&Tensor::from_vec(values, (case.n, case.d), &Device::Cpu)?)?)
        };
        let supervision = match family {
            Some(Family::Graded) => Supervision::PairGrades((0..case.n / 2).map(|i| (i % 11) as f32 / 10.0).collect()),
            _ => Supervision::Labels(labels.clone()),
        };
        let references = (family == Some(Family::Views)).then(|| tensor(3)).transpose()?;
        Ok(Self { embeddings: tensor(2)?, supervision, references })
    }
}

/// Repetitions of all contestants, one after the other, until the time is up.
fn turn(case: &Case) -> Result<Value> {
    if case.loss == "gemm" {
        return gemm(case);
    }
    let spec = dml_losses::registry::find(&case.loss)?;
    let memory = if case.tile > 0 { Memory::Rows(case.tile) } else { Memory::Auto };
    let context = Context { seed: 1, memory, ..Context::new(case.d, case.classes) };
    let params = Value::Object(case.params.clone());
    let inputs = Inputs::new(case, Some(spec.family))?;
    let mut fused = dml_losses::build(&case.loss, &params, &context)?;
    let composes = case.n <= LARGEST_COMPOSED && case.classes < MANY_PROXIES;
    let mut composed = match composes {
        true => Some(dml_losses::build(&case.loss, &params, &Context { kernel: Kernel::Composed, ..context })?),
        false => None,
    };
    let mut floor = Floor::new(spec.family, &case.loss, case);

    // Caches, threads and the allocator's pages are warm after the first.
    let mut bytes = Map::new();
    // What the case before has left is not to count as there.
    dml_core::release_scratch();
    let (first, grown) = peak::growth(|| timed(|| forward_backward(fused.as_mut(), &inputs)));
    let first = first?;
    bytes.insert("fused".to_owned(), json!(grown));
    if first > SLOW && floor.is_none() {
        return Ok(json!({"seconds": {"fused": [first]}, "bytes": bytes, "slow": true}));
    }
    if let Some(composed) = &mut composed {
        dml_core::release_scratch();
        let (first, grown) = peak::growth(|| forward_backward(composed.as_mut(), &inputs));
        first?;
        bytes.insert("composed".to_owned(), json!(grown));
    }
    floor.as_mut().map_or(Ok(()), Floor::run)?;

    let mut seconds: [Vec<f64>; 3] = Default::default();
    let started = Instant::now();
    while seconds[0].is_empty() || started.elapsed().as_secs_f64() < case.budget_s {
        seconds[0].push(timed(|| forward_backward(fused.as_mut(), &inputs))?);
        if let Some(floor) = &mut floor {
            seconds[2].push(timed(|| floor.run())?);
        }
    }
    let started = Instant::now();
    if let Some(composed) = &mut composed {
        while seconds[1].is_empty() || started.elapsed().as_secs_f64() < case.budget_s {
            seconds[1].push(timed(|| forward_backward(composed.as_mut(), &inputs))?);
        }
    }
    let named = ["fused", "composed", "floor"].into_iter().zip(seconds).filter(|(_, seconds)| !seconds.is_empty());
    let seconds: Map<String, Value> = named.map(|(name, seconds)| (name.to_owned(), json!(seconds))).collect();
    Ok(json!({"seconds": seconds, "bytes": bytes}))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// What a training step asks of a loss.
fn forward_backward(objective: &mut dyn Objective, inputs: &Inputs) -> Result<()> {
    let references = inputs.references.as_ref().map(|references| References {
        embeddings: references.as_tensor(),
        supervision: &inputs.supervision,
        self_offset: None,
    });
    let batch = Batch { references, ..Batch::new(&inputs.embeddings, &inputs.supervision) };
    let gradients = objective.evaluate(&batch)?.loss.backward()?;
    let parameters = objective.parameters().into_iter().map(|(_, var)| var);
    for var in parameters.chain([inputs.embeddings.clone()]).chain(inputs.references.clone()) {
        let gradient = gradients.get(&var).context("the loss gave no gradient")?;
        // On the host already: nothing to wait for.
        black_box(gradient);
    }
    Ok(())
}

/// `X·Xᵀ` by ours (half of it is copied), and by the product candle itself runs.
fn gemm(case: &Case) -> Result<Value> {
    let inputs = Inputs::new(case, None)?;
    let x = inputs.embeddings.as_tensor();
    let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
    let matrix = Matrix::new(&values, case.n, case.d)?;
    let mut out = vec![0f32; case.n * case.n];
    let turned = x.t()?;
    let mut seconds: [Vec<f64>; 3] = Default::default();
    let mut rounds = || -> Result<[f64; 3]> {
        Ok([
            timed(|| Ok(dml_core::self_scores(Metric::Dot, matrix, &mut out)?))?,
            timed(|| Ok(scores(Metric::Dot, matrix, matrix, &mut out)?))?,
            timed(|| {
                black_box(x.matmul(&turned)?);
                Ok(())
            })?,
        ])
    };
    rounds()?;
    let started = Instant::now();
    while seconds[0].is_empty() || started.elapsed().as_secs_f64() < case.budget_s {
        seconds.iter_mut().zip(rounds()?).for_each(|(all, one)| all.push(one));
    }
    let [fused, floor, candle] = seconds;
    Ok(json!({"seconds": {"fused": fused, "floor": floor, "candle": candle}, "bytes": {}}))
}

/// What no implementation can avoid: rows brought to length 1, `S = A·Bᵀ`, then `G·B` and, unless both sides are one,
/// `Gᵀ·A`. For a batch with itself half of S is enough, and `(G + Gᵀ)·X` is one product. Run by dml-core's own kernels into
/// memory that is there.
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
    /// `None` for a loss that is no function of a score matrix.
    fn new(family: Family, loss: &str, case: &Case) -> Option<Self> {
        let present = case.n / case.per_class;
        let proxies = |key: &str| case.params.get(key).and_then(Value::as_u64).unwrap_or(1) as usize;
        let (n, m, one_side) = match (loss, family) {
            ("manifold", _) | (_, Family::Views | Family::Graded) => return None,
            // One pair of each class.
            ("n_pairs" | "clip" | "mega_batch_margin", _) => (present, present, false),
            // Anchors with the means of classes.
            ("centroid_triplet", _) => (case.n, present, false),
            // All pairs of four slots of each class.
            ("hyperbolic", _) => (case.n, case.n, true),
            (_, Family::Pair | Family::Ranking) => (case.n, case.n, true),
            (_, Family::Proxy) => {
                let rate = case.params.get("sample_rate").and_then(Value::as_f64).unwrap_or(1.0);
                let vectors = case.classes * proxies("centers_per_class") * proxies("sub_centers");
                (case.n, (vectors as f64 * rate) as usize, false)
            }
            // One sample of each class is its support.
            (_, Family::FewShot) => (case.n - present, present, false),
        };
        // What is held in tiles is no floor to stand on.
        if n * m > 1 << 28 {
            return None;
        }
        let numbers = |count: usize| (0..count).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect::<Vec<_>>();
        let d = case.d;
        let gradient = vec![0.0; n.max(m) * d];
        Some(Self { n, m, d, one_side, a: numbers(n * d), b: numbers(m * d), scores: numbers(n * m), gradient })
    }

    fn run(&mut self) -> Result<()> {
        let Self { n, m, d, one_side, ref a, ref b, ref mut scores, ref mut gradient } = *self;
        let normalized = Projection::Unit.apply(Matrix::new(a, n, d)?);
        black_box(&normalized.values);
        if !one_side {
            black_box(Projection::Unit.apply(Matrix::new(b, m, d)?).values);
        }
        if one_side {
            dml_core::self_scores(Metric::Dot, Matrix::new(a, n, d)?, scores)?;
        } else {
            product((a, n), (b, m), d, scores)?;
        }
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
