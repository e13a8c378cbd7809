//! What a request that is not answered is told, in one shape: `{"error": {"code", "message"}}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dml_gallery::Error;
use serde::Serialize;
use std::time::Duration;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Told<'a> {
    error: Why<'a>,
}

#[derive(Serialize)]
struct Why<'a> {
    code: &'a str,
    message: &'a str,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 500: the log has `problem`, which may name files of the server; whoever asked is not told.
    pub(crate) fn internal(problem: impl AsRef<str>) -> Self {
        tracing::error!(problem = problem.as_ref(), "failed");
        let message = "something failed on the server: its log says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503, for now.
    pub(crate) fn busy(why: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{why}: try again")).after(Duration::from_secs(1))
    }

    /// 503, for good.
    pub(crate) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the server is stopping: try another one, or again later",
        )
        .after(Duration::from_secs(5))
    }

    /// Says when to ask again.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let said = error.to_string();
        match error {
            Error::Input(_) | Error::Embedding { .. } | Error::Core(_) => Self::bad(said),
            Error::OtherModel { .. } => Self::new(StatusCode::BAD_REQUEST, "other_model", said),
            Error::NotEnrolled(_) => Self::new(StatusCode::NOT_FOUND, "not_enrolled", said),
            Error::AlreadyEnrolled(_) => Self::new(StatusCode::CONFLICT, "already_enrolled", said),
            Error::NotErased { .. } => {
                tracing::error!(problem = said, "not erased");
                let message = "removed, but not yet erased from the file: the next removal tries again";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_erased", message)
            }
            _ => Self::internal(said),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let why = Why { code: self.code, message: &self.message };
        let mut response = json(self.status, &Told { error: why });
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer.
pub(crate) fn json(status: StatusCode, what: &impl Serialize) -> Response {
    match serde_json::to_vec(what) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        // Maps with keys that are no strings: no answer has one.
        Err(_) => status.into_response(),
    }
}

/// Anything of a type.
pub(crate) fn with_type(status: StatusCode, kind: &'static str, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
