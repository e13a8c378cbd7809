//! What every request passes first: it is counted, limited, asked for its key, and written to the log without what is personal.

use crate::refusal::Refusal;
use crate::service::Service;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, as often as they like: it tells whether the service lives.
    Open,
    /// Anybody, within the limits: it tells nothing of who is enrolled.
    Limited,
    /// Who has the key, within the limits.
    Keyed,
}

pub(crate) async fn guard(
    State((service, access)): State<(Service, Access)>,
    request: Request,
    next: Next,
) -> Response {
    let (started, in_flight) = (Instant::now(), service.metrics().begin());
    let method = request.method().clone();
    // The route and never the path, which may hold somebody's name.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut response = match admit(&service, access, &request, in_flight.among()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers are about people: no cache may keep them.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status().as_u16(), started.elapsed());
    // Only methods that are known: a client could make up labels without end.
    let known = matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS");
    let method = if known { method.as_str() } else { "other" };
    service.metrics().request(method, &route, status, took);
    tracing::info!(method, route, status, ms = format!("{:.2}", 1e3 * took.as_secs_f64()), "request");
    response
}

fn admit(service: &Service, access: Access, request: &Request, in_flight: usize) -> Result<(), Refusal> {
    if access == Access::Open {
        return Ok(());
    }
    let options = service.options();
    if let Some(buckets) = service.buckets() {
        // Before the key is looked at: guesses are limited too.
        buckets.take(client(request, options.behind_proxy), Instant::now()).map_err(|wait| {
            let message = "too many requests: wait as long as Retry-After says";
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).after(wait)
        })?;
    }
    let keyed = access == Access::Keyed;
    if let Some(key) = options.api_key.as_ref().filter(|_| keyed) {
        let given = bearer(request.headers());
        if !given.is_some_and(|given| key.is(given)) {
            let message = "the API key is missing or wrong: send it as `Authorization: Bearer KEY`";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        }
    }
    if keyed && options.api_key.is_none() && !options.behind_proxy && !names_this_machine(request.headers()) {
        let message = "without an API key this server is asked by its address or as localhost: give it a key";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "wrong_host", message));
    }
    if keyed && service.is_stopping() {
        return Err(Refusal::stopping());
    }
    if in_flight > options.concurrency {
        return Err(Refusal::busy("too many requests are being worked on"));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Whether the host that is asked for is an address or `localhost`. A page of another site, whose name is made to lead here, could
/// else ask with its visitor's browser.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let here = |name: &str| {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    };
    here(host) || here(without_port)
}

/// Who asks. The last address of `X-Forwarded-For` is the one that the proxy itself has seen.
fn client(request: &Request, behind_proxy: bool) -> IpAddr {
    let forwarded = || {
        let last = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|connect| connect.0.ip());
    // Mounted without addresses, all are one client.
    let peer = || peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    behind_proxy.then(forwarded).flatten().unwrap_or_else(peer)
}
