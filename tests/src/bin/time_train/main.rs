//! Times steps of training and inference of networks on the CPU. `cargo xtask bench train` drives it.
//! Called and asked as `dml_tests::timing` says; nothing is left for other contestants.

mod run;

use std::hint::black_box;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use candle_core::{Device, Tensor};
use dml_models::image::VitConfig;
use dml_models::{
    Architecture, Encoder, EncoderConfig, Input, Mode, Network, Precision, Tokens, gradients, without_gradients,
};
use dml_tests::timing::{self, Answer, Repeat};
use dml_train::optimizer::{Group, Kind, Optimizer, OptimizerConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPEAT: Repeat = Repeat { times: 7, unless_first_takes: f64::INFINITY };

type Case = timing::Case<Params>;

/// What a case needs to know. `Case::loss` is the network, `run` or `checkpoint`.
#[derive(Default, Serialize, Deserialize)]
struct Params {
    /// `train`, `inference`, or of transformers `train in bf16`.
    mode: String,
}

/// Of a text.
const TOKENS: usize = 64;

/// A network with its inputs.
struct Contestant {
    name: &'static str,
    title: &'static str,
    /// Inputs of a batch.
    batch: usize,
    /// Shape of one.
    input: [usize; 3],
    /// Multiplications and additions of a forward pass of one, in convolutions and products.
    macs: f64,
}

fn contestants() -> [Contestant; 4] {
    let conv = |places: usize, c_in: usize, c_out: usize, k: usize| (places * k * k * c_in * c_out) as f64;
    let conv4 = conv(28 * 28, 1, 64, 3) + conv(14 * 14, 64, 64, 3) + conv(7 * 7, 64, 64, 3) + conv(3 * 3, 64, 64, 3);
    let stage =
        |places: usize, c: usize| conv(places, c / 2, c, 3) + 3.0 * conv(places, c, c, 3) + conv(places, c / 2, c, 1);
    let resnet18 =
        conv(48 * 48, 3, 64, 7) + 4.0 * conv(24 * 24, 64, 64, 3) + stage(144, 128) + stage(36, 256) + stage(9, 512);
    let transformer = |depth: f64, t: f64, d: f64| depth * (12.0 * t * d * d + 2.0 * t * t * d);
    let vit = transformer(12.0, 197.0, 192.0) + 196.0 * 768.0 * 192.0;
    [
        Contestant { name: "conv4", title: "Conv-4, 28 × 28", batch: 128, input: [1, 28, 28], macs: conv4 },
        Contestant { name: "resnet18", title: "ResNet-18, 96 × 96", batch: 32, input: [3, 96, 96], macs: resnet18 },
        Contestant {
            name: "minilm_l6",
            title: "MiniLM-L6, 64 tokens",
            batch: 32,
            input: [1, 1, TOKENS],
            macs: transformer(6.0, TOKENS as f64, 384.0),
        },
        Contestant { name: "vit_tiny", title: "ViT-Ti/16, 224 × 224", batch: 16, input: [3, 224, 224], macs: vit },
    ]
}

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet; `mi_option_purge_delay`, never.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    timing::run(print_cases, |_| {
        timing::serve("dml-models", |line| {
            let case: Case = serde_json::from_str(&line)?;
            turn(&case).with_context(|| case.title.clone())
        })
    })
}

fn print_cases(quick: bool) -> Result<()> {
    for of in contestants() {
        let is_transformer = ["minilm_l6", "vit_tiny"].contains(&of.name);
        for mode in ["train", "inference", "train in bf16"].into_iter().take(if is_transformer { 3 } else { 2 }) {
            let n = if quick { of.batch / 8 } else { of.batch };
            Case {
                title: format!("{}, {mode}", of.title),
                loss: of.name.to_owned(),
                params: Params { mode: mode.to_owned() },
                n,
                d: of.input.iter().product(),
                classes: 0,
                per_class: 0,
                tile: 0,
                budget_s: if quick { 1.0 } else { 10.0 },
            }
            .print()?;
        }
    }
    let of_a_run = |title: &str, what: &str, n: usize| {
        let (title, loss) = (title.to_owned(), what.to_owned());
        Case { title, loss, params: Params::default(), n, d: 0, classes: 0, per_class: 0, tile: 0, budget_s: 0.0 }
            .print()
    };
    of_a_run("a run of Conv-4 on 32 × 32 in memory, a step", "run", run::BATCH / if quick { 4 } else { 1 })?;
    of_a_run("a checkpoint of 100 MB, what its step waits", "checkpoint", 1)
}

fn turn(case: &Case) -> Result<Value> {
    let mut answer = Answer::new(REPEAT);
    match case.loss.as_str() {
        "run" => run::beside_its_work(case.n, &mut answer)?,
        "checkpoint" => run::checkpoint(&mut answer)?,
        _ => step(case, &mut answer)?,
    }
    Ok(serde_json::to_value(answer)?)
}

/// A step of training, or an inference.
fn step(case: &Case, answer: &mut Answer) -> Result<()> {
    let all = contestants();
    let of = all.iter().find(|of| of.name == case.loss).with_context(|| format!("no network {:?}", case.loss))?;
    let (training, precision) = match case.params.mode.as_str() {
        "train" => (true, Precision::F32),
        "train in bf16" => (true, Precision::Bf16),
        "inference" => (false, Precision::F32),
        other => bail!("no mode {other:?}"),
    };
    let mut made = None;
    answer.time("ours", || {
        // Within the first time, which does not count, so that its memory does.
        let (network, input, optimizer) = match &mut made {
            Some(made) => made,
            None => made.insert(make(of, case.n, training)?),
        };
        if !training {
            black_box(rayon::scope(|_| without_gradients(|| network.embed(input, Mode::Eval)))?);
            return Ok(());
        }
        // On a thread of the pool, as the trainer does.
        let loss = || -> Result<Tensor> { Ok(network.embed(input, Mode::Train)?.sqr()?.mean_all()?) };
        let (_, gradients) = rayon::scope(|_| precision.during(|| gradients(loss)))?;
        optimizer.as_mut().context("no optimizer")?.step(&gradients, 1.0)?;
        Ok(())
    })?;
    // Of bf16 it would be no floor.
    if precision == Precision::Bf16 {
        return Ok(());
    }
    let flops = 2.0 * of.macs * case.n as f64 * if training { 3.0 } else { 1.0 };
    answer.time("floor", || products(flops))
}

fn make(of: &Contestant, n: usize, training: bool) -> Result<(Network, Input, Option<Optimizer>)> {
    let mut config = EncoderConfig::default();
    match of.name {
        "conv4" => config.architecture = Architecture::Conv4,
        "resnet18" => config.architecture = Architecture::Resnet18,
        // Its shape is the default.
        "minilm_l6" => config.architecture = Architecture::Bert,
        _ => {
            config.architecture = Architecture::Vit;
            config.vit = VitConfig { dim: 192, heads: 3, mlp: 768, ..VitConfig::default() };
        }
    }
    let network = Network::new(&config, of.input, 0, &Device::Cpu)?;
    let [c, h, w] = of.input;
    let input = match config.architecture {
        Architecture::Bert => {
            let ids: Vec<u32> =
                (0..n * TOKENS).map(|i| 1000 + (i as u32).wrapping_mul(2_654_435_761) % 29_000).collect();
            let ids = Tensor::from_vec(ids, (n, TOKENS), &Device::Cpu)?;
            Input::Tokens(Tokens { mask: ids.ones_like()?, ids, types: None })
        }
        _ => Input::Images(Tensor::randn(0f32, 1.0, (n, c, h, w), &Device::Cpu)?),
    };
    let settings = OptimizerConfig { kind: Kind::AdamW, lr: 1e-4, ..OptimizerConfig::default() };
    let trainable = network.weights().trainable().into_iter().map(|(name, var)| (name, var, Group::Backbone));
    let optimizer = training.then(|| Optimizer::new(settings, trainable.collect())).transpose()?;
    Ok((network, input, optimizer))
}

/// So many operations as products of large matrices: what the processor needs if nothing else is to be done.
fn products(flops: f64) -> Result<()> {
    const SIDE: usize = 768;
    let one = 2.0 * (SIDE as f64).powi(3);
    let (a, b) = (
        Tensor::ones((SIDE, SIDE), candle_core::DType::F32, &Device::Cpu)?,
        Tensor::ones((SIDE, SIDE), candle_core::DType::F32, &Device::Cpu)?,
    );
    let mut left = flops;
    while left > 0.0 {
        // The last one is smaller.
        let rows = ((left / one).min(1.0) * SIDE as f64).ceil() as usize;
        black_box(a.narrow(0, 0, rows)?.matmul(&b)?);
        left -= one;
    }
    Ok(())
}
