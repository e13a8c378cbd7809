//! Centroid triplet loss.
//!
//! `[gap(d(a, c_P), d(a, c_k)) + m]+` for each anchor and each class k other than its own, averaged where it is not 0: c_P is the
//! mean of the rows of the anchor's class without the anchor, c_k that of all rows of class k; `gap(u, v)` is `u − v` for
//! distances, `v − u` for similarities. `soft` is `log(1 + e^{gap + m})`. Wieczorek et al., *On the Unreasonable Effectiveness
//! of Centroids in Image Retrieval*, 2021, eq. 2; m = 0.05 and euclidean distances as pytorch-metric-learning has them.
//! Rows are normalised before the means are taken, means are not. The gradient goes through the means.
//!
//! With references the means are of these. An anchor without another row of its class has no term.
//!
//! c_P need not be made where a difference scales the distance: `a − c_P = r/(r − 1)·(a − c)` with the mean c of all r rows.

use crate::composed::{ComposedTerms, Masks, any, hinge, no_terms, reduce, softplus};
use crate::params::{LossParams, finite, metric};
use crate::row_loss::{Sides, Space, on_host, wide};
use crate::{Batch, Context, Evaluation, Kernel, Objective, Result};
use candle_core::{Tensor, WithDType};
use dml_core::relevance::{Relevance, Sets};
use dml_core::rowwise::{Memory, Problem, RowObjective, rowwise};
use dml_core::{Matrix, Metric, Projection, Real, Reduction, Row, Terms, pairwise, vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parameters of the centroid triplet loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CentroidTripletParams {
    /// Margin m. Default 0.05.
    pub margin: f64,
    /// Softplus instead of the hinge. Default false.
    pub soft: bool,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 before the means are taken. Default true.
    pub normalize: bool,
}

impl Default for CentroidTripletParams {
    fn default() -> Self {
        Self { margin: 0.05, soft: false, metric: "euclidean".to_owned(), normalize: true }
    }
}

/// Anchors against the means of the classes.
struct Columns<'a> {
    labels: &'a [u64],
    /// The class of each reference, as a column.
    places: Vec<usize>,
    /// Number of references of each column.
    counts: Vec<f64>,
    columns: BTreeMap<u64, usize>,
    /// Whether anchors are among the references.
    within: bool,
}

impl<'a> Columns<'a> {
    fn new(labels: &'a [u64], references: &[u64], within: bool) -> Self {
        let mut columns: BTreeMap<u64, usize> = references.iter().map(|&label| (label, 0)).collect();
        columns.values_mut().enumerate().for_each(|(place, column)| *column = place);
        let places: Vec<usize> = references.iter().map(|label| columns[label]).collect();
        let mut counts = vec![0.0; columns.len()];
        places.iter().for_each(|&place| counts[place] += 1.0);
        Self { labels, places, counts, columns, within }
    }

    /// `r/(r − 1)` of each anchor, what its distance to the whole mean is multiplied by.
    fn stretch(&self, anchor: usize) -> f64 {
        let rows = self.columns.get(&self.labels[anchor]).map_or(0.0, |&k| self.counts[k]);
        if self.within && rows > 1.0 { rows / (rows - 1.0) } else { 1.0 }
    }
}

impl Relevance for Columns<'_> {
    fn anchors(&self) -> usize {
        self.labels.len()
    }

    fn references(&self) -> usize {
        self.counts.len()
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        let Some(&own) = self.columns.get(&self.labels[anchor]) else { return };
        let alone = self.within && self.counts[own] < 2.0;
        if alone { &mut sets.ignored } else { &mut sets.positives }.push(own as u32);
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        Some(self.labels[anchor])
    }
}

/// A row against the means.
struct CentroidRow {
    margin: f64,
    /// +1 for distances, −1 for similarities.
    sign: f64,
    soft: bool,
    /// The score with c_P of each anchor over that with its whole class; or the former itself.
    stretch: Vec<f64>,
    given: Option<Vec<f64>>,
}

impl<T: Real> RowObjective<T> for CentroidRow {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(own) = row.positives().next() else { return };
        let (sign, stretch) = (T::of(self.sign), T::of(self.stretch[row.anchor]));
        let ap = self.given.as_ref().map_or(stretch * row.scores[own], |given| T::of(given[row.anchor]));
        let reach = sign * ap + T::of(self.margin);
        let mut pull = T::zero();
        for k in row.negatives() {
            let violation = reach - sign * row.scores[k];
            let (value, slope) = if self.soft { vector::softplus(violation) } else { vector::hinge(violation) };
            let step = sign * slope * terms.add(0, value);
            gradient[k] -= step;
            pull += step;
        }
        match self.given {
            Some(_) => terms.add_slope(pull),
            None => gradient[own] += stretch * pull,
        }
    }
}

struct CentroidTriplet {
    params: CentroidTripletParams,
    metric: Metric,
    projection: Projection,
    reduction: Reduction,
    kernel: Kernel,
    memory: Memory,
}

/// `row ← row + factor·x`.
fn add<T: Real>(row: &mut [T], factor: T, x: &[T]) {
    row.iter_mut().zip(x).for_each(|(r, &x)| *r += factor * x);
}

fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    x.iter().zip(y).map(|(&x, &y)| x * y).sum()
}

/// The score of two vectors, a dot product or a cosine, and its derivatives by them: `dx = p·x + q·y`, `dy = q·x + r·y`.
fn similarity<T: Real>(metric: Metric, x: &[T], y: &[T]) -> (T, [T; 3]) {
    let xy = dot(x, y);
    if metric == Metric::Dot {
        return (xy, [T::zero(), T::one(), T::zero()]);
    }
    let (xx, yy) = (dot(x, x), dot(y, y));
    let least = T::of(1e-24);
    if xx < least || yy < least {
        return (T::zero(), [T::zero(); 3]);
    }
    let over = (xx.sqrt() * yy.sqrt()).recip();
    let cosine = xy * over;
    (cosine, [-cosine / xx, over, -cosine / yy])
}

impl CentroidTriplet {
    /// Value and gradients at anchors and references, after the projection of both.
    fn host<T: Real>(
        &self,
        columns: &Columns<'_>,
        anchors: Matrix<'_, T>,
        references: Option<Matrix<'_, T>>,
    ) -> Result<(f64, Vec<T>, Vec<T>, dml_core::rowwise::Statistics)> {
        let (rows, n, d) = (references.unwrap_or(anchors), anchors.rows(), anchors.cols());
        anchors_fit(anchors, rows)?;
        let mut means = vec![T::zero(); columns.counts.len() * d];
        for (j, &k) in columns.places.iter().enumerate() {
            add(&mut means[k * d..][..d], T::of(1.0 / columns.counts[k]), rows.row(j));
        }
        let power = if self.metric == Metric::SquaredEuclidean || self.metric == Metric::Snr { 2 } else { 1 };
        let stretch: Vec<f64> = (0..n).map(|a| columns.stretch(a)).collect();
        let mut row = CentroidRow {
            margin: self.params.margin,
            sign: self.metric.sign(),
            soft: self.params.soft,
            stretch: stretch.iter().map(|r| r.powi(power)).collect(),
            given: None,
        };
        // c_P = r/(r − 1)·c − a/(r − 1), where it is wanted itself.
        let without = |a: usize, r: f64, out: &mut [T]| {
            let mean = &means[columns.places[a] * d..][..d];
            out.iter_mut()
                .zip(mean)
                .zip(anchors.row(a))
                .for_each(|((o, &c), &x)| *o = T::of(r) * c - T::of(r - 1.0) * x);
        };
        let apart = columns.within && self.metric.is_similarity();
        let mut slopes = Vec::new();
        let mut buffer = vec![T::zero(); d];
        if apart {
            let mut given = Vec::with_capacity(n);
            for (a, &r) in stretch.iter().enumerate() {
                without(a, r, &mut buffer);
                let (score, by) = similarity(self.metric, anchors.row(a), &buffer);
                given.push(score.wide());
                slopes.push(by);
            }
            row.given = Some(given);
        }
        let output = rowwise(
            &Problem {
                metric: self.metric,
                anchors,
                references: Some(Matrix::new(&means, columns.counts.len(), d)?),
                reference_gradient: true,
                relevance: columns,
                reduction: &self.reduction,
                weights: &[],
                memory: self.memory,
            },
            &row,
        )?;
        let (mut at_anchors, mut at_means) = (output.d_anchors, output.d_references);
        for (a, by) in slopes.into_iter().enumerate() {
            let (r, g) = (stretch[a], output.slopes[a]);
            if g == T::zero() {
                continue;
            }
            without(a, r, &mut buffer);
            let (x, [p, q, s]) = (anchors.row(a), by);
            let at = &mut at_anchors[a * d..][..d];
            let at_mean = &mut at_means[columns.places[a] * d..][..d];
            add(at, g * p, x);
            add(at, g * q, &buffer);
            for (factor, of) in [(g * q, x), (g * s, &buffer[..])] {
                add(at_mean, T::of(r) * factor, of);
                add(at, T::of(1.0 - r) * factor, of);
            }
        }
        let mut at_references = if references.is_some() { vec![T::zero(); rows.rows() * d] } else { Vec::new() };
        let at_rows = if references.is_some() { &mut at_references } else { &mut at_anchors };
        for (j, &k) in columns.places.iter().enumerate() {
            add(&mut at_rows[j * d..][..d], T::of(1.0 / columns.counts[k]), &at_means[k * d..][..d]);
        }
        Ok((output.value, at_anchors, at_references, output.statistics))
    }

    fn fused<T: Real + WithDType>(&self, sides: Sides<'_>, columns: &Columns<'_>) -> Result<Evaluation> {
        let kernel =
            |anchors: Matrix<'_, T>, references: Option<Matrix<'_, T>>| self.host(columns, anchors, references);
        let (loss, statistics) = on_host::<T, _>(sides, self.projection, kernel)?;
        Ok(Evaluation { loss, statistics })
    }

    fn composed(&self, sides: Sides<'_>, columns: &Columns<'_>, relevance: &dyn Relevance) -> Result<Evaluation> {
        let x = self.projection.compose(&wide(sides.anchors)?)?;
        let y = match sides.references {
            None => x.clone(),
            Some(references) => self.projection.compose(&wide(references)?.to_dtype(x.dtype())?)?,
        };
        let (n, m, classes) = (x.dim(0)?, y.dim(0)?, columns.counts.len());
        let masks = Masks::new(columns, x.dtype(), x.device())?;
        if n == 0 || m == 0 {
            let nothing = crate::autograd::nothing(&[&x, &y])?;
            return Ok(nothing.into());
        }
        let mut average = vec![0f64; classes * m];
        columns.places.iter().enumerate().for_each(|(j, &k)| average[k * m + j] = 1.0 / columns.counts[k]);
        let average = Tensor::from_vec(average, (classes, m), x.device())?.to_dtype(x.dtype())?;
        let scores = pairwise(self.metric, &x, &average.matmul(&y)?)?;
        // The rows of each anchor's class without itself.
        let positive = Masks::new(relevance, x.dtype(), x.device())?.positive;
        let some = any(&positive)?;
        let number = (positive.sum_keepdim(1)? + (1.0 - some.unsqueeze(1)?)?)?;
        let own = positive.broadcast_div(&number)?.matmul(&y)?;
        let diagonal = Tensor::arange(0u32, n as u32, x.device())?.unsqueeze(1)?;
        let ap = pairwise(self.metric, &x, &own)?.gather(&diagonal, 1)?;
        let violation = ((ap.broadcast_sub(&scores)? * self.metric.sign())? + self.params.margin)?;
        let values = if self.params.soft { softplus(&violation)? } else { hinge(&violation)? };
        let counts = masks.negative.broadcast_mul(&some.unsqueeze(1)?)?;
        let terms = if classes > 0 { vec![ComposedTerms::new(values, counts)] } else { no_terms(&scores)? };
        let (loss, statistics) = reduce(&self.reduction, &terms, &[], &masks, &scores)?;
        Ok(Evaluation { loss, statistics })
    }
}

fn anchors_fit<T>(anchors: Matrix<'_, T>, references: Matrix<'_, T>) -> Result<()> {
    if anchors.cols() == references.cols() {
        return Ok(());
    }
    let (given, want) = (references.cols(), anchors.cols());
    Err(crate::Error::Labels(format!(
        "references have length {given} but embeddings {want}: embed both with the same model"
    )))
}

impl Objective for CentroidTriplet {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_tuples(CentroidTripletParams::NAME)?;
        let (labels, sides) = (batch.labels(CentroidTripletParams::NAME)?, Sides::of(batch));
        // Also checks that there is a label for each reference.
        let relevance = batch.relevance()?;
        let others = match batch.references {
            None => labels,
            Some(references) => references.supervision.labels(CentroidTripletParams::NAME)?,
        };
        let columns = Columns::new(labels, others, batch.references.is_none());
        // In the ball c_P is no multiple of anything; and references that hold the anchors may not be tied to them.
        let simple = match batch.references {
            None => !matches!(self.metric, Metric::Hyperbolic(_)),
            Some(references) => references.self_offset.is_none(),
        };
        if !simple || !sides.fused(self.kernel) || self.reduction == Reduction::None {
            return self.composed(sides, &columns, relevance.as_ref());
        }
        match sides.anchors.dtype() {
            candle_core::DType::F64 => self.fused::<f64>(sides, &columns),
            _ => self.fused::<f32>(sides, &columns),
        }
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for CentroidTripletParams {
    const NAME: &'static str = "centroid_triplet";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "margin", self.margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        // Cosine normalises by itself, but not before means are taken.
        let raw = metric == Metric::Cosine && !self.normalize;
        let projection = if raw { Projection::None } else { Space::new(metric, self.normalize).projection };
        Ok(Box::new(CentroidTriplet {
            params: self.clone(),
            metric,
            projection,
            reduction: context.reduction.clone().unwrap_or(Reduction::MeanNonZero),
            kernel: context.kernel,
            memory: context.memory,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
