//! Convolutions of few places, such as the last of a network, or most of a single image: the patches of all images are one matrix, and
//! all threads share its products. What [`conv2d`](super::conv2d) gives a thread each would be all of the work, and the maps of
//! kernels that [`winograd`](super::winograd) wants more than it saves.

use super::patches::{Geometry, Window};
use super::product::{Product, View};
use super::slice::{self, at_least};
use rayon::prelude::*;

/// Places of all images, at most.
const FEW: usize = 1536;
/// Numbers of a patch, at least: shorter products are not worth several threads.
const LONG: usize = 128;
/// Numbers of a patch matrix, about.
const MATRIX: usize = 1 << 22;

/// Whether a convolution is one of these.
pub(super) fn suits(g: &Geometry) -> bool {
    g.window.groups == 1 && g.n * g.places() <= FEW && g.patch() >= LONG
}

/// Images of a patch matrix, by the shape alone.
fn images_at_once(g: &Geometry) -> usize {
    (MATRIX / (g.patch() * g.places())).clamp(1, g.n)
}

/// `[b, a, run]` from `[a, b, run]`.
fn exchange(from: &[f32], [a, b, run]: [usize; 3], to: &mut [f32]) {
    to.par_chunks_mut(a * run).enumerate().for_each(|(j, to)| {
        for (i, to) in to.chunks_exact_mut(run).enumerate() {
            to.copy_from_slice(&from[(i * b + j) * run..][..run]);
        }
    });
}

/// Room for the matrices of some images.
#[derive(Default)]
struct Scratch {
    /// `[c_in, images, pixels]`.
    planes: Vec<f32>,
    /// `[patch, images · places]`.
    patches: Vec<f32>,
    /// `[c_out, images · places]`.
    outputs: Vec<f32>,
}

/// Some images that are convolved together.
struct Together<'a> {
    g: &'a Geometry,
    images: usize,
}

impl Together<'_> {
    fn columns(&self) -> usize {
        self.images * self.g.places()
    }

    /// A channel's part of the patch matrix.
    fn patches_of_channel(&self) -> usize {
        self.g.kh * self.g.kw * self.columns()
    }

    /// The same convolution of one channel.
    fn of_channel(&self) -> Geometry {
        let window = Window { groups: 1, ..self.g.window };
        Geometry { n: self.images, c_in: 1, c_out: 1, window, ..*self.g }
    }

    fn gather<'a>(&self, x: &[f32], scratch: (&mut Vec<f32>, &'a mut Vec<f32>)) -> &'a [f32] {
        let (g, one, pixels) = (self.g, self.of_channel(), self.images * self.g.pixels());
        let planes = at_least(scratch.0, g.c_in * pixels);
        exchange(x, [self.images, g.c_in, g.pixels()], planes);
        let patches = at_least(scratch.1, g.c_in * self.patches_of_channel());
        patches.par_chunks_mut(self.patches_of_channel()).zip(planes.par_chunks(pixels)).for_each(
            |(patches, planes)| {
                one.gather(planes, self.images, 0..g.oh, patches);
            },
        );
        patches
    }

    fn fold(&self, patches: &[f32], planes: &mut Vec<f32>, dx: &mut [f32]) {
        let (g, one, pixels) = (self.g, self.of_channel(), self.images * self.g.pixels());
        let planes = at_least(planes, g.c_in * pixels);
        planes.par_chunks_mut(pixels).zip(patches.par_chunks(self.patches_of_channel())).for_each(
            |(planes, patches)| {
                planes.fill(0.0);
                one.fold(patches, self.images, 0..g.oh, planes);
            },
        );
        exchange(planes, [g.c_in, self.images, g.pixels()], dx);
    }
}

pub(super) fn forward(g: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (input, output, each) = (g.c_in * g.pixels(), g.c_out * g.places(), images_at_once(g));
    let mut y = slice::zeros(g.n * output);
    let mut scratch = Scratch::default();
    for (x, y) in x.chunks(each * input).zip(y.chunks_mut(each * output)) {
        let together = Together { g, images: x.len() / input };
        let columns = together.columns();
        let patches = together.gather(x, (&mut scratch.planes, &mut scratch.patches));
        let outputs = at_least(&mut scratch.outputs, g.c_out * columns);
        let product = Product::new(g.c_out, columns, g.patch()).by_all();
        product.into(View::rows(weight, g.patch()), View::rows(patches, columns), outputs);
        exchange(outputs, [g.c_out, together.images, g.places()], y);
    }
    y
}

/// Gradients of input and weight, as far as they are wanted.
pub(super) fn backward(g: &Geometry, x: &[f32], weight: &[f32], dy: &[f32], want: [bool; 2]) -> [Vec<f32>; 2] {
    let (input, output, each) = (g.c_in * g.pixels(), g.c_out * g.places(), images_at_once(g));
    let [mut dx, mut dw] =
        [want[0].then_some(x.len()), want[1].then_some(weight.len())].map(|n| slice::zeros(n.unwrap_or(0)));
    let mut scratch = Scratch::default();
    for (i, (x, dy)) in x.chunks(each * input).zip(dy.chunks(each * output)).enumerate() {
        let together = Together { g, images: x.len() / input };
        let columns = together.columns();
        let outputs = at_least(&mut scratch.outputs, g.c_out * columns);
        exchange(dy, [together.images, g.c_out, g.places()], outputs);
        let d = View::rows(outputs, columns);
        if want[1] {
            let patches = together.gather(x, (&mut scratch.planes, &mut scratch.patches));
            let product = Product::new(g.c_out, g.patch(), columns).by_all().added();
            product.into(d, View::rows(patches, columns).transposed(), &mut dw);
        }
        if want[0] {
            let patches = at_least(&mut scratch.patches, g.patch() * columns);
            let product = Product::new(g.patch(), columns, g.c_out).by_all();
            product.into(View::rows(weight, g.patch()).transposed(), d, patches);
            together.fold(patches, &mut scratch.planes, &mut dx[i * each * input..][..x.len()]);
        }
    }
    [dx, dw]
}
