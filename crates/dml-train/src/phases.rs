//! By which objective a step learns: the recipe's, or, in the first steps, that of its warm-up.

use crate::{Error, Recipe, Result};
use candle_core::{Tensor, Var};
use dml_losses::{Context, Objective};
use std::collections::HashMap;

/// Named tensors of a part of a checkpoint.
type Section = (&'static str, Vec<(String, Tensor)>);

/// The objectives of a run.
pub(crate) struct Phases {
    main: Box<dyn Objective>,
    warm_up: Option<(u64, Box<dyn Objective>)>,
}

impl Phases {
    pub(crate) fn new(recipe: &Recipe, context: &Context) -> Result<Self> {
        let warm_up = match &recipe.warm_up {
            Some(warm_up) => Some((warm_up.steps, warm_up.loss.build(context)?)),
            None => None,
        };
        Ok(Self { main: recipe.loss.objective().build(context)?, warm_up })
    }

    /// The recipe's own.
    pub(crate) fn main(&self) -> &dyn Objective {
        self.main.as_ref()
    }

    /// All of them, with the names of their losses and where the recipe says those.
    pub(crate) fn all<'a>(
        &'a self,
        recipe: &'a Recipe,
    ) -> impl Iterator<Item = (&'static str, &'a str, &'a dyn Objective)> {
        let warm_up = recipe.warm_up.iter().zip(&self.warm_up);
        let warm_up = warm_up.map(|(said, (_, objective))| ("warm_up.loss.name", &*said.loss.name, objective.as_ref()));
        std::iter::once(("loss.name", &*recipe.loss.name, self.main())).chain(warm_up)
    }

    /// The one of the step after `step` steps.
    pub(crate) fn at(&mut self, step: u64) -> &mut dyn Objective {
        match &mut self.warm_up {
            Some((steps, objective)) if step < *steps => objective.as_mut(),
            _ => self.main.as_mut(),
        }
    }

    /// Whether the recipe's own objective begins with the step after `step` steps.
    pub(crate) fn main_begins(&self, step: u64) -> bool {
        step == self.warm_up.as_ref().map_or(0, |(steps, _)| *steps)
    }

    /// All that learns, with names that stay.
    pub(crate) fn parameters(&self) -> Vec<(String, Var)> {
        let named = |what: &str, objective: &dyn Objective| -> Vec<(String, Var)> {
            objective.parameters().into_iter().map(|(name, var)| (format!("{what}.{name}"), var)).collect()
        };
        let mut all = named("objective", self.main());
        all.extend(self.warm_up.iter().flat_map(|(_, objective)| named("warm_up", objective.as_ref())));
        all
    }

    /// What a checkpoint holds.
    pub(crate) fn state(&self) -> Result<Vec<Section>> {
        let mut sections = vec![("proxies", tensors(self.main())), ("objective", self.main.state()?)];
        if let Some((_, objective)) = &self.warm_up {
            sections.extend([("warm_up_proxies", tensors(objective.as_ref())), ("warm_up", objective.state()?)]);
        }
        Ok(sections)
    }

    /// Restores what [`Self::state`] gave, from the sections of a checkpoint.
    pub(crate) fn load_state(&mut self, section: &mut dyn FnMut(&str) -> HashMap<String, Tensor>) -> Result<()> {
        let mut load = |[proxies, own]: [&str; 2], objective: &mut dyn Objective| -> Result<()> {
            crate::checkpoint::restore(&objective.parameters(), &section(proxies))
                .map_err(|name| Error::Checkpoint(format!("{proxies}/{name}")))?;
            Ok(objective.load_state(&section(own))?)
        };
        load(["proxies", "objective"], self.main.as_mut())?;
        match &mut self.warm_up {
            Some((_, objective)) => load(["warm_up_proxies", "warm_up"], objective.as_mut()),
            None => Ok(()),
        }
    }
}

fn tensors(objective: &dyn Objective) -> Vec<(String, Tensor)> {
    objective.parameters().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect()
}
