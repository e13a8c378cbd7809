//! What all requests share.

use crate::batcher::{Batcher, Batching};
use crate::encode::{Encode, Takes};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::page::Page;
use crate::rate::Buckets;
use crate::refusal::Refusal;
use dml_gallery::{Gallery, Model};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, watch};

/// A gallery, and an encoder if there is one, ready to be asked over HTTP. Clones are the same service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    gallery: Arc<dyn Gallery>,
    encoder: Option<(Takes, Batcher)>,
    options: Options,
    metrics: Arc<Metrics>,
    buckets: Option<Buckets>,
    /// Places within the gallery: its own threads share the processor, and more callers than cores only wait for each other.
    places: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    /// Sent to when somebody was enrolled or forgotten.
    changed: watch::Sender<()>,
    page: Page,
    openapi: Vec<u8>,
}

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option that makes no sense.
    #[error("{0}")]
    Option(String),
    /// The gallery refuses the encoder.
    #[error(transparent)]
    Gallery(#[from] dml_gallery::Error),
    /// No thread, or no socket.
    #[error("{what}: {source}")]
    Io {
        /// What was wanted.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the service itself is wrong.
    #[error("{0}: this is a fault of dml-serve")]
    Fault(String),
}

impl Service {
    /// A service over `gallery`. Without an encoder it takes embeddings only.
    ///
    /// # Errors
    /// When the encoder is not the gallery's, an option makes no sense, or there is no thread for the encoder.
    pub fn new(gallery: Arc<dyn Gallery>, encoder: Option<Box<dyn Encode>>, options: Options) -> Result<Self, Error> {
        check(&options)?;
        let fault = |error: prometheus::Error| Error::Fault(error.to_string());
        let metrics = Arc::new(Metrics::new().map_err(fault)?);
        let start = |encoder: Box<dyn Encode>| {
            gallery.model().check(encoder.model())?;
            let batching = Batching { most: options.batch, wait: options.batch_wait, queue: options.queue };
            let takes = encoder.takes();
            let batcher = Batcher::start(encoder, batching, metrics.clone())
                .map_err(|source| Error::Io { what: "no thread for the encoder".to_owned(), source })?;
            Ok::<_, Error>((takes, batcher))
        };
        let encoder = encoder.map(start).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Inner {
            openapi: crate::openapi::document(gallery.model().dim, &options)?,
            page: Page::new(),
            encoder,
            metrics,
            buckets: options.rate.map(Buckets::new),
            places: Arc::new(Semaphore::new(cores)),
            stop: watch::Sender::new(false),
            changed: watch::Sender::new(()),
            gallery,
            options,
        })))
    }

    /// Takes no more requests; those that are being worked on end.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopping(&self) -> bool {
        *self.0.stop.borrow()
    }

    /// Ends when [`stop`](Self::stop) is called.
    pub(crate) async fn stopped(&self) {
        // The sender is within `self` and outlives this.
        let _ = self.0.stop.subscribe().wait_for(|&stop| stop).await;
    }

    /// Says that somebody was enrolled or forgotten.
    pub(crate) fn has_changed(&self) {
        self.0.changed.send_replace(());
    }

    /// Makes anew what lies beside the gallery when a change has made it stale, until [`stop`](Self::stop) is called.
    pub(crate) async fn keep_fresh(&self) {
        let mut changes = self.0.changed.subscribe();
        loop {
            let service = self.clone();
            let refreshed = tokio::task::spawn_blocking(move || {
                let go_on = |_| if service.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                service.0.gallery.refresh(&go_on)
            });
            match refreshed.await {
                Ok(Ok(true)) => tracing::info!("the index of the gallery is built anew"),
                Ok(Ok(false)) => {}
                // A change meanwhile has sent already.
                Ok(Err(error)) if !self.is_stopping() => tracing::warn!("the index of the gallery is stale: {error}"),
                Ok(Err(_)) => {}
                Err(panicked) => tracing::error!("the index of the gallery is stale: {panicked}"),
            }
            tokio::select! {
                () = self.stopped() => return,
                _ = changes.changed() => {}
            }
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn buckets(&self) -> Option<&Buckets> {
        self.0.buckets.as_ref()
    }

    pub(crate) fn page(&self) -> &Page {
        &self.0.page
    }

    pub(crate) fn openapi(&self) -> &[u8] {
        &self.0.openapi
    }

    pub(crate) fn model(&self) -> &Model {
        self.0.gallery.model()
    }

    pub(crate) fn encoder(&self) -> Option<&(Takes, Batcher)> {
        self.0.encoder.as_ref()
    }

    /// Asks the gallery on a thread that may wait.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&dyn Gallery) -> dml_gallery::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let closed = |_| Refusal::internal("the gallery takes no questions");
        let place = self.0.places.clone().acquire_owned().await.map_err(closed)?;
        let service = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Kept to the end, even when whoever asked has gone away.
            let _place = place;
            let started = Instant::now();
            let answer = question(service.0.gallery.as_ref());
            service.0.metrics.gallery(operation, started.elapsed());
            answer
        });
        let panicked =
            |error: tokio::task::JoinError| Refusal::internal(format!("{operation} of the gallery: {error}"));
        Ok(answer.await.map_err(panicked)??)
    }
}

fn check(options: &Options) -> Result<(), Error> {
    let counts = [
        ("batch", options.batch),
        ("concurrency", options.concurrency),
        ("probes", options.probes),
        ("max_body", options.max_body),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Error::Option(format!("{name} is 0 and nothing could be asked: want 1 or more")));
    }
    if options.queue < options.probes {
        let (queue, probes) = (options.queue, options.probes);
        return Err(Error::Option(format!(
            "the queue of the encoder holds {queue} inputs but a request may bring {probes}: make it as long"
        )));
    }
    match options.rate {
        Some(rate) if !(rate.per_second > 0.0 && rate.per_second.is_finite() && rate.burst >= 1.0) => {
            let (per_second, burst) = (rate.per_second, rate.burst);
            Err(Error::Option(format!(
                "a rate of {per_second} requests per second, {burst} at once: want more than 0, and 1 at once"
            )))
        }
        _ => Ok(()),
    }
}
