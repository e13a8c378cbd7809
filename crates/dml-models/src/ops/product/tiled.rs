//! Products of `f32` matrices on a matrix unit that multiplies bf16.
//!
//! A number of `f32` has 24 bits, a bf16 8: each is exactly the sum of three, and the product of two numbers is that of their parts
//! (Henry, Tang & Heinecke, *Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations*, 2019). Six
//! products of bf16 in the place of one of `f32` are still faster, and the result is as near to the exact one.
//!
//! The order in which an element is added up depends on the depth alone: neither on threads nor on the other rows and columns.

use super::Product;
use super::amx::{DEPTH, SIDE, Tile, Unit};
use super::parts::Operand;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

/// Sides of a block that is computed at once: two panels.
const BLOCK: usize = 2 * SIDE;
/// Depth that is added up before results are written.
const DEEP: usize = 512;
/// Columns of the right matrix that are packed at a time, at most: tiles of some megabytes.
const WIDE: usize = 2048;
/// Rows of the left matrix that are packed at a time: they stay in the cache of a core.
const HIGH: usize = 128;

/// Sides that outweigh the packing, as measured: what is packed is used that often.
const WORTH: usize = 384;
/// The same where one bf16 stands for a number: a few blocks.
const WORTH_ALONE: usize = 64;
/// Panels that one thread packs at a time.
const PANELS_AT_ONCE: usize = 4;

/// Whether a product of these sides, of numbers of so many parts, is large enough to gain by it.
pub(super) fn suits(sides: [usize; 3], parts: usize) -> bool {
    let worth = if parts == 1 { WORTH_ALONE } else { WORTH };
    sides.into_iter().all(|side| side >= worth)
}

/// Tiles that a thread keeps for its next product.
type Room = Cell<Vec<Tile>>;

thread_local! {
    static OF_LEFT: Room = const { Cell::new(Vec::new()) };
    static OF_RIGHT: Room = const { Cell::new(Vec::new()) };
}

/// Runs `f` with `count` tiles of the thread. While it waits for others the thread may come here again, and gets new ones.
fn with_tiles<T>(room: &'static LocalKey<Room>, count: usize, f: impl FnOnce(&mut [Tile]) -> T) -> T {
    let mut tiles = room.take();
    if tiles.len() < count {
        tiles.resize(count, Tile::ZERO);
    }
    let result = f(&mut tiles[..count]);
    room.set(tiles);
    result
}

/// Where results go.
#[derive(Clone, Copy)]
struct Out {
    first: *mut f32,
    stride: usize,
}

// SAFETY: threads write different blocks, see `Part::all_rows`.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// The product by all threads.
///
/// # Safety
/// As for [`Product::write`].
pub(super) unsafe fn multiply(unit: Unit, product: &Product, left: Operand<'_>, right: Operand<'_>, out: *mut f32) {
    let [_, n, k] = product.sides;
    let out = Out { first: out, stride: product.stride };
    for first in (0..n).step_by(WIDE) {
        let columns = first..(first + WIDE).min(n);
        for from in (0..k).step_by(DEEP) {
            let depths = from..(from + DEEP).min(k);
            let part = Part { unit, left, depths, add: product.accumulate || from > 0, out };
            let panel = part.panel();
            with_tiles(&OF_RIGHT, panels(columns.len()) * panel, |tiles| {
                let pack = |(i, tiles): (usize, &mut [Tile])| {
                    right.pack(columns.start + i * PANELS_AT_ONCE * SIDE, part.depths.clone(), tiles);
                };
                tiles.par_chunks_mut(PANELS_AT_ONCE * panel).enumerate().for_each(pack);
                part.all_rows(columns.clone(), tiles);
            });
        }
    }
}

/// The panels of the block that begins at the row or column `at`.
#[inline(always)]
fn two(tiles: &[Tile], at: usize, panel: usize) -> [&[Tile]; 2] {
    let (first, second) = tiles[at / SIDE * panel..][..2 * panel].split_at(panel);
    [first, second]
}

/// Panels of whole blocks that hold `sides` rows or columns.
fn panels(sides: usize) -> usize {
    sides.div_ceil(BLOCK) * 2
}

/// A part of a product: some depths of it.
struct Part<'a> {
    unit: Unit,
    left: Operand<'a>,
    depths: Range<usize>,
    add: bool,
    out: Out,
}

impl Part<'_> {
    /// Tiles of a panel.
    fn panel(&self) -> usize {
        self.depths.len().div_ceil(DEPTH) * self.left.parts()
    }

    /// All rows of some columns, by all threads. `right` holds the columns' panels.
    fn all_rows(&self, columns: Range<usize>, right: &[Tile]) {
        // Some tasks for each thread, of rows as long as there are enough.
        let (sides, wanted) = (self.left.sides(), 4 * rayon::current_num_threads());
        let high = sides.div_ceil(wanted).next_multiple_of(BLOCK).min(HIGH);
        let tasks = sides.div_ceil(high);
        let wide = columns.len().div_ceil(wanted.div_ceil(tasks)).next_multiple_of(4 * BLOCK);
        let across = columns.len().div_ceil(wide);
        (0..tasks * across).into_par_iter().for_each(|task| {
            let (row, column) = (task / across * high, task % across * wide);
            let rows = row..(row + high).min(sides);
            let right = &right[column / SIDE * self.panel()..];
            let columns = columns.start + column..(columns.start + column + wide).min(columns.end);
            // SAFETY: rows and columns are there, and those of different tasks differ.
            unsafe { self.rows(rows, columns, right) }
        });
    }

    /// Some rows of some columns, by this thread.
    ///
    /// # Safety
    /// They must be there in `out`, for no other thread to write meanwhile.
    unsafe fn rows(&self, rows: Range<usize>, columns: Range<usize>, right: &[Tile]) {
        with_tiles(&OF_LEFT, panels(rows.len()) * self.panel(), |left| {
            self.left.pack(rows.start, self.depths.clone(), left);
            // SAFETY: as the caller says.
            unsafe { self.blocks(rows, columns, left, right) };
        });
    }

    /// # Safety
    /// As for [`Self::rows`].
    unsafe fn blocks(&self, rows: Range<usize>, columns: Range<usize>, left: &[Tile], right: &[Tile]) {
        let ready = self.unit.ready();
        let panel = self.panel();
        for column in (0..columns.len()).step_by(BLOCK) {
            for row in (0..rows.len()).step_by(BLOCK) {
                let (left, right) = (two(left, row, panel), two(right, column, panel));
                let (high, wide) = ((rows.len() - row).min(BLOCK), (columns.len() - column).min(BLOCK));
                let at = (rows.start + row) * self.out.stride + columns.start + column;
                // SAFETY: the block's rows and columns are there, as the caller says; one that is not whole goes through memory that is.
                unsafe {
                    let out = self.out.first.add(at);
                    if high == BLOCK && wide == BLOCK {
                        ready.multiply(left, right, self.left.parts(), out, self.out.stride, self.add);
                    } else {
                        let mut whole = [0f32; BLOCK * BLOCK];
                        let line = |i: usize| out.add(i * self.out.stride);
                        if self.add {
                            for i in 0..high {
                                line(i).copy_to_nonoverlapping(whole[i * BLOCK..].as_mut_ptr(), wide);
                            }
                        }
                        ready.multiply(left, right, self.left.parts(), whole.as_mut_ptr(), BLOCK, self.add);
                        for i in 0..high {
                            line(i).copy_from_nonoverlapping(whole[i * BLOCK..].as_ptr(), wide);
                        }
                    }
                }
            }
        }
    }
}
