//! A service over a gallery in memory, with an encoder that does as its pictures say, behind a real socket; and a client.
#![allow(dead_code, reason = "each test uses a part of it")]

use dml_core::{Matrix, Metric};
use dml_gallery::{CalibrationOptions, Embeddings, Gallery, MemoryGallery, Metadata, Model, Templates};
use dml_serve::{ApiKey, Encode, EncodeError, Item, Options, Server, Service, Takes};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) const DIM: usize = 3;
pub(crate) const KEY: &str = "a-key-of-these-tests-only";

pub(crate) fn model() -> Model {
    let weights_sha256 = Some("00ff".to_owned());
    Model { weights_sha256, dim: DIM, metric: Metric::Cosine, preprocessing: "none".to_owned() }
}

/// What the encoder has been asked, and whether it may answer.
#[derive(Default)]
pub(crate) struct Gate {
    /// Items of each batch.
    pub(crate) batches: Mutex<Vec<usize>>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub(crate) fn wait_for_batches(&self, n: usize) {
        wait_until(|| self.batches.lock().unwrap().len() >= n);
    }
}

#[track_caller]
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come to that within 10 s");
}

/// Pictures are `1,0,0` and the like; `fail`, `panic` and `short` do so, what else is no list of three numbers is
/// unreadable. A PNG is Ada.
pub(crate) struct Fake(pub(crate) Model, pub(crate) Takes, pub(crate) Arc<Gate>);

impl Encode for Fake {
    fn model(&self) -> &Model {
        &self.0
    }

    fn takes(&self) -> Takes {
        self.1
    }

    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>> {
        self.2.batches.lock().unwrap().push(items.len());
        let mut closed = self.2.closed.lock().unwrap();
        while *closed {
            closed = self.2.opened.wait(closed).unwrap();
        }
        // It may panic below, as an encoder might.
        drop(closed);
        let embed = |item: &Item| {
            let text = match item {
                Item::Image(bytes) if bytes.starts_with(b"\x89PNG") => "0.9,0.2,0".to_owned(),
                Item::Image(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Item::Text(text) => text.clone(),
            };
            let numbers = text.split(',').map(|number| number.parse().ok()).collect::<Option<Vec<f32>>>();
            match text.as_str() {
                "short" => Ok(vec![1.0]),
                "panic" => panic!("as it was told"),
                "fail" => Err(EncodeError::Failed("of a secret reason".to_owned())),
                _ => numbers.filter(|row| row.len() == DIM).ok_or(EncodeError::Unreadable("no picture".to_owned())),
            }
        };
        items.iter().map(embed).collect()
    }
}

/// A service that runs until it is dropped.
pub(crate) struct Place {
    pub(crate) service: Service,
    pub(crate) gate: Arc<Gate>,
    pub(crate) gallery: Arc<MemoryGallery>,
    pub(crate) client: Client,
    server: Option<JoinHandle<()>>,
}

/// Ada looks along the first axis, Bo along the second.
pub(crate) fn people() -> Arc<MemoryGallery> {
    let (model, gallery) = (model(), MemoryGallery::new(model(), Templates::PerImage).unwrap());
    for (name, site, values) in [("Ada", "north", [1.0, 0.0, 0.0]), ("Bo", "south", [0.0, 1.0, 0.0])] {
        let metadata = Metadata::from([("site".to_owned(), site.to_owned())]);
        gallery.enrol(name, Embeddings::new(&model, Matrix::new(&values, 1, DIM).unwrap()), metadata).unwrap();
    }
    Arc::new(gallery)
}

impl Place {
    /// With pictures, the key and no limit to the rate.
    pub(crate) fn new() -> Self {
        Self::with(Some(Takes::Image), |_| {})
    }

    pub(crate) fn with(takes: Option<Takes>, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { api_key: Some(ApiKey::new(KEY).unwrap()), rate: None, ..Options::default() };
        change(&mut options);
        let (gate, gallery) = (Arc::new(Gate::default()), people());
        let encoder = takes.map(|takes| Box::new(Fake(model(), takes, gate.clone())) as Box<dyn Encode>);
        let key = options.api_key.is_some().then(|| KEY.to_owned());
        let service = Service::new(gallery.clone(), encoder, options).unwrap();
        let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let client = Client { address: server.address(), key };
        let running = service.clone();
        let server = Some(std::thread::spawn(move || server.run(running).unwrap()));
        Self { service, gate, gallery, client, server }
    }

    /// On sixty people who are not enrolled, all around the third axis.
    pub(crate) fn calibrate(&self) {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for person in 0..60u32 {
            for sample in 0..3 {
                let (angle, shift) = (person as f32 * 0.7, sample as f32 * 0.01);
                values.extend([0.3 * angle.cos() + shift, 0.3 * angle.sin(), 1.0]);
                labels.push(person);
            }
        }
        let (model, options) = (model(), CalibrationOptions::default());
        let held_out = Embeddings::new(&model, Matrix::new(&values, labels.len(), DIM).unwrap());
        self.gallery.calibrate(held_out, &labels, &options).unwrap();
    }

    /// Tells it to stop and waits until it has.
    pub(crate) fn end(&mut self) {
        self.service.stop();
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.open();
        self.service.stop();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Sends a request on a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        if let Some(key) = &self.key {
            head += &format!("Authorization: Bearer {key}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "Content-Length" || *name == "Transfer-Encoding") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses early need not read on.
        let _ = stream.write_all(body);
        read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn picture(&self, path: &str, picture: &str) -> Answer {
        self.send("POST", path, &[("Content-Type", "image/png")], picture.as_bytes())
    }
}

/// An answer, to its end.
pub(crate) fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let outcome = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {outcome:?}, {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

impl Answer {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body of a request that was answered.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code and message of one that was not.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        let said = self.json(status);
        assert_eq!(said.as_object().unwrap().len(), 1, "{said}");
        assert_eq!(said["error"]["code"], code, "{said}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        said["error"]["message"].as_str().unwrap().to_owned()
    }
}
