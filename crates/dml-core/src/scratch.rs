//! Memory for score matrices, kept from one call to the next: every step of a training wants the same again, and an
//! operating system takes long to hand it out.

use crate::Real;
use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Bytes kept at most; of more, those given back first are let go.
const KEPT: usize = 1 << 29;

/// What nobody uses now, with its bytes, in the order it was given back.
static FREE: Mutex<Vec<(usize, Box<dyn Any + Send>)>> = Mutex::new(Vec::new());

/// Lets go of the memory that is kept for the next score matrix: as much as the largest ones so far wanted, up to 512 MiB.
/// Losses that are taken once need not hold it.
pub fn release_scratch() {
    let kept = std::mem::take(&mut *FREE.lock().unwrap_or_else(PoisonError::into_inner));
    drop(kept);
}

/// Numbers of no known value.
pub(crate) struct Scratch<T: Real> {
    values: Vec<T>,
    len: usize,
}

impl<T: Real> Scratch<T> {
    /// So many.
    pub(crate) fn new(len: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let long = |values: &Box<dyn Any + Send>| values.downcast_ref::<Vec<T>>().is_some_and(|v| v.len() >= len);
        let best = (0..free.len()).filter(|&i| long(&free[i].1)).min_by_key(|&i| free[i].0);
        let found = best.and_then(|i| free.remove(i).1.downcast::<Vec<T>>().ok());
        drop(free);
        Self { values: found.map_or_else(|| vec![T::zero(); len], |values| *values), len }
    }
}

impl<T: Real> Drop for Scratch<T> {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        let bytes = size_of_val(&values[..]);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push((bytes, Box::new(values)));
        let mut kept: usize = free.iter().map(|free| free.0).sum();
        while kept > KEPT {
            kept -= free.remove(0).0;
        }
    }
}

impl<T: Real> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.len]
    }
}

impl<T: Real> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_for_numbers_of_the_same_kind() {
        release_scratch();
        let mut first = Scratch::<f32>::new(1000);
        first.fill(1.0);
        let place = first.as_ptr();
        drop(first);
        let other = Scratch::<f64>::new(10);
        assert_ne!(other.as_ptr().cast::<f32>(), place);
        let second = Scratch::<f32>::new(10);
        assert_eq!((second.as_ptr(), second.len()), (place, 10));
        let third = Scratch::<f32>::new(10);
        assert_ne!(third.as_ptr(), place);
    }
}
