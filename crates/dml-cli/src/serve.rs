//! `dml serve`: a gallery over HTTP.

use crate::gallery::{Place, open_encoder};
use crate::train::Parent;
use anyhow::{Context, Result, bail};
use clap::Args;
use dml_gallery::Gallery;
use dml_serve::{ApiKey, Options, Rate, Server, Service};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

/// Serve a gallery over HTTP: embed, enrol, verify, identify, forget, and a page to drop a picture on
///
/// GET /openapi.json describes all requests, GET / is the page, GET /metrics is for Prometheus.
///
/// TLS is left to a proxy in front, which is wanted wherever the network is not trusted; say --behind-proxy then, so that
/// each client has a limit of its own. The log on standard error holds no key, name, picture or embedding. Ctrl-C and
/// SIGTERM end it once what is being worked on is answered.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Serve {
    /// The gallery: a file, which nobody else may have open, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// The encoder that embeds pictures or texts: a folder that `dml train` has finished. Without it only embeddings are taken
    #[arg(long, visible_alias = "run")]
    run_dir: Option<PathBuf>,
    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// File that holds the API key, 16 characters or more [default: the environment's DML_API_KEY]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let everybody in who reaches an address beyond this machine
    #[arg(long, conflicts_with = "api_key_file")]
    no_api_key: bool,
    /// The last address in X-Forwarded-For is the client's: a proxy stands in front
    #[arg(long)]
    behind_proxy: bool,
    /// Largest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Options::default().max_body)]
    max_body: usize,
    /// Requests per second of one client, and twice as many at once; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    rate: f64,
    /// Requests that are worked on at once; others are told to come again
    #[arg(long, value_name = "N", default_value_t = Options::default().concurrency)]
    concurrency: usize,
    /// Most pictures or texts that go through the encoder together
    #[arg(long, value_name = "N", default_value_t = Options::default().batch)]
    batch: usize,
    /// How long one waits for others to go with, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2)]
    batch_wait_ms: u64,
    /// What is logged: off, error, warn, info (a line for each request), debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
    #[command(flatten)]
    parent: Parent,
}

pub(crate) fn serve(arguments: &Serve) -> Result<()> {
    arguments.parent.watch();
    let api_key = api_key(arguments)?;
    if api_key.is_none() && !arguments.no_api_key && !arguments.listen.ip().is_loopback() {
        bail!(
            "--listen {} is reached from other machines and there is no API key: give --api-key-file or DML_API_KEY, or say \
             --no-api-key",
            arguments.listen
        );
    }
    tracing_subscriber::fmt().with_max_level(arguments.log).with_writer(std::io::stderr).with_ansi(false).init();
    let gallery: Arc<dyn Gallery> = Arc::from(arguments.gallery.open()?);
    let encoder = arguments.run_dir.as_ref().map(|run_dir| open_encoder(run_dir, &arguments.parent)).transpose()?;
    let options = Options {
        api_key,
        max_body: arguments.max_body,
        rate: (arguments.rate != 0.0).then(|| Rate::per_second(arguments.rate)),
        behind_proxy: arguments.behind_proxy,
        concurrency: arguments.concurrency,
        batch: arguments.batch,
        batch_wait: Duration::from_millis(arguments.batch_wait_ms),
        ..Options::default()
    };
    let server = Server::bind(arguments.listen)?;
    let keyed = options.api_key.is_some();
    let service = Service::new(gallery, encoder, options)?;
    let stopping = service.clone();
    ctrlc::set_handler(move || {
        if stopping.is_stopping() {
            std::process::exit(130);
        }
        eprintln!("ending what is being worked on; Ctrl-C again ends at once");
        stopping.stop();
    })
    .context("cannot listen for Ctrl-C")?;
    let key = if keyed { "with the API key" } else { "without an API key" };
    println!("{}: http://{} {key}", arguments.gallery, server.address());
    server.run(service)?;
    Ok(())
}

fn api_key(arguments: &Serve) -> Result<Option<ApiKey>> {
    let (key, from) = match &arguments.api_key_file {
        _ if arguments.no_api_key => return Ok(None),
        Some(file) => {
            (fs::read_to_string(file).with_context(|| file.display().to_string())?, file.display().to_string())
        }
        None => match std::env::var("DML_API_KEY") {
            Ok(key) => (key, "DML_API_KEY".to_owned()),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            // The error would show it.
            Err(_) => bail!("DML_API_KEY is not UTF-8: want visible ASCII characters"),
        },
    };
    Ok(Some(ApiKey::new(key.trim()).context(from)?))
}
