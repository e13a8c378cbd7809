//! A report from its JSON: `null` is read as NaN where a number belongs, since JSON has no name for what is no number.

use serde::{Deserialize, Deserializer};

use super::document::Report;
use super::gallery::Tile;

impl Report {
    /// Reads what [`json`](Self::json) has written. NaN and infinities come back as NaN, ends of intervals that were no number
    /// as none, and pictures that were neither PNG nor JPEG as none.
    ///
    /// # Errors
    /// [`crate::Error::Input`] with line and column when the text is no report.
    pub fn from_json(json: &str) -> crate::Result<Self> {
        serde_json::from_str(json).map_err(|e| crate::Error::Input(format!("the JSON is no report: {e}")))
    }
}

/// A number, or `null`.
struct Number<T>(T);

impl<'de, T: Deserialize<'de> + From<f32>> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number(from).map(Self)
    }
}

pub(super) fn number<'de, T: Deserialize<'de> + From<f32>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_else(|| T::from(f32::NAN)))
}

pub(super) fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Ok(plain(Vec::deserialize(from)?))
}

fn plain(numbers: Vec<Number<f64>>) -> Vec<f64> {
    numbers.into_iter().map(|number| number.0).collect()
}

pub(super) fn points<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(f64, f64)>, D::Error> {
    let points: Vec<(Number<f64>, Number<f64>)> = Vec::deserialize(from)?;
    Ok(points.into_iter().map(|(x, y)| (x.0, y.0)).collect())
}

pub(super) fn named_numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Vec<f64>)>, D::Error> {
    let rows: Vec<(String, Vec<Number<f64>>)> = Vec::deserialize(from)?;
    Ok(rows.into_iter().map(|(name, numbers)| (name, plain(numbers))).collect())
}

pub(super) fn named_number<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, f64)>, D::Error> {
    let rows: Vec<(String, Number<f64>)> = Vec::deserialize(from)?;
    Ok(rows.into_iter().map(|(name, number)| (name, number.0)).collect())
}

/// Neighbours with their scores.
pub(super) fn neighbours<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Tile, bool, f32)>, D::Error> {
    let found: Vec<(Tile, bool, Number<f32>)> = Vec::deserialize(from)?;
    Ok(found.into_iter().map(|(tile, right, score)| (tile, right, score.0)).collect())
}

type Confused = (String, String, usize, f64);

/// Pairs of classes with how often one is taken for the other.
pub(super) fn confused<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Confused>, D::Error> {
    let pairs: Vec<(String, String, usize, Number<f64>)> = Vec::deserialize(from)?;
    Ok(pairs.into_iter().map(|(truth, taken, times, share)| (truth, taken, times, share.0)).collect())
}

/// Places in the plane.
pub(super) fn places<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<[f32; 2]>, D::Error> {
    let places: Vec<[Number<f32>; 2]> = Vec::deserialize(from)?;
    Ok(places.into_iter().map(|place| place.map(|number| number.0)).collect())
}
