//! The page: one answer, which loads nothing from anywhere.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::refusal::with_type;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page and what a browser may do with it.
pub(crate) struct Page {
    html: String,
    policy: HeaderValue,
}

impl Page {
    pub(crate) fn new() -> Self {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        // Nothing but what is written here runs or is shown, whatever name somebody is enrolled by.
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src blob: data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        let html = HTML.replace("{style}", STYLE).replace("{script}", SCRIPT);
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { html, policy }
    }

    pub(crate) fn response(&self) -> Response {
        let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", self.html.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        response
    }
}
