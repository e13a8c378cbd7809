//! Matrices as tiles of bf16 whose parts add up to them.

use super::View;
use super::amx::{DEPTH, PARTS, SIDE, Tile};
use crate::ops::precision::nearest_bf16;
use crate::ops::vector::widest;
use std::ops::Range;

/// Which way the pairs of a tile lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
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
    /// bf16s that stand for a number: all three that it is the sum of, or the nearest.
    parts: usize,
}

/// The first bf16s of those that `x` is the sum of, in the order of their size. Without the last of three, which is exact, they are
/// the nearest. What is not finite has a part that is not.
#[inline(always)]
fn parts<const P: usize>(x: f32) -> [u32; P] {
    let mut all = [0; P];
    let mut rest = x;
    for (i, part) in all.iter_mut().enumerate() {
        let nearest = if i + 1 == PARTS { rest } else { nearest_bf16(rest) };
        *part = nearest.to_bits() >> 16;
        rest -= nearest;
    }
    all
}

/// Numbers side by side: their parts, largest first.
#[inline(always)]
fn parts_of<const N: usize, const P: usize>(numbers: &[f32; N]) -> [[u32; N]; P] {
    let mut all = [[0; N]; P];
    for j in 0..N {
        let of = parts::<P>(numbers[j]);
        for part in 0..P {
            all[part][j] = of[part];
        }
    }
    all
}

#[inline(always)]
fn transpose(from: &Tile, to: &mut Tile) {
    for i in 0..SIDE {
        for j in 0..SIDE {
            to.0[j * SIDE + i] = from.0[i * SIDE + j];
        }
    }
}

impl<'a> Operand<'a> {
    /// The left matrix of a product, `scale` times, of so many parts. None where neither its rows nor its columns are dense.
    pub(super) fn left(view: View<'a>, rows: usize, scale: f32, parts: usize) -> Option<Self> {
        let View { data, row_stride, column_stride } = view;
        let (side_stride, depth_stride, lines) = (row_stride, column_stride, Lines::OfSides);
        let dense = row_stride == 1 || column_stride == 1;
        dense.then_some(Self { data, side_stride, depth_stride, sides: rows, lines, scale, parts })
    }

    /// The right matrix of one. None as for [`Self::left`].
    pub(super) fn right(view: View<'a>, columns: usize, parts: usize) -> Option<Self> {
        let of_sides = Self::left(view.transposed(), columns, 1.0, parts)?;
        Some(Self { lines: Lines::OfDepths, ..of_sides })
    }

    pub(super) fn sides(&self) -> usize {
        self.sides
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// Packs the panels of 16 sides that begin at `first`, `[panels, depths / 32, parts]` tiles; sides and depths that are not there are
    /// zeros.
    pub(super) fn pack(&self, first: usize, depths: Range<usize>, tiles: &mut [Tile]) {
        let blocks = depths.len().div_ceil(DEPTH);
        let panels = tiles.len() / (blocks * self.parts);
        // Depths on the outside: what lies side by side is read one after the other.
        for block in 0..blocks {
            let from = depths.start + block * DEPTH;
            let depths = from..(from + DEPTH).min(depths.end);
            for panel in 0..panels {
                let start = (first + panel * SIDE).min(self.sides);
                let sides = start..(start + SIDE).min(self.sides);
                let tiles = &mut tiles[(panel * blocks + block) * self.parts..][..self.parts];
                widest(
                    #[inline(always)]
                    || match self.parts {
                        1 => self.pack_block::<1>(sides, depths.clone(), tiles),
                        _ => self.pack_block::<PARTS>(sides, depths.clone(), tiles),
                    },
                );
            }
        }
    }

    /// All of this is inlined into what `widest` compiles, and keeps to loops: a function of std's that is called leaves its vectors.
    #[inline(always)]
    fn pack_block<const P: usize>(&self, sides: Range<usize>, depths: Range<usize>, tiles: &mut [Tile]) {
        let lies = if self.depth_stride == 1 { Lines::OfSides } else { Lines::OfDepths };
        let mut turned = [Tile::ZERO; P];
        for i in 0..SIDE {
            let mut lines = [[0; SIDE]; P];
            match lies {
                Lines::OfSides => {
                    let numbers: [f32; DEPTH] = self.padded(sides.start + i, sides.end, self.side_stride, &depths);
                    for (line, parts) in lines.iter_mut().zip(&parts_of::<_, P>(&numbers)) {
                        for j in 0..SIDE {
                            line[j] = parts[2 * j] | parts[2 * j + 1] << 16;
                        }
                    }
                }
                Lines::OfDepths => {
                    let depth = depths.start + 2 * i;
                    let even: [f32; SIDE] = self.padded(depth, depths.end, self.depth_stride, &sides);
                    let odd: [f32; SIDE] = self.padded(depth + 1, depths.end, self.depth_stride, &sides);
                    let (evens, odds) = (parts_of::<_, P>(&even), parts_of::<_, P>(&odd));
                    for (line, (even, odd)) in lines.iter_mut().zip(evens.iter().zip(&odds)) {
                        for j in 0..SIDE {
                            line[j] = even[j] | odd[j] << 16;
                        }
                    }
                }
            }
            let tiles = if lies == self.lines { &mut *tiles } else { &mut turned[..] };
            for (tile, line) in tiles.iter_mut().zip(&lines) {
                tile.0[i * SIDE..][..SIDE].copy_from_slice(line);
            }
        }
        if lies != self.lines {
            for (from, to) in turned.iter().zip(tiles) {
                transpose(from, to);
            }
        }
    }

    /// The dense numbers `along` of line `line`, scaled, then zeros; only zeros if the line is not before `end`.
    #[inline(always)]
    fn padded<const N: usize>(&self, line: usize, end: usize, stride: usize, along: &Range<usize>) -> [f32; N] {
        let mut numbers = [0.0; N];
        if line < end && !along.is_empty() {
            let from = &self.data[line * stride + along.start..][..along.len()];
            // Scaled in any case: of a mere copy of either length compilers make one call, which costs more than the product.
            match from.first_chunk::<N>() {
                Some(from) => {
                    for j in 0..N {
                        numbers[j] = from[j] * self.scale;
                    }
                }
                None => {
                    for (number, from) in numbers.iter_mut().zip(from) {
                        *number = from * self.scale;
                    }
                }
            }
        }
        numbers
    }
}
