//! A loss of the tuples that a miner names.

use crate::error::setting;
use crate::mining::Miner;
use crate::{Batch, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use std::collections::HashMap;

/// A loss behind a miner: each batch is mined, against its references where it has some, and the loss is taken of what is found.
pub struct Mined {
    base: Box<dyn Objective>,
    miner: Box<dyn Miner>,
}

impl Mined {
    /// Around a loss that takes tuples.
    ///
    /// # Errors
    /// When the loss takes none.
    pub fn new(base: Box<dyn Objective>, miner: Box<dyn Miner>) -> Result<Self> {
        if base.takes_tuples() {
            return Ok(Self { base, miner });
        }
        Err(setting("miner", "the loss takes no mined tuples: leave the miner out"))
    }
}

impl Objective for Mined {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_tuples("a loss with a miner")?;
        let tuples = self.miner.mine(batch)?;
        self.base.evaluate(&Batch { tuples: Some(&tuples), ..*batch })
    }

    fn takes_references(&self) -> bool {
        self.base.takes_references()
    }

    fn needs_references(&self) -> bool {
        self.base.needs_references()
    }

    fn learns_classes(&self) -> bool {
        self.base.learns_classes()
    }

    fn takes_reduction(&self) -> bool {
        self.base.takes_reduction()
    }

    fn reset(&mut self) {
        self.base.reset();
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.base.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok([self.base.state()?, self.miner.state()?].concat())
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.miner.load_state(state)?;
        self.base.load_state(state)
    }
}
