//! What is drawn anew in each step: it depends on seed, step and stream, never on the order of the threads.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// A seed, and the number of steps so far.
pub(crate) struct Chance {
    who: &'static str,
    seed: u64,
    step: u64,
}

/// One step of it.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    who: &'static str,
    seed: u64,
    step: u64,
}

impl Chance {
    /// Of one who draws; the name sets it apart from others who draw from the same seed.
    pub(crate) fn new(who: &'static str, seed: u64) -> Self {
        Self { who, seed, step: 0 }
    }

    /// Where the number of steps stands in a checkpoint.
    fn key(&self) -> String {
        format!("{}.step", self.who)
    }

    /// This step's draw; the next call is of the next step.
    pub(crate) fn step(&mut self) -> Draw {
        self.step += 1;
        Draw { who: self.who, seed: self.seed, step: self.step - 1 }
    }

    /// For a checkpoint.
    pub(crate) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(vec![(self.key(), Tensor::new(&[self.step as i64], &Device::Cpu)?)])
    }

    /// From a checkpoint.
    pub(crate) fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let key = self.key();
        let missing = || Error::State(format!("{key} is missing"));
        let step: Vec<i64> = state.get(&key).ok_or_else(missing)?.to_vec1()?;
        self.step = *step.first().ok_or_else(missing)? as u64;
        Ok(())
    }
}

impl Draw {
    /// A generator of its own for each stream: an anchor, a bin.
    pub(crate) fn generator(self, stream: u64) -> ChaCha8Rng {
        let mut seed = [0u8; 32];
        let mut who = [0u8; 8];
        who.iter_mut().zip(self.who.bytes()).for_each(|(to, from)| *to = from);
        let parts = [self.seed, self.step, stream, u64::from_le_bytes(who)];
        seed.chunks_exact_mut(8).zip(parts).for_each(|(bytes, part)| bytes.copy_from_slice(&part.to_le_bytes()));
        ChaCha8Rng::from_seed(seed)
    }
}
