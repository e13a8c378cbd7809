//! Queries against panels: products, and sums of powers of differences.

use super::WIDTH;
use pulp::{Simd, WithSimd};

/// `(Σ |a − b|^p)^{1/p}` of a query with the rows of some panels.
pub(super) fn differences(p: f64, query: &[f32], panels: &[f32], out: &mut [f32]) {
    let power = p as f32;
    crate::vector::widest(
        #[inline(always)]
        || {
            for (panel, out) in panels.chunks_exact(WIDTH * query.len()).zip(out.as_chunks_mut::<WIDTH>().0) {
                let mut sums = [0f32; WIDTH];
                for (&a, column) in query.iter().zip(panel.as_chunks::<WIDTH>().0) {
                    match p == 1.0 {
                        true => sums.iter_mut().zip(column).for_each(|(sum, &b)| *sum += (a - b).abs()),
                        false => sums.iter_mut().zip(column).for_each(|(sum, &b)| *sum += (a - b).abs().powf(power)),
                    }
                }
                *out = if p == 1.0 { sums } else { sums.map(|sum| sum.powf((1.0 / p) as f32)) };
            }
        },
    );
}

/// Products of queries (`[q, d]`) with the rows of panels, into `out`. Each is summed in the order of the values, each product and
/// sum rounded once, whatever the vectors of this machine.
pub(super) struct Multiply<'a> {
    pub(super) d: usize,
    pub(super) queries: &'a [f32],
    pub(super) panels: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
    /// Memory for queries side by side.
    pub(super) packed: &'a mut Vec<f32>,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A panel is `R` vectors wide; as many queries go together as have room in the registers.
        match S::F32_LANES {
            16 => self.run::<S, 2>(simd, 8),
            8 => self.run::<S, 4>(simd, 2),
            4 => self.run::<S, 8>(simd, 2),
            _ => self.run::<S, WIDTH>(simd, 1),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, simd: S, most: usize) {
        let Self { d, queries, panels, out, stride, packed } = self;
        if R * S::F32_LANES != WIDTH || d == 0 {
            return;
        }
        let count = queries.len() / d;
        packed.clear();
        for (q, size) in groups(count, most) {
            packed.extend((0..d).flat_map(|k| (q..q + size).map(move |q| queries[q * d + k])));
        }
        for (p, panel) in panels.chunks_exact(WIDTH * d).enumerate() {
            for (q, size) in groups(count, most) {
                let (asked, out) = (&packed[q * d..][..size * d], &mut out[q * stride + p * WIDTH..]);
                match size {
                    8 => together::<S, R, 8>(simd, asked, panel, out, stride),
                    4 => together::<S, R, 4>(simd, asked, panel, out, stride),
                    2 => together::<S, R, 2>(simd, asked, panel, out, stride),
                    _ => together::<S, R, 1>(simd, asked, panel, out, stride),
                }
            }
        }
    }
}

/// `0..count` in groups of `most`, and of halves of it at the end: where each begins, and its size.
#[inline(always)]
fn groups(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, mut size) = (0, most);
    std::iter::from_fn(move || {
        while size > count - at {
            size /= 2;
        }
        let group = (size > 0).then_some((at, size));
        at += size;
        group
    })
}

/// Products of `Q` queries side by side (`[d, Q]`) with a panel.
#[inline(always)]
fn together<S: Simd, const R: usize, const Q: usize>(
    simd: S,
    queries: &[f32],
    panel: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let mut sums = [[simd.splat_f32s(0.0); R]; Q];
    let columns = S::as_simd_f32s(panel).0.as_chunks::<R>().0;
    for (values, column) in queries.as_chunks::<Q>().0.iter().zip(columns) {
        for (sums, &value) in sums.iter_mut().zip(values) {
            let value = simd.splat_f32s(value);
            sums.iter_mut().zip(column).for_each(|(sum, &other)| *sum = simd.mul_add_f32s(value, other, *sum));
        }
    }
    for (q, sums) in sums.iter().enumerate() {
        let row = &mut out[q * stride..][..WIDTH];
        S::as_mut_simd_f32s(row).0.copy_from_slice(sums);
    }
}
