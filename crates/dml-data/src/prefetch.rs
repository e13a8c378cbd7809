//! Work done ahead of its consumer by several threads, and given out in order.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Results of `work`, job by job in the order of the jobs, prepared ahead on threads of its own.
///
/// At most `ahead` results wait or are being made: threads that are faster than the consumer stand still. Jobs are drawn one at a
/// time and in order; only the work runs side by side, so what comes out does not depend on the number of threads. The first error
/// is delivered in its place and ends the stream. Dropping it stops the threads as soon as each is done with its job.
///
/// ```
/// use dml_data::Prefetch;
/// let squares = Prefetch::new(0..1000u64, |i| Ok(i * i), 3, 8);
/// let sum: u64 = squares.map(|square| square.expect("no job fails")).sum();
/// assert_eq!(sum, 332_833_500);
/// ```
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    next: u64,
}

impl<T> std::fmt::Debug for Prefetch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefetch").field("threads", &self.threads.len()).field("next", &self.next).finish()
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// There is a result, or room for one, or there will be no more.
    changed: Condvar,
}

struct State<T> {
    /// Results that are not taken yet, by the number of their job.
    results: BTreeMap<u64, Result<T>>,
    /// Results that wait or are being made.
    held: usize,
    /// Number of the first job that has no result, once it is known.
    end: Option<u64>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more results from `number` on.
    fn end_at(&self, number: u64) {
        self.lock().end_at(number);
        self.changed.notify_all();
    }
}

impl<T> State<T> {
    fn end_at(&mut self, number: u64) {
        self.end = Some(self.end.map_or(number, |end| end.min(number)));
    }
}

struct Jobs<I> {
    jobs: I,
    drawn: u64,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Does `work` for each of `jobs` on `workers` threads (at least one), `ahead` results ahead (at least one).
    pub fn new<I>(
        jobs: I,
        work: impl Fn(I::Item) -> Result<T> + Send + Sync + 'static,
        workers: usize,
        ahead: usize,
    ) -> Self
    where
        I: Iterator<Item: Send> + Send + 'static,
    {
        let state = State { results: BTreeMap::new(), held: 0, end: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let (jobs, work) = (Arc::new(Mutex::new(Jobs { jobs, drawn: 0 })), Arc::new(work));
        let worker = |_| {
            let (shared, jobs, work) = (shared.clone(), jobs.clone(), work.clone());
            std::thread::spawn(move || run(&shared, &jobs, work.as_ref(), ahead.max(1)))
        };
        let threads = (0..workers.max(1)).map(worker).collect();
        Self { shared, threads, next: 0 }
    }
}

fn run<I: Iterator, T>(shared: &Shared<T>, jobs: &Mutex<Jobs<I>>, work: &dyn Fn(I::Item) -> Result<T>, ahead: usize) {
    loop {
        let full = |state: &mut State<T>| state.held >= ahead && state.end.is_none();
        let mut state = shared.changed.wait_while(shared.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.end.is_some() {
            return;
        }
        state.held += 1;
        drop(state);
        // Jobs have a lock of their own: to draw the first one of an epoch may take long, and results are given out meanwhile.
        let (number, job) = {
            let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.drawn += 1;
            (jobs.drawn - 1, catch_unwind(AssertUnwindSafe(|| jobs.jobs.next())))
        };
        let result = match job {
            Ok(None) => return shared.end_at(number),
            Ok(Some(job)) => {
                catch_unwind(AssertUnwindSafe(|| work(job))).unwrap_or(Err(Error::LoaderPanicked { step: number }))
            }
            Err(_) => Err(Error::LoaderPanicked { step: number }),
        };
        let mut state = shared.lock();
        if result.is_err() {
            state.end_at(number + 1);
        }
        state.results.insert(number, result);
        shared.changed.notify_all();
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.shared.lock();
        loop {
            if state.end.is_some_and(|end| self.next >= end) {
                return None;
            }
            if let Some(result) = state.results.remove(&self.next) {
                state.held -= 1;
                self.next += 1;
                self.shared.changed.notify_all();
                return Some(result);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.end_at(0);
        for thread in self.threads.drain(..) {
            // Panics of jobs are results; nothing else is lost with the thread.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Later jobs are done sooner.
    fn slow_then_fast(i: u64) -> Result<u64> {
        std::thread::sleep(Duration::from_micros(500 * (7 - i % 8)));
        Ok(i * i)
    }

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for (workers, ahead) in [(1, 1), (2, 1), (3, 4), (8, 3), (0, 0)] {
            let found: Vec<u64> = Prefetch::new(0..40, slow_then_fast, workers, ahead).map(Result::unwrap).collect();
            assert_eq!(found, (0..40).map(|i| i * i).collect::<Vec<u64>>(), "{workers} threads, {ahead} ahead");
        }
        assert!(Prefetch::new(0..0, slow_then_fast, 3, 3).next().is_none());
    }

    #[test]
    fn no_more_is_made_than_there_is_room_for() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let work = move |i: u64| Ok((count.fetch_add(1, Ordering::SeqCst), i).1);
        let mut stream = Prefetch::new(0.., work, 3, 4);
        for taken in 1..20 {
            stream.next().unwrap().unwrap();
            // What is being made counts too.
            assert!(made.load(Ordering::SeqCst) <= taken + 4);
        }
    }

    #[test]
    fn an_error_comes_in_its_place_and_is_the_last() {
        let work = |i: u64| if i % 10 == 7 { Err(Error::Sampler(format!("job {i}"))) } else { slow_then_fast(i) };
        for workers in [1, 4] {
            let results: Vec<Result<u64>> = Prefetch::new(0.., work, workers, 5).collect();
            assert_eq!(results.len(), 8);
            assert!(results[..7].iter().all(Result::is_ok));
            assert!(results[7].as_ref().unwrap_err().to_string().contains("job 7"));
        }
    }

    #[test]
    fn panics_are_errors_and_a_dropped_stream_stops() {
        let work = |i: u64| if i == 3 { panic!("on purpose") } else { Ok(i) };
        let results: Vec<Result<u64>> = Prefetch::new(0.., work, 2, 2).collect();
        assert!(matches!(results[..], [Ok(0), Ok(1), Ok(2), Err(Error::LoaderPanicked { step: 3 })]), "{results:?}");
        let jobs = (0..5u64).inspect(|&i| assert!(i < 2, "on purpose"));
        let results: Vec<Result<u64>> = Prefetch::new(jobs, Ok, 2, 2).collect();
        assert!(matches!(results[..], [Ok(0), Ok(1), Err(Error::LoaderPanicked { step: 2 })]), "{results:?}");
        let held = Arc::new(());
        let inside = held.clone();
        let stream = Prefetch::new(0.., move |_: u64| Ok(inside.clone()), 3, 2);
        drop(stream);
        assert_eq!(Arc::strong_count(&held), 1, "threads and results are gone");
    }
}
