//! Some pairs of a set, from which the range of all scores and the place of the closest ones are guessed.

use super::binning::Binning;
use super::{closeness_sign, signed};
use crate::Result;
use dml_core::{Matrix, Metric, scores};

/// Rows of a sample; its pairs are all pairs of them.
const ROWS: usize = 768;

/// What a sample says.
#[derive(Debug)]
pub(super) struct Sample {
    /// Bins over the range of the sample's pairs, and some more below: it misses the furthest pairs of all.
    pub(super) binning: Binning,
    /// Closeness of the pairs of different rows that are finite.
    closeness: Vec<f32>,
}

impl Sample {
    pub(super) fn of(metric: Metric, x: Matrix<'_>) -> Result<Self> {
        let count = x.rows().min(ROWS);
        let rows = (0..count).flat_map(|k| x.row(k * x.rows() / count)).copied().collect::<Vec<f32>>();
        let rows = Matrix::new(&rows, count, x.cols())?;
        let mut all = vec![0f32; count * count];
        scores(metric, rows, rows, &mut all)?;
        all.iter_mut().for_each(|s| *s = signed(closeness_sign(metric), *s));
        // An item with itself is as close as any.
        let finite = all.iter().copied().filter(|s| s.is_finite());
        let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), s| (a.min(s), b.max(s)));
        let rows = all.chunks_exact(count.max(1)).enumerate();
        let closeness: Vec<f32> = rows.flat_map(|(i, row)| &row[i + 1..]).copied().filter(|s| s.is_finite()).collect();
        Ok(Self { binning: Binning::over(low - 0.125 * (high - low), high), closeness })
    }

    /// A closeness that at least `count` of `all` pairs most likely reach, and not many more: −∞ where the sample is too small
    /// to say.
    pub(super) fn floor(&self, count: usize, all: u64) -> f32 {
        let expected = count as f64 / all as f64 * self.closeness.len() as f64;
        // A quarter more, since pairs of a row go together: a sample of pairs is worth less than its size.
        let place = 1.25 * expected + 4.0 * expected.sqrt() + 16.0;
        if place as usize >= self.closeness.len() {
            return f32::NEG_INFINITY;
        }
        *self.closeness.clone().select_nth_unstable_by(place as usize, |a, b| b.total_cmp(a)).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_reached_by_a_few_more_than_asked() {
        let values: Vec<f32> = (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16e6).collect();
        let x = Matrix::new(&values, 1000, 2).unwrap();
        let sample = Sample::of(Metric::SquaredEuclidean, x).unwrap();
        let mut all = vec![0f32; 1000 * 1000];
        scores(Metric::SquaredEuclidean, x, x, &mut all).unwrap();
        for count in [0, 500, 5000, 50_000] {
            let floor = sample.floor(count, 499_500);
            let reaching = (0..1000).flat_map(|i| all[i * 1000 + i + 1..(i + 1) * 1000].iter());
            let reaching = reaching.filter(|&&s| -s >= floor).count();
            assert!((count..2 * count + 500).contains(&reaching), "{count}: {reaching}");
        }
        assert_eq!(sample.floor(499_500, 499_500), f32::NEG_INFINITY);
    }
}
