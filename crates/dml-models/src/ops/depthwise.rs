//! Convolutions in which every channel has a kernel of its own and sees no other: loops over planes, no products.

use super::patches::Geometry;
use super::slice;
use super::vector::widest;
use rayon::prelude::*;

impl Geometry {
    /// One input and one output channel a group.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.window.groups > 1 && self.group_in() == 1 && self.group_out() == 1
    }

    /// Visits each weight `k` and each row of outputs that it reaches: `visit(k, outputs, first input)`; inputs are a stride apart.
    #[inline(always)]
    fn lines(&self, mut visit: impl FnMut(usize, std::ops::Range<usize>, usize)) {
        let padding = self.window.padding;
        for ky in 0..self.kh {
            for kx in 0..self.kw {
                let (dy, dx) = (ky * self.window.dilation, kx * self.window.dilation);
                let (rows, columns) = (self.reach(dy, self.h, self.oh), self.reach(dx, self.w, self.ow));
                if columns.is_empty() {
                    continue;
                }
                for oy in rows {
                    let y = oy * self.window.stride + dy - padding;
                    let x = columns.start * self.window.stride + dx - padding;
                    visit(ky * self.kw + kx, oy * self.ow + columns.start..oy * self.ow + columns.end, y * self.w + x);
                }
            }
        }
    }
}

pub(super) fn forward(g: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (k, stride) = (g.kh * g.kw, g.window.stride);
    let mut y = slice::zeros(g.n * g.c_out * g.places());
    y.par_chunks_mut(g.places()).zip(x.par_chunks(g.pixels())).enumerate().for_each(|(plane, (y, x))| {
        let weight = &weight[plane % g.c_out * k..][..k];
        widest(
            #[inline(always)]
            || {
                g.lines(|at, out, from| {
                    let (w, y) = (weight[at], &mut y[out]);
                    match stride {
                        1 => y.iter_mut().zip(&x[from..]).for_each(|(y, x)| *y += w * x),
                        _ => y.iter_mut().zip(x[from..].iter().step_by(stride)).for_each(|(y, x)| *y += w * x),
                    }
                });
            },
        );
    });
    y
}

/// Gradients of input and weight, as far as they are wanted.
pub(super) fn backward(g: &Geometry, x: &[f32], weight: &[f32], dy: &[f32], want: [bool; 2]) -> [Vec<f32>; 2] {
    let (k, stride) = (g.kh * g.kw, g.window.stride);
    let mut dx = slice::zeros(if want[0] { x.len() } else { 0 });
    if want[0] {
        dx.par_chunks_mut(g.pixels()).zip(dy.par_chunks(g.places())).enumerate().for_each(|(plane, (dx, dy))| {
            let weight = &weight[plane % g.c_out * k..][..k];
            widest(
                #[inline(always)]
                || {
                    g.lines(|at, out, to| {
                        let (w, dy) = (weight[at], &dy[out]);
                        match stride {
                            1 => dx[to..].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += w * dy),
                            _ => dx[to..].iter_mut().step_by(stride).zip(dy).for_each(|(dx, dy)| *dx += w * dy),
                        }
                    });
                },
            );
        });
    }
    let mut dw = slice::zeros(if want[1] { weight.len() } else { 0 });
    // A channel is summed over all images by one thread: one order.
    dw.par_chunks_mut(k).enumerate().for_each(|(channel, dw)| {
        let mut sums = vec![0f64; k];
        for plane in (channel..g.n * g.c_out).step_by(g.c_out) {
            let (x, dy) = (&x[plane * g.pixels()..][..g.pixels()], &dy[plane * g.places()..][..g.places()]);
            widest(
                #[inline(always)]
                || {
                    g.lines(|at, out, from| {
                        let dy = &dy[out];
                        let sum = super::vector::sum_over(dy.len(), |i| dy[i] * x[from + i * stride]);
                        sums[at] += sum;
                    });
                },
            );
        }
        dw.iter_mut().zip(&sums).for_each(|(dw, &sum)| *dw = sum as f32);
    });
    [dx, dw]
}
