//! A set to evaluate: who asks, and who may answer.

use crate::retrieval::{Exclusion, Rankings, Relevance, Ties};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric, Nearest, Watch};
use std::borrow::Cow;
use std::fmt;

/// Embeddings with what is known of them.
#[derive(Clone, Copy)]
pub struct EvaluationSet<'a> {
    /// `[n, d]`.
    pub embeddings: Matrix<'a>,
    /// Class of each, `[n]`, an index into `names`.
    pub labels: &'a [u32],
    /// Names of the classes.
    pub names: &'a [String],
    /// Name of each embedding.
    pub ids: Option<&'a [String]>,
    /// Who asks; none: all.
    pub is_query: Option<&'a [bool]>,
    /// Who may be found; none: all.
    pub is_gallery: Option<&'a [bool]>,
    /// Camera of each: what the query's own camera took of its class is not in its ranking.
    pub cameras: Option<&'a [u32]>,
    /// A PNG or JPEG of an embedding's item.
    pub picture: Option<&'a (dyn Fn(usize) -> Option<Vec<u8>> + Sync)>,
}

impl fmt::Debug for EvaluationSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvaluationSet").field("rows", &self.embeddings.rows()).finish_non_exhaustive()
    }
}

/// Rows that ask and rows that answer.
pub(super) struct Parts {
    pub(super) queries: Vec<u32>,
    pub(super) gallery: Vec<u32>,
    pub(super) query_labels: Vec<u32>,
    pub(super) gallery_labels: Vec<u32>,
    cameras: Option<(Vec<u32>, Vec<u32>)>,
    /// For each query its own place in the gallery, where it is there.
    own: Vec<Vec<u32>>,
    /// All ask, all answer.
    whole: bool,
    /// Items of the shortest ranking, but for cameras.
    pub(super) reach: usize,
}

impl<'a> EvaluationSet<'a> {
    /// A set in which all ask and all may be found.
    pub fn new(embeddings: Matrix<'a>, labels: &'a [u32], names: &'a [String]) -> Self {
        let (ids, is_query, is_gallery, cameras, picture) = (None, None, None, None, None);
        Self { embeddings, labels, names, ids, is_query, is_gallery, cameras, picture }
    }

    /// Refuses a set whose parts do not fit together.
    ///
    /// # Errors
    /// When labels, ids, cameras or marks are not one per embedding, an embedding is not finite, a label has no name, or nobody
    /// asks or may be found.
    pub fn check(&self) -> Result<()> {
        check(self.embeddings, self.labels)?;
        let n = self.labels.len();
        let lengths = [
            ("ids", self.ids.map(<[_]>::len)),
            ("query marks", self.is_query.map(<[_]>::len)),
            ("gallery marks", self.is_gallery.map(<[_]>::len)),
            ("cameras", self.cameras.map(<[_]>::len)),
        ];
        if let Some((what, given)) = lengths.into_iter().find_map(|(what, len)| Some((what, len.filter(|&l| l != n)?)))
        {
            return Err(Error::Input(format!("there are {given} {what} for {n} embeddings: give one for each")));
        }
        if let Some(label) = self.labels.iter().find(|&&label| label as usize >= self.names.len()) {
            return Err(Error::Input(format!("label {label} has no name: there are {} names", self.names.len())));
        }
        let nobody = |marks: Option<&[bool]>| marks.is_some_and(|marks| !marks.contains(&true));
        if nobody(self.is_query) || nobody(self.is_gallery) {
            return Err(Error::Input("no row is marked as a query, or none as gallery: mark some of each".to_owned()));
        }
        Ok(())
    }

    /// Number of classes that have an item.
    pub fn classes(&self) -> usize {
        self.class_sizes().into_iter().filter(|&size| size > 0).count()
    }

    pub(super) fn class_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.names.len()];
        self.labels.iter().for_each(|&label| sizes[label as usize] += 1);
        sizes
    }

    /// What an embedding is called.
    pub(super) fn id(&self, row: usize) -> String {
        self.ids.and_then(|ids| ids.get(row)).cloned().unwrap_or_else(|| format!("#{row}"))
    }

    pub(super) fn parts(&self) -> Parts {
        let marked = |marks: Option<&[bool]>| -> Vec<u32> {
            (0..self.labels.len()).filter(|&i| marks.is_none_or(|marks| marks[i])).map(|i| i as u32).collect()
        };
        let (queries, gallery) = (marked(self.is_query), marked(self.is_gallery));
        let of = |values: &[u32], rows: &[u32]| rows.iter().map(|&i| values[i as usize]).collect::<Vec<u32>>();
        let own = |q: &u32| gallery.binary_search(q).map(|place| vec![place as u32]).unwrap_or_default();
        let own: Vec<Vec<u32>> = queries.iter().map(own).collect();
        let reach = gallery.len() - usize::from(own.iter().any(|own| !own.is_empty()));
        Parts {
            query_labels: of(self.labels, &queries),
            gallery_labels: of(self.labels, &gallery),
            cameras: self.cameras.map(|cameras| (of(cameras, &queries), of(cameras, &gallery))),
            whole: queries.len() == self.labels.len() && gallery.len() == self.labels.len(),
            queries,
            gallery,
            own,
            reach,
        }
    }
}

/// Rows of a matrix, without a copy where all are wanted.
pub(super) struct Rows<'a> {
    values: Cow<'a, [f32]>,
    rows: usize,
    cols: usize,
}

impl Rows<'_> {
    pub(super) fn matrix(&self) -> Result<Matrix<'_>> {
        Ok(Matrix::new(&self.values, self.rows, self.cols)?)
    }
}

impl Parts {
    pub(super) fn rows<'a>(&self, x: Matrix<'a>, rows: &[u32]) -> Rows<'a> {
        let values = if self.whole && rows.len() == x.rows() {
            Cow::Borrowed(x.data())
        } else {
            Cow::Owned(rows.iter().flat_map(|&i| x.row(i as usize)).copied().collect())
        };
        Rows { values, rows: rows.len(), cols: x.cols() }
    }

    pub(super) fn relevance(&self) -> Relevance<'_> {
        Relevance::Labels { queries: &self.query_labels, gallery: &self.gallery_labels }
    }

    pub(super) fn exclusions(&self) -> Vec<Exclusion<'_>> {
        let cameras = self.cameras.as_ref().map(|(queries, gallery)| Exclusion::SameCamera { queries, gallery });
        std::iter::once(Exclusion::Ids(&self.own)).chain(cameras).collect()
    }

    /// Ranks the gallery's rows for the queries' rows, whatever has been done to either.
    pub(super) fn rank(
        &self,
        metric: Metric,
        (queries, gallery): (Matrix<'_>, Matrix<'_>),
        ties: Ties,
        watch: Watch<'_>,
    ) -> Result<Rankings> {
        Rankings::whole_watched(metric, queries, gallery, &self.relevance(), &self.exclusions(), ties, watch)
    }

    /// Rankings of lists that hold the whole gallery, but for the query itself.
    pub(super) fn place(&self, found: &Nearest) -> Result<Rankings> {
        Rankings::from_nearest(found, self.gallery.len(), &self.relevance(), &self.exclusions())
    }

    /// Whether a query must not find a place of the gallery.
    pub(super) fn hides(&self, query: usize, place: u32) -> bool {
        let own = self.own[query].first() == Some(&place);
        let junk = self.cameras.as_ref().is_some_and(|(queries, gallery)| {
            queries[query] == gallery[place as usize] && self.query_labels[query] == self.gallery_labels[place as usize]
        });
        own || junk
    }
}
