//! Work in pieces, some at a time, each on its share of the threads.

use crate::{Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` for each of `names` by its index, `jobs` at a time; results in order. With several jobs each has a pool of its own,
/// with its share of the threads. The first that fails makes `stop` true, so that the others save what they have.
///
/// # Errors
/// That of the piece which failed; [`Error::InterruptedBefore`] when `stop` becomes true before all are begun.
pub(super) fn take<T: Send>(
    names: &[&str],
    jobs: usize,
    stop: &AtomicBool,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let begin = |i: usize| match stop.load(Ordering::Relaxed) {
        true => Err(Error::InterruptedBefore { run: names[i].to_owned() }),
        false => work(i),
    };
    if jobs <= 1 || names.len() <= 1 {
        return (0..names.len()).map(begin).collect();
    }
    let jobs = jobs.min(names.len());
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
    let keep = |i: usize, outcome: Result<T>| {
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, outcome));
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < names.len()) {
                    let outcome = match &pool {
                        Ok(pool) => pool.install(|| begin(i)),
                        Err(e) => Err(Error::Recipe(format!("--jobs {jobs}: threads cannot be made: {e}"))),
                    };
                    keep(i, outcome);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What failed by itself says more than what was stopped for it.
    let failed = done.iter().position(|(_, outcome)| outcome.as_ref().is_err_and(|error| !error.is_interruption()));
    if let Some(at) = failed {
        return done.swap_remove(at).1.map(|_| Vec::new());
    }
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_threads_are_shared() {
        let names = ["a", "b", "c", "d", "e"];
        for jobs in [1, 2, 9] {
            let stop = AtomicBool::new(false);
            let threads = rayon::current_num_threads();
            let found = take(&names, jobs, &stop, |i| {
                assert!(jobs == 1 || rayon::current_num_threads() <= (threads / jobs.min(5)).max(1));
                Ok(i * i)
            });
            assert_eq!(found.unwrap(), [0, 1, 4, 9, 16]);
        }
    }

    #[test]
    fn the_failure_is_told_not_the_stop_that_it_causes() {
        let names = ["a", "b", "c", "d"];
        let stop = AtomicBool::new(false);
        let outcome: Result<Vec<()>> = take(&names, 2, &stop, |i| match i {
            1 => Err(Error::Recipe("broken".to_owned())),
            _ => {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                Err(Error::Interrupted { step: 3 })
            }
        });
        assert_eq!(outcome.unwrap_err().to_string(), "recipe: broken");
    }

    #[test]
    fn nothing_begins_after_a_stop() {
        let stop = AtomicBool::new(false);
        let outcome = take(&["a", "b", "c"], 1, &stop, |i| {
            stop.store(i == 1, Ordering::Relaxed);
            Ok(())
        });
        assert!(outcome.unwrap_err().to_string().contains("interrupted before c"));
    }
}
