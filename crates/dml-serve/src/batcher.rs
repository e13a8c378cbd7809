//! Requests that come at the same time share a batch of the encoder.

use crate::encode::{Encode, EncodeError, Item};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Encoded = Result<Vec<f32>, EncodeError>;

/// How requests are put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batching {
    /// Most items of a batch.
    pub(crate) most: usize,
    /// How long the first of a batch waits for others.
    pub(crate) wait: Duration,
    /// Most items that wait.
    pub(crate) queue: usize,
}

/// The way to the encoder's thread, which ends with it.
pub(crate) struct Batcher {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
}

/// The items of a request.
struct Job {
    items: Vec<Item>,
    reply: oneshot::Sender<Vec<Encoded>>,
}

impl Batcher {
    /// Starts the thread.
    pub(crate) fn start(encoder: Box<dyn Encode>, batching: Batching, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (jobs, received) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let worker = Worker { encoder, batching, metrics, waiting: waiting.clone() };
        std::thread::Builder::new().name("encoder".to_owned()).spawn(move || worker.run(&received))?;
        Ok(Self { jobs, waiting, queue: batching.queue })
    }

    /// Items that wait for the encoder.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The embeddings of `items`, one after the other, or the first item's number that has none, and why.
    pub(crate) async fn encode(&self, items: Vec<Item>) -> Result<Vec<f32>, Refusal> {
        let n = items.len();
        let fits = |waiting: usize| (waiting + n <= self.queue).then_some(waiting + n);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(Refusal::busy("too many inputs wait for the encoder"));
        }
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal::internal("the encoder's thread has ended");
        self.jobs.send(Job { items, reply }).map_err(|_| gone())?;
        let mut values = Vec::new();
        for (i, row) in answer.await.map_err(|_| gone())?.into_iter().enumerate() {
            match row {
                Ok(row) => values.extend(row),
                Err(EncodeError::Unreadable(problem)) => {
                    return Err(Refusal::bad(format!("input {i}: {problem}")));
                }
                Err(EncodeError::Failed(problem)) => {
                    return Err(Refusal::internal(format!("the encoder failed: {problem}")));
                }
            }
        }
        Ok(values)
    }
}

/// The encoder's thread.
struct Worker {
    encoder: Box<dyn Encode>,
    batching: Batching,
    metrics: Arc<Metrics>,
    waiting: Arc<AtomicUsize>,
}

impl Worker {
    fn run(mut self, received: &Receiver<Job>) {
        while let Ok(first) = received.recv() {
            let until = Instant::now() + self.batching.wait;
            let mut items = first.items.len();
            let mut jobs = vec![first];
            while items < self.batching.most {
                let left = until.saturating_duration_since(Instant::now());
                let Ok(job) = received.recv_timeout(left) else { break };
                items += job.items.len();
                jobs.push(job);
            }
            self.waiting.fetch_sub(items, Ordering::Relaxed);
            // Nobody waits for these any more.
            jobs.retain(|job| !job.reply.is_closed());
            self.answer(jobs);
        }
    }

    fn answer(&mut self, jobs: Vec<Job>) {
        let (mut items, mut replies) = (Vec::new(), Vec::new());
        for job in jobs {
            replies.push((job.reply, job.items.len()));
            items.extend(job.items);
        }
        let mut rows = Vec::with_capacity(items.len());
        for batch in items.chunks(self.batching.most) {
            rows.extend(self.encode(batch));
        }
        let mut rows = rows.into_iter();
        for (reply, own) in replies {
            // Whoever has gone away misses nothing.
            let _ = reply.send(rows.by_ref().take(own).collect());
        }
    }

    fn encode(&mut self, batch: &[Item]) -> Vec<Encoded> {
        let started = Instant::now();
        let dim = self.encoder.model().dim;
        let failed = |problem: &str| vec![Err(EncodeError::Failed(problem.to_owned())); batch.len()];
        // A picture that makes a decoder panic must not end the service.
        let rows = catch_unwind(AssertUnwindSafe(|| self.encoder.encode(batch)));
        self.metrics.batch(batch.len(), started.elapsed());
        match rows {
            Err(_) => failed("it panicked"),
            Ok(rows) if rows.len() != batch.len() => failed("it gave another number of embeddings than it got items"),
            Ok(rows) if rows.iter().flatten().any(|row| row.len() != dim) => failed("an embedding has another length"),
            Ok(rows) => rows,
        }
    }
}
