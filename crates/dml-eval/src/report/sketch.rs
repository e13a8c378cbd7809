//! A map as a still picture, for pages without JavaScript.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::projection::STEPS;

/// Points drawn at most, evenly spaced.
const POINTS: usize = 3000;
/// Length of a side, and the width of the margin.
const SIDE: i32 = 999;
const MARGIN: i32 = 24;

/// The colour of a class, the same as the page's script gives it, dark enough for white and light enough for black.
fn colour(class: usize) -> String {
    format!("hsl({:.1} {}% 54%)", (class as f64 * 137.508 + 215.0) % 360.0, 45 + class % 3 * 8)
}

/// Points as dots, one path per class. `steps` holds x and y of each, flat, −1 where there is none.
pub(super) fn sketch(of: &[usize], steps: &[i32]) -> String {
    let mut classes: BTreeMap<usize, String> = BTreeMap::new();
    let nth = of.len().div_ceil(POINTS).max(1);
    for (&class, at) in of.iter().zip(steps.chunks_exact(2)).step_by(nth).filter(|(_, at)| at[0] >= 0) {
        let place = |step: i32| step * SIDE / STEPS;
        // A line without length and with round ends is a dot.
        let _ = write!(classes.entry(class).or_default(), "M{} {}h0", place(at[0]), place(at[1]));
    }
    let whole = SIDE + 2 * MARGIN;
    let mut svg = format!(
        "<svg class=\"sketch\" viewBox=\"-{MARGIN} -{MARGIN} {whole} {whole}\" fill=\"none\" stroke-width=\"11\" \
         stroke-linecap=\"round\" stroke-opacity=\".75\" aria-hidden=\"true\">"
    );
    for (class, dots) in classes {
        let _ = write!(svg, "<path stroke=\"{}\" d=\"{dots}\"/>", colour(class));
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_where_their_points_are() {
        let svg = sketch(&[1, 0, 1, 1], &[0, 4095, 4095, 0, -1, -1, 2048, 2048]);
        assert_eq!(svg.matches("<path").count(), 2);
        assert!(svg.contains("d=\"M999 0h0\"") && svg.contains("d=\"M0 999h0M499 499h0\""), "{svg}");
        let many = sketch(&vec![0; 9001], &vec![7; 18_002]);
        assert_eq!(many.matches("h0").count(), 2251);
    }
}
