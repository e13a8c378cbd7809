//! What requests bring: bodies and queries, and what is wrong with them by name.

use crate::refusal::Refusal;
use crate::service::Service;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request};
use axum::http::{StatusCode, header};
use dml_gallery::Filter;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The body of a request.
pub(crate) enum Sent {
    /// `application/json`.
    Json(Bytes),
    /// `image/*`: a picture as it is.
    Image(Bytes),
}

/// Larger bodies are parsed where waiting does not matter.
const LARGE: usize = 1 << 16;

impl Sent {
    /// Reads it, within the limits.
    pub(crate) async fn read(service: &Service, request: Request) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind: fn(Bytes) -> Self = match kind.as_str() {
            "application/json" => Self::Json,
            kind if kind.starts_with("image/") => Self::Image,
            _ => return Err(unsupported("want application/json or, where pictures are taken, image/*")),
        };
        let options = service.options();
        let bytes = tokio::time::timeout(options.body_timeout, Bytes::from_request(request, &())).await;
        let late = |_| {
            let message = format!("the body took more than {} s to arrive", options.body_timeout.as_secs_f64());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
        };
        let bytes = bytes.map_err(late)?.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body has more than {} bytes: send less at a time", options.max_body);
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            }
            _ => Refusal::bad("the body did not arrive whole"),
        })?;
        Ok(kind(bytes))
    }

    /// What the body says, where it must be JSON.
    pub(crate) async fn json<T: DeserializeOwned + Send + 'static>(self) -> Result<T, Refusal> {
        match self {
            Self::Json(bytes) if bytes.len() > LARGE => {
                let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
                parsed.map_err(|error| Refusal::internal(format!("parsing: {error}")))?
            }
            Self::Json(bytes) => parse(&bytes),
            Self::Image(_) => Err(unsupported("want application/json, with the picture in the field `image`, base64")),
        }
    }
}

fn unsupported(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", format!("Content-Type: {message}"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // Serde would take the fields from an array too, in the order in which they happen to stand in the code.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::bad("the body: want a JSON object, {…}"));
    }
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner());
        match path.as_str() {
            "." | "?" => Refusal::bad(format!("the body: {problem}")),
            field => Refusal::bad(format!("`{field}`: {problem}")),
        }
    })?;
    parser.end().map_err(|error| Refusal::bad(format!("the body goes on after its JSON: {error}")))?;
    Ok(parsed)
}

/// The name in a path.
pub(crate) fn name(path: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    path.map(|Path(name)| name).map_err(|_| Refusal::bad("the name in the path is not UTF-8, percent-encoded"))
}

/// Keys and values after the `?`, each asked for once.
pub(crate) struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Refuses keys that are not among `known`.
    pub(crate) fn read(request: &Request, known: &[&str]) -> Result<Self, Refusal> {
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            if !known.contains(&key.as_ref()) {
                return Err(Refusal::bad(format!("query: {key:?} is not known: use {}", known.join(", "))));
            }
            query.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        Ok(Self(query))
    }

    /// The only value of `key`.
    pub(crate) fn take<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, Refusal> {
        match self.0.remove(key).unwrap_or_default().as_slice() {
            [] => Ok(None),
            [value] => match value.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(Refusal::bad(format!("query: `{key}` is {value:?}: want a number"))),
            },
            _ => Err(Refusal::bad(format!("query: `{key}` is there twice: give it once"))),
        }
    }

    /// Refuses what has not been taken.
    pub(crate) fn refuse_all(self, why: &str) -> Result<(), Refusal> {
        match self.0.keys().next() {
            Some(key) => Err(Refusal::bad(format!("query: `{key}`: {why}"))),
            None => Ok(()),
        }
    }

    /// All of `where=KEY=VALUE`.
    pub(crate) fn filter(&mut self) -> Result<Filter, Refusal> {
        let mut filter = Filter::everybody();
        for pair in self.0.remove("where").unwrap_or_default() {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Refusal::bad(format!("query: `where` is {pair:?}: want KEY=VALUE")))?;
            filter = filter.with(key, value);
        }
        Ok(filter)
    }
}

/// A whole number within a range, by name.
pub(crate) fn within(name: &str, value: usize, least: usize, most: usize) -> Result<usize, Refusal> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(Refusal::bad(format!("`{name}` is {value}: want {least} to {most}"))),
    }
}

/// A threshold that can be compared with.
pub(crate) fn finite(threshold: Option<f32>) -> Result<Option<f32>, Refusal> {
    match threshold {
        Some(value) if !value.is_finite() => Err(Refusal::bad(format!("`threshold` is {value}: want a finite number"))),
        other => Ok(other),
    }
}
