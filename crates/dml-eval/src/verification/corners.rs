//! The ROC curve as a walk over its corners, from the strictest threshold to the loosest.

use super::det::probit;

/// How many pairs of each kind pass at a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Corner {
    /// The threshold; a pair passes when its closeness is this or more.
    pub(super) closeness: f32,
    pub(super) impostors: u64,
    pub(super) genuine: u64,
}

/// Corners of two falling lists, one per distinct closeness (ties move together), after one where nothing passes.
pub(super) fn merged<'a>(genuine: &'a [f32], impostors: &'a [f32]) -> impl Iterator<Item = Corner> + 'a {
    let (mut g, mut i) = (0, 0);
    let closest = |g: usize, i: usize| match (genuine.get(g), impostors.get(i)) {
        (Some(&a), Some(&b)) => Some(a.max(b)),
        (a, b) => a.or(b).copied(),
    };
    let start = closest(0, 0).map(|top| Corner { closeness: top.next_up(), impostors: 0, genuine: 0 });
    start.into_iter().chain(std::iter::from_fn(move || {
        let closeness = closest(g, i)?;
        g += genuine[g..].iter().take_while(|&&s| s == closeness).count();
        i += impostors[i..].iter().take_while(|&&s| s == closeness).count();
        Some(Corner { closeness, impostors: i as u64, genuine: g as u64 })
    }))
}

/// What is read off the curve while it is walked, corner by corner.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    genuine: u64,
    impostors: u64,
    last: Option<Corner>,
    /// Twice the area, in pairs of pairs.
    twice: u128,
    /// EER and its closeness.
    crossing: Option<(f64, f32)>,
}

impl Walk {
    pub(super) fn new(genuine: u64, impostors: u64) -> Self {
        Self { genuine, impostors, last: None, twice: 0, crossing: None }
    }

    pub(super) fn along(mut self, corners: impl Iterator<Item = Corner>) -> Self {
        corners.for_each(|corner| self.step(corner));
        self
    }

    #[inline]
    fn step(&mut self, corner: Corner) {
        let last = self.last.replace(corner);
        let (before, passed) = last.map_or((0, 0), |last| (last.impostors, last.genuine));
        self.twice += u128::from(corner.impostors - before) * u128::from(corner.genuine + passed);
        if self.crossing.is_none() {
            self.crossing = self.crossed(last, corner);
        }
    }

    /// Where FAR meets FNMR between two corners.
    #[inline]
    fn crossed(&self, last: Option<Corner>, corner: Corner) -> Option<(f64, f32)> {
        let after = self.gap(&corner);
        let last = last.filter(|_| after >= 0)?;
        let short = -self.gap(&last);
        let step = (corner.impostors - last.impostors) as f64 * (short as f64 / (short + after) as f64);
        let nearest = if short <= after { last } else { corner };
        Some(((last.impostors as f64 + step) / self.impostors as f64, nearest.closeness))
    }

    /// (FAR − FNMR) · genuine · impostors, exactly.
    #[inline]
    fn gap(&self, c: &Corner) -> i128 {
        let (genuine, impostors) = (i128::from(self.genuine), i128::from(self.impostors));
        i128::from(c.impostors) * genuine + i128::from(c.genuine) * impostors - genuine * impostors
    }

    /// Area under the curve, by trapezoids: exact up to one division. A tie of genuine and impostor counts half.
    pub(super) fn area(&self) -> f64 {
        self.twice as f64 / (2.0 * self.genuine as f64 * self.impostors as f64)
    }

    /// Where FAR = 1 − TAR on the curve, and the closeness at which the two are nearest (the stricter of equals).
    pub(super) fn equal_error(&self) -> (f64, f32) {
        self.crossing.unwrap_or((1.0, self.last.map_or(0.0, |corner| corner.closeness)))
    }
}

/// At most `most` corners (two at least), first and last among them, evenly along the curve on probit axes: in the tails,
/// where single pairs are seen, each is kept.
pub(super) fn thinned(corners: impl Iterator<Item = Corner>, genuine: u64, impostors: u64, most: usize) -> Vec<Corner> {
    let along = |count: u64, of: u64| probit((count as f64 + 0.5) / (of as f64 + 1.0));
    let place = |i: u64, g: u64| along(i, impostors) + along(g, genuine);
    let (start, end) = (place(0, 0), place(impostors, genuine));
    let most = most.max(2);
    let step = (end - start) / (most - 1) as f64;
    let (mut kept, mut filled) = (Vec::new(), None);
    for corner in corners {
        // Rounding must not lose the last one, nor give one before it its place.
        let bucket = match (corner.impostors, corner.genuine) == (impostors, genuine) {
            true => most - 1,
            false if filled == Some(most - 2) => continue,
            false => (((place(corner.impostors, corner.genuine) - start) / step) as usize).min(most - 2),
        };
        if filled.is_none_or(|last| bucket > last) {
            kept.push(corner);
            filled = Some(bucket);
        }
    }
    kept
}
