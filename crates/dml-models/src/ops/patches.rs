//! Images as columns of patches and back: what makes a convolution a matrix product.

use candle_core::{Result, Shape, bail};
use std::ops::Range;

/// How a kernel goes over an image; the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Pixels from one place to the next. Default 1.
    pub stride: usize,
    /// Zeros around the image. Default 0.
    pub padding: usize,
    /// Pixels from one weight to the next. Default 1.
    pub dilation: usize,
    /// Parts of the channels that see nothing of each other; as many as channels: depthwise. Default 1.
    pub groups: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

/// Numbers of a copy whose length is known.
const LANES: usize = 8;

/// Copies `length` numbers; of a few, as many as a vector holds, for a copy of unknown length is a call. What is behind them must not
/// be written yet.
#[inline(always)]
fn copy(from: &[f32], length: usize, to: &mut [f32]) {
    match (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
        (Some(from), Some(to)) if length <= LANES => *to = *from,
        _ => to[..length].copy_from_slice(&from[..length]),
    }
}

impl Window {
    /// A window that moves by `stride` and keeps the size of an image, but for the stride, under a kernel of the odd side `k`.
    pub fn same(k: usize, stride: usize) -> Self {
        Self { stride, padding: k / 2, ..Self::default() }
    }
}

/// All sizes of a convolution of one group of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) n: usize,
    /// Of all groups.
    pub(crate) c_in: usize,
    /// Of all groups.
    pub(crate) c_out: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) window: Window,
}

impl Geometry {
    pub(crate) fn new(x: &Shape, weight: &Shape, window: Window) -> Result<Self> {
        let (n, c_in, h, w) = x.dims4()?;
        let (c_out, c_weight, kh, kw) = weight.dims4()?;
        let Window { stride, padding, dilation, groups } = window;
        if [n, c_in, c_out, h, w, kh, kw, stride, dilation, groups].contains(&0) {
            bail!("conv2d: input {x:?}, weight {weight:?} or {window:?} holds a 0: want sizes of 1 or more");
        }
        if !c_in.is_multiple_of(groups) || !c_out.is_multiple_of(groups) || c_weight != c_in / groups {
            bail!(
                "conv2d: weight {weight:?} does not fit input {x:?} in {groups} groups: want [c_out, c_in/groups, k, k]"
            );
        }
        let side = |length: usize, k: usize| {
            (length + 2 * padding).checked_sub(dilation * (k - 1) + 1).map(|free| free / stride + 1)
        };
        let (Some(oh), Some(ow)) = (side(h, kh), side(w, kw)) else {
            bail!(
                "conv2d: an image of {h}x{w} is smaller than the kernel of {kh}x{kw}: give larger images or more padding"
            );
        };
        Ok(Self { n, c_in, c_out, h, w, kh, kw, oh, ow, window })
    }

    /// Pixels of an input plane.
    pub(crate) fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// Pixels of an output plane.
    pub(crate) fn places(&self) -> usize {
        self.oh * self.ow
    }

    /// Input channels of a group.
    pub(crate) fn group_in(&self) -> usize {
        self.c_in / self.window.groups
    }

    /// Output channels of a group.
    pub(crate) fn group_out(&self) -> usize {
        self.c_out / self.window.groups
    }

    /// Numbers of a patch of one group.
    pub(crate) fn patch(&self) -> usize {
        self.group_in() * self.kh * self.kw
    }

    /// Whether a patch is a pixel: then an image is its own patch matrix.
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.kh, self.kw, self.window.stride, self.window.padding) == (1, 1, 1, 0)
    }

    /// Outputs along a side whose input, under a weight `shift` pixels into the kernel, lies in the image.
    pub(crate) fn reach(&self, shift: usize, input: usize, output: usize) -> Range<usize> {
        let Window { stride, padding, .. } = self.window;
        let from = padding.saturating_sub(shift).div_ceil(stride);
        let to = (input + padding).checked_sub(shift + 1).map_or(0, |last| last / stride + 1).min(output);
        from.min(to)..to
    }

    /// Visits the rows of a patch matrix of `count` images and of the outputs in `rows`, a weight, an image and a line of outputs at a
    /// time: `visit(start, inside, from)`. The line begins at `start` in the matrix; its outputs `inside` read inputs a stride apart,
    /// the first of them at `from` in the images; the others read padding. Without `from` all do.
    #[inline(always)]
    fn matrix_lines(
        &self,
        count: usize,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, Range<usize>, Option<usize>),
    ) {
        let Window { stride, padding, dilation, .. } = self.window;
        let mut start = 0;
        for c in 0..self.group_in() {
            for (dy, dx) in (0..self.kh * self.kw).map(|k| (k / self.kw * dilation, k % self.kw * dilation)) {
                let (high, wide) = (self.reach(dy, self.h, self.oh), self.reach(dx, self.w, self.ow));
                for i in 0..count {
                    let plane = (i * self.c_in + c) * self.pixels();
                    for oy in rows.clone() {
                        let reads = high.contains(&oy) && !wide.is_empty();
                        let from = reads.then(|| {
                            plane + (oy * stride + dy - padding) * self.w + wide.start * stride + dx - padding
                        });
                        visit(start, wide.clone(), from);
                        start += self.ow;
                    }
                }
            }
        }
    }

    /// Gathers the outputs of rows `rows` of the plane, of each of `count` images, from the input planes of a group.
    ///
    /// `images` begin with the first plane of the group; images are `c_in` planes apart. `patches` is
    /// `[patch, count · rows · ow]`.
    pub(crate) fn gather(&self, images: &[f32], count: usize, rows: Range<usize>, patches: &mut [f32]) {
        let (stride, ow) = (self.window.stride, self.ow);
        self.matrix_lines(count, rows, |start, inside, from| {
            let Some(from) = from else { return patches[start..][..ow].fill(0.0) };
            if stride == 1 {
                copy(&images[from..], inside.len(), &mut patches[start + inside.start..]);
            } else {
                let line = &mut patches[start..][inside.clone()];
                line.iter_mut().zip(images[from..].iter().step_by(stride)).for_each(|(to, v)| *to = *v);
            }
            // Last, since a copy may have gone too far.
            patches[start..][..inside.start].fill(0.0);
            patches[start..][inside.end..ow].fill(0.0);
        });
    }

    /// Adds patches back to the images they were gathered from: the transpose of [`Self::gather`].
    pub(crate) fn fold(&self, patches: &[f32], count: usize, rows: Range<usize>, images: &mut [f32]) {
        let stride = self.window.stride;
        self.matrix_lines(count, rows, |start, inside, from| {
            let Some(from) = from else { return };
            let line = &patches[start..][inside];
            match stride {
                1 => images[from..].iter_mut().zip(line).for_each(|(to, v)| *to += v),
                _ => images[from..].iter_mut().step_by(stride).zip(line).for_each(|(to, v)| *to += v),
            }
        });
    }
}
