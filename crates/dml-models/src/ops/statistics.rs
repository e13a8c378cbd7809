//! Mean and variance of each channel of a batch.

use super::slice;
use super::vector::{sum_over, widest};
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Mean and (biased) variance of each channel.
#[derive(Clone, Debug)]
pub struct ChannelStatistics {
    /// Mean of each channel, `[c]`.
    pub mean: Vec<f32>,
    /// Variance of each channel, divided by the count, `[c]`.
    pub variance: Vec<f32>,
}

impl ChannelStatistics {
    /// Statistics of `x` (`[n, c, h, w]` or `[n, c]`) over images and pixels.
    ///
    /// # Errors
    /// When `x` has another rank.
    pub fn of_batch(x: &Tensor) -> Result<Self> {
        let (n, c, hw) = planes(x)?;
        if !slice::fits(&[x]) {
            let rows = x.detach().reshape((n, c, hw))?.transpose(0, 1)?.flatten_from(1)?;
            let mean = rows.mean_keepdim(1)?;
            let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(1)?;
            return Ok(Self { mean: mean.squeeze(1)?.to_vec1()?, variance: variance.to_vec1()? });
        }
        slice::with(&x.contiguous()?, |x| {
            let count = (n * hw) as f64;
            let mean: Vec<f64> = channel_sums(x, c, hw, |_, v| v).into_iter().map(|sum| sum / count).collect();
            let shift: Vec<f32> = mean.iter().map(|&mean| mean as f32).collect();
            let squares = channel_sums(x, c, hw, |channel, v| (v - shift[channel]) * (v - shift[channel]));
            let variance = squares.into_iter().map(|sum| (sum / count) as f32).collect();
            Ok(Self { mean: shift, variance })
        })
    }
}

/// Images, channels and pixels of a plane.
pub(crate) fn planes(x: &Tensor) -> Result<(usize, usize, usize)> {
    match x.dims() {
        &[n, c] => Ok((n, c, 1)),
        _ => x.dims4().map(|(n, c, h, w)| (n, c, h * w)),
    }
}

/// Images of one partial sum of each channel: a fixed number, so that the order does not depend on threads.
const IMAGES: usize = 4;

/// `Σ f(channel, x)` over the planes of each channel of `x`, `[n, c, hw]`.
fn channel_sums(x: &[f32], c: usize, hw: usize, f: impl Fn(usize, f32) -> f32 + Sync) -> Vec<f64> {
    let partial = x.par_chunks((IMAGES * c * hw).max(1)).map(|images| {
        let mut sums = vec![0f64; c];
        widest(
            #[inline(always)]
            || {
                for image in images.chunks_exact(c * hw) {
                    if hw == 1 {
                        sums.iter_mut().zip(image).enumerate().for_each(|(i, (sum, &v))| *sum += f64::from(f(i, v)));
                        continue;
                    }
                    for (channel, (plane, sum)) in image.chunks_exact(hw).zip(&mut sums).enumerate() {
                        *sum += sum_over(hw, |i| f(channel, plane[i]));
                    }
                }
            },
        );
        sums
    });
    added(c, partial.collect())
}

/// The sum of partial sums, in their order.
pub(crate) fn added(c: usize, partial: Vec<Vec<f64>>) -> Vec<f64> {
    let mut total = vec![0f64; c];
    for part in partial {
        total.iter_mut().zip(part).for_each(|(a, b)| *a += b);
    }
    total
}
