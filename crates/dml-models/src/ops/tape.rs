//! Gradients of a pass through a network, without what candle does between two operations.
//!
//! candle begins the gradient of every tensor with zeros and adds to them, and keeps all activations until the last gradient is
//! there. In a training step of a transformer that is a quarter of the time. While a tape runs, an operation of this crate gives a
//! variable of its own, at which candle's graph ends, and the tape notes the operation. candle then goes through what stands between
//! the noted operations only — losses, heads, reshapes — and the tape through the rest, from the last to the first, and lets go of
//! each when it is done. What no slope reads is not kept at all, and what takes little time is computed again.

use super::add::sums;
use super::precision::{Precision, halves, of_halves};
use super::slice;
use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Storage, Tensor, TensorId, Var,
};
use std::cell::RefCell;
use std::collections::HashMap;

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
    let of_candle = loss.backward()?;
    let mut arrived: Arrived =
        of_candle.get_ids().filter_map(|&id| Some((id, of_candle.get_id(id)?.clone()))).collect();
    // It would keep the gradients of results that are done with.
    drop(of_candle);
    while let Some(entry) = entries.pop() {
        entry.backward(&entries, &mut arrived)?;
    }
    let mut gradients = GradStore::default();
    for (id, gradient) in arrived {
        gradients.insert_id(id, gradient);
    }
    Ok((loss.detach(), gradients))
}

/// The gradients of tensors that have one so far.
type Arrived = HashMap<TensorId, Tensor>;

/// What was done.
enum Operation {
    /// `a + b`.
    Sum([Operand; 2]),
    One(Box<dyn CustomOp1>, Operand),
    Two(Box<dyn CustomOp2>, [Operand; 2]),
    Three(Box<dyn CustomOp3>, [Operand; 3]),
}

/// What an operation was applied to, with as little memory as will do.
enum Operand {
    Kept(Tensor),
    /// A variable whose numbers nobody reads.
    Unread(TensorId),
    /// A variable that is read as bf16s only, and those.
    Halved(TensorId, Shape, Vec<u16>),
    /// The result of an entry that takes little time: it is computed again.
    Again(TensorId, usize),
}

struct Entry {
    operation: Operation,
    result: TensorId,
    /// Whether computing the result again takes less than it is worth to keep it.
    light: bool,
}

impl Operand {
    fn read(&self, entries: &[Entry]) -> Result<Tensor> {
        match self {
            Self::Kept(tensor) => Ok(tensor.clone()),
            Self::Again(_, entry) => entries[*entry].again(entries),
            Self::Halved(_, shape, halves) => variable((CpuStorage::F32(of_halves(halves)), shape.clone())),
            Self::Unread(_) => Err(Error::Msg("an operand that nobody reads was read".to_owned())),
        }
    }

    /// Brings its gradient to it, or through candle's operations to what they were applied to.
    fn send(&self, arrived: &mut Arrived, gradient: Option<Tensor>) -> Result<()> {
        let Some(gradient) = gradient else { return Ok(()) };
        match self {
            Self::Unread(id) | Self::Again(id, _) | Self::Halved(id, ..) => arrive(arrived, *id, gradient),
            Self::Kept(to) if !to.track_op() => Ok(()),
            Self::Kept(to) if to.is_variable() => arrive(arrived, to.id(), gradient),
            Self::Kept(to) => {
                let of_candle = to.apply_op1(Upstream(gradient))?.backward()?;
                for &id in of_candle.get_ids() {
                    if let Some(gradient) = of_candle.get_id(id) {
                        arrive(arrived, id, gradient.detach())?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn arrive(arrived: &mut Arrived, id: TensorId, gradient: Tensor) -> Result<()> {
    let sum = match arrived.remove(&id) {
        Some(old) => sum(&old, &gradient)?,
        None => gradient,
    };
    arrived.insert(id, sum);
    Ok(())
}

impl Entry {
    /// `before` are the entries before this one.
    fn backward(self, before: &[Self], arrived: &mut Arrived) -> Result<()> {
        let Some(gradient) = arrived.remove(&self.result) else { return Ok(()) };
        let read = |operand: &Operand| operand.read(before);
        // No operation of this crate reads its result in its backward pass, so results are not kept: the gradient stands there.
        match self.operation {
            Operation::Sum([a, b]) => {
                a.send(arrived, Some(gradient.clone()))?;
                b.send(arrived, Some(gradient))
            }
            Operation::One(op, x) => {
                let dx = op.bwd(&read(&x)?, &gradient, &gradient)?;
                x.send(arrived, dx)
            }
            Operation::Two(op, [a, b]) => {
                let (da, db) = op.bwd(&read(&a)?, &read(&b)?, &gradient, &gradient)?;
                a.send(arrived, da)?;
                b.send(arrived, db)
            }
            Operation::Three(op, [a, b, c]) => {
                let (da, db, dc) = op.bwd(&read(&a)?, &read(&b)?, &read(&c)?, &gradient, &gradient)?;
                a.send(arrived, da)?;
                b.send(arrived, db)?;
                c.send(arrived, dc)
            }
        }
    }

    /// Its result, computed again: a variable, as the first one was.
    fn again(&self, entries: &[Self]) -> Result<Tensor> {
        let read = |operand: &Operand| operand.read(entries);
        variable(match &self.operation {
            Operation::One(op, x) => stored(&read(x)?, |x, xl| op.cpu_fwd(x, xl)),
            Operation::Three(op, [a, b, c]) => of_three(&**op, [&read(a)?, &read(b)?, &read(c)?]),
            Operation::Sum(_) | Operation::Two(..) => {
                Err(Error::Msg("an operation that is not light was to be done again".to_owned()))
            }
        }?)
    }
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

fn variable((values, shape): (CpuStorage, Shape)) -> Result<Tensor> {
    let CpuStorage::F32(values) = values else { return Err(Error::Msg("an operation gave no f32".to_owned())) };
    Ok(Var::from_vec(values, shape, &candle_core::Device::Cpu)?.into_inner())
}

/// Notes an operation that reads its operands.
fn note<const N: usize>(
    result: (CpuStorage, Shape),
    operands: [&Tensor; N],
    light: bool,
    operation: impl FnOnce([Operand; N]) -> Operation,
) -> Result<Tensor> {
    let result = variable(result)?;
    push(result.id(), light, |entries| operation(operands.map(|of| kept(entries, of))));
    Ok(result)
}

/// What there will be to read of `of`.
fn kept(entries: &[Entry], of: &Tensor) -> Operand {
    match entries.iter().rposition(|entry| entry.light && entry.result == of.id()) {
        Some(entry) => Operand::Again(of.id(), entry),
        None => Operand::Kept(of.clone()),
    }
}

fn push(result: TensorId, light: bool, operation: impl FnOnce(&[Entry]) -> Operation) {
    TAPE.with_borrow_mut(|tape| {
        if let Some(tape) = tape {
            let operation = operation(tape);
            tape.push(Entry { operation, result, light });
        }
    });
}

/// Runs `f` on the storage of a tensor of the CPU.
fn stored<R>(x: &Tensor, f: impl FnOnce(&CpuStorage, &Layout) -> Result<R>) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(storage, layout),
        _ => Err(Error::Msg("operation runs on the CPU only".to_owned())),
    }
}

fn of_three(op: &dyn CustomOp3, [a, b, c]: [&Tensor; 3]) -> Result<(CpuStorage, Shape)> {
    stored(a, |a, al| stored(b, |b, bl| stored(c, |c, cl| op.cpu_fwd(a, al, b, bl, c, cl))))
}

/// Applies an operation of ours.
pub(crate) fn apply1(op: impl CustomOp1 + Send + Sync + 'static, x: &Tensor) -> Result<Tensor> {
    with1(op, x, false)
}

/// As [`apply1`], of an operation that takes little time: a tape computes its result again rather than keep it.
pub(crate) fn apply_light1(op: impl CustomOp1 + Send + Sync + 'static, x: &Tensor) -> Result<Tensor> {
    with1(op, x, true)
}

fn with1(op: impl CustomOp1 + Send + Sync + 'static, x: &Tensor, light: bool) -> Result<Tensor> {
    if !is_noted(&[x]) {
        return x.apply_op1(op);
    }
    let result = stored(x, |x, xl| op.cpu_fwd(x, xl))?;
    note(result, [x], light, |[x]| Operation::One(Box::new(op), x))
}

/// As [`apply1`], on two tensors.
pub(crate) fn apply2(op: impl CustomOp2 + Send + Sync + 'static, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_noted(&[a, b]) {
        return a.apply_op2(b, op);
    }
    let result = stored(a, |a, al| stored(b, |b, bl| op.cpu_fwd(a, al, b, bl)))?;
    note(result, [a, b], false, |operands| Operation::Two(Box::new(op), operands))
}

/// As [`apply2`], of a sum, whose slope needs no numbers of either.
pub(crate) fn apply_sum(op: impl CustomOp2 + Send + Sync + 'static, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !is_noted(&[a, b]) {
        return a.apply_op2(b, op);
    }
    let result = variable(stored(a, |a, al| stored(b, |b, bl| op.cpu_fwd(a, al, b, bl)))?)?;
    let operand = |of: &Tensor| match of.is_variable() {
        true => Operand::Unread(of.id()),
        false => Operand::Kept(of.clone()),
    };
    push(result.id(), false, |_| Operation::Sum([operand(a), operand(b)]));
    Ok(result)
}

/// As [`apply1`], on three tensors.
pub(crate) fn apply3(op: impl CustomOp3 + Send + Sync + 'static, of: [&Tensor; 3]) -> Result<Tensor> {
    with3(op, of, false)
}

/// As [`apply3`], of an operation that rounds what it reads of the first tensor to bf16 where that is the precision: it is kept so,
/// if nobody else keeps it.
pub(crate) fn apply3_rounding(op: impl CustomOp3 + Send + Sync + 'static, of: [&Tensor; 3]) -> Result<Tensor> {
    let [a, b, c] = of;
    let is_kept =
        || TAPE.with_borrow(|tape| tape.as_ref().is_some_and(|tape| matches!(kept(tape, a), Operand::Kept(_))));
    if Precision::now() == Precision::F32 || !is_noted(&of) || !a.is_variable() || !is_kept() {
        return apply3(op, of);
    }
    let result = variable(of_three(&op, of)?)?;
    let first = Operand::Halved(a.id(), a.shape().clone(), slice::with(a, |values| Ok(halves(values)))?);
    push(result.id(), false, |tape| Operation::Three(Box::new(op), [first, kept(tape, b), kept(tape, c)]));
    Ok(result)
}

/// As [`apply_light1`], on three tensors.
pub(crate) fn apply_light3(op: impl CustomOp3 + Send + Sync + 'static, of: [&Tensor; 3]) -> Result<Tensor> {
    with3(op, of, true)
}

fn with3(op: impl CustomOp3 + Send + Sync + 'static, of: [&Tensor; 3], light: bool) -> Result<Tensor> {
    if !is_noted(&of) {
        let [a, b, c] = of;
        return a.apply_op3(b, c, op);
    }
    let result = of_three(&op, of)?;
    note(result, of, light, |operands| Operation::Three(Box::new(op), operands))
}
