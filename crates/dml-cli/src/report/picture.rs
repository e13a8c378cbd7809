//! A picture of retrieval: queries and what lies nearest to them.

use super::plan::{Job, Plan};
use crate::train::reopen;
use anyhow::{Context, Result};
use candle_core::Device;
use dml_core::{Exclude, nearest};
use dml_data::{Dataset, ImageSet};
use dml_train::checkpoint::write_atomically;
use dml_train::embedding;
use std::io::Cursor;
use std::path::Path;

const NEIGHBOURS: usize = 4;
const QUERIES: usize = 20;
/// Queries side by side.
const BLOCKS: usize = 2;
/// An image is enlarged this many times.
const ZOOM: usize = 2;
const FRAME: usize = 3;
const GAP: usize = 6;
const GREEN: [u8; 3] = [26, 152, 80];
const RED: [u8; 3] = [215, 48, 39];
const GREY: [u8; 3] = [128, 128, 128];

/// The trained run with images to show that did best on validation classes.
pub(super) fn best_run(plan: &Plan) -> Option<&Job> {
    let quality = |job: &Job| job.evaluation().ok()?.validation.map(|v| v.retrieval.map_at_r);
    let trained = plan.jobs.iter().filter(|job| job.dir.join("encoder.safetensors").exists());
    let emoji = trained.filter(|job| job.suite == "emoji");
    emoji.filter_map(|job| Some((quality(job)?, job))).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, job)| job)
}

/// Draws evenly spaced test queries of a run, each with its nearest neighbours.
pub(super) fn draw(run: &Path, out: &Path) -> Result<()> {
    let (recipe, sets, trainer) = reopen(run, None, &Device::Cpu)?;
    let test = sets.images[1].as_deref().context("the run has no test images in memory to draw")?;
    let inputs = sets.test.as_deref().context("the run has no test images to draw")?;
    let embeddings = embedding::embed(trainer.encoder(), inputs, &Device::Cpu)?;
    let queries: Vec<usize> = (0..QUERIES).map(|i| (2 * i + 1) * test.len() / (2 * QUERIES)).collect();
    let (matrix, metric) = (embeddings.matrix()?, recipe.metric()?);
    let found = nearest(metric, matrix, matrix, NEIGHBOURS, Exclude::SelfIndex)?;
    let mut canvas = Canvas::new(test);
    for (i, &query) in queries.iter().enumerate() {
        let (block, line) = (i % BLOCKS, i / BLOCKS);
        let first = block * (NEIGHBOURS + 2);
        canvas.place(first, line, test, query, GREY);
        for (rank, neighbour) in found.ids_of(query).iter().enumerate() {
            let neighbour = *neighbour as usize;
            let same = test.labels()[neighbour] == test.labels()[query];
            canvas.place(first + 1 + rank, line, test, neighbour, if same { GREEN } else { RED });
        }
    }
    canvas.save(out)
}

struct Canvas {
    width: usize,
    height: usize,
    cell: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(set: &ImageSet) -> Self {
        let cell = set.shape()[1] * ZOOM + 2 * FRAME + GAP;
        let (width, height) = (cell * (BLOCKS * (NEIGHBOURS + 2) - 1) + GAP, cell * (QUERIES / BLOCKS) + GAP);
        Self { width, height, cell, pixels: vec![255; width * height * 3] }
    }

    fn place(&mut self, column: usize, line: usize, set: &ImageSet, index: usize, colour: [u8; 3]) {
        let [channels, side, _] = set.shape();
        let image = set.pixels(index);
        let outer = side * ZOOM + 2 * FRAME;
        for y in 0..outer {
            for x in 0..outer {
                let framed = |v: usize| v < FRAME || v >= outer - FRAME;
                let colour = if framed(x) || framed(y) {
                    colour
                } else {
                    let at = ((y - FRAME) / ZOOM * side + (x - FRAME) / ZOOM) * channels;
                    [image[at], image[at + channels / 2], image[at + channels - 1]]
                };
                let at = ((line * self.cell + GAP + y) * self.width + column * self.cell + GAP + x) * 3;
                self.pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    fn save(self, out: &Path) -> Result<()> {
        let image =
            image::RgbImage::from_raw(self.width as u32, self.height as u32, self.pixels).context("no canvas")?;
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png)?;
        Ok(write_atomically(out, png.get_ref())?)
    }
}
