//! What Prometheus is told. No label holds a name of anybody.

use dml_gallery::{Count, Decision};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, Result, TextEncoder,
};
use std::time::Duration;

/// Times, in seconds.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// Items of a batch.
const ITEMS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// All that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    gallery_seconds: HistogramVec,
    decisions: IntCounterVec,
    batch_items: Histogram,
    batch_seconds: Histogram,
    waiting: IntGauge,
    identities: IntGauge,
    samples: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, about: &str, labels: &[&str]| -> Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, about), labels)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let histogram = |name: &str, about: &str, labels: &[&str], buckets: &[f64]| -> Result<HistogramVec> {
            let options = HistogramOpts::new(name, about).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(options, labels)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let gauge = |name: &str, about: &str| -> Result<IntGauge> {
            let gauge = IntGauge::new(name, about)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        Ok(Self {
            requests: counter("dml_http_requests_total", "Requests answered", &["method", "route", "status"])?,
            request_seconds: histogram("dml_http_request_seconds", "Time to answer a request", &["route"], &SECONDS)?,
            in_flight: gauge("dml_http_requests_in_flight", "Requests that are being worked on")?,
            gallery_seconds: histogram("dml_gallery_seconds", "Time within the gallery", &["operation"], &SECONDS)?,
            decisions: counter("dml_decisions_total", "Probes by what was decided", &["operation", "decision"])?,
            batch_items: histogram("dml_encoder_batch_items", "Inputs of a batch of the encoder", &[], &ITEMS)?
                .with_label_values::<&str>(&[]),
            batch_seconds: histogram("dml_encoder_batch_seconds", "Time of a batch of the encoder", &[], &SECONDS)?
                .with_label_values::<&str>(&[]),
            waiting: gauge("dml_encoder_waiting_items", "Inputs that wait for the encoder")?,
            identities: gauge("dml_gallery_identities", "Identities that are enrolled")?,
            samples: gauge("dml_gallery_samples", "Samples of them")?,
            registry,
        })
    }

    /// A request has come; it is being worked on until what this gives is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.request_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    pub(crate) fn gallery(&self, operation: &str, took: Duration) {
        self.gallery_seconds.with_label_values(&[operation]).observe(took.as_secs_f64());
    }

    pub(crate) fn decided(&self, operation: &str, decision: Decision) {
        let decision = match decision {
            Decision::Accepted => "accepted",
            Decision::Unknown => "unknown",
            Decision::NoThreshold => "no_threshold",
        };
        self.decisions.with_label_values(&[operation, decision]).inc();
    }

    pub(crate) fn batch(&self, items: usize, took: Duration) {
        self.batch_items.observe(items as f64);
        self.batch_seconds.observe(took.as_secs_f64());
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn text(&self, count: Count, waiting: usize) -> Result<String> {
        self.identities.set(count.identities as i64);
        self.samples.set(count.samples as i64);
        self.waiting.set(waiting as i64);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A request that is being worked on.
pub(crate) struct InFlight(IntGauge);

impl InFlight {
    /// How many there are, with this one.
    pub(crate) fn among(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
