//! The detection error trade-off: FNMR against FAR on probit axes, where normal scores give a straight line.
//!
//! Martin et al., *The DET curve in assessment of detection task performance*, 1997.

use super::{Curve, OperatingPoint};
use serde::{Deserialize, Serialize};

/// Error rates at which a DET plot's axes are marked.
pub const PROBIT_TICKS: [f64; 12] = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];

/// A point of the DET curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetPoint {
    /// Share of impostor pairs that pass.
    pub far: f64,
    /// Share of genuine pairs that do not pass.
    pub fnmr: f64,
    /// Where `far` lies on a probit axis.
    pub x: f64,
    /// Where `fnmr` lies on a probit axis.
    pub y: f64,
    /// The threshold, as the metric reports scores.
    pub threshold: f32,
}

impl DetPoint {
    /// The point's place on probit axes; None where one of the rates is 0 or 1, which lies at infinity.
    pub fn of(point: &OperatingPoint) -> Option<Self> {
        let (far, fnmr) = (point.far, 1.0 - point.tar);
        let inner = |rate: f64| rate > 0.0 && rate < 1.0;
        let (x, y) = (probit(far), probit(fnmr));
        (inner(far) && inner(fnmr)).then_some(Self { far, fnmr, x, y, threshold: point.threshold })
    }
}

impl Curve {
    /// At most `points` points of the DET curve; those with a rate of 0 or 1 are left out. Empty where the two kinds of pairs
    /// are apart.
    pub fn det(&self, points: usize) -> Vec<DetPoint> {
        self.roc_thinned(points).iter().filter_map(DetPoint::of).collect()
    }
}

/// The quantile Φ⁻¹(p) of the standard normal distribution: −∞ at 0, ∞ at 1, NaN outside. Relative error about 1e-16.
///
/// Wichura, *Algorithm AS 241: The percentage points of the normal distribution*, 1988 (PPND16).
pub fn probit(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE.0, r) / polynomial(&CENTRE.1, r);
    }
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let tail = match r {
        f64::INFINITY => r,
        r if r <= 5.0 => polynomial(&TAIL.0, r - 1.6) / polynomial(&TAIL.1, r - 1.6),
        r => polynomial(&FAR_TAIL.0, r - 5.0) / polynomial(&FAR_TAIL.1, r - 5.0),
    };
    tail.copysign(q)
}

/// By Horner's rule, lowest power first.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Numerator and denominator, lowest power first.
type Quotient = ([f64; 8], [f64; 8]);

#[rustfmt::skip]
const CENTRE: Quotient = (
    [
        3.387_132_872_796_366_6, 133.141_667_891_784_38, 1_971.590_950_306_551_3, 13_731.693_765_509_46,
        45_921.953_931_549_87, 67_265.770_927_008_7, 33_430.575_583_588_13, 2_509.080_928_730_122_7,
    ],
    [
        1.0, 42.313_330_701_600_91, 687.187_007_492_057_9, 5_394.196_021_424_751,
        21_213.794_301_586_597, 39_307.895_800_092_71, 28_729.085_735_721_943, 5_226.495_278_852_545,
    ],
);

#[rustfmt::skip]
const TAIL: Quotient = (
    [
        1.423_437_110_749_683_5, 4.630_337_846_156_546, 5.769_497_221_460_691, 3.647_848_324_763_204_5,
        1.270_458_252_452_368_4, 0.241_780_725_177_450_6, 0.022_723_844_989_269_184, 7.745_450_142_783_414e-4,
    ],
    [
        1.0, 2.053_191_626_637_759, 1.676_384_830_183_803_8, 0.689_767_334_985_1,
        0.148_103_976_427_480_08, 0.015_198_666_563_616_457, 5.475_938_084_995_345e-4, 1.050_750_071_644_416_9e-9,
    ],
);

#[rustfmt::skip]
const FAR_TAIL: Quotient = (
    [
        6.657_904_643_501_103, 5.463_784_911_164_114, 1.784_826_539_917_291_3, 0.296_560_571_828_504_87,
        0.026_532_189_526_576_124, 0.001_242_660_947_388_078_4, 2.711_555_568_743_487_6e-5, 2.010_334_399_292_288_1e-7,
    ],
    [
        1.0, 0.599_832_206_555_888, 0.136_929_880_922_735_8, 0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4, 1.846_318_317_510_054_8e-5, 1.421_511_758_316_446e-7, 2.044_263_103_389_939_8e-15,
    ],
);
