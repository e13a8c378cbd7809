//! What a query is never shown.

/// What is taken out of a query's ranking before anything is counted: it is neither relevant nor in the way.
#[derive(Clone, Copy, Debug)]
pub enum Exclusion<'a> {
    /// Query `i` is gallery row `i`, and does not find itself. By index: a copy of it elsewhere stays.
    SelfIndex,
    /// Items of the query's own group (a sequence, a product page, a photo session), one id per query and per gallery row.
    SameGroup {
        /// `[queries]`.
        queries: &'a [u32],
        /// `[gallery]`.
        gallery: &'a [u32],
    },
    /// Re-identification's rule: relevant items that the query's own camera took are junk. Others of that camera stay.
    /// Zheng et al., *Scalable Person Re-identification: A Benchmark*, 2015 (Market-1501).
    SameCamera {
        /// `[queries]`.
        queries: &'a [u32],
        /// `[gallery]`.
        gallery: &'a [u32],
    },
    /// Gallery rows named per query (distractors, unjudged items), `[queries]` lists.
    Ids(&'a [Vec<u32>]),
}
