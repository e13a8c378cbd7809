//! How many directions the embeddings use.
//!
//! Two spectra: the singular values `σ₁ ≥ … ≥ σ_m` of the matrix `[n, d]` as it is, m = min(n, d), and the eigenvalues
//! `λ₁ ≥ … ≥ λ_d` of the covariance, which does not see the mean. Both come from `[d, d]` moments in `f64`.
//!
//! * ρ-spectrum `KL(U ‖ s)`, `s_k = σ_k/Σσ`, U uniform over the m values. Roth et al., 2020, §5; their `rho_spectrum@1`, which
//!   drops no value (`@k+1` drops the k largest: [`SpectrumOptions::skip`]). Smaller: more equal directions.
//! * `KL(s ‖ U)`, their `rho_spectrum@-1`, which is finite where the other is not.
//! * Effective rank `exp(−Σ s_k ln s_k)`. Roy & Vetterli, *The Effective Rank*, 2007.
//! * RankMe: the same of `s_k + 1e-7`. Garrido et al., *RankMe*, 2023, eq. 1.
//! * PCF, principal component fraction: the least number of components whose share of the variance is a threshold or more,
//!   over d. (OML counts until the share is *above* it, so that its PCF at 1 can be one component more than there are.)
//! * Participation ratio `(Σλ)² / Σλ²`.

use crate::covariance::{covariance, eigenvalues, mean, moments};
use crate::finite::check_rows;
use crate::{Error, Result};
use dml_core::Matrix;
use serde::{Deserialize, Serialize};

/// What is asked of a spectrum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpectrumOptions {
    /// Shares of the variance, above 0 and at most 1, that the principal component fraction is reported for.
    pub variance: Vec<f64>,
    /// Largest singular values that the ρ-spectrum leaves out.
    pub skip: usize,
}

/// Shares 0.5, 0.9, 0.95, 0.99; nothing is left out.
impl Default for SpectrumOptions {
    fn default() -> Self {
        Self { variance: vec![0.5, 0.9, 0.95, 0.99], skip: 0 }
    }
}

/// Components that hold a share of the variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentFraction {
    /// Share of the variance asked for.
    pub variance: f64,
    /// Least number of principal components with that share or more; 0 where nothing varies.
    pub components: usize,
    /// PCF: `components / d`.
    pub fraction: f64,
}

/// What of the space is not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collapse {
    /// Columns that are (nearly) constant: their variance is at most 1e-12 of the mean square of all numbers.
    pub dead_dimensions: usize,
    /// Eigenvalues of the covariance above `λ₁ · (min(n, d)·ε)²`, ε = 1.2e-7 of `f32`: its rank.
    pub rank: usize,
    /// The rank is below what n rows in d dimensions can have, min(n − 1, d): dimensional collapse (Jing et al., 2022).
    pub dimensional: bool,
    /// All rows are the same, but for rounding: every column is dead.
    pub complete: bool,
}

/// Spectrum of a set of embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// n.
    pub rows: usize,
    /// d.
    pub dimensions: usize,
    /// σ, largest first, `[min(n, d)]`.
    pub singular_values: Vec<f64>,
    /// λ, largest first, `[d]`, divisor n − 1.
    pub variances: Vec<f64>,
    /// Largest singular values that the ρ-spectrum leaves out.
    pub skipped: usize,
    /// `KL(U ‖ s)`; none where it is infinite, because a singular value is 0 (`σ_k ≤ σ₁·min(n, d)·ε`).
    pub rho_spectrum: Option<f64>,
    /// `KL(s ‖ U)`; none where all values are 0.
    pub rho_spectrum_reversed: Option<f64>,
    /// Effective rank of the singular values; 0 where all are 0.
    pub effective_rank: f64,
    /// RankMe.
    pub rank_me: f64,
    /// Effective rank of the centred rows, from `√λ`; 0 where nothing varies.
    pub effective_rank_centred: f64,
    /// Participation ratio of λ; 0 where nothing varies.
    pub participation_ratio: f64,
    /// Principal component fractions.
    pub pcf: Vec<ComponentFraction>,
    /// What is not used.
    pub collapse: Collapse,
}

/// Spectrum of `embeddings` (`[n, d]`), as they are: normalise them before if search does.
///
/// # Errors
/// When there are fewer than two rows, a value is not finite, a share of the variance is not above 0 and at most 1, or the
/// ρ-spectrum would leave out all values.
pub fn spectrum(embeddings: Matrix<'_>, options: &SpectrumOptions) -> Result<Spectrum> {
    check_rows("spectrum", embeddings, 2)?;
    let (n, d) = (embeddings.rows(), embeddings.cols());
    let m = n.min(d);
    if let Some(share) = options.variance.iter().find(|&&v| !(v > 0.0 && v <= 1.0)) {
        return Err(Error::Input(format!("components for {share} of the variance: want more than 0 and at most 1")));
    }
    if options.skip >= m {
        let skip = options.skip;
        return Err(Error::Input(format!("the spectrum has {m} values and {skip} of them are left out: lower skip")));
    }
    let raw = moments(n, d, |i, row| {
        row.iter_mut().zip(embeddings.row(i)).for_each(|(to, &v)| *to = f64::from(v));
    });
    let mean_square = (0..d).map(|i| raw[i * d + i]).sum::<f64>() / (n * d) as f64;
    let mut singular_values: Vec<f64> = eigenvalues(&raw, d)?.iter().map(|v| v.max(0.0).sqrt()).collect();
    singular_values.truncate(m);
    let spread = covariance(embeddings, &mean(embeddings));
    let dead_dimensions = (0..d).filter(|i| spread[i * d + i] <= 1e-12 * mean_square).count();
    let variances: Vec<f64> = eigenvalues(&spread, d)?.iter().map(|v| v.max(0.0)).collect();
    // Below, a value is the rounding of f32 numbers.
    let smallest = m as f64 * f64::from(f32::EPSILON);
    let complete = dead_dimensions == d;
    let rank = variances.iter().filter(|&&v| !complete && v > variances[0] * smallest * smallest).count();
    let kept = &singular_values[options.skip..];
    let total: f64 = kept.iter().sum();
    let full = kept.iter().all(|&v| v > singular_values[0] * smallest);
    let count = kept.len() as f64;
    let roots: Vec<f64> = if complete { Vec::new() } else { variances.iter().map(|v| v.sqrt()).collect() };
    let squares: f64 = variances.iter().map(|v| v * v).sum();
    let variance: f64 = variances.iter().sum();
    Ok(Spectrum {
        rows: n,
        dimensions: d,
        skipped: options.skip,
        rho_spectrum: full.then(|| kept.iter().map(|v| (total / (count * v)).ln()).sum::<f64>() / count),
        rho_spectrum_reversed: (total > 0.0).then(|| (count.ln() - entropy(kept, 0.0)).max(0.0)),
        effective_rank: effective_rank(&singular_values, 0.0),
        rank_me: effective_rank(&singular_values, 1e-7),
        effective_rank_centred: effective_rank(&roots, 0.0),
        participation_ratio: if complete { 0.0 } else { variance * variance / squares },
        pcf: options.variance.iter().map(|&share| component_fraction(&variances, share, complete)).collect(),
        collapse: Collapse { dead_dimensions, rank, dimensional: rank < (n - 1).min(d), complete },
        singular_values,
        variances,
    })
}

/// `−Σ p ln p` of `p = v/Σv + ε`.
fn entropy(values: &[f64], epsilon: f64) -> f64 {
    let total: f64 = values.iter().sum();
    let shares = values.iter().map(|v| v / total + epsilon).filter(|&p| p > 0.0);
    -shares.map(|p| p * p.ln()).sum::<f64>()
}

fn effective_rank(values: &[f64], epsilon: f64) -> f64 {
    if values.iter().sum::<f64>() > 0.0 { entropy(values, epsilon).exp() } else { 0.0 }
}

fn component_fraction(variances: &[f64], share: f64, complete: bool) -> ComponentFraction {
    // A share is reached but for the rounding of the sum.
    let wanted = share * variances.iter().sum::<f64>() * (1.0 - 1e-12);
    let mut sum = 0.0;
    let reached = variances.iter().position(|v| {
        sum += v;
        sum >= wanted
    });
    let components = if complete { 0 } else { reached.map_or(variances.len(), |at| at + 1) };
    ComponentFraction { variance: share, components, fraction: components as f64 / variances.len() as f64 }
}
