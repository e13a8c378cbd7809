//! Places of a vision transformer for pictures of another size than its weights were made with.
//!
//! As timm's `resample_abs_pos_embed` does: the places of patches are a picture `[rows, columns]` with a channel for each number of a
//! token, which is scaled by a cubic filter (a = −0.5, Keys 1981) that widens where the picture shrinks (`antialias`), pixel centres
//! at halves, as Pillow and PyTorch do; what stands before them (class, registers) stays. DINOv2's own `interpolate_pos_encoding`
//! takes a = −0.75 and does not widen, but in its networks with registers.

use crate::Result;
use crate::weights::Grid;
use candle_core::{DType, Tensor};

/// `places` `[1, n, d]` for `grid`; `None`: they are no square of patches after what stands before it.
///
/// # Errors
/// When a tensor cannot be made.
pub(super) fn resampled(places: &Tensor, grid: Grid) -> Result<Option<Tensor>> {
    let Ok((1, n, d)) = places.dims3() else { return Ok(None) };
    let Some(patches) = n.checked_sub(grid.before).filter(|&patches| patches > 0) else { return Ok(None) };
    let side = patches.isqrt();
    if side * side != patches {
        return Ok(None);
    }
    let places = places.to_dtype(DType::F32)?;
    let device = places.device();
    let along = |to: usize| Tensor::from_vec(shares(side, to), (to, side), device);
    let patches = places.narrow(1, grid.before, patches)?.contiguous()?;
    // Columns first: [side, side, d] by row, then rows.
    let columns = along(grid.columns)?.broadcast_left(side)?.contiguous()?;
    let narrow = columns.matmul(&patches.reshape((side, side, d))?)?;
    let whole = along(grid.rows)?.matmul(&narrow.reshape((side, grid.columns * d))?)?;
    let whole = whole.reshape((1, grid.rows * grid.columns, d))?;
    Ok(Some(Tensor::cat(&[places.narrow(1, 0, grid.before)?, whole], 1)?))
}

/// `[to, from]`: how much each of `from` pixels has in each of `to`.
fn shares(from: usize, to: usize) -> Vec<f32> {
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    let mut shares = Vec::with_capacity(from * to);
    for i in 0..to {
        let centre = scale * (i as f64 + 0.5);
        let row: Vec<f64> = (0..from).map(|j| cubic((j as f64 + 0.5 - centre) / wide)).collect();
        let total: f64 = row.iter().sum();
        shares.extend(row.iter().map(|share| (share / total) as f32));
    }
    shares
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const TOLD: &[(usize, &[f32])] = &[
        (3, &[2.353846, -0.202325, 1.853846]),
        (7, &[0.825243, 3.077562, 2.693877, -2.0, -0.462099, 1.767313, 3.145631]),
    ];

    /// `F.interpolate(x, 3, mode="bicubic", antialias=True)` and `F.interpolate(x, 7, …)` of five numbers in one dimension.
    #[test]
    fn shares_are_those_of_pytorch() {
        let x = [1.0f32, 4.0, -2.0, 0.5, 3.0];
        let scaled = |to: usize| -> Vec<f32> {
            shares(5, to).chunks_exact(5).map(|row| row.iter().zip(&x).map(|(s, x)| s * x).sum()).collect()
        };
        for (to, told) in TOLD {
            for (found, told) in scaled(*to).iter().zip(*told) {
                assert!((found - told).abs() < 2e-6, "{to}: {found} and {told}");
            }
        }
    }

    #[test]
    fn what_is_no_square_stays_out_and_what_stands_before_stays() {
        let places = Tensor::arange(0f32, 20.0, &Device::Cpu).unwrap().reshape((1, 5, 4)).unwrap();
        let grid = Grid { before: 1, rows: 3, columns: 2 };
        let found = resampled(&places, grid).unwrap().unwrap();
        assert_eq!(found.dims(), [1, 7, 4]);
        assert_eq!(found.to_vec3::<f32>().unwrap()[0][0], [0.0, 1.0, 2.0, 3.0]);
        for before in [0, 2, 5, 6] {
            assert!(resampled(&places, Grid { before, ..grid }).unwrap().is_none(), "{before}");
        }
        assert!(resampled(&places.squeeze(0).unwrap(), grid).unwrap().is_none());
    }
}
