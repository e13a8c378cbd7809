//! Convolutions of 3 × 3 at stride 1 with fewer multiplications: F(2 × 2, 3 × 3) of Lavin & Gray, *Fast Algorithms for Convolutional
//! Neural Networks*, 2016, §4.1.
//!
//! Tiles of 2 × 2 outputs read 4 × 4 inputs, two apart: `Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A`, 16 products of matrices `[c_out, c_in]` and
//! `[c_in, tiles]` in the place of 36. The backward pass is its transpose, map by map. Tiles go in blocks that the shape alone
//! fixes, each by one thread from the first map to the last: results do not depend on the number of threads.

mod kernels;
mod maps;
mod phases;

use super::patches::Geometry;
use super::product::{Product, View};
use super::slice::{self, at_least, chunks_or_none};
use super::vector::widest;
use kernels::{slopes, transformed};
use maps::{Lanes, a, a_t, b, b_t, column, join, split};
use phases::Phases;
use rayon::prelude::*;
use std::ops::Range;

/// Values of a transformed tile.
const VALUES: usize = 16;
/// Tiles that are transformed at a time; what goes beyond a row of tiles is written over by the next.
const LANES: usize = 8;
/// Numbers of the transformed tiles of a block, about: they stay in the cache of a core until they are used.
const BLOCK: usize = 1 << 17;
/// Tiles of a block, at least, if there are as many: products of fewer columns are slow.
const FEWEST: usize = 64;
/// Blocks of the images that one thread works on at a time, about.
const BLOCKS: usize = 4;
/// Partial sums of a weight's gradient, at most: a fixed number, so that their order does not depend on threads.
const PARTS: usize = 8;
/// Numbers of all partial sums of a large weight's gradient, about.
const PARTIAL: usize = 1 << 24;

/// Whether a convolution is one of these, with channels enough for the products to be worth it.
pub(super) fn suits(g: &Geometry) -> bool {
    let w = g.window;
    (g.kh, g.kw, w.stride, w.dilation, w.groups) == (3, 3, 1, 1, 1) && g.c_in.min(g.c_out) >= 16
}

/// Tiles of an image.
#[derive(Clone, Copy)]
struct Tiles {
    high: usize,
    wide: usize,
}

/// Rows of tiles `rows`, counted over all images, on their way through the products.
struct Block {
    tiles: Tiles,
    rows: Range<usize>,
}

impl Tiles {
    fn of(g: &Geometry) -> Self {
        Self { high: g.oh.div_ceil(2), wide: g.ow.div_ceil(2) }
    }

    /// Columns of a block, about.
    fn columns(g: &Geometry) -> usize {
        (BLOCK / (VALUES * g.c_in.max(g.c_out))).max(FEWEST)
    }

    /// Images of a task, by the shape alone: some blocks, but a quarter of all images at most.
    fn images_of_a_task(self, g: &Geometry) -> usize {
        (BLOCKS * Self::columns(g) / (self.high * self.wide)).min(g.n / 4).max(1)
    }

    fn blocks(self, g: &Geometry) -> Vec<Block> {
        let (each, all) = ((Self::columns(g) / self.wide).max(1), g.n * self.high);
        (0..all).step_by(each).map(|row| Block { tiles: self, rows: row..(row + each).min(all) }).collect()
    }
}

impl Block {
    fn columns(&self) -> usize {
        self.rows.len() * self.tiles.wide
    }

    /// Numbers from one row of columns to the next.
    fn pitch(&self) -> usize {
        self.columns() + LANES
    }

    fn images(&self) -> Range<usize> {
        self.rows.start / self.tiles.high..self.rows.end.div_ceil(self.tiles.high)
    }

    /// The rows of tiles of an image that are in the block, and their columns.
    fn of_image(&self, image: usize) -> (Range<usize>, Range<usize>) {
        let first = image * self.tiles.high;
        let rows = self.rows.start.max(first)..self.rows.end.min(first + self.tiles.high);
        let column = (rows.start - self.rows.start) * self.tiles.wide;
        let columns = column..column + rows.len() * self.tiles.wide;
        (rows.start - first..rows.end - first, columns)
    }
}

/// Room for the blocks of a task.
struct Scratch {
    phases: Phases,
    /// The four outputs of tiles, one kind after the other.
    outputs: Vec<f32>,
    line: Vec<f32>,
    /// `[c_in, 16, pitch]`.
    v: Vec<f32>,
    /// `[16, c_out, pitch]`, or of slopes `[c_out, 16, pitch]`.
    m: Vec<f32>,
    /// `[16, c_in, pitch]`.
    dv: Vec<f32>,
}

impl Scratch {
    fn new(tiles: Tiles) -> Self {
        let [outputs, v, m, dv] = [const { Vec::new() }; 4];
        Self { phases: Phases::new(tiles), outputs, line: vec![0.0; 2 * tiles.wide], v, m, dv }
    }
}

/// `Bᵀ·d·B` of a block's tiles.
fn transform_input(geometry: &Geometry, block: &Block, x: &[f32], scratch: &mut Scratch) {
    let (pitch, pixels, wide) = (block.pitch(), geometry.pixels(), block.tiles.wide);
    let Scratch { phases, v, .. } = scratch;
    let v = at_least(v, geometry.c_in * VALUES * pitch);
    for (channel, v) in v.chunks_exact_mut(VALUES * pitch).enumerate() {
        for image in block.images() {
            let (rows, columns) = block.of_image(image);
            phases.fill(geometry, &x[(image * geometry.c_in + channel) * pixels..][..pixels], &rows);
            widest(
                #[inline(always)]
                || {
                    for (i, row) in rows.clone().enumerate() {
                        let at = columns.start + i * wide;
                        let lines = [0, 1, 2, 3].map(|i| phases.line_of(2 * row + i));
                        for t in (0..wide).step_by(LANES) {
                            let mut half = [[Lanes::default(); 4]; 4];
                            for (half, (even, odd)) in half.iter_mut().zip(lines) {
                                let taps = [Lanes::of(&even[t..]), Lanes::of(&odd[t..])];
                                *half = b_t([taps[0], taps[1], Lanes::of(&even[t + 1..]), Lanes::of(&odd[t + 1..])]);
                            }
                            for j in 0..4 {
                                let values = b_t(column(&half, j));
                                for (i, value) in values.into_iter().enumerate() {
                                    value.to(&mut v[(4 * i + j) * pitch + at + t..]);
                                }
                            }
                        }
                    }
                },
            );
        }
    }
}

/// `A·dY·Aᵀ` of a block's tiles.
fn transform_slope(geometry: &Geometry, block: &Block, dy: &[f32], scratch: &mut Scratch) {
    let (pitch, places, wide) = (block.pitch(), geometry.places(), block.tiles.wide);
    let Scratch { outputs, line, m, .. } = scratch;
    let (outputs, m) = (at_least(outputs, 4 * pitch), at_least(m, geometry.c_out * VALUES * pitch));
    // An odd side has no last column.
    line.fill(0.0);
    for (channel, m) in m.chunks_exact_mut(VALUES * pitch).enumerate() {
        widest(
            #[inline(always)]
            || {
                for image in block.images() {
                    let (rows, columns) = block.of_image(image);
                    let plane = &dy[(image * geometry.c_out + channel) * places..][..places];
                    for (i, y) in (2 * rows.start..2 * rows.end).enumerate() {
                        let (even, odd) = outputs[i % 2 * 2 * pitch..].split_at_mut(pitch);
                        let at = columns.start + i / 2 * wide;
                        let (even, odd) = (&mut even[at..][..wide], &mut odd[at..][..wide]);
                        if y < geometry.oh {
                            line[..geometry.ow].copy_from_slice(&plane[y * geometry.ow..][..geometry.ow]);
                            split(line, even, odd);
                        } else {
                            even.fill(0.0);
                            odd.fill(0.0);
                        }
                    }
                }
                for t in (0..block.columns()).step_by(LANES) {
                    let of = |k: usize| Lanes::of(&outputs[k * pitch + t..]);
                    let half = [a([of(0), of(1)]), a([of(2), of(3)])];
                    for j in 0..4 {
                        for (i, value) in a(column(&half, j)).into_iter().enumerate() {
                            value.to(&mut m[(4 * i + j) * pitch + t..]);
                        }
                    }
                }
            },
        );
    }
}

/// The 16 products `[rows, depth]·[depth, columns]` of a block, one after the other: `[16, rows, pitch]`. `left` is the view of the
/// left matrix of a value; the right ones are those of `right`, `[depth, 16, pitch]`.
fn products<'a>(
    [rows, depth]: [usize; 2],
    block: &Block,
    left: impl Fn(usize) -> View<'a>,
    right: &[f32],
    out: &mut Vec<f32>,
) {
    let pitch = block.pitch();
    let out = at_least(out, VALUES * rows * pitch);
    for (value, out) in out.chunks_exact_mut(rows * pitch).enumerate() {
        let right = View::rows(&right[value * pitch..], VALUES * pitch);
        Product::new(rows, block.columns(), depth).strided(pitch).into(left(value), right, out);
    }
}

/// Writes `Aᵀ·M·A` of a block's tiles to their places.
fn write_outputs(geometry: &Geometry, block: &Block, scratch: &mut Scratch, y: &mut [f32]) {
    let (pitch, wide, places) = (block.pitch(), block.tiles.wide, geometry.places());
    let Scratch { outputs, line, m, .. } = scratch;
    let outputs = at_least(outputs, 4 * pitch);
    for image in block.images() {
        let (rows, columns) = block.of_image(image);
        for channel in 0..geometry.c_out {
            let plane = &mut y[(image * geometry.c_out + channel) * places..][..places];
            let of = |value: usize| &m[(value * geometry.c_out + channel) * pitch + columns.start..];
            widest(
                #[inline(always)]
                || {
                    for t in (0..columns.len()).step_by(LANES) {
                        let mut half = [[Lanes::default(); 2]; 4];
                        for (i, half) in half.iter_mut().enumerate() {
                            let of = |j: usize| Lanes::of(&of(4 * i + j)[t..]);
                            *half = a_t([of(0), of(1), of(2), of(3)]);
                        }
                        for j in 0..2 {
                            let values = a_t(column(&half, j));
                            for (i, value) in values.into_iter().enumerate() {
                                value.to(&mut outputs[(2 * i + j) * pitch + t..]);
                            }
                        }
                    }
                    for (i, y) in (2 * rows.start..(2 * rows.end).min(geometry.oh)).enumerate() {
                        let (even, odd) = outputs[i % 2 * 2 * pitch..].split_at(pitch);
                        join(&even[i / 2 * wide..][..wide], &odd[i / 2 * wide..][..wide], line);
                        plane[y * geometry.ow..][..geometry.ow].copy_from_slice(&line[..geometry.ow]);
                    }
                },
            );
        }
    }
}

/// Adds `B·dV·Bᵀ` of a block's tiles to the pixels that they read.
fn add_to_inputs(geometry: &Geometry, block: &Block, scratch: &mut Scratch, dx: &mut [f32]) {
    let (pitch, wide, pixels) = (block.pitch(), block.tiles.wide, geometry.pixels());
    let Scratch { phases, dv, .. } = scratch;
    phases.values.fill(0.0);
    for image in block.images() {
        let (rows, columns) = block.of_image(image);
        for channel in 0..geometry.c_in {
            let of = |value: usize| &dv[(value * geometry.c_in + channel) * pitch + columns.start..];
            widest(
                #[inline(always)]
                || {
                    for (i, row) in rows.clone().enumerate() {
                        for t in (0..wide).step_by(LANES) {
                            let mut half = [[Lanes::default(); 4]; 4];
                            for (r, half) in half.iter_mut().enumerate() {
                                let of = |c: usize| Lanes::of(&of(4 * r + c)[i * wide + t..]).first(wide - t);
                                *half = b([of(0), of(1), of(2), of(3)]);
                            }
                            for c in 0..4 {
                                let values = b(column(&half, c));
                                for (r, value) in values.into_iter().enumerate() {
                                    let start = phases.at(2 * row + r, c) + t;
                                    let to = &mut phases.values[start..][..LANES];
                                    (Lanes::of(to) + value).to(to);
                                }
                            }
                        }
                    }
                },
            );
            phases.drain(geometry, &mut dx[(image * geometry.c_in + channel) * pixels..][..pixels], &rows);
        }
    }
}

pub(super) fn forward(geometry: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (c_in, c_out, tiles) = (geometry.c_in, geometry.c_out, Tiles::of(geometry));
    let (input, output) = (c_in * geometry.pixels(), c_out * geometry.places());
    let u = transformed(geometry, weight);
    let each = tiles.images_of_a_task(geometry);
    slice::in_chunks(
        geometry.n * output,
        each * output,
        || Scratch::new(tiles),
        |scratch, start, y| {
            let geometry = &Geometry { n: y.len() / output, ..*geometry };
            let x = &x[start / output * input..][..geometry.n * input];
            for block in tiles.blocks(geometry) {
                transform_input(geometry, &block, x, scratch);
                let left = |value: usize| View::rows(&u[value * c_in..], VALUES * c_in);
                products([c_out, c_in], &block, left, &scratch.v, &mut scratch.m);
                write_outputs(geometry, &block, scratch, y);
            }
        },
    )
}

/// Gradients of input and weight, as far as they are wanted.
pub(super) fn backward(geometry: &Geometry, x: &[f32], weight: &[f32], dy: &[f32], want: [bool; 2]) -> [Vec<f32>; 2] {
    let (c_in, c_out, tiles) = (geometry.c_in, geometry.c_out, Tiles::of(geometry));
    let (input, output) = (c_in * geometry.pixels(), c_out * geometry.places());
    let u = if want[0] { transformed(geometry, weight) } else { Vec::new() };
    let each = tiles.images_of_a_task(geometry);
    let parts = (PARTIAL / (VALUES * c_in * c_out)).clamp(2, PARTS);
    let per_part = geometry.n.div_ceil(each).div_ceil(parts) * each;
    let mut dx = slice::zeros(if want[0] { x.len() } else { 0 });
    let partial: Vec<Vec<f32>> = chunks_or_none(&mut dx, per_part * input, geometry.n.div_ceil(per_part))
        .into_par_iter()
        .zip(x.par_chunks(per_part * input))
        .zip(dy.par_chunks(per_part * output))
        .map(|((dx, x), dy)| {
            let geometry = &Geometry { n: x.len() / input, ..*geometry };
            let mut scratch = Scratch::new(tiles);
            let mut du = vec![0f32; if want[1] { VALUES * c_out * c_in } else { 0 }];
            for block in tiles.blocks(geometry) {
                let pitch = block.pitch();
                transform_slope(geometry, &block, dy, &mut scratch);
                if want[1] {
                    transform_input(geometry, &block, x, &mut scratch);
                    for (value, du) in du.chunks_exact_mut(c_out * c_in).enumerate() {
                        let views = [&scratch.m, &scratch.v].map(|of| View::rows(&of[value * pitch..], VALUES * pitch));
                        let product = Product::new(c_out, c_in, block.columns()).added();
                        product.into(views[0], views[1].transposed(), du);
                    }
                }
                if want[0] {
                    let left = |value: usize| View::rows(&u[value * c_in..], VALUES * c_in).transposed();
                    products([c_in, c_out], &block, left, &scratch.m, &mut scratch.dv);
                    add_to_inputs(geometry, &block, &mut scratch, dx);
                }
            }
            du
        })
        .collect();
    let mut partial = partial.into_iter();
    let mut du = partial.next().unwrap_or_default();
    for part in partial {
        du.par_iter_mut().zip(part).for_each(|(a, b)| *a += b);
    }
    [dx, if want[1] { slopes(geometry, &du) } else { Vec::new() }]
}
