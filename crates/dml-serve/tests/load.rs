//! Many requests at once: batches, limits, stopping, and what is counted and logged.

mod place;

use dml_serve::{ApiKey, Options, Rate, Service, Takes, router};
use place::{Client, KEY, Place, read, wait_until};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn requests_at_the_same_time_share_batches() {
    let place = Place::with(Some(Takes::Image), |options| {
        // Full batches wait for nobody; so long the others do, for those that are counted as waiting and not yet handed over.
        (options.batch, options.batch_wait) = (8, Duration::from_secs(1));
    });
    place.gate.close();
    thread::scope(|scope| {
        let first = scope.spawn(|| place.client.picture("/v1/embed", "1,0,0").json(200));
        place.gate.wait_for_batches(1);
        // While the encoder is busy these queue, one of them not readable.
        let rest: Vec<_> = (0..20)
            .map(|i| if i == 7 { "unreadable".to_owned() } else { format!("1,{i},0") })
            .map(|picture| scope.spawn(|| (place.client.picture("/v1/embed", &picture), picture)))
            .collect();
        wait_until(|| place.client.get("/metrics").text().contains("dml_encoder_waiting_items 20\n"));
        place.gate.open();
        assert_eq!(first.join().unwrap()["embeddings"], json!([[1.0, 0.0, 0.0]]));
        for request in rest {
            let (answer, picture) = request.join().unwrap();
            // Each gets what is its own, and only the bad one is refused.
            if picture == "unreadable" {
                answer.refused(400, "bad_request");
            } else {
                assert_eq!(
                    format!("{}", answer.json(200)["embeddings"][0][1]),
                    format!("{}.0", picture.split(',').nth(1).unwrap())
                );
            }
        }
    });
    assert_eq!(*place.gate.batches.lock().unwrap(), [1, 8, 8, 4]);
}

#[test]
fn a_request_of_many_is_cut_into_batches() {
    let place = Place::with(Some(Takes::Text), |options| options.batch = 8);
    let texts: Vec<String> = (0..20).map(|i| format!("{i},0,1")).collect();
    let embedded = place.client.post("/v1/embed", &json!({"texts": texts})).json(200);
    let firsts: Vec<f64> =
        embedded["embeddings"].as_array().unwrap().iter().map(|row| row[0].as_f64().unwrap()).collect();
    assert_eq!(firsts, (0..20).map(f64::from).collect::<Vec<_>>());
    assert_eq!(*place.gate.batches.lock().unwrap(), [8, 8, 4]);
}

#[test]
fn a_full_queue_and_too_many_requests_are_busy() {
    let place = Place::with(Some(Takes::Image), |options| {
        (options.batch, options.queue, options.probes, options.concurrency) = (1, 2, 2, 5);
    });
    place.gate.close();
    thread::scope(|scope| {
        let ask = || scope.spawn(|| place.client.picture("/v1/embed", "1,0,0").status);
        let first = ask();
        place.gate.wait_for_batches(1);
        let waiting = [ask(), ask()];
        wait_until(|| place.client.get("/metrics").text().contains("dml_encoder_waiting_items 2\n"));
        let answer = place.client.picture("/v1/embed", "1,0,0");
        assert!(answer.refused(503, "busy").contains("wait for the encoder"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        // Others are served still.
        assert_eq!(place.client.post("/v1/identify", &json!({"embedding": [1, 0, 0]})).status, 200);
        // As many as may be worked on at once: two whose bodies are on their way. A question at the wrong moment takes the place of
        // the second, which is then refused: another one tries.
        let mut slow = vec![begun(&place.client)];
        wait_until(|| place.client.get("/metrics").text().contains("dml_http_requests_in_flight 5\n"));
        loop {
            slow.push(begun(&place.client));
            thread::sleep(Duration::from_millis(50));
            if place.client.get("/v1/gallery").status == 503 {
                break;
            }
            assert!(slow.len() < 100, "it is never full");
        }
        assert!(place.client.get("/v1/gallery").refused(503, "busy").contains("being worked on"));
        assert_eq!(place.client.get("/health").status, 200);
        let bad = |mut stream: TcpStream| {
            let _ = stream.write_all(b"{}");
            read(&mut stream).status == 400
        };
        assert_eq!(slow.into_iter().map(bad).filter(|&bad| bad).count(), 2);
        place.gate.open();
        assert!(first.join().unwrap() == 200 && waiting.map(|request| request.join().unwrap()) == [200, 200]);
    });
    wait_until(|| place.client.get("/metrics").text().contains("dml_http_requests_in_flight 1\n"));
}

/// A request whose body of two bytes has not been sent.
fn begun(client: &Client) -> TcpStream {
    let mut stream = TcpStream::connect(client.address).unwrap();
    let head = "POST /v1/embed HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    stream.write_all(format!("{head}Authorization: Bearer {KEY}\r\n\r\n").as_bytes()).unwrap();
    stream
}

#[test]
fn clients_are_limited_each_by_itself() {
    let place = Place::with(None, |options| {
        (options.rate, options.behind_proxy) = (Some(Rate { per_second: 0.1, burst: 3.0 }), true);
    });
    let from = |address: &str| place.client.send("GET", "/v1/gallery", &[("X-Forwarded-For", address)], &[]);
    assert_eq!([(); 3].map(|()| from("6.6.6.6, 10.0.0.1").status), [200; 3]);
    let answer = from("10.0.0.1");
    answer.refused(429, "too_many_requests");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    // What a client says of itself before the proxy's word counts for nothing; other clients are not concerned.
    assert_eq!(from("10.0.0.2, 10.0.0.1").status, 429);
    assert_eq!(from("10.0.0.2").status, 200);
    // Guesses at the key are limited too, and signs of life are not.
    let guess = Client { key: Some("guess".to_owned()), ..place.client.clone() };
    assert_eq!([(); 4].map(|()| guess.get("/v1/gallery").status), [401, 401, 401, 429]);
    assert!((0..10).all(|_| place.client.get("/health").status == 200));

    // Without a proxy the header is not believed.
    let direct = Place::with(None, |options| options.rate = Some(Rate { per_second: 0.1, burst: 1.0 }));
    let from = |address: &str| direct.client.send("GET", "/v1/gallery", &[("X-Forwarded-For", address)], &[]).status;
    assert_eq!([from("10.0.0.1"), from("10.0.0.2")], [200, 429]);
}

#[test]
fn what_is_worked_on_ends_before_the_server_does() {
    let mut place = Place::new();
    place.gate.close();
    let client = place.client.clone();
    let request = thread::spawn(move || client.picture("/v1/embed", "1,0,0").status);
    place.gate.wait_for_batches(1);
    place.service.stop();
    wait_until(|| TcpStream::connect(place.client.address).is_err());
    assert!(!request.is_finished());
    place.gate.open();
    assert_eq!(request.join().unwrap(), 200);
    place.end();
}

/// As a part of another program's service, which goes on when this one stops.
#[test]
fn mounted_under_a_prefix_it_is_guarded_and_stops_by_itself() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let options = Options { api_key: Some(ApiKey::new(KEY).unwrap()), rate: None, ..Options::default() };
    let service = Service::new(place::people(), None, options).unwrap();
    let app = axum::Router::new().nest("/people", router(service.clone()));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let client = Client { address: listener.local_addr().unwrap(), key: Some(KEY.to_owned()) };
    runtime.spawn(async move { axum::serve(listener, app).await });
    assert_eq!(client.get("/people/v1/identities/Ada").json(200)["name"], "Ada");
    let anybody = Client { key: None, ..client.clone() };
    for (method, path) in dml_serve::routes() {
        let open = ["/", "/openapi.json", "/health", "/ready"].contains(&path);
        let path = format!("/people{}", path.replace("{name}", "Ada"));
        let status = anybody.send(method, &path, &[], &[]).status;
        assert_eq!(status == 401, !open, "{method} {path}: {status}");
    }
    service.stop();
    let answer = client.get("/people/ready");
    answer.refused(503, "stopping");
    assert!(answer.header("retry-after").is_some());
    client.post("/people/v1/identify", &json!({"embedding": [1, 0, 0]})).refused(503, "stopping");
    assert_eq!(client.get("/people/health").status, 200);
}

#[test]
fn a_server_that_cannot_end_in_time_ends_anyway() {
    let mut place = Place::with(Some(Takes::Image), |options| options.grace = Duration::from_millis(100));
    let slow = begun(&place.client);
    wait_until(|| place.client.get("/metrics").text().contains("dml_http_requests_in_flight 2\n"));
    place.end();
    drop(slow);
}

#[test]
fn everything_is_counted() {
    let place = Place::new();
    let client = &place.client;
    for _ in 0..3 {
        client.picture("/v1/identify?threshold=0.5", "1,0,0").json(200);
    }
    client.post("/v1/identify", &json!({"embeddings": [[0, 0, 1], [1, 0, 0]], "threshold": 0.5})).json(200);
    client.post("/v1/verify", &json!({"embedding": [0, 0, 1], "name": "Ada"})).json(200);
    client.post("/v1/identify", &json!({})).refused(400, "bad_request");
    client.get("/v1/identities/Ada").json(200);
    client.get("/nowhere/Ada").refused(404, "not_found");
    client.send("MADEUP", "/nowhere", &[], &[]).refused(404, "not_found");
    let answer = client.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    for line in [
        "dml_http_requests_total{method=\"POST\",route=\"/v1/identify\",status=\"200\"} 4",
        "dml_http_requests_total{method=\"POST\",route=\"/v1/identify\",status=\"400\"} 1",
        "dml_http_requests_total{method=\"GET\",route=\"/v1/identities/{name}\",status=\"200\"} 1",
        "dml_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "dml_http_requests_total{method=\"other\",route=\"none\",status=\"404\"} 1",
        "dml_http_request_seconds_count{route=\"/v1/identify\"} 5",
        "dml_http_requests_in_flight 1",
        "dml_decisions_total{decision=\"accepted\",operation=\"identify\"} 4",
        "dml_decisions_total{decision=\"unknown\",operation=\"identify\"} 1",
        "dml_decisions_total{decision=\"no_threshold\",operation=\"verify\"} 1",
        "dml_gallery_seconds_count{operation=\"identify\"} 4",
        "dml_encoder_batch_items_count 3",
        "dml_encoder_batch_items_sum 3",
        "dml_encoder_batch_seconds_count 3",
        "dml_encoder_waiting_items 0",
        "dml_gallery_identities 2",
        "dml_gallery_samples 2",
    ] {
        assert!(text.lines().any(|said| said == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("Ada"), "a name is in the metrics");
}

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_and_no_name_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let place = Place::new();
    let client = &place.client;
    client
        .post(
            "/v1/identities",
            &json!({"name": "Zebulon", "metadata": {"born": "Tarsus"}, "embedding": [0, 0.123456, 1]}),
        )
        .json(201);
    client.get("/v1/identities/Zebulon").json(200);
    client.get("/v1/identities?where=born%3DTarsus").json(200);
    client.get("/v1/identities/Zebulo").refused(404, "not_enrolled");
    client.get("/Zebulon").refused(404, "not_found");
    client.picture("/v1/embed", "fail").refused(500, "internal");
    Client { key: Some("wrong-key-wrong-key".to_owned()), ..client.clone() }
        .get("/v1/gallery")
        .refused(401, "unauthorized");
    wait_until(|| String::from_utf8_lossy(&log.0.lock().unwrap()).contains("401"));
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("route=\"/v1/identities/{name}\"") && said.contains("of a secret reason"), "{said}");
    for secret in [KEY, "wrong-key", "Zebulo", "Tarsus", "0.123456"] {
        assert!(!said.contains(secret), "{secret} is in the log:\n{said}");
    }
    let options = Options { api_key: Some(ApiKey::new(KEY).unwrap()), ..Options::default() };
    assert!(!format!("{options:?}").contains(KEY));
}
