//! A plane by even and odd rows and columns.

use super::maps::{join, split};
use super::{LANES, Tiles};
use crate::ops::patches::Geometry;
use crate::ops::vector::widest;
use std::ops::Range;

/// The pixels of a plane with its padding, by even and odd rows and columns: a tile's 16 inputs are then 16 neighbours of it. Rows
/// are `pitch` apart.
pub(super) struct Phases {
    pitch: usize,
    high: usize,
    pub(super) values: Vec<f32>,
    /// A line of padded pixels.
    line: Vec<f32>,
}

impl Phases {
    pub(super) fn new(tiles: Tiles) -> Self {
        let (pitch, high) = (tiles.wide + 1 + LANES, tiles.high + 1);
        Self { pitch, high, values: vec![0.0; 4 * pitch * high], line: vec![0.0; 2 * (tiles.wide + 1)] }
    }

    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        let phase = 2 * (row % 2) + column % 2;
        (phase * self.high + row / 2) * self.pitch + column / 2
    }

    /// The even and the odd columns of a padded row, with some more.
    #[inline(always)]
    pub(super) fn line_of(&self, row: usize) -> (&[f32], &[f32]) {
        (&self.values[self.at(row, 0)..][..self.pitch], &self.values[self.at(row, 1)..][..self.pitch])
    }

    /// The even and the odd columns of a padded row.
    #[inline(always)]
    fn rows(&mut self, row: usize) -> (&mut [f32], &mut [f32]) {
        let (even, odd, wide) = (self.at(row, 0), self.at(row, 1), self.pitch - LANES);
        let (first, second) = self.values.split_at_mut(odd);
        (&mut first[even..][..wide], &mut second[..wide])
    }

    /// The line, and what of it is the image's.
    fn line(&mut self, geometry: &Geometry) -> (Vec<f32>, Range<usize>) {
        let padding = geometry.window.padding;
        (std::mem::take(&mut self.line), padding..padding + geometry.w)
    }

    /// Takes the pixels that rows of tiles `rows` read.
    pub(super) fn fill(&mut self, geometry: &Geometry, plane: &[f32], rows: &Range<usize>) {
        let padding = geometry.window.padding;
        let (mut line, inside) = self.line(geometry);
        line.fill(0.0);
        widest(
            #[inline(always)]
            || {
                for row in 2 * rows.start..2 * rows.end + 2 {
                    let (even, odd) = self.rows(row);
                    match row.checked_sub(padding).filter(|&y| y < geometry.h) {
                        Some(y) => {
                            line[inside.clone()].copy_from_slice(&plane[y * geometry.w..][..geometry.w]);
                            split(&line, even, odd);
                        }
                        None => {
                            even.fill(0.0);
                            odd.fill(0.0);
                        }
                    }
                }
            },
        );
        self.line = line;
    }

    /// Adds the pixels that rows of tiles `rows` have written to the plane, and forgets them.
    pub(super) fn drain(&mut self, geometry: &Geometry, plane: &mut [f32], rows: &Range<usize>) {
        let padding = geometry.window.padding;
        let (mut line, inside) = self.line(geometry);
        widest(
            #[inline(always)]
            || {
                for row in 2 * rows.start..2 * rows.end + 2 {
                    let (even, odd) = self.rows(row);
                    if let Some(y) = row.checked_sub(padding).filter(|&y| y < geometry.h) {
                        join(even, odd, &mut line);
                        let to = &mut plane[y * geometry.w..][..geometry.w];
                        to.iter_mut().zip(&line[inside.clone()]).for_each(|(to, v)| *to += v);
                    }
                    even.fill(0.0);
                    odd.fill(0.0);
                }
            },
        );
        self.line = line;
    }
}
