//! What is measured between steps, and what follows from it.

use crate::evaluation::{self, Measured};
use crate::moving_mean::with_weights;
use crate::recipe::Evaluated;
use crate::run::RunFolder;
use crate::sets::Sets;
use crate::{Event, Result, Trainer, agreement, checkpoint};
use dml_models::Encoder as _;

impl Trainer {
    /// Measures the validation classes or pairs when it is time, or the test classes where the recipe chooses by them, and keeps the
    /// best weights.
    pub(crate) fn validate(
        &mut self,
        sets: &Sets,
        folder: &RunFolder,
        on_event: &mut dyn FnMut(&Event) -> Result<()>,
    ) -> Result<()> {
        let (step, every) = (self.step(), self.recipe.train.validate_every);
        if every == 0 || !step.is_multiple_of(every) {
            return Ok(());
        }
        let metric = self.recipe.metric()?;
        let by_test = self.recipe.train.evaluate == Evaluated::BestOnTest;
        let weights = self.moving_weights();
        let (encoder, device) = (&self.encoder, &self.device);
        let measured = with_weights(encoder.weights(), weights.as_deref(), || {
            match (by_test, &sets.validation, &sets.scored[0]) {
                (true, _, _) => evaluation::on_test(encoder, metric, sets, device),
                (false, Some(validation), _) => {
                    let set = (validation.as_ref(), sets.captions[0].as_ref());
                    evaluation::map_at_r(encoder, metric, set, device)
                }
                (false, None, Some(pairs)) => {
                    Ok(Measured::Spearman(pairs.correlation(encoder, metric, device)?.spearman))
                }
                (false, None, None) => Err(agreement::no_validation()),
            }
        })
        .map_err(|e| e.of_measure(step))?;
        let best = self.progress.measured(measured.value(), self.recipe.schedule.plateau_patience);
        if best {
            checkpoint::save_plain(&folder.best(), weights.unwrap_or_else(|| self.own_weights()))?;
        }
        on_event(&match measured {
            Measured::MapAtR(map_at_r) => Event::Validated { step, map_at_r, best },
            Measured::BothWays(map_at_r) => Event::ValidatedBothWays { step, map_at_r, best },
            Measured::Spearman(spearman) => Event::ValidatedPairs { step, spearman, best },
            Measured::TestRecall(recall_at_1) => Event::Tested { step, recall_at_1, best },
            Measured::TestBothWays(map_at_r) => Event::TestedBothWays { step, map_at_r, best },
        })
    }
}
