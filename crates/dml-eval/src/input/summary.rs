//! What the tensors of a file hold, in a few numbers each.

use super::{
    Vectors,
    elements::Float,
    extension,
    mapped::{VectorFile, map},
    npy, refused,
    safetensors::{entries, float, integer},
};
use crate::Result;
use serde::Serialize;
use std::path::Path;

/// A tensor in a few numbers. The moments are those of its finite values, and none where there is no such value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Its name; empty where a file holds one array.
    pub name: String,
    /// How its numbers are stored.
    pub dtype: String,
    /// Its sides.
    pub shape: Vec<usize>,
    /// Mean.
    pub mean: Option<f64>,
    /// Standard deviation, over n.
    pub std: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
    /// Values that are NaN or infinite.
    pub not_finite: usize,
}

impl TensorSummary {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn new(name: &str, dtype: impl ToString, shape: Vec<usize>, moments: &Moments) -> Self {
        let n = moments.count as f64;
        let some = |value: f64| (moments.count > 0).then_some(value);
        Self {
            name: name.to_owned(),
            dtype: dtype.to_string(),
            shape,
            mean: some(moments.shift + moments.sum / n),
            std: some(((moments.squares - moments.sum * moments.sum / n) / n).max(0.0).sqrt()),
            min: some(moments.min),
            max: some(moments.max),
            not_finite: moments.not_finite,
        }
    }
}

/// All tensors of a `.safetensors` file, or the array of an `.npy` or `.parquet` file (feature `parquet`), looked at in pieces.
///
/// # Errors
/// When the file cannot be read or is damaged, or its ending is not known.
pub fn summarize(path: impl AsRef<Path>) -> Result<Vec<TensorSummary>> {
    let path = path.as_ref();
    match extension(path).as_str() {
        "safetensors" => tensors(path),
        "npy" => array(path).map(|array| vec![array]),
        #[cfg(feature = "parquet")]
        "parquet" => {
            let lists = super::parquet_lists::Lists::open(path, None)?;
            Ok(vec![rows(&lists, "list of float")?])
        }
        _ => Err(refused(path, "tensors are read from .safetensors, .npy and .parquet: name the file by what it is")),
    }
}

/// Values that are looked at together.
const PIECE: usize = 1 << 16;

fn tensors(path: &Path) -> Result<Vec<TensorSummary>> {
    let bytes = map(path)?;
    let of = |entry: super::safetensors::Entry| {
        let mut moments = Moments::default();
        let data = &bytes[entry.data.clone()];
        if let Some(kind) = float(entry.dtype) {
            for piece in data.chunks(PIECE * kind.size()) {
                match kind {
                    // Rounding to f32 would make the largest infinite.
                    Float::F64 => piece.as_chunks().0.iter().for_each(|b| moments.add(f64::from_le_bytes(*b))),
                    _ => kind.decode(piece).iter().for_each(|&v| moments.add(v.into())),
                }
            }
        } else if let Some(kind) = integer(entry.dtype) {
            for piece in data.chunks(PIECE * kind.size) {
                kind.decode(piece).into_iter().for_each(|v| moments.add(v as f64));
            }
        }
        TensorSummary::new(&entry.name, entry.dtype, entry.shape, &moments)
    };
    Ok(entries(path, &bytes)?.into_iter().map(of).collect())
}

fn array(path: &Path) -> Result<TensorSummary> {
    let embeddings = match VectorFile::npy(path) {
        Ok(file) => rows(&file, &format!("{:?}", file.float)),
        Err(problem) => Err(problem),
    };
    embeddings.or_else(|problem| {
        let numbers = npy::integers(path).map_err(|_| problem)?;
        let mut moments = Moments::default();
        numbers.iter().for_each(|&v| moments.add(v as f64));
        Ok(TensorSummary::new("", "integer", vec![numbers.len()], &moments))
    })
}

fn rows(vectors: &dyn Vectors, dtype: &str) -> Result<TensorSummary> {
    let (n, d) = (vectors.rows(), vectors.dim());
    let mut moments = Moments::default();
    let step = (PIECE / d.max(1)).max(1);
    for first in (0..n).step_by(step) {
        vectors.block(first..n.min(first + step))?.iter().for_each(|&v| moments.add(v.into()));
    }
    Ok(TensorSummary::new("", dtype, vec![n, d], &moments))
}

/// Sums about the first value, which lies nearer to all others than 0 may.
#[derive(Default)]
struct Moments {
    count: usize,
    not_finite: usize,
    shift: f64,
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.not_finite += 1;
            return;
        }
        if self.count == 0 {
            (self.shift, self.min, self.max) = (value, value, value);
        }
        self.count += 1;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        let off = value - self.shift;
        self.sum += off;
        self.squares += off * off;
    }
}
