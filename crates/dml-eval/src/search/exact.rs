//! Exact search over vectors that need not fit in memory.
//!
//! Queries and gallery are walked in blocks; what stays is a list of candidates per query. Results do not depend on the size of
//! the blocks or the number of threads: equal scores go by the smaller gallery row.

use super::{BLOCK, Index, blocks, check};
use crate::Result;
use crate::finite::check_finite;
use crate::input::Vectors;
use dml_core::{Exclude, Matrix, Metric, Nearest, NearestSearch, Watch};

/// Exact search: every query meets every gallery row. Nothing is built; the gallery is read anew by each search.
#[derive(Clone, Copy)]
pub struct Exact<'a> {
    metric: Metric,
    gallery: &'a dyn Vectors,
}

impl<'a> Exact<'a> {
    /// The rows of `gallery`, compared by `metric`: any of them.
    pub fn new(metric: Metric, gallery: &'a dyn Vectors) -> Self {
        Self { metric, gallery }
    }
}

impl Index for Exact<'_> {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn rows(&self) -> usize {
        self.gallery.rows()
    }

    fn dim(&self) -> usize {
        self.gallery.dim()
    }

    fn search(&self, queries: &dyn Vectors, k: usize, exclude: Exclude<'_>, watch: Watch<'_>) -> Result<Nearest> {
        search_in_blocks(self, queries, k, exclude, watch, BLOCK)
    }
}

/// The `k` nearest rows of `gallery` for each of `queries`, best first; fewer where fewer may be found. Memory is
/// `12·queries·k` bytes at most for the candidates and 8 for each result, and two blocks of 64 MiB, whatever the gallery's size.
/// A row of zeros has cosine 0 to everything.
///
/// `watch` is told how many scores have been taken, and can break off ([`dml_core::Error::Cancelled`]).
///
/// # Errors
/// When vectors differ in length, hold what is not finite or cannot be read; when `k` is 0 or more than the gallery has to give;
/// when exclusions are not one per query.
pub fn search(
    metric: Metric,
    queries: &dyn Vectors,
    gallery: &dyn Vectors,
    k: usize,
    exclude: Exclude<'_>,
    watch: Watch<'_>,
) -> Result<Nearest> {
    Exact::new(metric, gallery).search(queries, k, exclude, watch)
}

fn search_in_blocks(
    index: &Exact<'_>,
    queries: &dyn Vectors,
    k: usize,
    exclude: Exclude<'_>,
    watch: Watch<'_>,
    block: usize,
) -> Result<Nearest> {
    check(index, queries, k, exclude)?;
    let Exact { metric, gallery } = *index;
    let mut lists: Vec<Vec<(u32, f32)>> = Vec::with_capacity(queries.rows());
    for asked in blocks(queries, block) {
        let first = asked.start;
        let values = queries.block(asked.clone())?;
        let asking = Matrix::new(&values, asked.len(), queries.dim())?;
        check_finite("query", asking, first)?;
        let apart = |q: usize, id: u32| exclude.excludes(first + q, id);
        let within = if matches!(exclude, Exclude::Nothing) { exclude } else { Exclude::Where(&apart) };
        let mut search = NearestSearch::new(metric, asking, k, within);
        let before = first * gallery.rows();
        for rows in blocks(gallery, block) {
            let values = gallery.block(rows.clone())?;
            let part = Matrix::new(&values, rows.len(), gallery.dim())?;
            check_finite("gallery row", part, rows.start)?;
            search.add(part, &|scored: usize| watch(before + scored))?;
        }
        let found = search.finish();
        let list = |q| found.ids_of(q).iter().copied().zip(found.scores_of(q).iter().copied()).collect();
        if first == 0 && asked.end == queries.rows() {
            return Ok(found);
        }
        lists.extend((0..asked.len()).map(list));
    }
    Ok(Nearest::from_lists(lists))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dml_core::{nearest, unwatched};

    #[test]
    fn blocks_of_any_size_find_the_same() {
        let (n, d) = (137, 5);
        let values: Vec<f32> = (0..n * d).map(|i| ((i * i * 31 + i * 7) % 23) as f32 - 11.0).collect();
        let x = Matrix::new(&values, n, d).unwrap();
        let groups: Vec<u32> = (0..n as u32).map(|i| i % 9).collect();
        let of_groups = Exclude::Groups { queries: &groups, gallery: &groups };
        for exclude in [Exclude::Nothing, Exclude::SelfIndex, of_groups] {
            for metric in [Metric::Dot, Metric::Euclidean, Metric::Cosine] {
                let whole = nearest(metric, x, x, 7, exclude).unwrap();
                for block in [1, 50, 64 * d, n * d] {
                    let found = search_in_blocks(&Exact::new(metric, &x), &x, 7, exclude, &unwatched, block).unwrap();
                    assert!(found == whole, "{metric}, {exclude:?}, blocks of {block}");
                }
            }
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let x = Matrix::new(&[0.0, 1.0, f32::NAN], 3, 1).unwrap();
        let two = Matrix::new(&[0.0, 1.0], 1, 2).unwrap();
        let error =
            |q: Matrix<'_>, k, exclude| search(Metric::Dot, &q, &x, k, exclude, &unwatched).unwrap_err().to_string();
        assert!(error(two, 1, Exclude::Nothing).contains("queries have length 2"));
        assert!(error(x, 3, Exclude::SelfIndex).contains("want 1 to 2"));
        assert!(error(x, 0, Exclude::Nothing).contains("want 1 to 3"));
        let good = Matrix::new(&[0.5], 1, 1).unwrap();
        assert!(error(good, 1, Exclude::Nothing).contains("gallery row 2"));
        assert!(error(x, 1, Exclude::Ids(&[0])).contains("one per query"));
    }
}
