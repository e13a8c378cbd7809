//! Every endpoint over a real socket, and the description of them.

mod place;

use dml_gallery::{Filter, Gallery};
use place::{Place, model};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn probes_are_identified_verified_and_embedded() {
    let place = Place::new();
    let client = &place.client;
    let answer =
        client.post("/v1/identify", &json!({"embedding": [0.9, 0.1, 0.0], "threshold": 0.8, "k": 1})).json(200);
    let first = &answer["answers"][0];
    assert_eq!((answer["answers"].as_array().unwrap().len(), &first["decision"]), (1, &json!("accepted")));
    assert_eq!(first["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(first["candidates"][0]["name"], "Ada");
    // Several at once, in their order; a stranger is unknown.
    let several = json!({"embeddings": [[0.0, 1.0, 0.1], [0.0, 0.0, 1.0]], "threshold": 0.8});
    let answers = client.post("/v1/identify", &several).json(200);
    assert_eq!(answers["answers"][0]["candidates"][0]["name"], "Bo");
    assert_eq!(answers["answers"][1]["decision"], "unknown");
    // Pictures: base64 ("1,0,0"), several, and as they are, with the options after the `?`.
    for request in [json!({"image": "MSwwLDA="}), json!({"images": ["MSwwLDA=", "MCwxLDA="]})] {
        let answers = client.post("/v1/identify", &request).json(200);
        assert_eq!(answers["answers"][0]["candidates"][0]["name"], "Ada");
        assert_eq!(answers["answers"][0]["decision"], "no_threshold");
    }
    let raw = client.picture("/v1/identify?k=1&threshold=0.5&where=site=south&where=site=west", "1,0.1,0").json(200);
    assert_eq!(
        raw["answers"][0]["candidates"],
        json!([{"name": "Bo", "score": raw["answers"][0]["candidates"][0]["score"]}])
    );
    assert_eq!(raw["answers"][0]["decision"], "unknown");
    let filtered = json!({"embedding": [1, 0, 0], "where": {"site": ["south", "west"]}});
    assert_eq!(client.post("/v1/identify", &filtered).json(200)["answers"][0]["candidates"][0]["name"], "Bo");

    let verify =
        json!({"embeddings": [[1, 0, 0], [0, 1, 0]], "name": "Ada", "threshold": 0.5, "weights_sha256": "00ff"});
    let answers = client.post("/v1/verify", &verify).json(200);
    let decisions = [&answers["answers"][0]["decision"], &answers["answers"][1]["decision"]];
    assert_eq!(decisions, [&json!("accepted"), &json!("unknown")]);

    let embedded = client.post("/v1/embed", &json!({"images": ["MSwwLDA=", "MCwxLDA="]})).json(200);
    assert_eq!(embedded["embeddings"], json!([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]));
    assert_eq!(embedded["model"], serde_json::to_value(model()).unwrap());
    assert_eq!(client.picture("/v1/embed", "0,0,2").json(200)["embeddings"], json!([[0.0, 0.0, 2.0]]));
}

#[test]
fn texts_are_embedded_by_an_encoder_of_texts() {
    let place = Place::with(Some(dml_serve::Takes::Text), |_| {});
    let answers = place.client.post("/v1/identify", &json!({"texts": ["1,0,0", "0,1,0"], "threshold": 0.5})).json(200);
    assert_eq!(answers["answers"][1]["candidates"][0]["name"], "Bo");
    assert_eq!(place.client.post("/v1/embed", &json!({"text": "0,0,1"})).json(200)["embeddings"][0][2], 1.0);
    assert_eq!(place.client.get("/v1/gallery").json(200)["encoder"], "text");
}

#[test]
fn an_encoder_of_both_takes_pictures_and_texts() {
    let place = Place::with(Some(dml_serve::Takes::Both), |_| {});
    let client = &place.client;
    assert_eq!(client.post("/v1/embed", &json!({"text": "0,0,1"})).json(200)["embeddings"][0][2], 1.0);
    assert_eq!(client.picture("/v1/embed", "0,0,2").json(200)["embeddings"], json!([[0.0, 0.0, 2.0]]));
    let answers = client.post("/v1/identify", &json!({"text": "0,1,0", "threshold": 0.5})).json(200);
    assert_eq!(answers["answers"][0]["candidates"][0]["name"], "Bo");
    assert_eq!(client.get("/v1/gallery").json(200)["encoder"], "both");
}

#[test]
fn identities_are_enrolled_listed_and_forgotten() {
    let place = Place::new();
    let client = &place.client;
    let request = json!({"name": "Cy", "images": ["MCwwLDE=", "MCwwLDI="], "metadata": {"site": "north"}});
    let enrolled = client.post("/v1/identities", &request).json(201);
    assert_eq!(enrolled, json!({"name": "Cy", "metadata": {"site": "north"}, "samples": [2, 3], "added": [2, 3]}));
    client.post("/v1/identities", &request).refused(409, "already_enrolled");
    let more = json!({"name": "Cy", "embedding": [0, 0.1, 1], "add_samples": true});
    let enrolled = client.post("/v1/identities", &more).json(201);
    assert_eq!((&enrolled["samples"], &enrolled["added"]), (&json!([2, 3, 4]), &json!([4])));

    let names = |path: &str| -> (Value, Vec<Value>) {
        let listed = client.get(path).json(200);
        let names = listed["identities"].as_array().unwrap().iter().map(|who| who["name"].clone()).collect();
        (listed["total"].clone(), names)
    };
    assert_eq!(names("/v1/identities"), (json!(3), vec![json!("Ada"), json!("Bo"), json!("Cy")]));
    assert_eq!(names("/v1/identities?offset=1&limit=1"), (json!(3), vec![json!("Bo")]));
    assert_eq!(names("/v1/identities?where=site%3Dnorth"), (json!(2), vec![json!("Ada"), json!("Cy")]));
    assert_eq!(names("/v1/identities?offset=7"), (json!(3), vec![]));

    assert_eq!(client.get("/v1/identities/Cy").json(200)["samples"], json!([2, 3, 4]));
    let gone = client.send("DELETE", "/v1/identities/Cy", &[], &[]);
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    client.send("DELETE", "/v1/identities/Cy", &[], &[]).refused(404, "not_enrolled");
    client.get("/v1/identities/Cy").refused(404, "not_enrolled");
    assert_eq!(place.gallery.count(&Filter::everybody()).unwrap().identities, 2);
}

#[test]
fn names_may_hold_any_characters() {
    let place = Place::new();
    let encoded = |name: &str| name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for name in
        ["a/b", "a b", "%2F", "Zoë?x=1&y#z", "<script>alert(1)</script>", "名前", "\u{1F600}", "+", "\"", "{name}"]
    {
        place.client.post("/v1/identities", &json!({"name": name, "embedding": [0, 0, 1]})).json(201);
        let path = format!("/v1/identities/{}", encoded(name));
        assert_eq!(place.client.get(&path).json(200)["name"], name);
        assert_eq!(place.client.send("DELETE", &path, &[], &[]).status, 204, "{name}");
        place.client.get(&path).refused(404, "not_enrolled");
    }
}

#[test]
fn the_service_says_what_it_is() {
    let place = Place::new();
    let client = &place.client;
    assert_eq!(client.get("/health").json(200), json!({"status": "ok"}));
    assert_eq!(client.get("/ready").json(200), json!({"status": "ready"}));
    let about = client.get("/v1/gallery").json(200);
    assert_eq!(about["count"], json!({"identities": 2, "samples": 2}));
    assert_eq!(
        (&about["encoder"], &about["calibrated"], &about["templates"]),
        (&json!("image"), &json!(false), &json!("per_image"))
    );
    let page = client.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(!page.text().contains("://"), "the page names another host");
    let head = client.send("HEAD", "/health", &[], &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    // Without a key these tell nothing of anybody.
    let anybody = place::Client { key: None, ..client.clone() };
    for path in ["/health", "/ready", "/", "/openapi.json"] {
        assert_eq!(anybody.get(path).status, 200, "{path}");
    }
}

#[test]
fn openapi_lists_exactly_the_routes() {
    let place = Place::new();
    let document = place.client.get("/openapi.json").json(200);
    let paths = document["paths"].as_object().unwrap();
    let methods = |path: &String| {
        let methods = paths[path].as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let described: BTreeSet<(String, String)> = paths.keys().flat_map(methods).collect();
    let answered = dml_serve::routes().into_iter().map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(described, answered.collect());
    assert_eq!(document["components"]["schemas"]["Embedding"]["maxItems"], place::DIM);
    // Who needs the key is described as it is.
    let anybody = place::Client { key: None, ..place.client.clone() };
    for (method, path) in described {
        let open = document["paths"][&path][method.to_lowercase()]["security"] == json!([]);
        let refused = anybody.send(&method, &path.replace("{name}", "Ada"), &[], &[]).status == 401;
        assert_eq!(open, !refused, "{method} {path}");
    }
    // Each reference leads somewhere.
    fn check(part: &Value, document: &Value) {
        match part {
            Value::Object(fields) => {
                if let Some(Value::String(to)) = fields.get("$ref") {
                    assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                }
                fields.values().for_each(|field| check(field, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, document)),
            _ => {}
        }
    }
    check(&document, &document);
}
