//! How far a map is to be trusted.

use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::{Exclude, Matrix, Metric, nearest};
use std::collections::HashSet;

/// Neighbours looked at.
const NEIGHBOURS: usize = 10;

/// Share of the 10 nearest neighbours by `metric` of the rows of `x` (`[n, d]`) that are among the 10 nearest in the map too,
/// `places` (`[n]`); its mean over the rows. With the number of neighbours, which is (n − 1)/2 in smaller sets.
///
/// A map at random keeps `10/(n − 1)`. It is the KNN of Kobak & Berens, *The art of using t-SNE for single-cell
/// transcriptomics*, 2019.
///
/// # Errors
/// When there are fewer than 3 rows, places are not one per row, or a value is not finite.
pub fn neighbours_kept(metric: Metric, x: Matrix<'_>, places: &[[f32; 2]]) -> Result<(f64, usize)> {
    check_rows("a map", x, 3)?;
    let n = x.rows();
    if places.len() != n {
        return Err(Error::Input(format!("a map has {} places for {n} rows: give one for each", places.len())));
    }
    let plane = Matrix::new(places.as_flattened(), n, 2)?;
    check_rows("a map", plane, 3)?;
    let k = ((n - 1) / 2).clamp(1, NEIGHBOURS);
    let there = nearest(metric, x, x, k, Exclude::SelfIndex)?;
    let here = nearest(Metric::Euclidean, plane, plane, k, Exclude::SelfIndex)?;
    let kept = |row: usize| {
        let near: HashSet<u32> = there.ids_of(row).iter().copied().collect();
        here.ids_of(row).iter().filter(|id| near.contains(id)).count()
    };
    Ok(((0..n).map(kept).sum::<usize>() as f64 / (n * k) as f64, k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_counted_by_hand() {
        // On a line 0, 1, 3, 7, 15, 31, 63: k = 3. The map swaps the first and the last.
        let line = [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0f32];
        let x = Matrix::new(&line, 7, 1).unwrap();
        let same: Vec<[f32; 2]> = line.iter().map(|&v| [v, 0.0]).collect();
        assert_eq!(neighbours_kept(Metric::Euclidean, x, &same).unwrap(), (1.0, 3));
        let mut swapped = same.clone();
        swapped.swap(0, 6);
        // There: 0→123 1→023 2→013 3→012 4→123 5→234 6→345; here 0 and 6 have changed names.
        // Here: 0→345 1→236 2→136 3→126 4→123 5→234 6→123. Kept: 1, 2, 2, 2, 3, 3, 1.
        assert_eq!(neighbours_kept(Metric::Euclidean, x, &swapped).unwrap(), (14.0 / 21.0, 3));
        assert!(neighbours_kept(Metric::Euclidean, x, &same[1..]).is_err());
    }
}
