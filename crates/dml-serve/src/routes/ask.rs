//! Embeddings of probes, and who they are.

use crate::probes::{Probes, asked, given, of_picture};
use crate::refusal::{Refusal, json};
use crate::sent::{Query, Sent, finite, within};
use crate::service::Service;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dml_gallery::{Decision, Filter, Identification, IdentifyOptions, Model, Verification};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most candidates of an answer.
const CANDIDATES: usize = 1000;

/// Embeddings are none of these: they are embedded already.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Embed {
    #[serde(default, deserialize_with = "given")]
    image: Option<String>,
    #[serde(default, deserialize_with = "given")]
    images: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    #[serde(default, deserialize_with = "given")]
    texts: Option<Vec<String>>,
}

asked! {
    Verify {
        name: String,
        threshold: Option<f32>,
    }
}

asked! {
    Identify {
        k: Option<usize>,
        threshold: Option<f32>,
        /// Values by key: each key must have one of its values.
        #[serde(default, rename = "where")]
        filter: BTreeMap<String, Vec<String>>,
    }
}

#[derive(Serialize)]
struct Embedded<'a> {
    embeddings: Vec<&'a [f32]>,
    model: &'a Model,
}

/// One for each probe, in their order.
#[derive(Serialize)]
struct Answers<T> {
    answers: Vec<T>,
}

pub(super) async fn embed(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    Query::read(&request, &[])?;
    let rows = match Sent::read(&service, request).await? {
        Sent::Image(bytes) => of_picture(&service, bytes).await?,
        body => {
            let Embed { image, images, text, texts } = body.json().await?;
            Probes { image, images, text, texts, ..Probes::default() }.rows(&service).await?
        }
    };
    let embeddings = rows.values.chunks_exact(rows.model.dim).collect();
    Ok(json(StatusCode::OK, &Embedded { embeddings, model: &rows.model }))
}

pub(super) async fn verify(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    Query::read(&request, &[])?;
    let mut asked: Verify = Sent::read(&service, request).await?.json().await?;
    let (rows, threshold) = (asked.probes().rows(&service).await?, finite(asked.threshold)?);
    let name = asked.name;
    let answer = service
        .ask("verify", move |gallery| gallery.verify(rows.embeddings()?, &vec![name.as_str(); rows.len()], threshold));
    let answers = answer.await?;
    counted(&service, "verify", answers.iter().map(|answer: &Verification| answer.decision));
    Ok(json(StatusCode::OK, &Answers { answers }))
}

pub(super) async fn identify(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    let known: &[&str] = &["k", "threshold", "where"];
    let mut query = Query::read(&request, known)?;
    let (rows, k, threshold, filter) = match Sent::read(&service, request).await? {
        Sent::Image(bytes) => {
            let (k, threshold, filter) = (query.take("k")?, query.take("threshold")?, query.filter()?);
            let (k, threshold) = (candidates(k)?, finite(threshold)?);
            (of_picture(&service, bytes).await?, k, threshold, filter)
        }
        body => {
            query.refuse_all("beside JSON these stand in the body")?;
            let mut asked: Identify = body.json().await?;
            let (k, threshold) = (candidates(asked.k)?, finite(asked.threshold)?);
            let pairs = asked.filter.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
            let filter = pairs.fold(Filter::everybody(), |filter, (key, value)| filter.with(key, value));
            if let Some((key, _)) = asked.filter.iter().find(|(_, values)| values.is_empty()) {
                return Err(Refusal::bad(format!("`where.{key}` has no values: give one, or leave the key out")));
            }
            (asked.probes().rows(&service).await?, k, threshold, filter)
        }
    };
    let options = IdentifyOptions { k, threshold, filter };
    let answers = service.ask("identify", move |gallery| gallery.identify(rows.embeddings()?, &options)).await?;
    counted(&service, "identify", answers.iter().map(|answer: &Identification| answer.decision));
    Ok(json(StatusCode::OK, &Answers { answers }))
}

fn candidates(k: Option<usize>) -> Result<usize, Refusal> {
    within("k", k.unwrap_or(IdentifyOptions::default().k), 1, CANDIDATES)
}

fn counted(service: &Service, operation: &str, decisions: impl Iterator<Item = Decision>) {
    decisions.for_each(|decision| service.metrics().decided(operation, decision));
}
