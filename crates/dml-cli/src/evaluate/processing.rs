//! What is done to embeddings or rankings before they are measured once more.

use anyhow::{Context, Result, bail};
use clap::Args;
use dml_core::Metric;
use dml_eval::assessment::PostProcess;
use dml_eval::postprocess::{Expansion, KReciprocal, NeighbourWeights, WhiteningOptions};

#[derive(Args)]
pub(super) struct Processing {
    /// Retrieval once more with k-reciprocal re-ranking, e.g. k1=20,k2=6,lambda=0.3 (each may be left out); up to 10,000 rows
    #[arg(long, value_name = "KEY=VALUE,…", num_args = 0..=1, default_missing_value = "")]
    rerank: Option<String>,
    /// Retrieval once more with queries expanded by so many neighbours (10 where no number is given), weighed by cos³ for cosine
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10")]
    expand_queries: Option<usize>,
    /// Retrieval once more after PCA whitening fitted on the validation classes, with so much shrinkage, 0 to 1 (0 where no number is given)
    #[arg(long, value_name = "SHRINKAGE", num_args = 0..=1, default_missing_value = "0")]
    whiten: Option<f64>,
}

impl Processing {
    /// All that is asked for, each of its own on the embeddings as they are.
    pub(super) fn all(&self, metric: Metric, validated: bool) -> Result<Vec<PostProcess>> {
        let mut all = Vec::new();
        if let Some(keys) = &self.rerank {
            all.push(PostProcess::KReciprocal(k_reciprocal(keys)?));
        }
        if let Some(neighbours) = self.expand_queries {
            let weights =
                if metric == Metric::Cosine { NeighbourWeights::Power(3.0) } else { NeighbourWeights::Average };
            all.push(PostProcess::Expansion(Expansion { neighbours, weights }));
        }
        if let Some(shrinkage) = self.whiten {
            if !validated {
                bail!(
                    "--whiten is fitted on other rows than are measured: give --validation or --validation-embeddings"
                );
            }
            all.push(PostProcess::Whitening(WhiteningOptions { shrinkage, ..WhiteningOptions::default() }));
        }
        Ok(all)
    }
}

fn k_reciprocal(keys: &str) -> Result<KReciprocal> {
    let mut how = KReciprocal::default();
    for key in keys.split_terminator(',') {
        let wrong = || format!("--rerank {key}: want k1=NUMBER, k2=NUMBER or lambda=SHARE, e.g. k1=20,k2=6,lambda=0.3");
        let (name, value) = key.split_once('=').with_context(wrong)?;
        match name.trim() {
            "k1" => how.k1 = value.parse().with_context(wrong)?,
            "k2" => how.k2 = value.parse().with_context(wrong)?,
            "lambda" => how.lambda = value.parse().with_context(wrong)?,
            _ => bail!(wrong()),
        }
    }
    Ok(how)
}
