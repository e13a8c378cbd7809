//! A gallery over HTTP: embed, enrol, verify, identify, forget; health, metrics, OpenAPI, and a page to drop a picture on.
//!
//! ```no_run
//! use dml_core::Metric;
//! use dml_gallery::{MemoryGallery, Model, Templates};
//! use dml_serve::{Options, Server, Service};
//! use std::sync::Arc;
//!
//! let model = Model { weights_sha256: None, dim: 128, metric: Metric::Cosine, preprocessing: String::new() };
//! let gallery = Arc::new(MemoryGallery::new(model, Templates::PerImage)?);
//! let service = Service::new(gallery, None, Options::default())?;
//! Server::bind(([127, 0, 0, 1], 8080).into())?.run(service)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It knows nothing of encoders but [`Encode`]: pictures or texts in, embeddings out, in batches that requests at the same time
//! share. [`router`] gives an [`axum::Router`] to mount elsewhere.
//!
//! **No TLS, and no users.** A proxy in front does the first, and cuts off clients that are slow on purpose; one key is the
//! second. No log and no metric holds the key, a name, a picture or an embedding.

mod batcher;
mod encode;
mod guard;
mod metrics;
mod openapi;
mod options;
mod page;
mod probes;
mod rate;
mod refusal;
mod routes;
mod sent;
mod server;
mod service;

pub use axum::body::Bytes;
pub use encode::{Encode, EncodeError, Item, Takes};
pub use options::{ApiKey, KeyError, Options, Rate};
pub use routes::{router, routes};
pub use server::Server;
pub use service::{Error, Service};
