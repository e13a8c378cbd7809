//! Who is enrolled.

use crate::probes::asked;
use crate::refusal::{Refusal, json};
use crate::sent::{Query, Sent, name, within};
use crate::service::Service;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use dml_gallery::{Error, Identity, Metadata, SampleId};
use serde::Serialize;

/// Identities of a page at most, and unless asked.
const PAGE: (usize, usize) = (1000, 100);

asked! {
    Enrol {
        name: String,
        #[serde(default)]
        metadata: Metadata,
        /// Whether more samples are wanted of somebody who is enrolled already, rather than a refusal.
        #[serde(default)]
        add_samples: bool,
    }
}

#[derive(Serialize)]
struct Enrolled {
    #[serde(flatten)]
    identity: Identity,
    /// The samples that are new.
    added: Vec<SampleId>,
}

pub(super) async fn enrol(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    Query::read(&request, &[])?;
    let mut asked: Enrol = Sent::read(&service, request).await?.json().await?;
    let rows = asked.probes().rows(&service).await?;
    let Enrol { name, metadata, add_samples, .. } = asked;
    let answer = service.ask("enrol", move |gallery| {
        let added = match gallery.enrol(&name, rows.embeddings()?, metadata) {
            Err(Error::AlreadyEnrolled(_)) if add_samples => gallery.add_samples(&name, rows.embeddings()?)?,
            outcome => outcome?,
        };
        Ok(Enrolled { identity: gallery.samples(&name)?.0, added })
    });
    let enrolled = answer.await?;
    service.has_changed();
    Ok(json(StatusCode::CREATED, &enrolled))
}

#[derive(Serialize)]
struct Listed {
    /// Of those asked for.
    total: usize,
    offset: usize,
    identities: Vec<Identity>,
}

pub(super) async fn list(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    let mut query = Query::read(&request, &["where", "offset", "limit"])?;
    let filter = query.filter()?;
    let offset = within("offset", query.take("offset")?.unwrap_or(0), 0, u32::MAX as usize)?;
    let limit = within("limit", query.take("limit")?.unwrap_or(PAGE.1), 1, PAGE.0)?;
    let answer = service.ask("list", move |gallery| {
        let all = gallery.list(&filter)?;
        let total = all.len();
        Ok(Listed { total, offset, identities: all.into_iter().skip(offset).take(limit).collect() })
    });
    Ok(json(StatusCode::OK, &answer.await?))
}

pub(super) async fn one(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let name = name(path)?;
    let identity = service.ask("samples", move |gallery| Ok(gallery.samples(&name)?.0)).await?;
    Ok(json(StatusCode::OK, &identity))
}

pub(super) async fn forget(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let name = name(path)?;
    service.ask("forget", move |gallery| gallery.remove(&[&name])).await?;
    service.has_changed();
    Ok(StatusCode::NO_CONTENT)
}
