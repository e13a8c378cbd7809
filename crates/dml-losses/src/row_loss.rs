//! Composition of a row with its space, its references and its reduction: the only composer.

use crate::autograd::{attach, nothing};
use crate::composed::{ComposedTerms, Masks, reduce};
use crate::objective::{Batch, Context, Evaluation, Kernel};
use crate::setting::Setting;
use crate::{Objective, Result};
use candle_core::{DType, Tensor, WithDType};
use dml_core::relevance::{Relevance, Sets};
use dml_core::rowwise::{Memory, Problem, RowObjective, RowwiseOutput, Statistics, rowwise};
use dml_core::table::{Table, tablewise};
use dml_core::{Metric, Projection, Real, Reduction, has_kernels, pairwise, with_host};

/// A loss of one row in both its forms.
pub trait RowForm: RowObjective<f32> + RowObjective<f64> + Send + 'static {
    /// The terms of each group ([`RowObjective::groups`]) from scores `[n, m]`, as candle operations.
    ///
    /// # Errors
    /// When a tensor operation fails.
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>>;

    /// Whether a pair that a miner names twice counts twice.
    fn repeats(&self) -> bool {
        false
    }

    /// Whether the loss is 0 of a batch that has no positive pair at all, or no negative one.
    fn wants_both_kinds(&self) -> bool {
        false
    }

    /// Whether mined tuples only tell how much each anchor's terms weigh: how often it was named, over the most (of
    /// tuples that name nobody: 1). The row then sees everybody's positives and negatives, mined or not.
    fn tuples_are_weights(&self) -> bool {
        false
    }
}

/// Where vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Space {
    /// How.
    pub metric: Metric,
    /// What is done to them first.
    pub projection: Projection,
}

impl Space {
    /// Clip of the norm before the exponential map, for losses that take any metric (Ermolov et al. 2022).
    const CLIP: f64 = 2.3;

    /// A metric of vectors that are normalised first, or not. For a hyperbolic metric "normalised" is the way into the
    /// ball: norms clipped to 2.3, exponential map. Cosine is the dot product of rows that are always normalised.
    pub fn new(metric: Metric, normalize: bool) -> Self {
        let (metric, projection) = match metric {
            Metric::Cosine => (Metric::Dot, Projection::Unit),
            Metric::Hyperbolic(curvature) if normalize => (metric, Projection::Ball { curvature, clip: Self::CLIP }),
            _ if normalize => (metric, Projection::Unit),
            _ => (metric, Projection::None),
        };
        Self { metric, projection }
    }

    /// Scores `[n, m]` of two tensors, differentiable on every device.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn compose(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        Ok(pairwise(self.metric, &self.projection.compose(x)?, &self.projection.compose(y)?)?)
    }
}

/// Two sets of vectors; `None`: the references are the anchors.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// `[n, d]`.
    pub anchors: &'a Tensor,
    /// `[m, d]`.
    pub references: Option<&'a Tensor>,
}

impl<'a> Sides<'a> {
    /// Those of a batch.
    pub fn of(batch: &Batch<'a>) -> Self {
        Self { anchors: batch.embeddings, references: batch.references.map(|r| r.embeddings) }
    }

    /// Whether kernels run where they live.
    pub fn fused(&self, kernel: Kernel) -> bool {
        kernel == Kernel::Auto && has_kernels(self.anchors)
    }

    fn double(&self) -> bool {
        self.anchors.dtype() == DType::F64
    }
}

/// How a row is taken.
pub struct Run<'a> {
    /// Where vectors are compared.
    pub space: Space,
    /// Who is a positive of whom.
    pub relevance: &'a dyn Relevance,
    /// How terms are reduced.
    pub reduction: &'a Reduction,
    /// What each anchor's terms are multiplied by; empty: 1.
    pub weights: &'a [f64],
    /// How much of the score matrix exists at a time.
    pub memory: Memory,
}

/// A fused loss.
pub struct Fused {
    /// The scalar.
    pub loss: Tensor,
    /// Derivative by each anchor's own parameter `[n]`.
    pub slopes: Vec<f64>,
    /// What was seen.
    pub statistics: Statistics,
}

/// What a loss adds to what its row has given: a regulariser of its proxies, a slope of its own.
pub trait Beside {
    /// Adds to the value and to the gradients of the sides as they are compared, after their projection.
    fn add<T: Real>(
        &self,
        anchors: dml_core::Matrix<'_, T>,
        references: Option<dml_core::Matrix<'_, T>>,
        output: &mut RowwiseOutput<T>,
    );
}

/// Nothing.
impl Beside for () {
    fn add<T: Real>(&self, _: dml_core::Matrix<'_, T>, _: Option<dml_core::Matrix<'_, T>>, _: &mut RowwiseOutput<T>) {}
}

/// The fused form of a row.
///
/// # Errors
/// When shapes do not fit.
pub fn fused<R: RowObjective<f32> + RowObjective<f64>>(sides: Sides<'_>, run: &Run<'_>, row: &R) -> Result<Fused> {
    fused_beside(sides, run, row, &())
}

/// The same, with what is beside it.
///
/// # Errors
/// When shapes do not fit.
pub fn fused_beside<R: RowObjective<f32> + RowObjective<f64>, B: Beside>(
    sides: Sides<'_>,
    run: &Run<'_>,
    row: &R,
    beside: &B,
) -> Result<Fused> {
    if sides.double() {
        fused_in::<f64, B>(sides, run, row, beside)
    } else {
        fused_in::<f32, B>(sides, run, row, beside)
    }
}

/// Compiled once for all rows.
fn fused_in<T: Real + WithDType, B: Beside>(
    sides: Sides<'_>,
    run: &Run<'_>,
    row: &dyn RowObjective<T>,
    beside: &B,
) -> Result<Fused> {
    on_host::<T, _>(sides, run.space.projection, |anchors, references| {
        let mut output: RowwiseOutput<T> = rowwise(
            &Problem {
                metric: run.space.metric,
                anchors,
                references,
                reference_gradient: sides.references.is_some_and(Tensor::track_op),
                relevance: run.relevance,
                reduction: run.reduction,
                weights: run.weights,
                memory: run.memory,
            },
            row,
        )?;
        beside.add(anchors, references, &mut output);
        let rest = (output.slopes.iter().map(|s| s.wide()).collect(), output.statistics);
        Ok((output.value, output.d_anchors, output.d_references, rest))
    })
    .map(|(loss, (slopes, statistics))| Fused { loss, slopes, statistics })
}

/// A loss of the whole score matrix, generic over the float type.
pub trait TableForm {
    /// What it tells beside its value.
    type Seen;

    /// The loss of a table, with `dL/dscores` added to `gradient` `[n, m]`, which comes as zeros.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Self::Seen)>;
}

/// The fused form of a loss of the whole score matrix.
///
/// # Errors
/// When shapes do not fit.
pub fn fused_table<F: TableForm>(
    sides: Sides<'_>,
    space: Space,
    relevance: &dyn Relevance,
    form: &F,
) -> Result<(Tensor, F::Seen)> {
    fn run<T: Real + WithDType, F: TableForm>(
        sides: Sides<'_>,
        space: Space,
        relevance: &dyn Relevance,
        form: &F,
    ) -> Result<(Tensor, F::Seen)> {
        on_host::<T, _>(sides, space.projection, |anchors, references| {
            let loss = |table: &Table<'_, T>, gradient: &mut [T]| form.table(table, gradient);
            tablewise(space.metric, anchors, references, relevance, loss)
        })
    }
    if sides.double() {
        run::<f64, F>(sides, space, relevance, form)
    } else {
        run::<f32, F>(sides, space, relevance, form)
    }
}

/// Brings both sides to the host, projects them, runs a kernel, and ties its gradients to the tensors. A kernel gives the
/// value, the gradients at anchors and references (empty: none), and anything else.
///
/// # Errors
/// When a tensor is not of rank two, or the kernel fails.
pub fn on_host<T: Real + WithDType, X>(
    sides: Sides<'_>,
    projection: Projection,
    kernel: impl FnOnce(dml_core::Matrix<'_, T>, Option<dml_core::Matrix<'_, T>>) -> Result<(f64, Vec<T>, Vec<T>, X)>,
) -> Result<(Tensor, X)> {
    let host = |tensor: &Tensor| -> Result<dml_core::Projected<T>> {
        Ok(with_host::<T, _>(tensor, |values| projection.apply(values))?)
    };
    let a = host(sides.anchors)?;
    let b = sides.references.map(host).transpose()?;
    let (value, mut da, mut db, rest) = kernel(a.matrix(), b.as_ref().map(|b| b.matrix()))?;
    a.pull_back(&mut da);
    let mut gradients = vec![(sides.anchors, da)];
    if let (Some(b), Some(tensor)) = (&b, sides.references)
        && tensor.track_op()
        && db.len() == b.values.len()
    {
        b.pull_back(&mut db);
        gradients.push((tensor, db));
    }
    Ok((attach(value, gradients)?, rest))
}

/// The composed form: `compose` from scores and masks to the terms of each group.
///
/// # Errors
/// When a tensor operation fails.
pub fn composed(
    sides: Sides<'_>,
    run: &Run<'_>,
    compose: impl FnOnce(&Tensor, &Masks) -> Result<Vec<ComposedTerms>>,
) -> Result<Evaluation> {
    let x = wide(sides.anchors)?;
    let y = sides.references.map_or_else(|| Ok(x.clone()), wide)?.to_dtype(x.dtype())?;
    if x.dim(0)? == 0 || y.dim(0)? == 0 {
        // candle takes no maximum of no numbers.
        return Ok(nothing_of(sides, run.reduction)?.into());
    }
    let masks = Masks::new(run.relevance, x.dtype(), x.device())?;
    let scores = run.space.compose(&x, &y)?;
    let groups = compose(&scores, &masks)?;
    let (loss, statistics) = reduce(run.reduction, &groups, run.weights, &masks, &scores)?;
    Ok(Evaluation { loss, statistics })
}

/// Half precision as `f32`.
///
/// # Errors
/// When the tensor cannot be cast.
pub fn wide(x: &Tensor) -> Result<Tensor> {
    Ok(if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? })
}

/// Whether there is a positive and a negative pair.
fn both_kinds(relevance: &dyn Relevance) -> bool {
    let (mut sets, mut positive, mut negative) = (Sets::default(), false, false);
    for anchor in 0..relevance.anchors() {
        sets.clear();
        relevance.row(anchor, &mut sets);
        let others = sets.positives.len() + sets.ignored.len();
        positive |= !sets.positives.is_empty();
        negative |= sets.negatives.as_ref().map_or(others < relevance.references(), |listed| !listed.is_empty());
        if positive && negative {
            return true;
        }
    }
    false
}

/// The loss of a batch without any term: 0, or as many as there are anchors, with gradient 0.
pub(crate) fn nothing_of(sides: Sides<'_>, reduction: &Reduction) -> Result<Tensor> {
    let tensors: Vec<&Tensor> = std::iter::once(sides.anchors).chain(sides.references).collect();
    let none = nothing(&tensors)?;
    Ok(if *reduction == Reduction::None { none.broadcast_as(sides.anchors.dim(0)?)? } else { none })
}

/// A row in a space, over the batch or against references.
pub struct RowLoss<R> {
    pub(crate) row: R,
    pub(crate) setting: Setting,
}

impl<R: RowForm> RowLoss<R> {
    /// In a space, with the loss's own reduction unless the context has another.
    pub fn new(row: R, space: Space, reduction: Reduction, context: &Context) -> Self {
        Self { row, setting: Setting::new(space, reduction, context) }
    }
}

impl<R: RowForm> Objective for RowLoss<R> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let as_weights = self.row.tuples_are_weights();
        let relevance = if as_weights { batch.relevance()? } else { batch.named(self.row.repeats())? };
        let weights = batch.tuples.filter(|tuples| as_weights && !tuples.is_empty());
        let weights =
            weights.map_or_else(Vec::new, |tuples| tuples.weights(relevance.anchors(), batch.references.is_none()));
        let sides = Sides::of(batch);
        if self.row.wants_both_kinds() && !both_kinds(relevance.as_ref()) {
            return Ok(nothing_of(sides, &self.setting.reduction)?.into());
        }
        self.setting.evaluate(sides, relevance.as_ref(), &weights, &self.row)
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}
