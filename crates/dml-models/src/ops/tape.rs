//! Gradients of a pass through a network, without what candle does between two operations.
//!
//! candle begins the gradient of every tensor with zeros and adds to them, and keeps all activations until the last gradient is
//! there. In a training step of a transformer that is a quarter of the time. While a tape runs, an operation of this crate gives a
//! variable of its own, at which candle's graph ends, and the tape notes the operation. candle then goes through what stands between
//! the noted operations only — losses, heads, reshapes — and the tape through the rest, from the last to the first, and lets go of
//! each when it is done.

use super::add::sums;
use super::slice;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Storage, Tensor, Var};
use std::cell::RefCell;

thread_local! {
    static TAPE: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// The loss that `f` computes (a scalar), and its gradient in everything trainable: the same numbers as `f()?.backward()`, up to the
/// order of sums, sooner and in less memory.
///
/// # Errors
/// When `f` or a gradient fails.
pub fn gradients<E: From<Error>>(
    f: impl FnOnce() -> std::result::Result<Tensor, E>,
) -> std::result::Result<(Tensor, GradStore), E> {
    /// The tape that ran before, if any, however `f` ends.
    struct Before(Option<Vec<Entry>>);

    impl Drop for Before {
        fn drop(&mut self) {
            TAPE.set(self.0.take());
        }
    }

    let before = Before(TAPE.replace(Some(Vec::new())));
    let loss = f()?;
    let mut entries = TAPE.take().unwrap_or_default();
    drop(before);
    let mut gradients = loss.backward()?;
    while let Some(entry) = entries.pop() {
        entry.backward(&mut gradients)?;
    }
    Ok((loss.detach(), gradients))
}

/// What was done.
enum Operation {
    One(Box<dyn CustomOp1>, Tensor),
    Two(Box<dyn CustomOp2>, [Tensor; 2]),
    Three(Box<dyn CustomOp3>, [Tensor; 3]),
}

struct Entry {
    operation: Operation,
    result: Tensor,
}

impl Entry {
    fn backward(self, gradients: &mut GradStore) -> Result<()> {
        let Self { operation, result } = self;
        let Some(gradient) = gradients.remove(&result) else { return Ok(()) };
        match operation {
            Operation::One(op, x) => send(gradients, &x, op.bwd(&x, &result, &gradient)?),
            Operation::Two(op, [a, b]) => {
                let (da, db) = op.bwd(&a, &b, &result, &gradient)?;
                send(gradients, &a, da)?;
                send(gradients, &b, db)
            }
            Operation::Three(op, [a, b, c]) => {
                let (da, db, dc) = op.bwd(&a, &b, &c, &result, &gradient)?;
                send(gradients, &a, da)?;
                send(gradients, &b, db)?;
                send(gradients, &c, dc)
            }
        }
    }
}

/// Brings a gradient to a tensor, or through candle's operations to what they were applied to.
fn send(gradients: &mut GradStore, to: &Tensor, gradient: Option<Tensor>) -> Result<()> {
    let Some(gradient) = gradient.filter(|_| to.track_op()) else { return Ok(()) };
    let of_candle;
    let arrived = if to.is_variable() {
        vec![(to.id(), gradient)]
    } else {
        of_candle = to.apply_op1(Upstream(gradient))?.backward()?;
        let ids = of_candle.get_ids().copied();
        ids.filter_map(|id| Some((id, of_candle.get_id(id)?.detach()))).collect()
    };
    for (id, gradient) in arrived {
        let sum = match gradients.get_id(id) {
            Some(old) => sum(old, &gradient)?,
            None => gradient,
        };
        gradients.insert_id(id, sum);
    }
    Ok(())
}

/// A number whose gradient is the given one.
struct Upstream(Tensor);

impl CustomOp1 for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, _dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !slice::fits(&[a, b]) || !a.is_contiguous() || !b.is_contiguous() {
        return (a + b)?.detach().contiguous();
    }
    let sum = slice::with2([a, b], |[a, b]| Ok(sums(a, b)))?;
    Tensor::from_vec(sum, a.shape(), a.device())
}

/// Whether a tape runs and the result of an operation on `of` belongs on it.
fn is_noted(of: &[&Tensor]) -> bool {
    of.iter().any(|x| x.track_op()) && TAPE.with_borrow(Option::is_some)
}

fn note((values, shape): (CpuStorage, Shape), operation: Operation) -> Result<Tensor> {
    let CpuStorage::F32(values) = values else { return Err(Error::Msg("an operation gave no f32".to_owned())) };
    let result = Var::from_vec(values, shape, &candle_core::Device::Cpu)?.into_inner();
    TAPE.with_borrow_mut(|tape| {
        if let Some(tape) = tape {
            tape.push(Entry { operation, result: result.clone() });
        }
    });
    Ok(result)
}

/// Runs `f` on the storage of a tensor of the CPU.
fn stored<R>(x: &Tensor, f: impl FnOnce(&CpuStorage, &Layout) -> Result<R>) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(storage, layout),
        _ => Err(Error::Msg("operation runs on the CPU only".to_owned())),
    }
}

/// Applies an operation of ours.
pub(crate) fn apply1(op: impl CustomOp1 + Send + Sync + 'static, x: &Tensor) -> Result<Tensor> {
    if !is_noted(&[x]) {
        return x.apply_op1(op);
    }
    let result = stored(x, |x, xl| op.cpu_fwd(x, xl))?;
    note(result, Operation::One(Box::new(op), x.clone()))
}

/// As [`apply1`], on two tensors.
pub(crate) fn apply2(op: impl CustomOp2 + Send + Sync + 'static, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_noted(&[a, b]) {
        return a.apply_op2(b, op);
    }
    let result = stored(a, |a, al| stored(b, |b, bl| op.cpu_fwd(a, al, b, bl)))?;
    note(result, Operation::Two(Box::new(op), [a.clone(), b.clone()]))
}

/// As [`apply1`], on three tensors.
pub(crate) fn apply3(op: impl CustomOp3 + Send + Sync + 'static, [a, b, c]: [&Tensor; 3]) -> Result<Tensor> {
    if !is_noted(&[a, b, c]) {
        return a.apply_op3(b, c, op);
    }
    let result = stored(a, |a, al| stored(b, |b, bl| stored(c, |c, cl| op.cpu_fwd(a, al, b, bl, c, cl))))?;
    note(result, Operation::Three(Box::new(op), [a, b, c].map(Tensor::clone)))
}
