//! The maps of kernels, of the same tap of neighbouring channels at a time.

use super::maps::{Lanes, both, g, g_t};
use super::{LANES, VALUES};
use crate::ops::patches::Geometry;
use crate::ops::slice::in_chunks;
use crate::ops::vector::widest;

/// Numbers of a kernel.
const TAPS: usize = 9;

/// `G·g·Gᵀ` of every kernel: `[c_out, 16, c_in]`.
pub(super) fn transformed(geometry: &Geometry, weight: &[f32]) -> Vec<f32> {
    let c_in = geometry.c_in;
    let (input, output) = (TAPS * c_in, VALUES * c_in);
    in_chunks(
        geometry.c_out * output,
        output,
        || (),
        |(), start, u| {
            let weight = &weight[start / output * input..][..input];
            widest(
                #[inline(always)]
                || {
                    for channel in starts(c_in) {
                        let weight = &weight[TAPS * channel..][..TAPS * LANES];
                        let mut taps = [[Lanes::default(); 3]; 3];
                        for (tap, lanes) in taps.as_flattened_mut().iter_mut().enumerate() {
                            *lanes = Lanes::strided(&weight[tap..], TAPS);
                        }
                        for (value, lanes) in both(taps, g).as_flattened().iter().enumerate() {
                            lanes.to(&mut u[value * c_in + channel..]);
                        }
                    }
                },
            );
        },
    )
}

/// `Gᵀ·dU·G` of every kernel, from `[16, c_out, c_in]`.
pub(super) fn slopes(geometry: &Geometry, du: &[f32]) -> Vec<f32> {
    let (c_in, c_out) = (geometry.c_in, geometry.c_out);
    in_chunks(
        c_out * c_in * TAPS,
        c_in * TAPS,
        || (),
        |(), start, dw| {
            let out = start / (c_in * TAPS);
            widest(
                #[inline(always)]
                || {
                    for channel in starts(c_in) {
                        let mut values = [[Lanes::default(); 4]; 4];
                        for (value, lanes) in values.as_flattened_mut().iter_mut().enumerate() {
                            *lanes = Lanes::of(&du[(value * c_out + out) * c_in + channel..]);
                        }
                        let dw = &mut dw[TAPS * channel..][..TAPS * LANES];
                        for (tap, lanes) in both(values, g_t).as_flattened().iter().enumerate() {
                            lanes.to_strided(&mut dw[tap..], TAPS);
                        }
                    }
                },
            );
        },
    )
}

/// Where vectors of channels begin. The last may do some of the one before it again; there are as many as a vector has, see
/// [`suits`](super::suits).
#[inline(always)]
fn starts(c_in: usize) -> impl Iterator<Item = usize> {
    (0..c_in).step_by(LANES).map(move |channel| channel.min(c_in - LANES))
}
