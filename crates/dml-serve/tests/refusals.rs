//! Every status that is not success, with what it says.

mod place;

use dml_gallery::{Filter, Gallery};
use place::{Client, Place, read};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn wrong_requests_name_the_field() {
    let place = Place::new();
    let bad = |path: &str, body| place.client.post(path, &body).refused(400, "bad_request");
    let cases = [
        ("/v1/identify", json!({"embedding": [1, 0]}), "`embedding` has length 2 but the gallery's model gives 3"),
        ("/v1/identify", json!({"embeddings": [[1, 0, 0], [1]]}), "`embeddings[1]` has length 1"),
        ("/v1/identify", json!({"embedding": [1, "a", 0]}), "`embedding[1]`: invalid type: string \"a\""),
        ("/v1/identify", json!({"embedding": [0, 0, 0]}), "embedding 0 is zero"),
        ("/v1/identify", json!({"embedding": [1e39, 0, 0]}), "embedding 0 holds inf in column 0"),
        ("/v1/identify", json!({}), "want one of `embedding`, `embeddings`"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "text": "x"}), "want one of"),
        ("/v1/identify", json!({"image": "MSwwLDA=", "texts": ["x"]}), "want one of"),
        ("/v1/identify", json!({"embeddings": []}), "`embeddings` is empty"),
        ("/v1/identify", json!({"embeddings": vec![[1, 0, 0]; 65]}), "`embeddings` holds 65: give 64 at a time"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "k": 0}), "`k` is 0: want 1 to 1000"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "k": -1}), "`k`: invalid value"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "threshold": 1e39}), "`threshold` is inf"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "where": {"site": []}}), "`where.site` has no values"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "treshold": 1}), "unknown field `treshold`"),
        ("/v1/identify", json!({"image": "*"}), "`image` is not base64"),
        ("/v1/identify", json!({"images": ["MSwwLDA=", "!"]}), "`images[1]` is not base64"),
        ("/v1/identify", json!({"image": "aGVsbG8="}), "input 0: no picture"),
        ("/v1/identify?k=3", json!({"embedding": [1, 0, 0]}), "`k`: beside JSON these stand in the body"),
        ("/v1/identify", json!({"embedding": [1, 0, 0], "text": null}), "`text`: invalid type: null"),
        ("/v1/identities?offset=1", json!({}), "query: \"offset\" is not known"),
        ("/v1/embed", json!({"embedding": [1, 0, 0]}), "unknown field `embedding`"),
        ("/v1/verify", json!({"embedding": [1, 0, 0]}), "missing field `name`"),
        ("/v1/verify", json!(["Ada"]), "want a JSON object"),
        ("/v1/embed?x=1", json!({}), "query: \"x\" is not known"),
        ("/v1/identities", json!({"name": "", "embedding": [1, 0, 0]}), "is no name"),
        ("/v1/identities", json!({"name": "a\nb", "embedding": [1, 0, 0]}), "is no name"),
        ("/v1/identities", json!({"name": "Cy", "metadata": {"a": 1}, "embedding": [1, 0, 0]}), "`metadata.a`"),
    ];
    for (path, body, wanted) in cases {
        let said = bad(path, body);
        assert!(said.contains(wanted), "{said}");
    }
    let json = |text: &[u8]| {
        let answer = place.client.send("POST", "/v1/embed", &[("Content-Type", "application/json")], text);
        answer.refused(400, "bad_request")
    };
    for (text, wanted) in [
        (b"{".as_slice(), "EOF"),
        (b"", "want a JSON object"),
        (b"[]", "want a JSON object"),
        (b"\xff", "want a JSON object"),
        (b"{} x", "goes on after its JSON"),
        (b"{\"text\": \"\xff\"}", "unicode"),
    ] {
        let said = json(text);
        assert!(said.contains(wanted), "{said}");
    }
    let deep = [b"{\"texts\":".as_slice(), &[b'['; 5000]].concat();
    assert!(json(&deep).contains("`texts[0]`"), "{}", json(&deep));
    for (path, wanted) in [
        ("/v1/identities?limit=0", "`limit` is 0: want 1 to 1000"),
        ("/v1/identities?limit=x", "`limit` is \"x\": want a number"),
        ("/v1/identities?limit=1&limit=2", "`limit` is there twice"),
        ("/v1/identities?where=site", "`where` is \"site\": want KEY=VALUE"),
        ("/v1/identities/%FF", "not UTF-8"),
    ] {
        let said = place.client.get(path).refused(400, "bad_request");
        assert!(said.contains(wanted), "{said}");
    }
    let said = place.client.picture("/v1/identify?k=9999", "1,0,0").refused(400, "bad_request");
    assert!(said.contains("`k` is 9999"));
    place.client.picture("/v1/embed", "hello").refused(400, "bad_request");
    assert_eq!(place.gallery.count(&Filter::everybody()).unwrap().identities, 2, "nothing has changed");
}

#[test]
fn embeddings_of_another_model_are_refused() {
    let place = Place::new();
    let body = json!({"embedding": [1, 0, 0], "weights_sha256": "beef"});
    assert!(place.client.post("/v1/identify", &body).refused(400, "other_model").contains("weights SHA-256 beef"));
}

#[test]
fn without_its_encoder_a_service_says_so() {
    let post = |place: &Place, body| place.client.post("/v1/embed", &body).refused(400, "no_encoder");
    let none = Place::with(None, |_| {});
    assert!(post(&none, json!({"image": "MSwwLDA="})).contains("takes embeddings only"));
    assert!(none.client.picture("/v1/identify", "1,0,0").refused(400, "no_encoder").contains("embeddings only"));
    assert!(post(&Place::new(), json!({"text": "x"})).contains("takes pictures, not texts"));
    let texts = Place::with(Some(dml_serve::Takes::Text), |_| {});
    assert!(post(&texts, json!({"image": "MSwwLDA="})).contains("takes texts, not pictures"));
}

#[test]
fn the_key_is_wanted_where_it_guards_something() {
    let place = Place::new();
    let with = |key: Option<&str>| Client { key: key.map(str::to_owned), ..place.client.clone() };
    for key in [None, Some("wrong"), Some(""), Some(&place::KEY[1..]), Some("a-key-of-these-tests-onlyy")] {
        let answer = with(key).get("/v1/gallery");
        answer.refused(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for (method, path) in dml_serve::routes() {
        let status = with(None).send(method, &path.replace("{name}", "Ada"), &[], &[]).status;
        let open = ["/", "/openapi.json", "/health", "/ready"].contains(&path);
        assert_eq!(status, if open { 200 } else { 401 }, "{method} {path}");
    }
    let header = |value: &str| with(None).send("GET", "/v1/gallery", &[("Authorization", value)], &[]).status;
    assert_eq!(header(&format!("bearer {}", place::KEY)), 200);
    assert_eq!(header(&format!("Basic {}", place::KEY)), 401);
    // Where no key is set nobody is asked for one.
    assert_eq!(Place::with(None, |options| options.api_key = None).client.get("/v1/gallery").status, 200);
}

#[test]
fn without_a_key_names_of_other_machines_are_refused() {
    let asked_as = |place: &Place, host: &str| {
        let mut stream = TcpStream::connect(place.client.address).unwrap();
        let request = format!("GET /v1/gallery HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        read(&mut stream)
    };
    let place = Place::with(None, |options| options.api_key = None);
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "::1"] {
        assert_eq!(asked_as(&place, host).status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        asked_as(&place, host).refused(403, "wrong_host");
    }
    let proxied = Place::with(None, |options| (options.api_key, options.behind_proxy) = (None, true));
    assert_eq!(asked_as(&proxied, "gallery.example").status, 200);
}

#[test]
fn paths_methods_and_types() {
    let place = Place::new();
    let client = &place.client;
    client.get("/v2").refused(404, "not_found");
    client.get("/v1/identities/").refused(404, "not_found");
    client.get("/v1/identities/nobody").refused(404, "not_enrolled");
    client.post("/v1/verify", &json!({"embedding": [1, 0, 0], "name": "nobody"})).refused(404, "not_enrolled");
    for (method, path, allowed) in [
        ("GET", "/v1/identify", "POST"),
        ("PUT", "/v1/identities/Ada", "GET,HEAD,DELETE"),
        ("DELETE", "/v1/identities", "POST,GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
    ] {
        let answer = client.send(method, path, &[], &[]);
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
    let typed = |path: &str, kind: &[(&str, &str)]| client.send("POST", path, kind, b"{}");
    typed("/v1/embed", &[]).refused(415, "unsupported_media_type");
    typed("/v1/embed", &[("Content-Type", "text/plain")]).refused(415, "unsupported_media_type");
    typed("/v1/verify", &[("Content-Type", "image/png")]).refused(415, "unsupported_media_type");
    typed("/v1/identities", &[("Content-Type", "image/png")]).refused(415, "unsupported_media_type");
    typed("/v1/embed", &[("Content-Type", "Application/JSON; charset=utf-8")]).refused(400, "bad_request");
}

#[test]
fn bodies_are_limited_in_size_and_time() {
    let place = Place::with(None, |options| options.max_body = 1000);
    let kind = ("Content-Type", "application/json");
    let large = vec![b' '; 1001];
    place.client.send("POST", "/v1/embed", &[kind], &large).refused(413, "too_large");
    // One that does not say how long it is.
    let chunked = [b"3e9\r\n".as_slice(), &large, b"\r\n0\r\n\r\n"].concat();
    let chunks = [kind, ("Transfer-Encoding", "chunked")];
    place.client.send("POST", "/v1/embed", &chunks, &chunked).refused(413, "too_large");
    // Where the time is short, what does come may be too late as well.
    let short = Place::with(None, |options| options.body_timeout = Duration::from_millis(200));
    short.client.send("POST", "/v1/embed", &[kind, ("Content-Length", "9")], b"{").refused(408, "timeout");
    // One that breaks off.
    let mut stream = TcpStream::connect(place.client.address).unwrap();
    let key = place::KEY;
    let head = format!(
        "POST /v1/embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    );
    stream.write_all(format!("{head}Content-Length: 9\r\nConnection: close\r\n\r\n{{").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&bytes));
    // What is no HTTP.
    let mut stream = TcpStream::connect(place.client.address).unwrap();
    stream.write_all(b"hello\r\n\r\n").unwrap();
    assert_eq!(read(&mut stream).status, 400);
    assert_eq!(place.client.get("/health").status, 200);
}

#[test]
fn an_encoder_that_fails_fails_its_batch_only() {
    let place = Place::new();
    let client = &place.client;
    for picture in ["fail", "panic", "short"] {
        let said = client.picture("/v1/embed", picture).refused(500, "internal");
        assert!(!said.contains("secret") && !said.contains("told"), "{said}");
    }
    assert_eq!(client.picture("/v1/embed", "1,0,0").json(200)["embeddings"][0][0], 1.0);
}
