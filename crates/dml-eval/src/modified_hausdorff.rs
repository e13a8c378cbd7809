//! Modified Hausdorff distance between two drawings (Dubuisson & Jain, ICPR 1994), the classic baseline of Omniglot.

use crate::{Error, Result};

/// How a drawing is brought to the origin before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centring {
    /// The mean of the ink's coordinates is subtracted.
    Exact,
    /// The mean is rounded to whole pixels first (halves upwards), so that coordinates stay integers.
    Rounded,
}

/// The ink of a drawing as centred points.
#[derive(Clone, Debug, PartialEq)]
pub struct Ink {
    /// Row and column, ordered by row.
    points: Vec<[f64; 2]>,
}

impl Ink {
    /// The pixels above 127 of a grey image with bright ink, `[height, width]` row by row.
    ///
    /// # Errors
    /// When there is no ink, or `width` does not divide the pixels into rows.
    pub fn new(pixels: &[u8], width: usize, centring: Centring) -> Result<Self> {
        if width == 0 || !pixels.len().is_multiple_of(width) {
            let count = pixels.len();
            return Err(Error::Input(format!(
                "{count} pixels do not make rows of {width}: pass one grey value per pixel"
            )));
        }
        let inked = (0..pixels.len()).filter(|&i| pixels[i] > 127);
        let mut points: Vec<[f64; 2]> = inked.map(|i| [(i / width) as f64, (i % width) as f64]).collect();
        if points.is_empty() {
            return Err(Error::Input(
                "the drawing has no ink: pass bright ink (above 127) on a dark ground".to_owned(),
            ));
        }
        for axis in 0..2 {
            let mean = points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64;
            let origin = if centring == Centring::Rounded { (mean + 0.5).floor() } else { mean };
            points.iter_mut().for_each(|point| point[axis] -= origin);
        }
        Ok(Self { points })
    }

    /// `max(h(A, B), h(B, A))` with `h(A, B)` the mean over the points of A of the Euclidean distance to the nearest point
    /// of B, in pixels.
    pub fn distance(&self, other: &Self) -> f64 {
        self.mean_distance_to(other).max(other.mean_distance_to(self))
    }

    fn mean_distance_to(&self, other: &Self) -> f64 {
        let sum: f64 = self.points.iter().map(|&point| other.squared_distance_from(point).sqrt()).sum();
        sum / self.points.len() as f64
    }

    /// Goes through the rows away from `point`, up and down, until they are farther than the nearest point so far.
    fn squared_distance_from(&self, point: [f64; 2]) -> f64 {
        let (above, below) = self.points.split_at(self.points.partition_point(|p| p[0] < point[0]));
        let mut best = f64::INFINITY;
        let mut nearer = |p: &[f64; 2]| {
            let (dy, dx) = (p[0] - point[0], p[1] - point[1]);
            best = best.min(dy * dy + dx * dx);
            dy * dy < best
        };
        below.iter().take_while(|p| nearer(p)).for_each(drop);
        above.iter().rev().take_while(|p| nearer(p)).for_each(drop);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(pixels: &[u8], centring: Centring) -> Ink {
        Ink::new(pixels, 4, centring).unwrap()
    }

    #[test]
    fn where_a_drawing_lies_does_not_matter() {
        let (left, right) = ([255, 255, 0, 0, 255, 0, 0, 0], [0, 0, 255, 255, 0, 0, 255, 0]);
        assert!(ink(&left, Centring::Exact).distance(&ink(&right, Centring::Exact)) < 1e-12);
    }

    #[test]
    fn the_worse_direction_counts() {
        // Centred: {-1.5, 1.5} against {-1.5, -0.5, 0.5, 1.5}: 0 one way, (0 + 1 + 1 + 0) / 4 the other.
        let (ends, bar) = (ink(&[255, 0, 0, 255], Centring::Exact), ink(&[255; 4], Centring::Exact));
        assert_eq!((ends.distance(&bar), bar.distance(&ends)), (0.5, 0.5));
    }

    #[test]
    fn rounded_centres_stay_on_the_grid() {
        // The means 0.5 and 1 become 1 and 1: {-1, 0} against {-1, 0, 1}.
        let (two, three) = (ink(&[255, 255, 0, 0], Centring::Rounded), ink(&[255, 255, 255, 0], Centring::Rounded));
        assert!((two.distance(&three) - 1.0 / 3.0).abs() < 1e-12);
        // Exact: {-0.5, 0.5} against {-1, 0, 1}: always half a pixel.
        let (two, three) = (ink(&[255, 255, 0, 0], Centring::Exact), ink(&[255, 255, 255, 0], Centring::Exact));
        assert!((two.distance(&three) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_search_by_rows_finds_the_nearest_points() {
        let drawing = |seed: usize| -> Vec<u8> {
            (0..400).map(|i: usize| if (i * i * (i + seed)).is_multiple_of(13) { 255 } else { 0 }).collect()
        };
        let distance = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        let mean = |a: &Ink, b: &Ink| {
            let nearest = |p| b.points.iter().map(|q| distance(p, q)).fold(f64::INFINITY, f64::min);
            a.points.iter().map(nearest).sum::<f64>() / a.points.len() as f64
        };
        for seed in 1..6 {
            let inks = [drawing(seed), drawing(seed + 1)].map(|pixels| Ink::new(&pixels, 20, Centring::Exact).unwrap());
            let expected = mean(&inks[0], &inks[1]).max(mean(&inks[1], &inks[0]));
            assert!((inks[0].distance(&inks[1]) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn blank_drawings_and_broken_rows_are_refused() {
        assert!(Ink::new(&[127; 4], 2, Centring::Exact).unwrap_err().to_string().contains("no ink"));
        assert!(
            Ink::new(&[255; 5], 2, Centring::Exact).unwrap_err().to_string().contains("5 pixels do not make rows of 2")
        );
    }
}
