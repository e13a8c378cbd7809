//! What the service says of itself.

use crate::encode::Takes;
use crate::refusal::{Refusal, json, with_type};
use crate::service::Service;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use dml_gallery::{Count, Filter, Model, Templates};
use serde::Serialize;
use serde_json::json;

pub(super) async fn page(State(service): State<Service>) -> Response {
    service.page().response()
}

pub(super) async fn openapi(State(service): State<Service>) -> Response {
    with_type(StatusCode::OK, "application/json", service.openapi().to_vec())
}

/// The process lives.
pub(super) async fn health() -> Response {
    json(StatusCode::OK, &json!({"status": "ok"}))
}

/// And takes requests.
pub(super) async fn ready(State(service): State<Service>) -> Result<Response, Refusal> {
    match service.is_stopping() {
        true => Err(Refusal::stopping()),
        false => Ok(json(StatusCode::OK, &json!({"status": "ready"}))),
    }
}

pub(super) async fn metrics(State(service): State<Service>) -> Result<Response, Refusal> {
    let count = service.ask("count", |gallery| gallery.count(&Filter::everybody())).await?;
    let waiting = service.encoder().map_or(0, |(_, batcher)| batcher.waiting());
    let text = service.metrics().text(count, waiting);
    let text = text.map_err(|error| Refusal::internal(format!("metrics: {error}")))?;
    Ok(with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

#[derive(Serialize)]
struct About<'a> {
    model: &'a Model,
    templates: Templates,
    count: Count,
    /// Whether there are thresholds to decide by.
    calibrated: bool,
    /// What the encoder embeds; none: embeddings only.
    encoder: Option<Takes>,
    /// Most embeddings, pictures or texts of a request.
    probes: usize,
    /// Largest body, in bytes.
    max_body: usize,
}

pub(super) async fn gallery(State(service): State<Service>) -> Result<Response, Refusal> {
    let asked = service.ask("count", |gallery| {
        Ok((gallery.count(&Filter::everybody())?, gallery.templates(), gallery.calibration()?.is_some()))
    });
    let (count, templates, calibrated) = asked.await?;
    let options = service.options();
    let about = About {
        model: service.model(),
        templates,
        count,
        calibrated,
        encoder: service.encoder().map(|(takes, _)| *takes),
        probes: options.probes,
        max_body: options.max_body,
    };
    Ok(json(StatusCode::OK, &about))
}
