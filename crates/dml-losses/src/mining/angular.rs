//! Triplets whose angle at the negative is wide.
//!
//! `atan(d(a, p) / 2d(n, c)) > angle` with the centre `c = (a + p)/2`, of normalised rows. Wang et al., *Deep Metric Learning with
//! Angular Loss*, 2017, eq. 3–4. pytorch-metric-learning takes the rows as they are.

use super::rows::both_sides;
use super::sphere::unit_euclidean;
use super::{Miner, MinerParams};
use crate::params::{positive, within};
use crate::row_loss::Space;
use crate::{Batch, Context, Error, Result, Tuples};
use candle_core::{DType, WithDType};
use dml_core::relevance::Sets;
use dml_core::{Matrix, Metric, Real, Row, for_each_score_row};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// Parameters of the angular miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AngularMinerParams {
    /// Degrees. Default 20.
    pub angle: f64,
    /// `euclidean`, nothing else.
    pub metric: String,
    /// True, nothing else.
    pub normalize: bool,
}

impl Default for AngularMinerParams {
    fn default() -> Self {
        Self { angle: 20.0, metric: "euclidean".to_owned(), normalize: true }
    }
}

/// Centres compared with the references at a time.
const CENTRES: usize = 2048;

struct Angular {
    angle: f64,
}

impl Angular {
    fn mine_in<T: Real + WithDType>(&self, batch: &Batch<'_>) -> Result<Tuples> {
        let relevance = Batch { tuples: None, ..*batch }.relevance()?;
        let (anchors, references) = both_sides::<T>(Space::new(Metric::Euclidean, true), batch)?;
        let (anchors, gallery) = (anchors.matrix(), references.as_ref().unwrap_or(&anchors).matrix());
        let sets = |a: usize| {
            let mut sets = Sets::default();
            relevance.row(a, &mut sets);
            sets
        };
        let pairs = |a: usize| sets(a).positives.into_iter().map(move |p| (a, p as usize));
        let pairs: Vec<(usize, usize)> = (0..anchors.rows()).flat_map(pairs).collect();
        let mut found = Vec::new();
        for pairs in pairs.chunks(CENTRES) {
            let half = T::of(0.5);
            let centre = |&(a, p): &(usize, usize)| {
                anchors.row(a).iter().zip(gallery.row(p)).map(move |(&x, &y)| half * (x + y))
            };
            let centres: Vec<T> = pairs.iter().flat_map(centre).collect();
            let centres = Matrix::new(&centres, pairs.len(), anchors.cols())?;
            let rows: Vec<OnceLock<Vec<[u32; 3]>>> = pairs.iter().map(|_| OnceLock::new()).collect();
            for_each_score_row(Metric::Euclidean, centres, gallery, |k, scores: &[T]| {
                if scores.iter().fold(false, |lost, s| lost | s.is_nan()) {
                    return;
                }
                let (a, p) = pairs[k];
                let square = |(&x, &y): (&T, &T)| (x - y).wide().powi(2);
                let side = anchors.row(a).iter().zip(gallery.row(p)).map(square).sum::<f64>().sqrt();
                let (sets, mut others) = (sets(a), Vec::new());
                let row = Row::new(a, None, scores, &sets, &mut others);
                let wide = |&n: &usize| (side / (2.0 * scores[n].wide())).atan() > self.angle;
                // Each row comes once.
                let _ = rows[k].set(row.negatives().filter(wide).map(|n| [a as u32, p as u32, n as u32]).collect());
            })?;
            for (row, (a, _)) in rows.into_iter().zip(pairs) {
                let lost = || Error::NotNumbers { what: "miner".to_owned(), row: *a };
                found.extend(row.into_inner().ok_or_else(lost)?);
            }
        }
        Ok(Tuples::Triplets(found))
    }
}

impl Miner for Angular {
    fn mine(&mut self, batch: &Batch<'_>) -> Result<Tuples> {
        if batch.embeddings.dtype() == DType::F64 { self.mine_in::<f64>(batch) } else { self.mine_in::<f32>(batch) }
    }
}

impl MinerParams for AngularMinerParams {
    const NAME: &'static str = "angular";

    fn check(&self) -> Result<()> {
        unit_euclidean(Self::NAME, (&self.metric, self.normalize))?;
        positive(Self::NAME, "angle", self.angle)?;
        within(Self::NAME, "angle", self.angle, 0.0, 90.0)
    }

    fn build(&self, _: &Context) -> Result<Box<dyn Miner>> {
        Ok(Box::new(Angular { angle: self.angle.to_radians() }))
    }
}
