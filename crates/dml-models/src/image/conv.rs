//! 3×3 convolution, stride 1, padding 1, forward and backward, as blocked matrix products.
//!
//! Images are gathered a few at a time into a patch matrix `[9·c_in, images·h·w]` that stays in the cache:
//! `Y = W·P`, `dW = Σ dY·Pᵀ`, `dX = fold(Wᵀ·dY)`. The patches are gathered again in the backward pass,
//! which is cheaper than keeping them. Groups of images are fixed by the shape alone, so the result is
//! the same for any number of threads.

use super::slice;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Partial sums of the weight gradient: a fixed number, so that their order does not depend on threads.
const PARTS: usize = 8;
/// Columns of one patch matrix, at least: enough to keep the product efficient.
const COLUMNS: usize = 192;

/// Convolves `x` (`[n, c_in, h, w]`) with `weight` (`[c_out, c_in, 3, 3]`), stride 1, padding 1: `[n, c_out, h, w]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv3x3(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.contiguous()?.apply_op2(&weight.contiguous()?, Conv3x3)
    } else {
        x.conv2d(weight, 1, 1, 1, 1)
    }
}

struct Conv3x3;

#[derive(Clone, Copy)]
struct Geometry {
    n: usize,
    c_in: usize,
    c_out: usize,
    h: usize,
    w: usize,
}

impl Geometry {
    fn new(x: &Shape, weight: &Shape) -> Result<Self> {
        let (n, c_in, h, w) = x.dims4()?;
        let (c_out, c_weight, kh, kw) = weight.dims4()?;
        if c_weight != c_in || (kh, kw) != (3, 3) {
            bail!("conv3x3: weight {weight:?} does not fit input {x:?}: want [c_out, {c_in}, 3, 3]");
        }
        if [n, c_in, c_out, h, w].contains(&0) {
            bail!("conv3x3: weight {weight:?} and input {x:?} hold nothing: want sizes of 1 or more");
        }
        Ok(Self { n, c_in, c_out, h, w })
    }

    fn pixels(self) -> usize {
        self.h * self.w
    }

    fn patch(self) -> usize {
        9 * self.c_in
    }

    /// Images that share one patch matrix.
    fn group(self) -> usize {
        COLUMNS.div_ceil(self.pixels()).clamp(1, self.n.max(1))
    }

    /// Gathers `images` into `patches` `[9·c_in, images·h·w]`.
    fn gather(self, images: &[f32], count: usize, patches: &mut [f32]) {
        let (h, w, hw) = (self.h, self.w, self.pixels());
        let row_length = count * hw;
        for c in 0..self.c_in {
            for k in 0..9 {
                let (dy, dx) = (k / 3, k % 3);
                let row = &mut patches[(c * 9 + k) * row_length..][..row_length];
                for i in 0..count {
                    let plane = &images[(i * self.c_in + c) * hw..][..hw];
                    for y in 0..h {
                        let out = &mut row[i * hw + y * w..][..w];
                        let source = y + dy;
                        if source == 0 || source > h {
                            out.fill(0.0);
                            continue;
                        }
                        let line = &plane[(source - 1) * w..][..w];
                        match dx {
                            0 => {
                                out[0] = 0.0;
                                out[1..].copy_from_slice(&line[..w - 1]);
                            }
                            1 => out.copy_from_slice(line),
                            _ => {
                                out[..w - 1].copy_from_slice(&line[1..]);
                                out[w - 1] = 0.0;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Adds `patches` back to the images they were gathered from: the transpose of [`Self::gather`].
    fn fold(self, patches: &[f32], count: usize, images: &mut [f32]) {
        let (h, w, hw) = (self.h, self.w, self.pixels());
        let row_length = count * hw;
        for c in 0..self.c_in {
            for k in 0..9 {
                let (dy, dx) = (k / 3, k % 3);
                let row = &patches[(c * 9 + k) * row_length..][..row_length];
                for i in 0..count {
                    let plane = &mut images[(i * self.c_in + c) * hw..][..hw];
                    for y in 0..h {
                        let source = y + dy;
                        if source == 0 || source > h {
                            continue;
                        }
                        let from = &row[i * hw + y * w..][..w];
                        let line = &mut plane[(source - 1) * w..][..w];
                        match dx {
                            0 => add(&mut line[..w - 1], &from[1..]),
                            1 => add(line, from),
                            _ => add(&mut line[1..], &from[..w - 1]),
                        }
                    }
                }
            }
        }
    }

    /// `[images, channels, h·w]` to `[channels, images·h·w]`.
    fn channel_major(self, images: &[f32], count: usize, channels: usize, out: &mut [f32]) {
        let hw = self.pixels();
        for i in 0..count {
            for c in 0..channels {
                let from = &images[(i * channels + c) * hw..][..hw];
                out[(c * count + i) * hw..][..hw].copy_from_slice(from);
            }
        }
    }

    /// `[channels, images·h·w]` to `[images, channels, h·w]`.
    fn image_major(self, rows: &[f32], count: usize, channels: usize, out: &mut [f32]) {
        let hw = self.pixels();
        for i in 0..count {
            for c in 0..channels {
                let from = &rows[(c * count + i) * hw..][..hw];
                out[(i * channels + c) * hw..][..hw].copy_from_slice(from);
            }
        }
    }

    fn forward(self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let (hw, group) = (self.pixels(), self.group());
        let mut y = vec![0f32; self.n * self.c_out * hw];
        y.par_chunks_mut(group * self.c_out * hw).zip(x.par_chunks(group * self.c_in * hw)).for_each_init(
            || (vec![0f32; self.patch() * group * hw], vec![0f32; self.c_out * group * hw]),
            |(patches, rows), (y, x)| {
                let count = x.len() / (self.c_in * hw);
                let columns = count * hw;
                self.gather(x, count, patches);
                let rows = &mut rows[..self.c_out * columns];
                let (w, p) = (View::rows(weight, self.patch()), View::rows(patches, columns));
                product(self.c_out, columns, self.patch(), w, p, rows, false);
                self.image_major(rows, count, self.c_out, y);
            },
        );
        y
    }

    /// Gradients of input (when wanted) and weight.
    fn backward(self, x: &[f32], weight: &[f32], dy: &[f32], want_dx: bool) -> (Vec<f32>, Vec<f32>) {
        let (hw, group) = (self.pixels(), self.group());
        // Whole groups per part, so that groups, and with them every product, are fixed by the shape.
        let per_part = (self.n.div_ceil(group)).div_ceil(PARTS) * group;
        let mut dx = vec![0f32; if want_dx { self.n * self.c_in * hw } else { 0 }];
        let dx_parts: Vec<&mut [f32]> = if want_dx {
            dx.chunks_mut(per_part * self.c_in * hw).collect()
        } else {
            (0..self.n.div_ceil(per_part)).map(|_| <&mut [f32]>::default()).collect()
        };
        let partial: Vec<Vec<f32>> = dx_parts
            .into_par_iter()
            .zip(x.par_chunks(per_part * self.c_in * hw))
            .zip(dy.par_chunks(per_part * self.c_out * hw))
            .map(|((dx, x), dy)| self.backward_part(x, weight, dy, dx, group))
            .collect();
        let mut dw = vec![0f32; weight.len()];
        for part in &partial {
            add(&mut dw, part);
        }
        (dx, dw)
    }

    fn backward_part(self, x: &[f32], weight: &[f32], dy: &[f32], dx: &mut [f32], group: usize) -> Vec<f32> {
        let hw = self.pixels();
        let mut dw = vec![0f32; weight.len()];
        let mut patches = vec![0f32; self.patch() * group * hw];
        let mut rows = vec![0f32; self.c_out * group * hw];
        let mut dx_groups = dx.chunks_mut(group * self.c_in * hw);
        for (x, dy) in x.chunks(group * self.c_in * hw).zip(dy.chunks(group * self.c_out * hw)) {
            let count = x.len() / (self.c_in * hw);
            let columns = count * hw;
            self.channel_major(dy, count, self.c_out, &mut rows);
            self.gather(x, count, &mut patches);
            let (g, p) = (View::rows(&rows, columns), View::rows(&patches, columns));
            product(self.c_out, self.patch(), columns, g, p.transposed(), &mut dw, true);
            if let Some(dx) = dx_groups.next() {
                let (w, g) = (View::rows(weight, self.patch()), View::rows(&rows, columns));
                let d_patches = &mut patches[..self.patch() * columns];
                product(self.patch(), columns, self.c_out, w.transposed(), g, d_patches, false);
                self.fold(d_patches, count, dx);
            }
        }
        dw
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    for (a, b) in to.iter_mut().zip(from) {
        *a += b;
    }
}

/// A strided view of a matrix.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f32],
    row_stride: isize,
    column_stride: isize,
}

impl<'a> View<'a> {
    fn rows(data: &'a [f32], columns: usize) -> Self {
        Self { data, row_stride: columns as isize, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// `out [m, n] (+)= a [m, k] · b [k, n]` on the calling thread.
fn product(m: usize, n: usize, k: usize, a: View<'_>, b: View<'_>, out: &mut [f32], accumulate: bool) {
    assert!(a.data.len() >= m * k && b.data.len() >= k * n && out.len() >= m * n, "product: short operand");
    // SAFETY: the assertion above covers every element that the strides of dense m×k, k×n and m×n matrices reach.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride,
            a.row_stride,
            b.data.as_ptr(),
            b.column_stride,
            b.row_stride,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

impl CustomOp2 for Conv3x3 {
    fn name(&self) -> &'static str {
        "conv3x3"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let geometry = Geometry::new(xl.shape(), wl.shape())?;
        let y = geometry.forward(slice::of_storage(x, xl)?, slice::of_storage(w, wl)?);
        let shape = Shape::from((geometry.n, geometry.c_out, geometry.h, geometry.w));
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let geometry = Geometry::new(x.shape(), w.shape())?;
        let dy = dy.contiguous()?;
        // The network's input needs no gradient; candle would compute one and drop it.
        let want_dx = x.track_op();
        let (dx, dw) =
            slice::with(x, |x| slice::with(w, |w| slice::with(&dy, |dy| Ok(geometry.backward(x, w, dy, want_dx)))))?;
        let dx = if want_dx { Some(Tensor::from_vec(dx, x.shape(), x.device())?) } else { None };
        Ok((dx, Some(Tensor::from_vec(dw, w.shape(), w.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equals_candles_convolution_forward_and_backward() {
        // Groups of one image, of several, and a last group that is short.
        for (n, c_in, c_out, h, w) in [(3, 2, 5, 16, 16), (11, 4, 3, 7, 6), (50, 3, 4, 3, 3), (1, 1, 1, 2, 2)] {
            let x = Var::randn(0f32, 1.0, (n, c_in, h, w), &Device::Cpu).unwrap();
            let weight = Var::randn(0f32, 1.0, (c_out, c_in, 3, 3), &Device::Cpu).unwrap();
            let upstream = Tensor::randn(0f32, 1.0, (n, c_out, h, w), &Device::Cpu).unwrap();
            let ours = conv3x3(&x, &weight).unwrap();
            let theirs = x.conv2d(&weight, 1, 1, 1, 1).unwrap();
            assert!(largest_difference(&ours, &theirs) < 1e-4);
            let a = (ours * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            let b = (theirs * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            assert!(largest_difference(a.get(&x).unwrap(), b.get(&x).unwrap()) < 1e-4);
            assert!(largest_difference(a.get(&weight).unwrap(), b.get(&weight).unwrap()) < 1e-3);
        }
    }

    #[test]
    fn result_does_not_depend_on_threads() {
        let x = Var::randn(0f32, 1.0, (21, 8, 9, 9), &Device::Cpu).unwrap();
        let weight = Var::randn(0f32, 1.0, (8, 8, 3, 3), &Device::Cpu).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let y = conv3x3(&x, &weight).unwrap();
                let g = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let dw: Vec<f32> = g.get(&weight).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                dw
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn weight_of_another_input_is_refused() {
        let x = Tensor::zeros((1, 2, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let weight = Tensor::zeros((3, 5, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(conv3x3(&x, &weight).unwrap_err().to_string().contains("does not fit"));
    }
}
