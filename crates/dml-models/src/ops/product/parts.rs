//! Matrices as tiles of bf16 whose parts add up to them.

use super::View;
use super::amx::{DEPTH, PARTS, SIDE, Tile};
use crate::ops::vector::widest;
use std::ops::Range;

/// Which way the pairs of a tile lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// A line for each row or column of the operand: what is on the left of a product.
    OfSides,
    /// A line for each two steps of depth: what is on its right.
    OfDepths,
}

/// An operand of a product: `sides` rows of the left matrix or columns of the right one, each of `depth` numbers.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    data: &'a [f32],
    side_stride: usize,
    depth_stride: usize,
    sides: usize,
    lines: Lines,
    scale: f32,
}

/// The bf16s that `x` is the sum of, in the order of their size. Without the last, which is exact, they are the nearest. What is not
/// finite has a part that is not.
#[inline(always)]
fn parts(x: f32) -> [u32; PARTS] {
    let nearest = |x: f32| f32::from_bits(x.to_bits().wrapping_add(0x8000) & 0xffff_0000);
    let first = nearest(x);
    let rest = x - first;
    let second = nearest(rest);
    [first, second, rest - second].map(|part| part.to_bits() >> 16)
}

/// Parts of two numbers side by side.
#[inline(always)]
fn pair(a: f32, b: f32) -> [u32; PARTS] {
    let (a, b) = (parts(a), parts(b));
    [0, 1, 2].map(|part| a[part] | b[part] << 16)
}

/// The numbers of `from`, then zeros.
#[inline(always)]
fn padded<const N: usize>(from: &[f32], scale: f32) -> [f32; N] {
    let mut line = [0.0; N];
    // A copy of a known length is some vectors, not a call.
    if from.len() == N {
        line.copy_from_slice(from);
    } else {
        line[..from.len()].copy_from_slice(from);
    }
    if scale != 1.0 {
        line.iter_mut().for_each(|v| *v *= scale);
    }
    line
}

/// Three tiles whose lines are `line(i)`, pairs of numbers.
#[inline(always)]
fn fill(tiles: &mut [Tile], line: impl Fn(usize) -> [[u32; PARTS]; SIDE]) {
    for i in 0..SIDE {
        let line = line(i);
        for (part, tile) in tiles.iter_mut().enumerate() {
            let to = &mut tile.0[i * SIDE..][..SIDE];
            for j in 0..SIDE {
                to[j] = line[j][part];
            }
        }
    }
}

#[inline(always)]
fn transpose(tile: &mut Tile) {
    let from = tile.0;
    for i in 0..SIDE {
        for j in 0..SIDE {
            tile.0[j * SIDE + i] = from[i * SIDE + j];
        }
    }
}

impl<'a> Operand<'a> {
    /// The left matrix of a product, `scale` times. None unless its rows are dense: all of its tiles would have to be turned, which
    /// costs more than they gain.
    pub(super) fn left(view: View<'a>, rows: usize, scale: f32) -> Option<Self> {
        let View { data, row_stride, column_stride } = view;
        let (side_stride, depth_stride, lines) = (row_stride, column_stride, Lines::OfSides);
        (column_stride == 1).then_some(Self { data, side_stride, depth_stride, sides: rows, lines, scale })
    }

    /// The right matrix of one. None where neither its rows nor its columns are dense.
    pub(super) fn right(view: View<'a>, columns: usize) -> Option<Self> {
        let View { data, row_stride, column_stride } = view;
        let (side_stride, depth_stride, lines) = (column_stride, row_stride, Lines::OfDepths);
        let dense = row_stride == 1 || column_stride == 1;
        dense.then_some(Self { data, side_stride, depth_stride, sides: columns, lines, scale: 1.0 })
    }

    pub(super) fn sides(&self) -> usize {
        self.sides
    }

    /// Packs the panels of 16 sides that begin at `first`, `[panels, depths / 32, 3]` tiles; sides and depths that are not there are
    /// zeros.
    pub(super) fn pack(&self, first: usize, depths: Range<usize>, tiles: &mut [Tile]) {
        let blocks = depths.len().div_ceil(DEPTH);
        let panels = tiles.len() / (blocks * PARTS);
        // Depths on the outside: what lies side by side is read one after the other.
        for block in 0..blocks {
            let from = depths.start + block * DEPTH;
            let depths = from..(from + DEPTH).min(depths.end);
            for panel in 0..panels {
                let start = (first + panel * SIDE).min(self.sides);
                let sides = start..(start + SIDE).min(self.sides);
                let tiles = &mut tiles[(panel * blocks + block) * PARTS..][..PARTS];
                widest(
                    #[inline(always)]
                    || self.pack_block(sides, depths.clone(), tiles),
                );
            }
        }
    }

    #[inline(always)]
    fn pack_block(&self, sides: Range<usize>, depths: Range<usize>, tiles: &mut [Tile]) {
        let lies = if self.depth_stride == 1 { Lines::OfSides } else { Lines::OfDepths };
        match lies {
            Lines::OfSides => fill(
                tiles,
                #[inline(always)]
                |i| {
                    let side = sides.start + i;
                    let there = if side < sides.end { depths.len() } else { 0 };
                    let at = if there > 0 { side * self.side_stride + depths.start } else { 0 };
                    let line: [f32; DEPTH] = padded(&self.data[at..][..there], self.scale);
                    std::array::from_fn(
                        #[inline(always)]
                        |j| pair(line[2 * j], line[2 * j + 1]),
                    )
                },
            ),
            Lines::OfDepths => fill(
                tiles,
                #[inline(always)]
                |i| {
                    let [even, odd]: [[f32; SIDE]; 2] = [0, 1].map(
                        #[inline(always)]
                        |half| {
                            let depth = depths.start + 2 * i + half;
                            let there = if depth < depths.end { sides.len() } else { 0 };
                            let at = if there > 0 { depth * self.depth_stride + sides.start } else { 0 };
                            padded(&self.data[at..][..there], self.scale)
                        },
                    );
                    std::array::from_fn(
                        #[inline(always)]
                        |j| pair(even[j], odd[j]),
                    )
                },
            ),
        }
        if lies != self.lines {
            for tile in tiles {
                transpose(tile);
            }
        }
    }
}
