//! Convolutions of 3 × 3 at stride 1 with fewer multiplications: F(2 × 2, 3 × 3) of Lavin & Gray, *Fast Algorithms for Convolutional
//! Neural Networks*, 2016, §4.1.
//!
//! Tiles of 2 × 2 outputs read 4 × 4 inputs, two apart: `Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A`, 16 products of matrices `[c_out, c_in]` and
//! `[c_in, tiles]` in the place of 36. The backward pass is its transpose, map by map. Tiles go in blocks that the shape alone
//! fixes, one after the other, and threads share the channels and products of a block: results do not depend on their number.

mod maps;
mod phases;

use super::patches::Geometry;
use super::product::{Product, View};
use super::vector::widest;
use maps::{Lanes, a, a_t, b, b_t, both, g, g_t, join, split, square};
use phases::Phases;
use rayon::prelude::*;
use std::ops::Range;

/// Values of a transformed tile.
const VALUES: usize = 16;
/// Tiles that are transformed at a time; what goes beyond a row of tiles is written over by the next.
const LANES: usize = 8;
/// Numbers of the transformed tiles of a block, about.
const BLOCK: usize = 1 << 19;
/// Tiles of a block, at least, if there are as many: products of fewer columns are slow.
const FEWEST: usize = 128;

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

    fn blocks(self, g: &Geometry) -> Vec<Block> {
        let columns = (BLOCK / (VALUES * g.c_in.max(g.c_out))).max(FEWEST);
        let (each, all) = ((columns / self.wide).max(1), g.n * self.high);
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

/// `G·g·Gᵀ` of every kernel: `[c_out, 16, c_in]`.
fn transformed_weight(geometry: &Geometry, weight: &[f32]) -> Vec<f32> {
    let c_in = geometry.c_in;
    let mut u = vec![0f32; geometry.c_out * VALUES * c_in];
    u.par_chunks_mut(VALUES * c_in).zip(weight.par_chunks(9 * c_in)).for_each(|(u, weight)| {
        for (channel, kernel) in weight.chunks_exact(9).enumerate() {
            let values = both(square::<_, 3>(|row, column| kernel[3 * row + column]), g);
            for (value, number) in values.as_flattened().iter().enumerate() {
                u[value * c_in + channel] = *number;
            }
        }
    });
    u
}

/// `Bᵀ·d·B` of a block's tiles: `[c_in, 16, pitch]`.
fn transformed_input(geometry: &Geometry, block: &Block, x: &[f32], v: &mut Vec<f32>) {
    let (pitch, pixels, wide) = (block.pitch(), geometry.pixels(), block.tiles.wide);
    v.resize(geometry.c_in * VALUES * pitch, 0.0);
    v.par_chunks_mut(VALUES * pitch).enumerate().for_each_init(
        || Phases::new(block.tiles),
        |phases, (channel, v)| {
            for image in block.images() {
                let (rows, columns) = block.of_image(image);
                phases.fill(geometry, &x[(image * geometry.c_in + channel) * pixels..][..pixels], &rows);
                widest(|| {
                    for (i, row) in rows.clone().enumerate() {
                        for t in (0..wide).step_by(LANES) {
                            let tile =
                                square::<_, 4>(|i, j| Lanes::of(&phases.values[phases.at(2 * row + i, j) + t..]));
                            let values = both(tile, b_t);
                            for value in 0..VALUES {
                                values[value / 4][value % 4].to(&mut v[value * pitch + columns.start + i * wide + t..]);
                            }
                        }
                    }
                });
            }
        },
    );
}

/// `A·dY·Aᵀ` of a block's tiles: `[c_out, 16, pitch]`.
fn transformed_slope(geometry: &Geometry, block: &Block, dy: &[f32], m: &mut Vec<f32>) {
    let (pitch, places, wide) = (block.pitch(), geometry.places(), block.tiles.wide);
    m.resize(geometry.c_out * VALUES * pitch, 0.0);
    m.par_chunks_mut(VALUES * pitch).enumerate().for_each_init(
        || (vec![0f32; 4 * pitch], vec![0f32; 2 * wide]),
        |(outputs, line), (channel, m)| {
            widest(|| {
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
                    let values = both(square::<_, 2>(|i, j| Lanes::of(&outputs[(2 * i + j) * pitch + t..])), a);
                    for value in 0..VALUES {
                        values[value / 4][value % 4].to(&mut m[value * pitch + t..]);
                    }
                }
            });
        },
    );
}

/// The 16 products `[rows, depth]·[depth, columns]` of a block, side by side: `[16, rows, pitch]`. `left` is the view of the left matrix
/// of a value; the right ones are those of `right`, `[depth, 16, pitch]`.
fn products<'a>(
    [rows, depth]: [usize; 2],
    block: &Block,
    left: impl Fn(usize) -> View<'a> + Sync,
    right: &[f32],
    out: &mut Vec<f32>,
) {
    let pitch = block.pitch();
    out.resize(VALUES * rows * pitch, 0.0);
    out.par_chunks_mut(rows * pitch).enumerate().for_each(|(value, out)| {
        let right = View::rows(&right[value * pitch..], VALUES * pitch);
        Product::new(rows, block.columns(), depth).strided(pitch).into(left(value), right, out);
    });
}

/// The planes of a block's images, `count` channels of `pixels` each, by all threads: the channel, the image and the plane.
fn for_each_plane<S>(
    block: &Block,
    [count, pixels]: [usize; 2],
    all: &mut [f32],
    init: impl Fn() -> S + Sync + Send,
    visit: impl Fn(&mut S, usize, usize, &mut [f32]) + Sync + Send,
) {
    let images = block.images();
    let planes = &mut all[images.start * count * pixels..images.end * count * pixels];
    planes
        .par_chunks_mut(pixels)
        .enumerate()
        .for_each_init(init, |state, (i, plane)| visit(state, i % count, images.start + i / count, plane));
}

/// Writes `Aᵀ·M·A` of a block's tiles, `[16, c_out, pitch]`, to their places.
fn write_outputs(geometry: &Geometry, block: &Block, m: &[f32], y: &mut [f32]) {
    let (pitch, wide) = (block.pitch(), block.tiles.wide);
    let rooms = || (vec![0f32; 4 * pitch], vec![0f32; 2 * wide]);
    for_each_plane(block, [geometry.c_out, geometry.places()], y, rooms, |(outputs, line), channel, image, plane| {
        let (rows, columns) = block.of_image(image);
        let of = |value: usize| &m[(value * geometry.c_out + channel) * pitch + columns.start..];
        widest(|| {
            for t in (0..columns.len()).step_by(LANES) {
                let values = both(square::<_, 4>(|i, j| Lanes::of(&of(4 * i + j)[t..])), a_t);
                for k in 0..4 {
                    values[k / 2][k % 2].to(&mut outputs[k * pitch + t..]);
                }
            }
            for (i, y) in (2 * rows.start..(2 * rows.end).min(geometry.oh)).enumerate() {
                let (even, odd) = outputs[i % 2 * 2 * pitch..].split_at(pitch);
                join(&even[i / 2 * wide..][..wide], &odd[i / 2 * wide..][..wide], line);
                plane[y * geometry.ow..][..geometry.ow].copy_from_slice(&line[..geometry.ow]);
            }
        });
    });
}

/// Adds `B·dV·Bᵀ` of a block's tiles, `[16, c_in, pitch]`, to the pixels that they read.
fn add_to_inputs(geometry: &Geometry, block: &Block, dv: &[f32], dx: &mut [f32]) {
    let (pitch, wide) = (block.pitch(), block.tiles.wide);
    let rooms = || Phases::new(block.tiles);
    for_each_plane(block, [geometry.c_in, geometry.pixels()], dx, rooms, |phases, channel, image, plane| {
        let (rows, columns) = block.of_image(image);
        let of = |value: usize| &dv[(value * geometry.c_in + channel) * pitch + columns.start..];
        widest(|| {
            for (i, row) in rows.clone().enumerate() {
                for t in (0..wide).step_by(LANES) {
                    let tile = square::<_, 4>(|r, c| Lanes::of(&of(4 * r + c)[i * wide + t..]).first(wide - t));
                    let values = both(tile, b);
                    for k in 0..VALUES {
                        let start = phases.at(2 * row + k / 4, k % 4) + t;
                        let to = &mut phases.values[start..][..LANES];
                        (Lanes::of(to) + values[k / 4][k % 4]).to(to);
                    }
                }
            }
        });
        phases.drain(geometry, plane, &rows);
    });
}

pub(super) fn forward(geometry: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (c_in, c_out) = (geometry.c_in, geometry.c_out);
    let u = transformed_weight(geometry, weight);
    let mut y = vec![0f32; geometry.n * c_out * geometry.places()];
    let (mut v, mut m) = (Vec::new(), Vec::new());
    for block in Tiles::of(geometry).blocks(geometry) {
        transformed_input(geometry, &block, x, &mut v);
        products([c_out, c_in], &block, |value| View::rows(&u[value * c_in..], VALUES * c_in), &v, &mut m);
        write_outputs(geometry, &block, &m, &mut y);
    }
    y
}

/// Gradients of input and weight, as far as they are wanted.
pub(super) fn backward(geometry: &Geometry, x: &[f32], weight: &[f32], dy: &[f32], want: [bool; 2]) -> [Vec<f32>; 2] {
    let (c_in, c_out) = (geometry.c_in, geometry.c_out);
    let u = if want[0] { transformed_weight(geometry, weight) } else { Vec::new() };
    let mut dx = vec![0f32; if want[0] { x.len() } else { 0 }];
    let mut du = vec![0f32; if want[1] { VALUES * c_out * c_in } else { 0 }];
    let (mut v, mut dm, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for block in Tiles::of(geometry).blocks(geometry) {
        let pitch = block.pitch();
        transformed_slope(geometry, &block, dy, &mut dm);
        if want[1] {
            transformed_input(geometry, &block, x, &mut v);
            du.par_chunks_mut(c_out * c_in).enumerate().for_each(|(value, du)| {
                let product = Product::new(c_out, c_in, block.columns()).added();
                let [dm, v] = [&dm, &v].map(|tiles| View::rows(&tiles[value * pitch..], VALUES * pitch));
                product.into(dm, v.transposed(), du);
            });
        }
        if want[0] {
            let left = |value: usize| View::rows(&u[value * c_in..], VALUES * c_in).transposed();
            products([c_in, c_out], &block, left, &dm, &mut dv);
            add_to_inputs(geometry, &block, &dv, &mut dx);
        }
    }
    [dx, if want[1] { weight_slope(geometry, &du) } else { Vec::new() }]
}

/// `Gᵀ·dU·G` of every kernel, from `[16, c_out, c_in]`.
fn weight_slope(geometry: &Geometry, du: &[f32]) -> Vec<f32> {
    let (c_in, c_out) = (geometry.c_in, geometry.c_out);
    let mut dw = vec![0f32; c_out * c_in * 9];
    dw.par_chunks_mut(c_in * 9).enumerate().for_each(|(out, dw)| {
        for (channel, kernel) in dw.chunks_exact_mut(9).enumerate() {
            let of = |value: usize| du[(value * c_out + out) * c_in + channel];
            kernel.copy_from_slice(both(square::<_, 4>(|i, j| of(4 * i + j)), g_t).as_flattened());
        }
    });
    dw
}
