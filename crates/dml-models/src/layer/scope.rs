//! Where a layer's weights are made: a path of names and one stream of random numbers.

use crate::Result;
use crate::init::Init;
use crate::weights::{Grid, Parameter, Weights};
use candle_core::{DType, Device, Tensor, Var};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How a tensor begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Zeros,
    Ones,
    Value(f64),
    /// Normal of this deviation.
    Normal(f64),
    /// Normal of deviation `√(2/fan_in)` (He et al. 2015).
    Kaiming,
    /// Normal of deviation `√(2/fan_out)`, as torchvision begins ResNets.
    KaimingOut,
    /// Normal of deviation `1/√fan_in`.
    FanIn,
}

/// Makes the weights of a network, one after the other.
pub(crate) struct Builder {
    weights: RefCell<Weights>,
    init: RefCell<Init>,
    device: Device,
}

impl Builder {
    pub(crate) fn new(seed: u64, device: &Device) -> Self {
        Self { weights: RefCell::default(), init: RefCell::new(Init::new(seed)), device: device.clone() }
    }

    pub(crate) fn root(&self) -> Scope<'_> {
        Scope { builder: self, path: String::new() }
    }

    /// All that was made.
    pub(crate) fn finish(self) -> Weights {
        self.weights.into_inner()
    }
}

/// A place in a network, e.g. `layer1.0`.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    builder: &'a Builder,
    path: String,
}

impl Scope<'_> {
    /// The place `name` within this.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { builder: self.builder, path }
    }

    /// A new parameter.
    pub(crate) fn parameter(&self, name: &str, shape: &[usize], start: Start) -> Result<Parameter> {
        let parameter = Parameter::new(self.at(name).path, self.make(shape, start)?);
        self.builder.weights.borrow_mut().push(parameter.clone());
        Ok(parameter)
    }

    /// A new parameter of places, of `before` tokens and then of patches, `d` numbers each.
    pub(crate) fn places(&self, name: &str, grid: Grid, d: usize, start: Start) -> Result<Parameter> {
        self.builder.weights.borrow_mut().push_grid(self.at(name).path, grid);
        self.parameter(name, &[1, grid.before + grid.rows * grid.columns, d], start)
    }

    /// A new buffer.
    pub(crate) fn buffer(&self, name: &str, shape: &[usize], start: Start) -> Result<Var> {
        let var = self.make(shape, start)?;
        self.builder.weights.borrow_mut().push_buffer(self.at(name).path, var.clone());
        Ok(var)
    }

    /// Whether batch norms stand still: asked at each pass.
    pub(crate) fn frozen_norms(&self) -> Arc<AtomicBool> {
        self.builder.weights.borrow().norms()
    }

    fn make(&self, shape: &[usize], start: Start) -> Result<Var> {
        let (device, mut init) = (&self.builder.device, self.builder.init.borrow_mut());
        let field: usize = shape.iter().skip(2).product();
        let (fan_in, fan_out) =
            (shape.iter().skip(1).product::<usize>().max(1), (shape.first().unwrap_or(&1) * field).max(1));
        let deviation = match start {
            Start::Zeros => return Ok(Var::zeros(shape, DType::F32, device)?),
            Start::Ones => return Ok(Var::ones(shape, DType::F32, device)?),
            Start::Value(value) => return Ok(Var::from_tensor(&Tensor::full(value as f32, shape, device)?)?),
            Start::Normal(deviation) => deviation,
            Start::Kaiming => (2.0 / fan_in as f64).sqrt(),
            Start::KaimingOut => (2.0 / fan_out as f64).sqrt(),
            Start::FanIn => (1.0 / fan_in as f64).sqrt(),
        };
        Ok(init.normal(shape, deviation, device)?)
    }
}
