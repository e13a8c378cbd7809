//! Max-pooling of planes, a line of windows at a time: what lies under one pixel of all of them lies side by side, so that compilers
//! make vector instructions of it.

use super::pool::PoolWindow;
use super::vector::widest;

/// Planes of one size on their way through a window, and room for them.
pub(super) struct MaxPool {
    window: PoolWindow,
    h: usize,
    w: usize,
    /// Windows along a line.
    wide: usize,
    /// Numbers of a padded line of one remainder.
    pitch: usize,
    /// A padded line.
    line: Vec<f32>,
    /// `[h, stride, pitch]`: each line of the plane, `-∞` around it, its columns by their remainders modulo the stride.
    lines: Vec<f32>,
    best: Vec<f32>,
    /// Where in its window the largest is: row · side + column.
    which: Vec<u32>,
}

/// Whether `a` is to be taken for larger than `b`. NaN is largest, so that it shows; of equal ones the first is.
#[inline(always)]
fn is_larger(a: f32, b: f32) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

impl MaxPool {
    pub(super) fn new(window: PoolWindow, [h, w]: [usize; 2]) -> Self {
        let wide = window.places(w);
        let pitch = wide + (window.side - 1) / window.stride;
        let (stride, line) = (window.stride, vec![f32::NEG_INFINITY; pitch * window.stride]);
        let lines = vec![f32::NEG_INFINITY; h * stride * pitch];
        Self { window, h, w, wide, pitch, line, lines, best: vec![0.0; wide], which: vec![0; wide] }
    }

    /// The largest of every window of `plane` (`[h, w]`).
    pub(super) fn forward(&mut self, plane: &[f32], y: &mut [f32]) {
        widest(
            #[inline(always)]
            || {
                self.take(plane);
                for (place, y) in y.chunks_exact_mut(self.wide).enumerate() {
                    y.fill(f32::NEG_INFINITY);
                    self.visit(place, |_, line| {
                        for (best, &value) in y.iter_mut().zip(line) {
                            *best = if is_larger(value, *best) { value } else { *best };
                        }
                    });
                }
            },
        );
    }

    /// Adds the slope of every window, of `dy`, to the pixel that was its largest.
    pub(super) fn backward(&mut self, plane: &[f32], dy: &[f32], dx: &mut [f32]) {
        let PoolWindow { side, stride, padding, .. } = self.window;
        let (mut best, mut which) = (std::mem::take(&mut self.best), std::mem::take(&mut self.which));
        widest(
            #[inline(always)]
            || self.take(plane),
        );
        for (place, dy) in dy.chunks_exact(self.wide).enumerate() {
            widest(
                #[inline(always)]
                || {
                    best.fill(f32::NEG_INFINITY);
                    which.fill(0);
                    self.visit(place, |at, line| {
                        for ((best, which), &value) in best.iter_mut().zip(&mut which).zip(line) {
                            let larger = is_larger(value, *best);
                            *best = if larger { value } else { *best };
                            *which = if larger { at } else { *which };
                        }
                    });
                },
            );
            for (column, (&which, &dy)) in which.iter().zip(dy).enumerate() {
                // Where nothing was larger than what is around the plane, all is `-∞`, and the first pixel of the window has it.
                let inside = |at: usize, length: usize| at.saturating_sub(padding).min(length - 1);
                let row = inside(place * stride + which as usize / side, self.h);
                let column = inside(column * stride + which as usize % side, self.w);
                dx[row * self.w + column] += dy;
            }
        }
        (self.best, self.which) = (best, which);
    }

    /// Sorts the columns of a plane by their remainders.
    #[inline(always)]
    fn take(&mut self, plane: &[f32]) {
        let PoolWindow { stride, padding, .. } = self.window;
        // Windows may leave the last columns out.
        let within = self.w.min(self.line.len() - padding);
        for (row, lines) in plane.chunks_exact(self.w).zip(self.lines.chunks_exact_mut(stride * self.pitch)) {
            self.line[padding..][..within].copy_from_slice(&row[..within]);
            for (remainder, to) in lines.chunks_exact_mut(self.pitch).enumerate() {
                let from = self.line[remainder..].iter().step_by(stride);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// Calls `f` with each pixel of a window and with what lies under it in the windows of line `place`.
    #[inline(always)]
    fn visit(&self, place: usize, mut f: impl FnMut(u32, &[f32])) {
        let PoolWindow { side, stride, padding, .. } = self.window;
        for y in 0..side {
            let Some(row) = (place * stride + y).checked_sub(padding).filter(|&row| row < self.h) else { continue };
            for x in 0..side {
                let start = (row * stride + x % stride) * self.pitch + x / stride;
                f((y * side + x) as u32, &self.lines[start..][..self.wide]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MaxPool;
    use crate::ops::pool::PoolWindow;

    #[test]
    fn of_equal_ones_the_first_has_the_slope_and_what_is_not_finite_shows() {
        const NONE: f32 = f32::NEG_INFINITY;
        let window = PoolWindow { side: 3, stride: 2, padding: 1, partial: false };
        let mut pool = MaxPool::new(window, [4, 4]);
        #[rustfmt::skip]
        let plane = [
            2.0, 2.0, 1.0, 5.0,
            2.0, 1.0, 5.0, 0.0,
            0.0, f32::NAN, NONE, NONE,
            9.0, f32::INFINITY, NONE, NONE,
        ];
        let mut y = [0.0; 4];
        pool.forward(&plane, &mut y);
        assert_eq!(y[..2], [2.0, 5.0]);
        assert!(y[2].is_nan() && y[3].is_nan());
        let mut dx = [0.0; 16];
        pool.backward(&plane, &[1.0, 2.0, 4.0, 8.0], &mut dx);
        let mut wanted = [0.0; 16];
        (wanted[0], wanted[3], wanted[9]) = (1.0, 2.0, 12.0);
        assert_eq!(dx, wanted);
        // Nothing is larger than the padding.
        let mut dx = [0.0; 16];
        pool.backward(&[NONE; 16], &[1.0, 2.0, 4.0, 8.0], &mut dx);
        let mut wanted = [0.0; 16];
        (wanted[0], wanted[1], wanted[4], wanted[5]) = (1.0, 2.0, 4.0, 8.0);
        assert_eq!(dx, wanted);
    }
}
