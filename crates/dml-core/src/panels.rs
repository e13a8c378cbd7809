//! A gallery laid out for search: what is asked many times is prepared once.

mod kernels;

use crate::device::cpu::squared_distance;
use crate::nearest::{Nearest, NearestSearch};
use crate::scores::{Side, finish_row};
use crate::tiles::Buffer;
use crate::{Error, Exclude, Matrix, Metric, Result};
use kernels::{Multiply, differences};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a panel.
const WIDTH: usize = 32;

/// The rows of a gallery in panels: value `k` of 32 rows, then value `k + 1` of them, and so on; the last panel is filled up with
/// zeros. A search multiplies panels as they lie, so one query costs as much as reading them.
///
/// The score of a pair is the same, bit for bit, whatever it is searched among.
#[derive(Clone, Debug)]
pub struct Panels {
    metric: Metric,
    cols: usize,
    rows: usize,
    /// `cols` of each panel.
    columns: Vec<[f32; WIDTH]>,
    /// `‖·‖²` of each row, where the metric needs it.
    squares: Vec<f32>,
}

impl Panels {
    /// No rows yet, of length `cols`, to be compared by `metric`.
    pub fn new(metric: Metric, cols: usize) -> Self {
        Self { metric, cols, rows: 0, columns: Vec::new(), squares: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Makes room for as many rows more.
    pub fn reserve(&mut self, rows: usize) {
        let end = (self.rows + rows).div_ceil(WIDTH) * self.cols;
        self.columns.reserve(end.saturating_sub(self.columns.len()));
    }

    /// Appends rows (`[m, d]`).
    ///
    /// # Errors
    /// When they have another length.
    pub fn push(&mut self, rows: Matrix<'_>) -> Result<()> {
        rows.same_width(Matrix::from_parts(&[], 0, self.cols))?;
        let side = Side::new(self.metric, rows);
        self.place(rows.rows(), |i, k| side.values[i * side.cols + k]);
        self.squares.extend(side.squares);
        Ok(())
    }

    /// Appends rows of another gallery of the same metric and length.
    ///
    /// # Errors
    /// When metric or length differ.
    pub fn push_from(&mut self, other: &Self, rows: Range<usize>) -> Result<()> {
        if (self.metric, self.cols) != (other.metric, other.cols) {
            return Err(Error::Shape(format!(
                "rows of length {} by {:?} do not go among rows of length {} by {:?}: lay them out anew",
                other.cols, other.metric, self.cols, self.metric
            )));
        }
        self.place(rows.len(), |i, k| other.value(rows.start + i, k));
        if !other.squares.is_empty() {
            self.squares.extend_from_slice(&other.squares[rows]);
        }
        Ok(())
    }

    /// Appends so many rows; `value` is what row `i` of them has at `k`.
    fn place(&mut self, count: usize, value: impl Fn(usize, usize) -> f32 + Sync) {
        let d = self.cols;
        // First those that have room in the last panel.
        let filled = count.min(self.rows.next_multiple_of(WIDTH) - self.rows);
        let last = self.columns.len().saturating_sub(d);
        for (k, column) in self.columns[last..].iter_mut().enumerate() {
            (0..filled).for_each(|i| column[(self.rows + i) % WIDTH] = value(i, k));
        }
        let columns = (count - filled).div_ceil(WIDTH) * d;
        let column = |at: usize| {
            let (first, k) = (filled + at / d * WIDTH, at % d);
            // Whole panels have no place that nobody fills.
            match first + WIDTH <= count {
                true => std::array::from_fn(|row| value(first + row, k)),
                false => std::array::from_fn(|row| if first + row < count { value(first + row, k) } else { 0.0 }),
            }
        };
        // A thread would take longer to begin with few.
        match columns < 1024 {
            true => self.columns.extend((0..columns).map(column)),
            false => self.columns.par_extend((0..columns).into_par_iter().with_min_len(512).map(column)),
        }
        self.rows += count;
    }

    fn value(&self, row: usize, k: usize) -> f32 {
        self.columns[row / WIDTH * self.cols + k][row % WIDTH]
    }

    /// The values of a row as they are compared: of unit length for cosine, centred for SNR.
    pub fn row(&self, row: usize) -> impl Iterator<Item = f32> + '_ {
        (0..self.cols).map(move |k| self.value(row, k))
    }

    /// The `k` nearest of `rows` for each row of `queries` (`[q, d]`), as [`nearest`](crate::nearest()) finds them; ids count from
    /// the first row of all.
    ///
    /// # Errors
    /// When vectors differ in length, there are fewer rows, `k` is more than there is to find, or exclusions are not one per query.
    pub fn nearest(&self, rows: Range<usize>, queries: Matrix<'_>, k: usize, exclude: Exclude<'_>) -> Result<Nearest> {
        queries.same_width(Matrix::from_parts(&[], 0, self.cols))?;
        if rows.start > rows.end || rows.end > self.rows {
            return Err(Error::Shape(format!("rows {rows:?} of a gallery of {}: there are none such", self.rows)));
        }
        exclude.check_length(k, queries.rows(), rows.len())?;
        // A search goes from panel to panel.
        let first = rows.start / WIDTH * WIDTH;
        let outside = |q: usize, id: u32| (id as usize) < rows.start || exclude.excludes(q, id);
        let exclude = if first == rows.start { exclude } else { Exclude::Where(&outside) };
        let mut search = NearestSearch::new(self.metric, queries, k, exclude);
        if k > 0 {
            search.add_blocks(first..rows.end, &crate::unwatched, |queries, columns, buffer| {
                self.closeness(queries, columns, buffer)
            })?;
        }
        Ok(search.finish())
    }

    /// The score of each row in a range with a query (`[1, d]`).
    ///
    /// # Errors
    /// When vectors differ in length.
    pub fn scores(&self, query: Matrix<'_>, rows: Range<usize>) -> Result<Vec<f32>> {
        query.same_width(Matrix::from_parts(&[], 0, self.cols))?;
        let (side, mut buffer) = (Side::new(self.metric, query), Buffer::default());
        let first = rows.start / WIDTH * WIDTH;
        let (closeness, _) = self.closeness((&side, 0..1), first..rows.end, &mut buffer);
        let sign = if self.metric.is_similarity() { 1.0 } else { -1.0 };
        Ok(closeness[rows.start - first..rows.end - first].iter().map(|&closeness| sign * closeness).collect())
    }

    /// How close queries are to the rows `columns`, which begin with a panel; larger is closer. Also how far apart the rows of
    /// the result are.
    fn closeness<'b>(
        &self,
        (queries, rows): (&Side<'_, f32>, Range<usize>),
        columns: Range<usize>,
        buffer: &'b mut Buffer,
    ) -> (&'b mut [f32], usize) {
        let (d, stride) = (self.cols, columns.len().div_ceil(WIDTH) * WIDTH);
        buffer.scores.resize(rows.len() * stride, 0.0);
        let panels = &self.columns.as_flattened()[columns.start * d..][..stride * d];
        let asked = &queries.values[rows.start * d..rows.end * d];
        let out = &mut buffer.scores;
        if d == 0 {
            out.fill(0.0);
        } else if let Metric::Lp(p) = self.metric {
            for (query, out) in asked.chunks_exact(d).zip(out.chunks_exact_mut(stride)) {
                differences(p, query, panels, out);
            }
        } else {
            pulp::Arch::new().dispatch(Multiply { d, queries: asked, panels, out, stride, packed: &mut buffer.rows });
        }
        if self.metric.is_similarity() {
            return (out, stride);
        }
        for (i, out) in rows.zip(out.chunks_exact_mut(stride)) {
            if let Some(squares) = self.squares.get(columns.clone()) {
                let row = &mut out[..columns.len()];
                finish_row(self.metric, queries.squares[i], squares, row, |j| {
                    let other: Vec<f32> = self.row(columns.start + j).collect();
                    squared_distance(queries.row(i), &other)
                });
            }
            out.iter_mut().for_each(|score| *score = -*score);
        }
        (out, stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nearest, release_scratch};

    const METRICS: [Metric; 8] = [
        Metric::Cosine,
        Metric::Dot,
        Metric::Euclidean,
        Metric::SquaredEuclidean,
        Metric::Lp(1.0),
        Metric::Lp(3.0),
        Metric::Snr,
        Metric::Hyperbolic(0.1),
    ];

    fn values(rows: usize, d: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 1013) as f32 / 1013.0 - 0.4;
        (0..rows * d).map(value).collect()
    }

    #[test]
    fn what_is_found_is_what_a_plain_search_finds() {
        for (rows, queries, d, k) in
            [(1, 1, 3, 1), (33, 2, 1, 5), (700, 17, 20, 9), (1100, 600, 7, 3), (64, 8, 128, 64)]
        {
            let (x, q) = (values(rows, d, 1), values(queries, d, 2));
            let (x, q) = (Matrix::new(&x, rows, d).unwrap(), Matrix::new(&q, queries, d).unwrap());
            for metric in METRICS {
                let mut panels = Panels::new(metric, d);
                // In parts that end within a panel.
                for part in x.data().chunks(13 * d) {
                    panels.push(Matrix::new(part, part.len() / d, d).unwrap()).unwrap();
                }
                let odd = |query: usize, row: u32| (query as u32 + row) % 2 == 1;
                for exclude in [Exclude::Nothing, Exclude::Where(&odd)] {
                    let (found, plain) =
                        (panels.nearest(0..rows, q, k, exclude).unwrap(), nearest(metric, q, x, k, exclude).unwrap());
                    for query in 0..queries {
                        let pairs = found.scores_of(query).iter().zip(plain.scores_of(query));
                        pairs.for_each(|(a, b)| {
                            assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{metric:?}: {a}, not {b}")
                        });
                        assert_eq!(found.ids_of(query).len(), plain.ids_of(query).len());
                        for (&id, &score) in found.ids_of(query).iter().zip(found.scores_of(query)) {
                            let asked = Matrix::new(q.row(query), 1, d).unwrap();
                            let alone = panels.scores(asked, id as usize..id as usize + 1).unwrap()[0];
                            assert_eq!(alone, score, "{metric:?}: alone, a score differs");
                            assert!(!matches!(exclude, Exclude::Where(_)) || !odd(query, id));
                        }
                    }
                }
            }
        }
        release_scratch();
    }

    #[test]
    fn rows_move_and_keep_their_scores() {
        let (rows, d) = (100, 6);
        let x = values(rows, d, 3);
        let query = Matrix::new(&x[..d], 1, d).unwrap();
        for metric in METRICS {
            let mut panels = Panels::new(metric, d);
            panels.push(Matrix::new(&x, rows, d).unwrap()).unwrap();
            let mut moved = Panels::new(metric, d);
            moved.push_from(&panels, 50..100).unwrap();
            moved.push_from(&panels, 0..50).unwrap();
            let (before, after) = (panels.scores(query, 0..100).unwrap(), moved.scores(query, 0..100).unwrap());
            assert_eq!([&before[50..], &before[..50]].concat(), after);
            assert_eq!(panels.scores(query, 37..41).unwrap(), before[37..41]);
            // Of the rows from the middle of a panel.
            let k = 5;
            let found = panels.nearest(41..90, query, k, Exclude::Where(&|_, id| id == 77)).unwrap();
            let mut want: Vec<u32> = (41..90).filter(|&id| id != 77).collect();
            let sign = if metric.is_similarity() { -1.0 } else { 1.0 };
            want.sort_by(|&a, &b| (sign * before[a as usize]).total_cmp(&(sign * before[b as usize])).then(a.cmp(&b)));
            assert_eq!(found.ids_of(0), &want[..k], "{metric:?}");
            assert!(panels.nearest(50..101, query, k, Exclude::Nothing).is_err());
            assert!(Panels::new(Metric::Lp(2.0), d).push_from(&panels, 0..1).is_err());
        }
    }

    #[test]
    fn rows_pushed_by_several_threads_lie_as_those_pushed_alone() {
        let (rows, d) = (600, 64);
        let x = values(rows, d, 4);
        let part = |part: std::ops::Range<usize>| Matrix::new(&x[part.start * d..part.end * d], part.len(), d).unwrap();
        let mut alone = Panels::new(Metric::Euclidean, d);
        (0..rows).for_each(|i| alone.push(part(i..i + 1)).unwrap());
        // Into an empty gallery, within a panel and after a whole one.
        for first in [0, 13, 32] {
            let mut together = Panels::new(Metric::Euclidean, d);
            together.push(part(0..first)).unwrap();
            together.push(part(first..rows)).unwrap();
            assert_eq!((&together.columns, together.rows), (&alone.columns, rows), "{first}");
            assert_eq!(together.squares, alone.squares);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut panels = Panels::new(Metric::Dot, 4);
        assert!(panels.push(Matrix::new(&[0.0; 6], 2, 3).unwrap()).is_err());
        panels.push(Matrix::new(&[0.0; 8], 2, 4).unwrap()).unwrap();
        let query = [0.0; 4];
        let query = Matrix::new(&query, 1, 4).unwrap();
        assert!(panels.nearest(0..2, query, 3, Exclude::Nothing).is_err());
        assert!(panels.nearest(0..2, query, 2, Exclude::SelfIndex).is_err());
        assert!(panels.nearest(0..2, Matrix::new(&[0.0; 3], 1, 3).unwrap(), 1, Exclude::Nothing).is_err());
        assert_eq!(
            Panels::new(Metric::Dot, 0)
                .nearest(0..0, Matrix::new(&[], 2, 0).unwrap(), 0, Exclude::Nothing)
                .unwrap()
                .queries(),
            2
        );
    }
}
