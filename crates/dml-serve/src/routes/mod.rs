//! Which request is answered by what: one table, which the router is made of.

mod about;
mod ask;
mod identities;

use crate::guard::{Access, guard};
use crate::refusal::Refusal;
use crate::service::Service;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

type Route = (&'static str, &'static str, Access, MethodRouter<Service>);

fn table() -> [Route; 13] {
    use Access::{Keyed, Limited, Open};
    [
        ("GET", "/", Limited, get(about::page)),
        ("GET", "/openapi.json", Limited, get(about::openapi)),
        ("GET", "/health", Open, get(about::health)),
        ("GET", "/ready", Open, get(about::ready)),
        ("GET", "/metrics", Keyed, get(about::metrics)),
        ("GET", "/v1/gallery", Keyed, get(about::gallery)),
        ("POST", "/v1/embed", Keyed, post(ask::embed)),
        ("POST", "/v1/verify", Keyed, post(ask::verify)),
        ("POST", "/v1/identify", Keyed, post(ask::identify)),
        ("POST", "/v1/identities", Keyed, post(identities::enrol)),
        ("GET", "/v1/identities", Keyed, get(identities::list)),
        ("GET", "/v1/identities/{name}", Keyed, get(identities::one)),
        ("DELETE", "/v1/identities/{name}", Keyed, delete(identities::forget)),
    ]
}

/// Method and path of everything that is answered; `HEAD` beside each `GET`.
pub fn routes() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|(method, path, ..)| (method, path)).collect()
}

/// Everything that is answered, to be served or to be mounted in another router, under a prefix if need be. Clients are limited
/// each by itself where axum tells their addresses (`into_make_service_with_connect_info::<SocketAddr>`), and else all together.
///
/// [`Server`](crate::Server) builds a stale index again by itself; beside a mounted router call [`dml_gallery::Gallery::refresh`].
pub fn router(service: Service) -> Router {
    let limit = DefaultBodyLimit::max(service.options().max_body);
    // Whoever has no key is not told what there is not, either.
    let guarded = |access, router: Router<Service>| {
        router
            .method_not_allowed_fallback(wrong_method)
            .layer(limit)
            .layer(from_fn_with_state((service.clone(), access), guard))
    };
    let of = |wanted: Access| {
        let chosen = table().into_iter().filter(|(_, _, access, _)| *access == wanted);
        guarded(wanted, chosen.fold(Router::new(), |router, (_, path, _, answer)| router.route(path, answer)))
    };
    let all = of(Access::Open).merge(of(Access::Limited)).merge(of(Access::Keyed));
    all.merge(guarded(Access::Limited, Router::new().fallback(nowhere))).with_state(service)
}

async fn nowhere() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is no such path: GET /openapi.json says what there is")
}

async fn wrong_method() -> Refusal {
    let message = "this path takes another method: the header Allow says which";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
