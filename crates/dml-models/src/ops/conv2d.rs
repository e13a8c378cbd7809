//! Convolution of images, forward and backward, as blocked matrix products.
//!
//! Patches are gathered a block at a time into a matrix `[c_in·k·k, places]` that stays in the cache: `Y = W·P`, `dW = Σ dY·Pᵀ`,
//! `dX = fold(Wᵀ·dY)`. They are gathered again in the backward pass, which is cheaper than keeping them. Blocks are fixed by the
//! shape alone, so the result is the same for any number of threads. Depthwise convolutions have loops of their own
//! (`depthwise.rs`), those of few places one product by all threads (`few_places.rs`), others of 3 × 3 at stride 1 fewer
//! multiplications (`winograd`). candle's own convolutions do the work on other devices; on the CPU they take several times as long
//! in training.

use super::patches::{Geometry, Window};
use super::product::{Product, View};
use super::tape::apply2;
use super::{depthwise, few_places, slice, winograd};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Places of one patch matrix, about: enough to keep the product efficient.
const PLACES: usize = 384;
/// Partial sums of a weight gradient, at most: a fixed number, so that their order does not depend on threads.
const PARTS: usize = 8;
/// Numbers of all partial sums of a large weight gradient, about.
const PARTIAL: usize = 1 << 22;

/// Convolves `x` (`[n, c_in, h, w]`) with `weight` (`[c_out, c_in / groups, k, k]`): `[n, c_out, h', w']` with
/// `h' = ⌊(h + 2·padding − dilation·(k − 1) − 1) / stride⌋ + 1`, as PyTorch's `conv2d` without bias.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, window: Window) -> Result<Tensor> {
    // Refused alike on every device.
    Geometry::new(x.shape(), weight.shape(), window)?;
    if slice::fits(&[x, weight]) {
        apply2(Conv2d(window), &x.contiguous()?, &weight.contiguous()?)
    } else {
        let Window { stride, padding, dilation, groups } = window;
        x.conv2d(weight, padding, stride, dilation, groups)
    }
}

struct Conv2d(Window);

/// How a convolution is computed.
enum Way {
    Depthwise,
    FewPlaces,
    Winograd,
    Patches,
}

impl Way {
    fn of(g: &Geometry) -> Self {
        match g.is_depthwise() {
            true => Self::Depthwise,
            false if few_places::suits(g) => Self::FewPlaces,
            false if winograd::suits(g) => Self::Winograd,
            false => Self::Patches,
        }
    }
}

/// A block of places: whole planes of several images, or rows of one.
struct Block {
    images: Range<usize>,
    rows: Range<usize>,
}

/// Images that one thread works on at a time: whole blocks.
fn images_of_a_task(g: &Geometry) -> usize {
    (PLACES / g.places()).max(1)
}

/// The blocks of images `0..n`, by the shape alone.
fn blocks(g: &Geometry, n: usize) -> Vec<Block> {
    if g.places() <= PLACES {
        let together = images_of_a_task(g);
        return (0..n).step_by(together).map(|i| Block { images: i..(i + together).min(n), rows: 0..g.oh }).collect();
    }
    let high = (PLACES / g.ow).max(1);
    let rows = |i| (0..g.oh).step_by(high).map(move |y| Block { images: i..i + 1, rows: y..(y + high).min(g.oh) });
    (0..n).flat_map(rows).collect()
}

impl Block {
    fn columns(&self, g: &Geometry) -> usize {
        self.images.len() * self.rows.len() * g.ow
    }

    /// The patch matrix `[patch, columns]` of images that begin with the block's first: the image itself where it is one of pixels,
    /// else gathered in `room`.
    fn patches<'a>(&self, g: &Geometry, x: &'a [f32], room: &'a mut Vec<f32>) -> View<'a> {
        if self.images.len() == 1 && g.is_pointwise() {
            return View::rows(&x[self.rows.start * g.ow..], g.pixels());
        }
        let columns = self.columns(g);
        let patches = slice::at_least(room, g.patch() * columns);
        g.gather(x, self.images.len(), self.rows.clone(), patches);
        View::rows(patches, columns)
    }
}

/// Room for the matrices of a block.
#[derive(Default)]
struct Scratch {
    patches: Vec<f32>,
    planes: Vec<f32>,
}

/// Copies planes `[images, c, places]`, which begin with the group's first, to rows `[c, columns]` of a block.
fn to_rows(g: &Geometry, block: &Block, planes: &[f32], rows: &mut [f32]) {
    let (count, length) = (block.images.len(), block.rows.len() * g.ow);
    for c in 0..g.group_out() {
        for i in 0..count {
            let from = &planes[(i * g.c_out + c) * g.places() + block.rows.start * g.ow..][..length];
            rows[(c * count + i) * length..][..length].copy_from_slice(from);
        }
    }
}

/// The other way round.
fn from_rows(g: &Geometry, block: &Block, rows: &[f32], planes: &mut [f32]) {
    let (count, length) = (block.images.len(), block.rows.len() * g.ow);
    for c in 0..g.group_out() {
        for i in 0..count {
            let to = &mut planes[(i * g.c_out + c) * g.places() + block.rows.start * g.ow..][..length];
            to.copy_from_slice(&rows[(c * count + i) * length..][..length]);
        }
    }
}

fn forward(g: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (input, output) = (g.c_in * g.pixels(), g.c_out * g.places());
    let per_task = images_of_a_task(g);
    slice::in_chunks(g.n * output, per_task * output, Scratch::default, |scratch, start, y| {
        let x = &x[start / output * input..][..y.len() / output * input];
        for block in blocks(g, x.len() / input) {
            let (x, y) = (&x[block.images.start * input..], &mut y[block.images.start * output..]);
            for group in 0..g.window.groups {
                let weight = &weight[group * g.group_out() * g.patch()..][..g.group_out() * g.patch()];
                let (x, y) = (&x[group * g.group_in() * g.pixels()..], &mut y[group * g.group_out() * g.places()..]);
                forward_block(g, &block, x, weight, y, scratch);
            }
        }
    })
}

/// `x` and `y` begin with the group's first plane of the block's first image.
fn forward_block(g: &Geometry, block: &Block, x: &[f32], weight: &[f32], y: &mut [f32], scratch: &mut Scratch) {
    let columns = block.columns(g);
    let w = View::rows(weight, g.patch());
    let p = block.patches(g, x, &mut scratch.patches);
    let product = Product::new(g.group_out(), columns, g.patch());
    if block.images.len() == 1 {
        // Rows of the product are parts of planes.
        product.strided(g.places()).into(w, p, &mut y[block.rows.start * g.ow..]);
    } else {
        let rows = slice::at_least(&mut scratch.planes, g.group_out() * columns);
        product.into(w, p, rows);
        from_rows(g, block, rows, y);
    }
}

/// Gradients of input and weight, as far as they are wanted.
fn backward(g: &Geometry, x: &[f32], weight: &[f32], dy: &[f32], want: [bool; 2]) -> [Vec<f32>; 2] {
    let (input, output) = (g.c_in * g.pixels(), g.c_out * g.places());
    let [mut dx, mut dw] =
        [want[0].then_some(x.len()), want[1].then_some(weight.len())].map(|n| slice::zeros(n.unwrap_or(0)));
    let per_task = images_of_a_task(g);
    let parts = (PARTIAL / weight.len()).clamp(2, PARTS);
    let per_part = g.n.div_ceil(per_task).div_ceil(parts) * per_task;
    let partial: Vec<Vec<f32>> = slice::chunks_or_none(&mut dx, per_part * input, g.n.div_ceil(per_part))
        .into_par_iter()
        .zip(x.par_chunks(per_part * input))
        .zip(dy.par_chunks(per_part * output))
        .map(|((dx, x), dy)| {
            let mut dw = vec![0f32; dw.len()];
            let mut scratch = Scratch::default();
            for block in blocks(g, x.len() / input) {
                let (x, dy) = (&x[block.images.start * input..], &dy[block.images.start * output..]);
                let dx = if dx.is_empty() { &mut [] } else { &mut dx[block.images.start * input..] };
                for group in 0..g.window.groups {
                    backward_block(g, &block, group, Operands { x, weight, dy }, (dx, &mut dw), &mut scratch);
                }
            }
            dw
        })
        .collect();
    for part in &partial {
        dw.iter_mut().zip(part).for_each(|(a, b)| *a += b);
    }
    [dx, dw]
}

/// What a backward pass reads; images begin with the block's first.
struct Operands<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
}

/// Gradients that are empty are not wanted.
fn backward_block(
    g: &Geometry,
    block: &Block,
    group: usize,
    Operands { x, weight, dy }: Operands<'_>,
    (dx, dw): (&mut [f32], &mut [f32]),
    scratch: &mut Scratch,
) {
    let (columns, count) = (block.columns(g), block.images.len());
    let of_weight = group * g.group_out() * g.patch()..(group + 1) * g.group_out() * g.patch();
    let (x_at, dy_at) = (group * g.group_in() * g.pixels(), group * g.group_out() * g.places());
    let (x, dy) = (&x[x_at..], &dy[dy_at..]);
    let alone = count == 1;
    let first = block.rows.start * g.ow;
    let d = if alone {
        View::rows(&dy[first..], g.places())
    } else {
        let rows = slice::at_least(&mut scratch.planes, g.group_out() * columns);
        to_rows(g, block, dy, rows);
        View::rows(rows, columns)
    };
    if !dw.is_empty() {
        let p = block.patches(g, x, &mut scratch.patches);
        let product = Product::new(g.group_out(), g.patch(), columns).added();
        product.into(d, p.transposed(), &mut dw[of_weight.clone()]);
    }
    if !dx.is_empty() {
        let dx = &mut dx[x_at..];
        let w = View::rows(&weight[of_weight], g.patch()).transposed();
        let product = Product::new(g.patch(), columns, g.group_out());
        if alone && g.is_pointwise() {
            product.strided(g.pixels()).into(w, d, &mut dx[first..]);
        } else {
            let patches = slice::at_least(&mut scratch.patches, g.patch() * columns);
            product.into(w, d, patches);
            g.fold(patches, count, block.rows.clone(), dx);
        }
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let g = Geometry::new(xl.shape(), wl.shape(), self.0)?;
        let (x, w) = (slice::of_storage(x, xl)?, slice::of_storage(w, wl)?);
        let y = match Way::of(&g) {
            Way::Depthwise => depthwise::forward(&g, x, w),
            Way::FewPlaces => few_places::forward(&g, x, w),
            Way::Winograd => winograd::forward(&g, x, w),
            Way::Patches => forward(&g, x, w),
        };
        Ok((CpuStorage::F32(y), Shape::from((g.n, g.c_out, g.oh, g.ow))))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let g = Geometry::new(x.shape(), w.shape(), self.0)?;
        let dy = dy.contiguous()?;
        // Images and frozen weights need no gradient; candle would compute one and drop it.
        let want = [x.track_op(), w.track_op()];
        let gradients = slice::with3([x, w, &dy], |[x_values, w_values, dy]| {
            Ok(match Way::of(&g) {
                Way::Depthwise => depthwise::backward(&g, x_values, w_values, dy, want),
                Way::FewPlaces => few_places::backward(&g, x_values, w_values, dy, want),
                Way::Winograd => winograd::backward(&g, x_values, w_values, dy, want),
                Way::Patches => backward(&g, x_values, w_values, dy, want),
            })
        })?;
        let [dx, dw] = gradients;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((want[0].then(|| tensor(dx, x)).transpose()?, want[1].then(|| tensor(dw, w)).transpose()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;
    use dml_testkit::{Tolerance, assert_close};

    fn plain(x: &Tensor, weight: &Tensor, Window { stride, padding, dilation, groups }: Window) -> Tensor {
        x.conv2d(weight, padding, stride, dilation, groups).unwrap()
    }

    /// `(n, c_in, c_out, h, w, k)` and how the window goes.
    fn cases() -> Vec<([usize; 6], Window)> {
        let window = |stride, padding, dilation, groups| Window { stride, padding, dilation, groups };
        vec![
            // Blocks of one image, of several, a last block that is short, rows of an image.
            ([3, 2, 5, 16, 16, 3], Window::same(3, 1)),
            ([11, 4, 3, 7, 6, 3], Window::same(3, 1)),
            ([150, 3, 4, 3, 3, 3], Window::same(3, 1)),
            ([2, 2, 3, 30, 25, 3], Window::same(3, 1)),
            ([1, 1, 1, 2, 2, 3], Window::same(3, 1)),
            ([3, 3, 6, 17, 15, 7], Window::same(7, 2)),
            ([3, 4, 6, 23, 22, 1], window(1, 0, 1, 1)),
            ([9, 4, 6, 8, 9, 1], window(2, 0, 1, 1)),
            ([2, 4, 6, 12, 11, 3], window(1, 2, 2, 1)),
            ([2, 6, 4, 9, 9, 3], window(2, 1, 1, 2)),
            ([4, 3, 2, 8, 8, 4], window(4, 0, 1, 1)),
            // Few multiplications: blocks of several images, that end within one, odd sides, any padding.
            ([40, 16, 17, 7, 6, 3], Window::same(3, 1)),
            ([40, 20, 16, 9, 11, 3], Window::same(3, 1)),
            ([2, 16, 24, 34, 37, 3], Window::same(3, 1)),
            ([180, 18, 16, 3, 3, 3], Window::same(3, 1)),
            ([90, 16, 16, 8, 5, 3], window(1, 0, 1, 1)),
            ([130, 16, 16, 1, 2, 3], window(1, 2, 1, 1)),
            // Few places: one image and several, any window, more images than go into a matrix.
            ([1, 16, 17, 7, 6, 3], Window::same(3, 1)),
            ([5, 18, 16, 3, 3, 3], Window::same(3, 1)),
            ([3, 130, 5, 5, 4, 1], window(2, 0, 1, 1)),
            ([2, 16, 16, 9, 10, 3], window(2, 2, 2, 1)),
            ([30, 320, 3, 7, 7, 3], Window::same(3, 1)),
            // Depthwise.
            ([5, 6, 6, 9, 8, 3], window(1, 1, 1, 6)),
            ([5, 6, 6, 9, 8, 5], window(2, 2, 1, 6)),
            ([2, 3, 3, 2, 2, 5], window(1, 2, 1, 3)),
        ]
    }

    #[test]
    fn equals_candles_convolution_forward_and_backward() {
        let mut drawn = Init::new(1);
        let mut normal = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        for ([n, c_in, c_out, h, w, k], window) in cases() {
            let (x, weight) = (normal(&[n, c_in, h, w]), normal(&[c_out, c_in / window.groups, k, k]));
            let (ours, theirs) = (conv2d(&x, &weight, window).unwrap(), plain(&x, &weight, window));
            let what = format!("{n}x{c_in}x{h}x{w}, {c_out} of {k}x{k}, {window:?}");
            assert_close(&what, &ours, &theirs, Tolerance::of_largest(1e-5));
            // candle's own backward pass fails on some of them: the derivative of a bilinear map needs none. `Σ u·conv(x, w)`
            // has the gradient whose product with any direction is the value in that direction.
            let upstream = normal(ours.dims()).as_detached_tensor();
            let gradients = (&ours * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            for _ in 0..3 {
                let [dx, dw] = [&x, &weight].map(|of| normal(of.dims()).as_detached_tensor());
                for (var, direction, moved) in
                    [(&x, &dx, plain(&dx, &weight, window)), (&weight, &dw, plain(&x, &dw, window))]
                {
                    let dot = |a: &Tensor, b: &Tensor| {
                        (a * b).unwrap().flatten_all().unwrap().sum(0).unwrap().to_scalar::<f32>().unwrap()
                    };
                    let (got, want) = (dot(gradients.get(var).unwrap(), direction), dot(&moved, &upstream));
                    let size = moved.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
                    assert!(
                        (got - want).abs() <= 1e-4 * (size * (upstream.elem_count() as f32).sqrt() + 1.0),
                        "{what}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn result_does_not_depend_on_threads() {
        let mut drawn = Init::new(2);
        let mut normal = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        for ([n, c_in, c_out, h, w, k], window) in cases() {
            let (x, weight) = (normal(&[n, c_in, h, w]), normal(&[c_out, c_in / window.groups, k, k]));
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let g = conv2d(&x, &weight, window).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
                    [&x, &weight].map(|var| g.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
                })
            };
            assert_eq!(run(1), run(3));
        }
    }

    #[test]
    fn frozen_weights_and_images_get_no_gradient_and_misfits_are_refused() {
        let mut drawn = Init::new(3);
        let mut normal = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        let (x, weight) = (normal(&[2, 3, 8, 8]).as_detached_tensor(), normal(&[4, 3, 3, 3]));
        let g = conv2d(&x, &weight, Window::same(3, 1)).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(g.get(&weight).is_some() && g.get(&x).is_none());
        let error = conv2d(&x, &weight, Window { groups: 2, ..Window::default() }).unwrap_err().to_string();
        assert!(error.contains("does not fit"), "{error}");
        let small = x.narrow(2, 0, 2).unwrap();
        assert!(
            conv2d(&small, &weight, Window::default()).unwrap_err().to_string().contains("smaller than the kernel")
        );
    }
}
