//! What a network has learned: parameters and buffers by name, and which of them stand still.

use candle_core::{Tensor, Var};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How names begin that belong to a network's head.
pub(crate) const HEAD: &str = "head.";
/// How names begin that belong to a second tower, of texts.
pub(crate) const TEXT: &str = "text.";

/// Whether the weight `name` of a network belongs to a head.
pub fn is_of_head(name: &str) -> bool {
    name.strip_prefix(TEXT).unwrap_or(name).starts_with(HEAD)
}

/// Whether a weight of a network of two towers is of the one for texts, by its name.
pub fn is_of_text(name: &str) -> bool {
    name.starts_with(TEXT)
}

/// A tensor that an optimiser changes, unless it is frozen.
#[derive(Clone, Debug)]
pub struct Parameter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    var: Var,
    frozen: AtomicBool,
}

impl Parameter {
    pub(crate) fn new(name: String, var: Var) -> Self {
        Self(Arc::new(Inner { name, var, frozen: AtomicBool::new(false) }))
    }

    /// A buffer in a parameter's place: it never has a gradient.
    pub(crate) fn still(var: Var) -> Self {
        Self(Arc::new(Inner { name: String::new(), var, frozen: AtomicBool::new(true) }))
    }

    /// Its name, stable and that of the published weights, e.g. `layer1.0.conv1.weight`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The variable itself.
    pub fn var(&self) -> &Var {
        &self.0.var
    }

    /// Whether it stands still.
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// The tensor for a forward pass: without a gradient if it is frozen, which saves the work of one.
    pub(crate) fn tensor(&self) -> Tensor {
        if self.is_frozen() || !GRADIENTS.get() { self.0.var.detach() } else { self.0.var.as_tensor().clone() }
    }
}

thread_local! {
    static GRADIENTS: Cell<bool> = const { Cell::new(true) };
}

/// `f`, in which encoders on this thread compute what has no gradient: nothing is kept for one, so a pass needs the memory of its
/// largest layers and not of all of them.
pub fn without_gradients<R>(f: impl FnOnce() -> R) -> R {
    /// Set back however `f` ends.
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            GRADIENTS.set(self.0);
        }
    }

    let _before = Before(GRADIENTS.replace(false));
    f()
}

/// How the places of patches lie in a parameter `[1, before + rows · columns, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Places that are of no patch.
    pub(crate) before: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// All weights of a network, by name.
#[derive(Debug, Default)]
pub struct Weights {
    parameters: Vec<Parameter>,
    buffers: Vec<(String, Var)>,
    grids: Vec<(String, Grid)>,
    norms: Arc<AtomicBool>,
}

impl Weights {
    /// All parameters, in the order of the network.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What an optimiser changes: parameters that are not frozen.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let trainable = self.parameters.iter().filter(|parameter| !parameter.is_frozen());
        trainable.map(|parameter| (parameter.name().to_owned(), parameter.var().clone())).collect()
    }

    /// What training changes without a gradient, e.g. running statistics.
    pub fn buffers(&self) -> &[(String, Var)] {
        &self.buffers
    }

    /// Parameters and buffers: what a file of weights holds.
    pub fn named(&self) -> Vec<(String, Var)> {
        let parameters = self.parameters.iter().map(|parameter| (parameter.name().to_owned(), parameter.var().clone()));
        parameters.chain(self.buffers.iter().cloned()).collect()
    }

    /// Numbers in all parameters.
    pub fn count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.var().elem_count()).sum()
    }

    /// Freezes the parameters whose name `frozen` names, and no others; gives how many are.
    pub fn freeze(&self, frozen: impl Fn(&str) -> bool) -> usize {
        let set = |parameter: &&Parameter| {
            let stands = frozen(parameter.name());
            parameter.0.frozen.store(stands, Ordering::Relaxed);
            stands
        };
        self.parameters.iter().filter(set).count()
    }

    /// Whether batch norms use their running statistics in training too, and leave them as they are; and their scales and shifts
    /// have no gradient (frozen BN, as in most recipes of metric learning).
    pub fn freeze_norms(&self, frozen: bool) {
        self.norms.store(frozen, Ordering::Relaxed);
    }

    pub(crate) fn norms(&self) -> Arc<AtomicBool> {
        self.norms.clone()
    }

    /// How the places of patches lie in the parameter `name`, if it holds places of patches.
    pub(crate) fn grid(&self, name: &str) -> Option<Grid> {
        self.grids.iter().find(|(of, _)| of == name).map(|&(_, grid)| grid)
    }

    pub(crate) fn push_grid(&mut self, name: String, grid: Grid) {
        self.grids.push((name, grid));
    }

    pub(crate) fn push(&mut self, parameter: Parameter) {
        self.parameters.push(parameter);
    }

    pub(crate) fn push_buffer(&mut self, name: String, var: Var) {
        self.buffers.push((name, var));
    }
}
