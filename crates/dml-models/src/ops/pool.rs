//! Pooling of images: largest or mean of a window. candle's own has a gradient only where windows do not overlap.

use super::max_pool::MaxPool;
use super::slice;
use super::tape::apply1;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Its largest number; of equal ones the first has the gradient.
    Max,
    /// Its mean, padding counted as zeros.
    Mean,
}

/// A square window that goes over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// Its side.
    pub side: usize,
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Around the image; at most half of the side.
    pub padding: usize,
    /// Whether a last window that is partly outside counts (PyTorch's `ceil_mode`).
    pub partial: bool,
}

/// Pools `x` (`[n, c, h, w]`), as PyTorch's `max_pool2d` and `avg_pool2d`.
///
/// # Errors
/// When the image is smaller than the window.
pub fn pool2d(x: &Tensor, pool: Pool, window: PoolWindow) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (oh, ow) = (window.places(h), window.places(w));
    if oh == 0 || ow == 0 || window.padding > window.side / 2 {
        bail!("pool2d: {window:?} finds no place in an image of {h}x{w}");
    }
    if !slice::fits(&[x]) {
        return composed(x, pool, window);
    }
    let op = Pool2d { pool, window, h, w };
    apply1(op, &x.contiguous()?)
}

/// The mean of every plane of `x` (`[n, c, h, w]`): `[n, c]`.
///
/// # Errors
/// When `x` is of another rank.
pub fn global_mean(x: &Tensor) -> Result<Tensor> {
    if !slice::fits(&[x]) {
        return x.flatten_from(2)?.mean(2);
    }
    x.dims4()?;
    apply1(GlobalMean, &x.contiguous()?)
}

impl PoolWindow {
    /// Windows along a side.
    pub(super) fn places(&self, length: usize) -> usize {
        let Some(free) =
            (length + 2 * self.padding).checked_sub(self.side).filter(|_| self.stride > 0 && self.side > 0)
        else {
            return 0;
        };
        if !self.partial {
            return free / self.stride + 1;
        }
        let places = free.div_ceil(self.stride) + 1;
        // A window that would begin behind the image is none.
        if (places - 1) * self.stride >= length + self.padding { places - 1 } else { places }
    }

    /// The pixels of window `place` along a side, and how many with padding.
    fn covered(&self, place: usize, length: usize) -> (Range<usize>, usize) {
        let start = place * self.stride;
        let end = (start + self.side).min(length + 2 * self.padding);
        let inside = start.saturating_sub(self.padding)..(start + self.side).saturating_sub(self.padding).min(length);
        (inside, end - start)
    }
}

/// From candle's operations: windows side by side.
fn composed(x: &Tensor, pool: Pool, window: PoolWindow) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (oh, ow) = (window.places(h), window.places(w));
    let lines = |of: &Tensor, dim: usize, places: usize, length: usize| -> Result<Tensor> {
        let mut all = Vec::with_capacity(places);
        for place in 0..places {
            let (inside, whole) = window.covered(place, length);
            let part = of.narrow(dim, inside.start, inside.len())?;
            all.push(match pool {
                Pool::Max => part.max_keepdim(dim)?,
                Pool::Mean => (part.sum_keepdim(dim)? / whole as f64)?,
            });
        }
        Tensor::cat(&all, dim)
    };
    lines(&lines(x, 2, oh, h)?, 3, ow, w)
}

struct Pool2d {
    pool: Pool,
    window: PoolWindow,
    h: usize,
    w: usize,
}

impl Pool2d {
    /// Visits the windows of a plane: place, rows, columns, and 1/pixels with padding.
    fn windows(&self, mut visit: impl FnMut(usize, Range<usize>, Range<usize>, f32)) {
        let (oh, ow) = (self.window.places(self.h), self.window.places(self.w));
        let columns: Vec<_> = (0..ow).map(|place| self.window.covered(place, self.w)).collect();
        for oy in 0..oh {
            let (rows, high) = self.window.covered(oy, self.h);
            for (ox, (columns, wide)) in columns.iter().enumerate() {
                visit(oy * ow + ox, rows.clone(), columns.clone(), 1.0 / (high * wide) as f32);
            }
        }
    }

    fn of_largest(&self) -> MaxPool {
        MaxPool::new(self.window, [self.h, self.w])
    }

    fn places(&self) -> usize {
        self.window.places(self.h) * self.window.places(self.w)
    }
}

impl CustomOp1 for Pool2d {
    fn name(&self) -> &'static str {
        "pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice::of_storage(x, layout)?;
        let hw = self.h * self.w;
        let mut y = slice::zeros(x.len() / hw * self.places());
        let planes = y.par_chunks_mut(self.places()).zip(x.par_chunks(hw));
        match self.pool {
            Pool::Max => planes.for_each_init(|| self.of_largest(), |pool, (y, plane)| pool.forward(plane, y)),
            Pool::Mean => planes.for_each(|(y, plane)| {
                self.windows(|place, rows, columns, share| {
                    let lines = rows.map(|row| plane[row * self.w..][columns.clone()].iter().sum::<f32>());
                    y[place] = lines.sum::<f32>() * share;
                });
            }),
        }
        let (n, c, _, _) = layout.shape().dims4()?;
        let shape = Shape::from((n, c, self.window.places(self.h), self.window.places(self.w)));
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let hw = self.h * self.w;
        let dx = slice::with2([x, &dy], |[x, dy]| {
            let mut dx = slice::zeros(x.len());
            let planes = dx.par_chunks_mut(hw).zip(x.par_chunks(hw)).zip(dy.par_chunks(self.places()));
            match self.pool {
                Pool::Max => {
                    planes.for_each_init(|| self.of_largest(), |pool, ((dx, plane), dy)| pool.backward(plane, dy, dx));
                }
                Pool::Mean => planes.for_each(|((dx, _), dy)| {
                    self.windows(|place, rows, columns, share| {
                        for row in rows {
                            dx[row * self.w..][columns.clone()].iter_mut().for_each(|dx| *dx += dy[place] * share);
                        }
                    });
                }),
            }
            Ok(dx)
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

struct GlobalMean;

impl CustomOp1 for GlobalMean {
    fn name(&self) -> &'static str {
        "global-mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let x = slice::of_storage(x, layout)?;
        let mean = |plane: &[f32]| (plane.iter().map(|&v| f64::from(v)).sum::<f64>() / (h * w) as f64) as f32;
        let y: Vec<f32> = x.par_chunks(h * w).map(mean).collect();
        Ok((CpuStorage::F32(y), Shape::from((n, c))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, h, w) = x.dims4()?;
        let dy = dy.contiguous()?;
        let dx = slice::with(&dy, |dy| {
            let mut dx = slice::zeros(x.elem_count());
            dx.par_chunks_mut(h * w).zip(dy).for_each(|(dx, dy)| dx.fill(dy / (h * w) as f32));
            Ok(dx)
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn ours_equals_composed() {
        // No two numbers of a window are the same: which of them has the gradient then, each may say for itself.
        let mut drawn = Init::new(1);
        let mut var = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        let windows =
            [(3, 2, 1, false), (3, 2, 0, true), (3, 1, 1, false), (2, 2, 0, false), (3, 2, 0, false), (3, 3, 1, true)];
        for (side, stride, padding, partial) in windows {
            for (h, w) in [(7, 8), (12, 5)] {
                for pool in [Pool::Max, Pool::Mean] {
                    let window = PoolWindow { side, stride, padding, partial };
                    let x = var(&[2, 3, h, w]);
                    let (ours, plain) = (pool2d(&x, pool, window).unwrap(), composed(&x, pool, window).unwrap());
                    let what = format!("{pool:?} {window:?} {h}x{w}");
                    assert_close(&what, &ours, &plain, Tolerance::of_largest(1e-6));
                    let gradient =
                        |y: Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
                    assert_close(&what, &gradient(ours), &gradient(plain), Tolerance::of_largest(1e-5));
                }
            }
        }
        let x = var(&[2, 3, 4, 5]);
        let (ours, plain) = (global_mean(&x).unwrap(), x.flatten_from(2).unwrap().mean(2).unwrap());
        assert_close("mean", &ours, &plain, Tolerance::of_largest(1e-6));
        let gradient = |y: Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
        assert_close("its gradient", &gradient(ours), &gradient(plain), Tolerance::of_largest(1e-5));
    }
}
