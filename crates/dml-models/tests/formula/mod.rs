//! Goldens of networks whose weights are a formula: `tests/golden/README.md` says it, `tests/golden/generate/formula.py` is its twin.
//!
//! Knows tensors by name only, so that tests outside and within the crate have it.
#![allow(dead_code, reason = "each test uses a part of it")]

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use serde_json::Value;
use std::path::Path;

/// Random bits of a name, 24 for each element.
fn bits(name: &str, count: usize) -> impl Iterator<Item = u64> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |state: u64, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (1..=count as u64).map(move |i| {
        let x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) >> 40
    })
}

/// In [-1, 1).
pub(crate) fn uniform(name: &str, count: usize) -> Vec<f32> {
    bits(name, count).map(|bits| bits as f32 / 8_388_608.0 - 1.0).collect()
}

/// Whole numbers below `below`.
pub(crate) fn whole(name: &str, count: usize, below: u32) -> Vec<u32> {
    bits(name, count).map(|bits| (bits % u64::from(below)) as u32).collect()
}

/// [`uniform`] as a tensor.
pub(crate) fn uniform_tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(uniform(name, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

/// The tensor of a name, a shape and a kind, or a number for all elements.
pub(crate) fn tensor(name: &str, shape: &[usize], kind: &Value, spread: f64, raised: f32) -> Tensor {
    let count = shape.iter().product();
    let values = match kind.as_f64() {
        Some(number) => vec![number as f32; count],
        None => {
            let fan_in: usize = shape.iter().skip(1).product();
            let (start, scale) = match kind.as_str().unwrap() {
                "weight" => (0.0, (spread / fan_in as f64).sqrt() as f32),
                "embedding" => (0.0, 0.5),
                "gain" => (1.0, 0.25),
                "slope" => (0.25, 0.125),
                "bias" => (raised, 0.1),
                "mean" => (0.0, 0.1),
                "variance" => (1.0, 0.5),
                other => panic!("kind {other}"),
            };
            uniform(name, count).into_iter().map(|u| start + scale * u).collect()
        }
    };
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A network of the goldens.
pub(crate) struct Case(pub(crate) Value);

impl Case {
    pub(crate) fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn config(&self) -> &Value {
        &self.0["config"]
    }

    /// Names, shapes and kinds of the tensors.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>, Value)> {
        serde_json::from_value(self.0["tensors"].clone()).unwrap()
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (&str, Run<'_>)> {
        self.0["runs"].as_object().unwrap().iter().map(|(name, run)| (name.as_str(), Run { case: self, run }))
    }

    pub(crate) fn run(&self, name: &str) -> Run<'_> {
        Run { case: self, run: &self.0["runs"][name] }
    }

    /// Sets `named`, which must be the tensors of the case, in any order; `ours` gives our name of one.
    pub(crate) fn fill(&self, named: &[(String, Var)], ours: impl Fn(&str) -> String) {
        self.fill_raised(named, ours, 0.0);
    }

    /// As [`Self::fill`], with biases so much higher.
    fn fill_raised(&self, named: &[(String, Var)], ours: impl Fn(&str) -> String, raised: f32) {
        let spread = self.config()["spread"].as_f64().unwrap();
        let tensors = self.tensors();
        for (name, shape, kind) in &tensors {
            let ours = ours(name);
            let (_, var) = named.iter().find(|(name, _)| *name == ours).unwrap_or_else(|| panic!("{ours} is missing"));
            assert_eq!(var.dims(), shape, "{ours}");
            var.set(&tensor(name, shape, kind, spread, raised)).unwrap();
        }
        assert_eq!(named.len(), tensors.len(), "there are more tensors than in the golden");
    }
}

/// What is asked of a network, and its answer.
pub(crate) struct Run<'a> {
    case: &'a Case,
    run: &'a Value,
}

/// How far results may be off: of the largest of an embedding, of the norm of a gradient.
#[derive(Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) embedding: f64,
    pub(crate) gradient: f64,
}

/// Tries with images rounded otherwise. A ReLU or a pool whose input is rounded across a kink changes gradients by a jump, in up to
/// 4 of 10 roundings of these networks; what is wrong is so under every rounding.
const ROUNDINGS: usize = 6;

impl Run<'_> {
    pub(crate) fn told(&self) -> &Value {
        self.run
    }

    pub(crate) fn input_shape(&self) -> Vec<usize> {
        serde_json::from_value(self.run["input"].clone()).unwrap()
    }

    pub(crate) fn is_train(&self) -> bool {
        self.run["train"].as_bool().unwrap()
    }

    /// How much higher biases are than those of other runs.
    pub(crate) fn raised(&self) -> f32 {
        self.run.get("raised").map_or(0.0, |raised| raised.as_f64().unwrap() as f32)
    }

    /// The loss whose gradients are told.
    pub(crate) fn loss(&self, embedding: &Tensor) -> Tensor {
        (embedding * uniform_tensor("probe", embedding.dims())).unwrap().sum_all().unwrap()
    }

    /// Compares everything with what `embed` makes of the images; names are ours.
    pub(crate) fn check_images(
        &self,
        what: &str,
        named: &[(String, Var)],
        allowed: Allowed,
        embed: impl Fn(&Tensor) -> Tensor,
    ) {
        let told = |rounding| -> Result<(), String> {
            self.case.fill_raised(named, str::to_owned, self.raised());
            let images = Var::from_tensor(&self.images(rounding)).unwrap();
            self.compare(&embed(&images), named, str::to_owned, Some(&images), allowed)?;
            self.compare_running(named)
        };
        if let Err(problem) = told(0) {
            assert!((1..ROUNDINGS).any(|rounding| told(rounding).is_ok()), "{what}: {problem}");
        }
    }

    /// The images, but for the last bit of some numbers if `rounding` is not 0.
    fn images(&self, rounding: usize) -> Tensor {
        let images = uniform_tensor("input", &self.input_shape());
        if rounding == 0 {
            return images;
        }
        let noise = uniform_tensor(&format!("rounding{rounding}"), &self.input_shape());
        (&images + (&images * (noise * 1.7e-7).unwrap()).unwrap()).unwrap()
    }

    /// Compares everything; `input` had a gradient if that of the golden had one.
    pub(crate) fn check(
        &self,
        what: &str,
        embedding: &Tensor,
        named: &[(String, Var)],
        ours: impl Fn(&str) -> String,
        input: Option<&Var>,
        allowed: Allowed,
    ) {
        let compared = self.compare(embedding, named, ours, input, allowed);
        compared.unwrap_or_else(|problem| panic!("{what}: {problem}"));
    }

    pub(crate) fn check_embedding(&self, what: &str, embedding: &Tensor, allowed: f64) {
        self.compare_embedding(embedding, allowed).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    }

    fn compare(
        &self,
        embedding: &Tensor,
        named: &[(String, Var)],
        ours: impl Fn(&str) -> String,
        input: Option<&Var>,
        allowed: Allowed,
    ) -> Result<(), String> {
        self.compare_embedding(embedding, allowed.embedding)?;
        let gradients = self.loss(embedding).backward().unwrap();
        let largest = self.largest_gradient();
        for ((name, _, _), told) in self.case.tensors().iter().zip(self.run["gradients"].as_array().unwrap()) {
            let (_, var) = named.iter().find(|(of, _)| *of == ours(name)).unwrap();
            if told.is_null() {
                assert!(gradients.get(var).is_none(), "{name} is not learned");
            } else {
                compare_gradient(name, told, &numbers(&gradients, var), largest, allowed.gradient)?;
            }
        }
        if let Some(told) = self.run.get("input_gradient") {
            let input = input.expect("the golden has a gradient of the input");
            compare_gradient("input", told, &numbers(&gradients, input), largest, allowed.gradient)?;
        }
        Ok(())
    }

    /// The largest norm of a gradient.
    fn largest_gradient(&self) -> f64 {
        let told = self.run["gradients"].as_array().unwrap();
        told.iter().filter_map(|told| told[0].as_f64()).fold(0.0, f64::max)
    }

    /// Compares each gradient that is told with what `of` gives for its name; that of the images is `input`. Gives their number.
    pub(crate) fn check_gradients(&self, allowed: f64, of: impl Fn(&str) -> Tensor) -> usize {
        let tensors = self.case.tensors();
        let names = tensors.iter().map(|(name, _, _)| name.as_str());
        let all = names.zip(self.run["gradients"].as_array().unwrap());
        let all = all.chain(self.run.get("input_gradient").map(|told| ("input", told)));
        let told: Vec<(&str, &Value)> = all.filter(|(_, told)| !told.is_null()).collect();
        for &(name, told) in &told {
            let values: Vec<f32> = of(name).flatten_all().unwrap().to_vec1().unwrap();
            let compared = compare_gradient(name, told, &values, self.largest_gradient(), allowed);
            compared.unwrap_or_else(|problem| panic!("{problem}"));
        }
        told.len()
    }

    /// Elements that were kept, the norm of all, and the loss, which is of all.
    fn compare_embedding(&self, embedding: &Tensor, allowed: f64) -> Result<(), String> {
        let told = &self.run["embedding"];
        let shape: Vec<usize> = serde_json::from_value(told["shape"].clone()).unwrap();
        assert_eq!(embedding.dims(), shape);
        let found: Vec<f32> = embedding.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f64> = serde_json::from_value(told["values"].clone()).unwrap();
        let kept = found.iter().step_by(told["every"].as_u64().unwrap() as usize).map(|&value| f64::from(value));
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (i, (found, told)) in kept.zip(&values).enumerate() {
            let off = (found - told).abs() / largest;
            near(off, allowed, || format!("kept element {i} is {found} and not {told}: {off:e} of the largest"))?;
        }
        let told_norm = told["norm"].as_f64().unwrap();
        let loss = f64::from(self.loss(embedding).to_scalar::<f32>().unwrap());
        for (what, found, told) in
            [("norm", norm(&found), told_norm), ("loss", loss, self.run["loss"].as_f64().unwrap())]
        {
            let off = (found - told).abs() / told_norm;
            near(off, allowed, || format!("the {what} is {found} and not {told}: {off:e} of the norm"))?;
        }
        Ok(())
    }

    /// Sum and norm of the first and last running statistics after a step, if they are told.
    fn compare_running(&self, named: &[(String, Var)]) -> Result<(), String> {
        let told = self.run.get("running").and_then(Value::as_object);
        for (name, told) in told.into_iter().flatten() {
            let (_, var) = named.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("{name}"));
            let values: Vec<f32> = var.to_vec1().unwrap();
            let [told_sum, told_norm]: [f64; 2] = serde_json::from_value(told.clone()).unwrap();
            let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
            let off = (sum - told_sum).abs().max((norm(&values) - told_norm).abs()) / told_norm;
            near(off, 1e-4, || format!("{name} is off by {off:e} of its norm"))?;
        }
        Ok(())
    }
}

/// NaN is not near.
fn near(off: f64, allowed: f64, problem: impl Fn() -> String) -> Result<(), String> {
    if off <= allowed { Ok(()) } else { Err(problem()) }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// All numbers of a gradient; zeros, where there is none.
fn numbers(gradients: &GradStore, var: &Var) -> Vec<f32> {
    match gradients.get(var) {
        Some(gradient) => gradient.flatten_all().unwrap().to_vec1().unwrap(),
        None => vec![0.0; var.elem_count()],
    }
}

/// Of a gradient: its norm, and its product with a vector of the formula.
fn compare_gradient(name: &str, told: &Value, values: &[f32], largest: f64, allowed: f64) -> Result<(), String> {
    let [told_norm, told_dot]: [f64; 2] = serde_json::from_value(told.clone()).unwrap();
    let probe = uniform(&format!("dot:{name}"), values.len());
    let norm = norm(values);
    let dot: f64 = values.iter().zip(&probe).map(|(&value, &u)| f64::from(value) * f64::from(u)).sum();
    // What is 0 but for rounding is so beside the others.
    let scale = if told_norm == 0.0 { largest.max(f64::MIN_POSITIVE) } else { told_norm };
    let off = ((norm - told_norm).abs() / scale).max((dot - told_dot).abs() / scale);
    near(off, allowed, || {
        format!("gradient of {name}: norm {norm} and {told_norm}, product {dot} and {told_dot}: off by {off:e}")
    })
}
