//! The row driver: every pair, ranking and proxy loss is a function of one row of a score matrix.
//!
//! `scores(anchors, references)` → per row `(loss, dloss/drow)` → `dL/danchors, dL/dreferences`. A loss owns only the
//! middle. Rows are independent, so they run in parallel; sums are taken in row order, so the result does not depend
//! on the number of threads.

use crate::pull_back::{BlockPull, Puller};
use crate::relevance::{Relevance, Sets};
use crate::row::Row;
use crate::scores::{Side, parallel_scores, parallel_self_scores};
use crate::scratch::Scratch;
use crate::terms::{GROUPS, Reduction, Terms, over};
use crate::vector::widest;
use crate::{Error, Matrix, Metric, Projection, Real, Result};
use rayon::prelude::*;

/// A loss of one row.
pub trait RowObjective<T: Real>: Sync {
    /// How many groups of terms are averaged separately and added: 1 or 2.
    fn groups(&self) -> usize {
        1
    }

    /// Gives the terms of this row to `terms`, and **adds** the derivative of each by the scores, times the weight that
    /// `terms` returned for it, to `gradient` `[m]`, which comes as zeros. It may be asked twice for one row.
    ///
    /// `#[inline(always)]` on it, and on what its loops call, lets the driver compile it for the machine's widest vectors. Long
    /// loops should be written with `for`: one within an iterator's `for_each` or `fold` may be compiled apart, for none.
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]);

    /// [`Self::row`] in the widest vector instructions that this machine has.
    fn wide_row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        widest(
            #[inline(always)]
            || self.row(row, terms, gradient),
        );
    }
}

/// How much of the score matrix exists at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// All of it while it is small, else some rows.
    #[default]
    Auto,
    /// All of it.
    Whole,
    /// This many rows; the rest is computed again when it is wanted again.
    Rows(usize),
}

/// Scores and gradients above this many bytes are not held whole.
const LARGEST_WHOLE: usize = 1 << 29;
/// And so many bytes are held then.
const STREAMED: usize = 1 << 27;
/// Rows whose sums over columns are taken together: never a matter of threads, so that no sum is.
pub(crate) const BLOCK: usize = 16;

/// Anchors, references, who belongs with whom, and how terms are reduced.
#[derive(Clone, Copy)]
pub struct Problem<'a, T> {
    /// How they are compared.
    pub metric: Metric,
    /// Anchors `[n, d]`.
    pub anchors: Matrix<'a, T>,
    /// References `[m, d]`; `None`: the anchors themselves.
    pub references: Option<Matrix<'a, T>>,
    /// Whether the references want a gradient; without, a product is saved.
    pub reference_gradient: bool,
    /// Who is a positive and who a negative of whom.
    pub relevance: &'a dyn Relevance,
    /// How the terms become one number.
    pub reduction: &'a Reduction,
    /// What the terms of each anchor are multiplied by; empty: 1.
    pub weights: &'a [f64],
    /// How much of the score matrix exists at a time.
    pub memory: Memory,
}

/// What a loss has seen, for people who watch it train.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Terms that counted, in each group.
    pub terms: [f64; GROUPS],
    /// Those of them above 0: what the loss still works on.
    pub active: [f64; GROUPS],
    /// Pairs of an anchor and a positive.
    pub positive_pairs: f64,
    /// Mean score of them; 0 of none.
    pub mean_positive: f64,
    /// Pairs of an anchor and a negative.
    pub negative_pairs: f64,
    /// Mean score of them; 0 of none.
    pub mean_negative: f64,
}

/// A loss and its gradients.
#[derive(Clone, Debug)]
pub struct RowwiseOutput<T> {
    /// The loss.
    pub value: f64,
    /// `dL/danchors` `[n, d]`; where the anchors are the references, through both.
    pub d_anchors: Vec<T>,
    /// `dL/dreferences` `[m, d]`; empty where the anchors are the references, or these want none.
    pub d_references: Vec<T>,
    /// `dL/d` of each anchor's own parameter `[n]`, if the objective has one ([`Terms::add_slope`]).
    pub slopes: Vec<T>,
    /// What was seen.
    pub statistics: Statistics,
}

/// Runs `objective` over all rows of `problem`.
///
/// # Errors
/// When the relevance is of another number of rows, or vectors differ in length.
pub fn rowwise<T: Real>(problem: &Problem<'_, T>, objective: &dyn RowObjective<T>) -> Result<RowwiseOutput<T>> {
    check(problem)?;
    if problem.metric != Metric::Cosine {
        return Ok(Driver::run(problem, objective));
    }
    // Cosine is the dot product of unit vectors; their gradient goes back through the normalisation.
    let a = Projection::Unit.apply(problem.anchors);
    let b = problem.references.map(|b| Projection::Unit.apply(b));
    let references = b.as_ref().map(|b| b.matrix());
    let unit = Problem { metric: Metric::Dot, anchors: a.matrix(), references, ..*problem };
    let mut output = Driver::run(&unit, objective);
    a.pull_back(&mut output.d_anchors);
    if let Some(b) = b.as_ref().filter(|_| problem.reference_gradient) {
        b.pull_back(&mut output.d_references);
    }
    Ok(output)
}

fn check<T: Real>(problem: &Problem<'_, T>) -> Result<()> {
    let relevance = problem.relevance;
    let references = problem.references.unwrap_or(problem.anchors);
    problem.anchors.same_width(references)?;
    for (what, given, want) in [
        ("anchors", relevance.anchors(), problem.anchors.rows()),
        ("references", relevance.references(), references.rows()),
    ] {
        if given != want {
            return Err(Error::Shape(format!(
                "labels of the {what} have length {given} but there are {want} rows: pass one label per row"
            )));
        }
    }
    if !problem.weights.is_empty() && problem.weights.len() != problem.anchors.rows() {
        let (given, want) = (problem.weights.len(), problem.anchors.rows());
        return Err(Error::Shape(format!("{given} weights for {want} anchors: pass one per anchor")));
    }
    Ok(())
}

/// What one row gave.
struct Outcome {
    sums: [f64; GROUPS],
    counts: [f64; GROUPS],
    active: [f64; GROUPS],
    slope: f64,
    positives: (f64, f64),
    negatives: (f64, f64),
}

struct Driver<'a, T: Real> {
    problem: &'a Problem<'a, T>,
    objective: &'a dyn RowObjective<T>,
    a: Side<'a, T>,
    b: Option<Side<'a, T>>,
    n: usize,
    m: usize,
}

impl<'a, T: Real> Driver<'a, T> {
    fn run(problem: &'a Problem<'a, T>, objective: &'a dyn RowObjective<T>) -> RowwiseOutput<T> {
        let a = Side::new(problem.metric, problem.anchors);
        let b = problem.references.map(|b| Side::new(problem.metric, b));
        let (n, m) = (problem.anchors.rows(), problem.references.unwrap_or(problem.anchors).rows());
        let driver = Driver { problem, objective, a, b, n, m };
        driver.all_rows()
    }

    /// Rows held at a time.
    fn tile(&self) -> usize {
        let row = 2 * self.m.max(1) * size_of::<T>();
        match self.problem.memory {
            Memory::Auto if row.saturating_mul(self.n) > LARGEST_WHOLE => (STREAMED / row).clamp(1, self.n),
            Memory::Rows(rows) => rows.clamp(1, self.n.max(1)),
            Memory::Auto | Memory::Whole => self.n.max(1),
        }
    }

    /// Scores of the rows `first..`, into `out`.
    fn fill(&self, first: usize, out: &mut [T]) {
        match &self.b {
            None if out.len() == self.n * self.n => parallel_self_scores(self.problem.metric, &self.a, self.n, out),
            b => parallel_scores(self.problem.metric, &self.a, b.as_ref().unwrap_or(&self.a), first, self.m, out),
        }
    }

    /// Runs one row; writes all of the gradient's row.
    fn row(
        &self,
        i: usize,
        scores: &[T],
        factors: [f64; GROUPS],
        scratch: &mut (Sets, Vec<u32>),
        g: &mut [T],
    ) -> Outcome {
        let (sets, others) = scratch;
        let problem = self.problem;
        sets.clear();
        problem.relevance.row(i, sets);
        let class = problem.relevance.class(i);
        let row = Row::new(i, class, scores, sets, others);
        let weight = problem.weights.get(i).copied().unwrap_or(1.0);
        let mut factors = factors;
        if *problem.reduction == Reduction::PerAnchor {
            let mut terms = Terms::new(problem.reduction, weight, class, [0.0; GROUPS]);
            g.fill(T::zero());
            self.objective.wide_row(&row, &mut terms, g);
            factors.iter_mut().zip(terms.counts).for_each(|(f, count)| *f *= over(count));
        }
        let mut terms = Terms::new(problem.reduction, weight, class, factors);
        g.fill(T::zero());
        self.objective.wide_row(&row, &mut terms, g);
        let mut sums = terms.sums;
        if *problem.reduction == Reduction::PerAnchor {
            sums.iter_mut().zip(terms.counts).for_each(|(sum, count)| *sum *= over(count));
        }
        let positives = row.positives().map(|j| scores[j].wide()).sum();
        Outcome {
            sums,
            counts: terms.counts,
            active: terms.active,
            slope: terms.slope,
            positives: (row.positives.len() as f64, positives),
            negatives: (row.count_negatives() as f64, row.sum_of_negatives()),
        }
    }

    /// What the sums of the groups are divided by, where the rows must be asked first.
    fn counted(&self, tile: usize, table: &mut [T], gradient: &mut [T]) -> [f64; GROUPS] {
        let mut counts = [0.0; GROUPS];
        for first in (0..self.n).step_by(tile) {
            let rows = tile.min(self.n - first);
            let (table, gradient) = (&mut table[..rows * self.m], &mut gradient[..rows * self.m]);
            self.fill(first, table);
            let rows = gradient.par_chunks_mut(self.m).zip(table.par_chunks(self.m)).enumerate();
            let count = |scratch: &mut (Sets, Vec<u32>), (i, (g, scores)): (usize, (&mut [T], &[T]))| {
                self.row(first + i, scores, [0.0; GROUPS], scratch, g).counts
            };
            let rows: Vec<[f64; GROUPS]> = rows.map_init(Default::default, count).collect();
            rows.iter().for_each(|row| counts.iter_mut().zip(row).for_each(|(all, one)| *all += one));
        }
        counts
    }

    fn all_rows(&self) -> RowwiseOutput<T> {
        let (n, m, d) = (self.n, self.m, self.problem.anchors.cols());
        let reduction = self.problem.reduction;
        let tile = self.tile();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(n);
        let mut puller =
            Puller::new(self.problem.metric, (&self.a, n), (self.b.as_ref(), m), d, self.problem.reference_gradient);
        // Known before the rows are: what each group is divided by. Otherwise one group is divided afterwards, and two
        // are counted first.
        let fixed = reduction.fixed_divisor(n);
        let mut divisors = [fixed; GROUPS].map(|fixed| fixed.unwrap_or(1.0));
        if m > 0 {
            let (mut table, mut gradient) = (Scratch::new(tile * m), Scratch::new(tile * m));
            let count_first = fixed.is_none() && self.objective.groups() > 1;
            if count_first {
                divisors = self.counted(tile, &mut table, &mut gradient);
            }
            let factors = divisors.map(over);
            for first in (0..n).step_by(tile) {
                let rows = tile.min(n - first);
                let (table, gradient) = (&mut table[..rows * m], &mut gradient[..rows * m]);
                if !(count_first && tile >= n) {
                    self.fill(first, table);
                }
                let blocks = gradient.par_chunks_mut(BLOCK * m).zip(table.par_chunks(BLOCK * m)).enumerate();
                let run = |scratch: &mut (Sets, Vec<u32>), (block, (g, scores)): (usize, (&mut [T], &[T]))| {
                    let mut pull = puller.block();
                    let rows = g.chunks_exact_mut(m).zip(scores.chunks_exact(m)).enumerate();
                    let outcomes: Vec<Outcome> = rows
                        .map(|(i, (g, scores))| {
                            let anchor = first + block * BLOCK + i;
                            let outcome = self.row(anchor, scores, factors, scratch, g);
                            puller.to_products(anchor, scores, g, &mut pull);
                            outcome
                        })
                        .collect();
                    (outcomes, pull)
                };
                let blocks: Vec<(Vec<Outcome>, BlockPull<T>)> = blocks.map_init(Default::default, run).collect();
                let (blocks, pulls): (Vec<Vec<Outcome>>, Vec<BlockPull<T>>) = blocks.into_iter().unzip();
                outcomes.extend(blocks.into_iter().flatten());
                puller.add_rows(first, table, gradient, pulls);
            }
            if fixed.is_none() && !count_first {
                divisors[0] = outcomes.iter().map(|row| row.counts[0]).sum();
            }
        }
        let (mut d_anchors, mut d_references) = puller.finish();
        let mut slopes: Vec<T> = outcomes.iter().map(|row| T::of(row.slope)).collect();
        if fixed.is_none() && self.objective.groups() == 1 {
            let factor = T::of(over(divisors[0]));
            for gradient in [&mut d_anchors, &mut d_references, &mut slopes] {
                gradient.par_iter_mut().with_min_len(1 << 14).for_each(|g| *g *= factor);
            }
        }
        let group = |g: usize| outcomes.iter().map(|row| row.sums[g]).sum::<f64>() * over(divisors[g]);
        RowwiseOutput {
            value: (0..GROUPS).map(group).sum(),
            d_anchors,
            d_references,
            slopes,
            statistics: statistics(&outcomes),
        }
    }
}

fn statistics(outcomes: &[Outcome]) -> Statistics {
    let total = |f: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(f).sum::<f64>();
    let groups = |f: &dyn Fn(&Outcome) -> [f64; GROUPS]| [0, 1].map(|g| total(&|row| f(row)[g]));
    let (positive_pairs, negative_pairs) = (total(&|row| row.positives.0), total(&|row| row.negatives.0));
    Statistics {
        terms: groups(&|row| row.counts),
        active: groups(&|row| row.active),
        positive_pairs,
        mean_positive: total(&|row| row.positives.1) * over(positive_pairs),
        negative_pairs,
        mean_negative: total(&|row| row.negatives.1) * over(negative_pairs),
    }
}
