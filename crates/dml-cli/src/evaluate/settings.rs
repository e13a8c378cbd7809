//! Arguments as the settings of an assessment.

use super::Evaluate;
use anyhow::Result;
use dml_eval::assessment::AssessmentOptions;
use dml_eval::clustering::ClusterOptions;
use dml_eval::retrieval::{Lone, Measure, Policy, Ties};
use dml_eval::statistics::Bootstrap;

pub(super) fn options(arguments: &Evaluate) -> Result<AssessmentOptions> {
    let bootstrap = Bootstrap { resamples: arguments.resamples, seed: arguments.seed };
    let named = arguments.measures.as_deref().unwrap_or_default().split_terminator(',');
    let mut measures = named.map(|name| Ok(name.trim().parse()?)).collect::<Result<Vec<Measure>>>()?;
    let mut policy = Policy { bootstrap, lone: Lone::Drop, ..Policy::default() };
    let mut ties = Ties::ById;
    if let Some(preset) = arguments.preset {
        measures = preset.measures(&arguments.ks).into_iter().map(|(_, measure)| measure).collect();
        measures.dedup();
        policy = Policy { bootstrap, ..preset.policy() };
        ties = preset.ties();
    }
    Ok(AssessmentOptions {
        metric: arguments.metric,
        measures,
        policy,
        ties,
        fars: arguments.fars.clone(),
        resamples: arguments.resamples,
        fpirs: arguments.validation.fpirs.clone(),
        shots: arguments.validation.shots,
        galleries: arguments.validation.galleries,
        clustering: (!arguments.no_clustering)
            .then(|| ClusterOptions { seeds: vec![arguments.seed], ..ClusterOptions::default() }),
        maps: if arguments.no_maps { Vec::new() } else { arguments.maps.clone() },
        mapped_rows: arguments.mapped_rows,
        perplexity: arguments.perplexity,
        seed: arguments.seed,
        ..AssessmentOptions::default()
    })
}
