//! How long `POST /v1/identify` takes over HTTP, beside the gallery alone: embeddings in the body, connections kept alive.
//!
//! ```sh
//! cargo run --release -p dml-serve --example identify_latency -- [IDENTITIES] [DIM] [CLIENTS] [REQUESTS]
//! ```
//!
//! The defaults are 100,000 identities of length 128, 2 clients and 1,000 requests of each.

use dml_core::{Matrix, Metric};
use dml_gallery::{Change, Embeddings, Gallery, IdentifyOptions, MemoryGallery, Metadata, Model, Templates};
use dml_serve::{Options, Server, Service};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Identities that are enrolled together.
const CHUNK: usize = 10_000;

fn main() -> Outcome<()> {
    let given: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let or = |place: usize, default: usize| given.get(place).copied().unwrap_or(default);
    let (n, d, clients, requests) = (or(0, 100_000), or(1, 128), or(2, 2), or(3, 1000));
    let values = numbers(n * d);
    let model = Model { weights_sha256: None, dim: d, metric: Metric::Cosine, preprocessing: String::new() };
    let gallery = Arc::new(MemoryGallery::new(model.clone(), Templates::PerImage)?);
    for (chunk, rows) in values.chunks(CHUNK * d).enumerate() {
        let names: Vec<String> = (0..rows.len() / d).map(|i| format!("identity {}", chunk * CHUNK + i)).collect();
        let change = |(name, row)| {
            let embeddings = Embeddings::new(&model, Matrix::new(row, 1, d)?);
            Ok(Change::Enrol { name, embeddings, metadata: Metadata::new() })
        };
        let changes: Result<Vec<_>, dml_core::Error> =
            names.iter().map(String::as_str).zip(rows.chunks_exact(d)).map(change).collect();
        gallery.apply(&changes?)?;
    }

    let mut alone = Vec::with_capacity(requests);
    for row in values.chunks_exact(d).cycle().take(requests) {
        let started = Instant::now();
        gallery.identify(Embeddings::new(&model, Matrix::new(row, 1, d)?), &IdentifyOptions::default())?;
        alone.push(started.elapsed().as_secs_f64());
    }
    say("the gallery alone, one at a time", alone);

    let service = Service::new(gallery, None, Options { rate: None, ..Options::default() })?;
    let server = Server::bind(([127, 0, 0, 1], 0).into())?;
    let (address, running) = (server.address(), service.clone());
    let serving = std::thread::spawn(move || server.run(running));
    let times = std::thread::scope(|scope| {
        let ask = |client: usize| client_of(address, &values[client * d..], d, requests);
        let clients: Vec<_> = (0..clients).map(|client| scope.spawn(move || ask(client))).collect();
        clients.into_iter().map(|client| client.join().map_err(|_| "a client panicked")?).collect::<Outcome<Vec<_>>>()
    });
    service.stop();
    serving.join().map_err(|_| "the server panicked")??;
    say(&format!("over HTTP, {clients} clients"), times?.concat());
    Ok(())
}

/// Asks one request after the other on one connection; the time of each.
fn client_of(address: SocketAddr, values: &[f32], d: usize, requests: usize) -> Outcome<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut times = Vec::with_capacity(requests);
    for row in values.chunks_exact(d).cycle().take(requests) {
        let body = format!("{{\"embedding\":{row:?}}}");
        let head =
            "POST /v1/identify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ";
        let request = format!("{head}{}\r\n\r\n{body}", body.len());
        let started = Instant::now();
        stream.write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        answers.read_line(&mut line)?;
        if !line.contains(" 200 ") {
            return Err(line.into());
        }
        while line.trim() != "" {
            line.clear();
            answers.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        answers.read_exact(&mut vec![0; length])?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Numbers that hang on nothing.
fn numbers(n: usize) -> Vec<f32> {
    let number = |i: usize| {
        let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (((z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(number).collect()
}

#[allow(clippy::print_stdout, reason = "an example talks to its user")]
fn say(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    println!("{what}: median {:.2} ms, p99 {:.2} ms, slowest {:.2} ms", at(0.5), at(0.99), at(1.0));
}
