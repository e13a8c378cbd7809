//! What is known of the samples of a batch, and who is therefore a positive of whom.

use crate::{Error, Result};
use dml_core::relevance::{Labels, Relevance, Sets};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of the samples of a batch.
#[derive(Clone)]
pub enum Supervision {
    /// One class each, `[n]`: equal labels are positives.
    Labels(Vec<u64>),
    /// Any number of classes each, `[n]`: who shares `overlap` of them or more is a positive.
    LabelSets {
        /// Classes of each sample.
        sets: Vec<Vec<u64>>,
        /// 1 or more.
        overlap: usize,
    },
    /// An explicit matrix `[n, m]`, row-major, of anchors against references (the batch itself where there are none):
    /// above 0 a positive, 0 a negative, below 0 neither. The anchor itself is neither, whatever stands there.
    Pairs(Arc<[i8]>),
    /// As `Pairs`, by degree: above 0 a positive, and the more the better; 0 a negative; not a number: neither.
    Grades(Arc<[f32]>),
    /// How alike the rows 2i and 2i + 1 of the batch are, for each i, `[n/2]`: the more the greater. Says nothing of other
    /// pairs; not a number: unknown. For losses of graded pairs (`cosent`, `angle`) only.
    PairGrades(Arc<[f32]>),
    /// Anything else, of these very anchors against these very references.
    Other(Arc<dyn Relevance + Send + Sync>),
}

impl From<&[u64]> for Supervision {
    fn from(labels: &[u64]) -> Self {
        Self::Labels(labels.to_vec())
    }
}

impl From<&[u32]> for Supervision {
    fn from(labels: &[u32]) -> Self {
        Self::Labels(labels.iter().map(|&label| label.into()).collect())
    }
}

impl Supervision {
    /// The one label of each sample.
    ///
    /// # Errors
    /// When samples have no single label; `loss` is who wants one.
    pub fn labels(&self, loss: &str) -> Result<&[u64]> {
        match self {
            Self::Labels(labels) => Ok(labels),
            _ => Err(Error::Labels(format!("{loss} wants one label per sample: give Supervision::Labels"))),
        }
    }

    /// The grades of the pairs of rows 2i and 2i + 1 of a batch of `n` rows.
    ///
    /// # Errors
    /// When there are others than one for each pair; `loss` is who wants them.
    pub fn pair_grades(&self, n: usize, loss: &str) -> Result<&[f32]> {
        let Self::PairGrades(grades) = self else {
            return Err(Error::Labels(format!(
                "{loss} wants graded pairs: give Supervision::PairGrades, a grade for each pair of rows 2i and 2i + 1"
            )));
        };
        if 2 * grades.len() == n {
            return Ok(grades);
        }
        Err(Error::Labels(format!(
            "grades have length {} but there are {n} rows: pass one grade for each two rows",
            grades.len()
        )))
    }

    /// Who is a positive of whom, anchors `[n]` against references `[m]`; reference `self_offset + i` is anchor `i`.
    ///
    /// # Errors
    /// When the sizes do not fit, or the references are described in another way.
    pub fn relate<'a>(
        &'a self,
        n: usize,
        references: &'a Self,
        m: usize,
        self_offset: Option<usize>,
    ) -> Result<Box<dyn Relevance + 'a>> {
        let sizes = |what: &str, given: usize, rows: usize| -> Result<()> {
            let message = || format!("{what} have length {given} but there are {rows} rows: pass one label per row");
            if given == rows { Ok(()) } else { Err(Error::Labels(message())) }
        };
        let matrix = |given: usize| -> Result<()> {
            let message = || format!("a matrix of {given} values is not [{n}, {m}]: give anchors × references");
            if given == n * m { Ok(()) } else { Err(Error::Labels(message())) }
        };
        Ok(match (self, references) {
            (Self::Labels(a), Self::Labels(b)) => {
                sizes("labels", a.len(), n)?;
                sizes("labels of the references", b.len(), m)?;
                Box::new(Labels::new(a, b, self_offset))
            }
            (Self::LabelSets { sets: a, overlap }, Self::LabelSets { sets: b, .. }) => {
                sizes("label sets", a.len(), n)?;
                sizes("label sets of the references", b.len(), m)?;
                Box::new(Overlap::new(a, b, *overlap, self_offset))
            }
            (Self::Pairs(pairs), _) => {
                matrix(pairs.len())?;
                Box::new(Matrix { n, m, self_offset, grade: move |k: usize| f32::from(pairs[k]), graded: false })
            }
            (Self::Grades(grades), _) => {
                matrix(grades.len())?;
                let grade = move |k: usize| if grades[k].is_nan() { -1.0 } else { grades[k] };
                Box::new(Matrix { n, m, self_offset, grade, graded: true })
            }
            (Self::Other(relevance), _) => Box::new(Shared(relevance)),
            (Self::PairGrades(_), _) | (_, Self::PairGrades(_)) => {
                return Err(Error::Labels(
                    "grades of the pairs of rows 2i and 2i + 1 are for cosent and angle: give this loss labels, label \
                     sets, or a matrix of pairs or grades"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Error::Labels("anchors and references are described in two ways: choose one".to_owned()));
            }
        })
    }
}

struct Shared<'a>(&'a Arc<dyn Relevance + Send + Sync>);

impl Relevance for Shared<'_> {
    fn anchors(&self) -> usize {
        self.0.anchors()
    }

    fn references(&self) -> usize {
        self.0.references()
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        self.0.row(anchor, sets);
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        self.0.class(anchor)
    }
}

/// Who shares enough classes.
struct Overlap<'a> {
    anchors: &'a [Vec<u64>],
    m: usize,
    columns: HashMap<u64, Vec<u32>>,
    overlap: usize,
    self_offset: Option<usize>,
}

impl<'a> Overlap<'a> {
    fn new(anchors: &'a [Vec<u64>], references: &[Vec<u64>], overlap: usize, self_offset: Option<usize>) -> Self {
        let mut columns: HashMap<u64, Vec<u32>> = HashMap::new();
        for (j, set) in references.iter().enumerate() {
            let mut set = set.clone();
            set.sort_unstable();
            set.dedup();
            set.into_iter().for_each(|label| columns.entry(label).or_default().push(j as u32));
        }
        Self { anchors, m: references.len(), columns, overlap: overlap.max(1), self_offset }
    }
}

impl Relevance for Overlap<'_> {
    fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn references(&self) -> usize {
        self.m
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        let itself = self.self_offset.map(|offset| (offset + anchor) as u32);
        let mut own = self.anchors[anchor].clone();
        own.sort_unstable();
        own.dedup();
        let mut shared: Vec<u32> = own.iter().filter_map(|label| self.columns.get(label)).flatten().copied().collect();
        shared.sort_unstable();
        let groups = shared.chunk_by(|a, b| a == b).filter(|group| group.len() >= self.overlap);
        sets.positives.extend(groups.map(|group| group[0]).filter(|&j| Some(j) != itself));
        sets.ignored.extend(itself);
    }
}

/// An explicit matrix.
struct Matrix<F> {
    n: usize,
    m: usize,
    self_offset: Option<usize>,
    grade: F,
    graded: bool,
}

impl<F: Fn(usize) -> f32 + Sync> Relevance for Matrix<F> {
    fn anchors(&self) -> usize {
        self.n
    }

    fn references(&self) -> usize {
        self.m
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        let itself = self.self_offset.map(|offset| offset + anchor);
        for j in 0..self.m {
            let grade = (self.grade)(anchor * self.m + j);
            if self.graded {
                sets.grades.push(grade);
            }
            if grade < 0.0 || Some(j) == itself {
                sets.ignored.push(j as u32);
            } else if grade > 0.0 {
                sets.positives.push(j as u32);
            }
        }
    }
}
