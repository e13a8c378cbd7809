//! Smooth random bending, as a hand or another designer would draw the same thing.

use rand::Rng;

/// Control points per side of the grid.
const GRID: usize = 5;

/// A displacement for every pixel: random at the points of a coarse grid, bilinear in between.
///
/// A cheaper form of the elastic distortions of Simard et al., 2003, who smooth noise of full resolution.
#[derive(Debug, Clone)]
pub(super) struct Displacement {
    points: [[f32; 2]; GRID * GRID],
    step: [f32; 2],
}

impl Displacement {
    /// Displacements uniform in ±`amplitude` pixels for an image of `width` × `height`.
    pub(super) fn random(rng: &mut impl Rng, amplitude: f32, width: usize, height: usize) -> Self {
        let points = std::array::from_fn(|_| [(); 2].map(|()| rng.random_range(-amplitude..=amplitude)));
        let step = [width, height].map(|side| (GRID - 1) as f32 / (side.max(2) - 1) as f32);
        Self { points, step }
    }

    /// The displacement of pixel (`x`, `y`) in pixels, x then y.
    pub(super) fn at(&self, x: usize, y: usize) -> [f32; 2] {
        let (gx, gy) = (x as f32 * self.step[0], y as f32 * self.step[1]);
        let (left, top) = ((gx as usize).min(GRID - 2), (gy as usize).min(GRID - 2));
        let (fx, fy) = (gx - left as f32, gy - top as f32);
        let point = |row: usize, column: usize| self.points[row * GRID + column];
        std::array::from_fn(|axis| {
            let upper = point(top, left)[axis] * (1.0 - fx) + point(top, left + 1)[axis] * fx;
            let lower = point(top + 1, left)[axis] * (1.0 - fx) + point(top + 1, left + 1)[axis] * fx;
            upper * (1.0 - fy) + lower * fy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn displacements_stay_within_the_amplitude_and_meet_the_grid() {
        let mut rng = stream(3, Purpose::Augment, (0, 0));
        let displacement = Displacement::random(&mut rng, 1.5, 9, 9);
        for y in 0..9 {
            for x in 0..9 {
                assert!(displacement.at(x, y).iter().all(|offset| offset.abs() <= 1.5));
            }
        }
        assert_eq!(displacement.at(8, 8), displacement.points[GRID * GRID - 1]);
        assert_eq!(displacement.at(2, 4), displacement.points[2 * GRID + 1]);
    }
}
