//! Where the `k`-th neighbour of each query will be, guessed from a sample of the gallery.
//!
//! A long list takes in most of what it meets at first, and lets go of most of that later. A guess a little below the place of
//! its last neighbour keeps it out from the start. Where a guess was too high the list comes out short, and its query is
//! searched again without one: results are exact, whatever the guess.

use crate::scores::Side;
use crate::tiles::{Buffer, COLUMNS, ROWS, blocks, closeness};
use crate::{Matrix, Metric};
use rayon::prelude::*;
use std::ops::Range;

/// Neighbours expected in the sample.
const EXPECTED: usize = 24;
/// Which of the sample's best is the guess: three and a half standard deviations later, so that one query in some thousands is
/// searched again.
const PLACE: usize = 43;
/// The sample is at most this share of the gallery, or the guess costs more than it saves.
const SHARE: usize = 16;

/// A closeness for each query that its `k`-th neighbour in `gallery` most likely reaches; `None` where a guess
/// does not pay.
pub(crate) fn guesses(
    metric: Metric,
    (queries, rows): (&Side<'_, f32>, usize),
    gallery: Matrix<'_>,
    k: usize,
) -> Option<Vec<f32>> {
    let m = gallery.rows();
    let size = (EXPECTED * m).div_ceil(k.max(1));
    if size < PLACE || size * SHARE > m {
        return None;
    }
    // One row of each of as many parts: an order of the gallery, as by class, does not bend the sample.
    let chosen = (0..size).map(|i| {
        let part = i * m / size..(i + 1) * m / size;
        part.start + mixed(i as u64) as usize % part.len()
    });
    let values: Vec<f32> = chosen.flat_map(|row| gallery.row(row)).copied().collect();
    let sample = Side::new(metric, Matrix::from_parts(&values, size, gallery.cols()));
    let of_block = |block: Range<usize>| {
        let mut buffer = Buffer::default();
        let mut found = vec![f32::NEG_INFINITY; block.len() * size];
        for columns in blocks(size, COLUMNS) {
            let (scores, stride) = closeness(metric, (queries, block.clone()), (&sample, columns.clone()), &mut buffer);
            for (row, to) in scores.chunks_exact(stride).zip(found.chunks_exact_mut(size)) {
                let each = to[columns.clone()].iter_mut().zip(row);
                each.for_each(|(to, &s)| *to = if s.is_nan() { f32::NEG_INFINITY } else { s });
            }
        }
        let place = |row: &mut [f32]| *row.select_nth_unstable_by(PLACE - 1, |a, b| b.total_cmp(a)).1;
        found.chunks_exact_mut(size).map(place).collect::<Vec<f32>>()
    };
    let parts: Vec<Vec<f32>> = blocks(rows, ROWS).collect::<Vec<_>>().into_par_iter().map(of_block).collect();
    Some(parts.concat())
}

/// A number as good as random, of a number. Steele, Lea & Flood, *Fast Splittable Pseudorandom Number Generators*, 2014.
fn mixed(i: u64) -> u64 {
    let z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
