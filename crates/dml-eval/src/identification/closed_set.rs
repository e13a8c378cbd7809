//! Closed set: everybody is enrolled, no threshold.

use super::ProbeScores;
use crate::Result;

impl ProbeScores {
    /// CMC(r), the cumulative match characteristic: share of mated probes whose identity is among the best r, for r
    /// from 1 to the length of the candidate lists. CMC(1) is the rank-1 rate.
    ///
    /// # Errors
    /// When there are no mated probes.
    pub fn cmc(&self) -> Result<Vec<f64>> {
        self.check_rank(1)?;
        let mut found = vec![0usize; self.length];
        self.mates.iter().for_each(|mate| found[mate.0 - 1] += 1);
        let mut within = 0;
        let share = |count: usize| {
            within += count;
            within as f64 / self.mated as f64
        };
        Ok(found.into_iter().map(share).collect())
    }
}
