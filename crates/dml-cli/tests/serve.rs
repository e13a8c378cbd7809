//! `dml serve`, as a process: over a run's encoder and a gallery in a file.

mod place;

use dml_data::sources::emoji_names;
use place::{Place, refusal, succeed};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const KEY: &str = "0123456789abcdef-secret";

fn dml(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
    command.current_dir(folder).args(arguments).env_remove("DML_API_KEY");
    command
}

/// A server that runs until it is dropped, and what it writes to its log.
struct Served {
    child: Child,
    address: String,
    first_line: String,
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        let address = first_line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let Some(address) = address.map(str::to_owned) else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it does not serve: {said}");
        };
        Self { child, address, first_line }
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let (status, body) = self.ask_for_text(method, path, kind, body);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn ask_for_text(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // Far longer than anything takes, so that a server which never answers fails the test.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, "application/json", body.to_string().as_bytes())
    }

    /// Sends SIGTERM, and answers what was logged once it has ended well.
    fn end(mut self) -> String {
        succeed(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pictures_are_enrolled_and_known_over_http_and_on_the_command_line() {
    let place = Place::new();
    succeed(place.train("run").args(["--set", "train.steps=20"]));
    let folder = place.path("");
    succeed(&mut dml(&folder, &["gallery", "create", "g", "--run-dir", "run"]));
    fs::write(folder.join("key"), format!("{KEY}\n")).unwrap();
    let arguments = ["serve", "g", "--run-dir", "run", "--listen", "127.0.0.1:0", "--api-key-file", "key"];
    let served = Served::start(dml(&folder, &arguments));
    assert!(served.first_line.ends_with("with the API key\n"), "{}", served.first_line);
    let mut classes: Vec<_> = fs::read_dir(place.path("images")).unwrap().map(|e| e.unwrap().path()).collect();
    classes.sort();
    let first = |class: usize| fs::read_dir(&classes[class]).unwrap().next().unwrap().unwrap().path();
    let pictures = [first(3), first(9)];
    for (name, picture) in ["Ada & Eve/1", "Bo"].iter().zip(&pictures) {
        // Through /v1/embed, so that the bytes are what is compared below.
        let (status, embedded) = served.ask("POST", "/v1/embed", "image/png", &fs::read(picture).unwrap());
        assert_eq!(status, 200, "{embedded}");
        let body = json!({"name": name, "embeddings": embedded["embeddings"], "metadata": {"site": "north"}});
        let (status, enrolled) = served.post("/v1/identities", &body);
        assert_eq!(status, 201, "{enrolled}");
    }
    let picture = fs::read(&pictures[1]).unwrap();
    let (status, answer) = served.ask("POST", "/v1/identify?threshold=0.99&k=1", "image/png", &picture);
    assert_eq!((status, &answer["answers"][0]["decision"]), (200, &json!("accepted")), "{answer}");
    assert_eq!(answer["answers"][0]["candidates"][0]["name"], "Bo");
    // No picture, and one that says it is larger than any memory.
    let (status, said) = served.ask("POST", "/v1/identify", "image/png", b"hello");
    assert!(status == 400 && said["error"]["message"].as_str().unwrap().contains("not a readable picture"), "{said}");
    let (status, said) = served.ask("POST", "/v1/identify", "image/x-portable-pixmap", b"P6 60000 60000 255\n");
    assert!(status == 400 && said["error"]["message"].as_str().unwrap().contains("60000x60000"), "{said}");
    // One process at a time has the gallery open.
    assert!(refusal(&mut dml(&folder, &["gallery", "info", "g"])).contains("open elsewhere"));
    assert_eq!(served.ask("DELETE", "/v1/identities/Ada%20%26%20Eve%2F1", "", b"").0, 204);
    let log = served.end();
    assert!(log.contains("route=\"/v1/identify\"") && log.contains("status=200"), "{log}");
    for secret in [KEY, "Ada", "%20", "Bo"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }

    // What was acknowledged is in the file, and the embeddings are those of the command line.
    let one = pictures[1].to_str().unwrap();
    let identify = ["identify", "g", one, "--run-dir", "run", "--threshold", "0.9999", "--json"];
    let answer: Value = serde_json::from_slice(&succeed(&mut dml(&folder, &identify)).stdout).unwrap();
    assert_eq!((&answer["decision"], &answer["candidates"][0]["name"]), (&json!("accepted"), &json!("Bo")));
    assert_eq!(answer["candidates"].as_array().unwrap().len(), 1);

    // Another run's encoder is refused.
    succeed(place.train("other").args(["--seed", "1", "--set", "train.steps=20"]));
    let error = refusal(&mut dml(&folder, &["serve", "g", "--run-dir", "other", "--listen", "127.0.0.1:0"]));
    assert!(error.contains("weights SHA-256"), "{error}");
}

#[test]
fn embeddings_are_served_without_an_encoder_and_mistakes_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(&mut dml(folder, &["gallery", "create", "g", "--dim", "2"]));
    let mut command = dml(folder, &["serve", "g", "--listen", "127.0.0.1:0", "--log", "off"]);
    command.env("DML_API_KEY", KEY);
    let served = Served::start(command);
    assert_eq!(served.post("/v1/identities", &json!({"name": "Ada", "embedding": [1, 0]})).0, 201);
    let (_, answer) = served.post("/v1/verify", &json!({"name": "Ada", "embedding": [1, 0.1], "threshold": 0.9}));
    assert_eq!(answer["answers"][0]["decision"], "accepted");
    assert_eq!(served.post("/v1/identify", &json!({"text": "Ada"})).1["error"]["code"], "no_encoder");
    assert!(!served.end().contains("request"));

    let refused = |arguments: &[&str], key: &str| {
        let mut command = dml(folder, &[&["serve", "g"], arguments].concat());
        refusal(if key.is_empty() { &mut command } else { command.env("DML_API_KEY", key) })
    };
    assert!(refused(&["--listen", "0.0.0.0:0"], "").contains("--no-api-key"));
    let short = refused(&["--listen", "127.0.0.1:0"], "short");
    assert!(short.contains("DML_API_KEY") && short.contains("too short"), "{short}");
    let spaced = refused(&["--listen", "127.0.0.1:0"], "a key of several words");
    assert!(!spaced.contains("several"), "{spaced}");
    assert!(refused(&["--api-key-file", "nowhere"], "").contains("nowhere"));
    assert!(refused(&["--batch", "0"], "").contains("batch is 0"));
    assert!(refused(&["--rate", "-1"], "").contains("-1"));
    assert!(refused(&["--listen", "203.0.113.1:0", "--no-api-key"], "").contains("cannot listen at 203.0.113.1"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert!(refused(&["--listen", &taken], "").contains("cannot listen"));
}

const TEXTS: &str = r#"
name = "texts"
[data]
set = "texts"
root = "ROOT"
tokenizer = "TOKENIZER"
[model]
architecture = "bert"
[model.bert]
vocab_size = 1000
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 16
[loss]
name = "multi_similarity"
[sampler]
classes = 4
per_class = 2
[train]
steps = 2
"#;

#[test]
fn texts_are_embedded_by_a_run_that_learned_from_texts() {
    let place = Place::new();
    let folder = place.path("");
    fs::write(place.path("tokenizer.json"), emoji_names::TOKENIZER).unwrap();
    let names = emoji_names::load().unwrap();
    let mut rows = "text,label,split\n".to_owned();
    for (index, &label) in names.labels().iter().enumerate().filter(|(_, label)| **label < 24) {
        let (text, split) = (names.text(index).replace('"', "\"\""), ["train", "test"][label as usize % 2]);
        rows += &format!("\"{text}\",{label},{split}\n");
    }
    fs::write(place.path("rows.csv"), rows).unwrap();
    let path = |name: &str| place.path(name).display().to_string();
    let recipe = TEXTS.replace("ROOT", &path("rows.csv")).replace("TOKENIZER", &path("tokenizer.json"));
    fs::write(place.path("recipe.toml"), recipe).unwrap();
    succeed(&mut place.train("run"));
    succeed(&mut dml(&folder, &["gallery", "create", "g", "--run-dir", "run"]));
    let served = Served::start(dml(&folder, &["serve", "g", "--run", "run", "--listen", "127.0.0.1:0"]));
    assert_eq!(
        served.post("/v1/identities", &json!({"name": "face", "texts": ["grinning face", "a happy face"]})).0,
        201
    );
    assert_eq!(served.post("/v1/identities", &json!({"name": "fruit", "text": "red apple"})).0, 201);
    let probes = json!({"texts": ["red apple", "grinning face"], "threshold": 0.9999, "k": 1});
    let (status, answer) = served.post("/v1/identify", &probes);
    assert_eq!((status, &answer["answers"][0]["candidates"][0]["name"]), (200, &json!("fruit")), "{answer}");
    assert_eq!(answer["answers"][1]["candidates"][0]["name"], "face");
    assert_eq!(served.post("/v1/embed", &json!({"image": "aGVsbG8="})).1["error"]["code"], "no_encoder");
    served.end();
}

const BOTH: &str = r#"
name = "both"
[data]
set = "folder"
root = "ROOT"
size = 16
texts = "emoji-names"
[model]
conv4 = { filters = 4 }
head = { dim = 8 }
[model.text]
architecture = "bert"
head = { dim = 8 }
[model.text.bert]
vocab_size = 1000
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 48
[loss]
name = "clip"
[sampler]
classes = 4
per_class = 1
[train]
steps = 2
"#;

#[test]
fn pictures_and_texts_that_come_at_once_get_each_its_own_answer() {
    let place = Place::new();
    let folder = place.path("");
    let recipe = BOTH.replace("ROOT", &place.path("images").display().to_string());
    fs::write(place.path("recipe.toml"), recipe).unwrap();
    succeed(&mut place.train("run"));
    succeed(&mut dml(&folder, &["gallery", "create", "g", "--run-dir", "run"]));
    // So long that those which are sent together go through the encoder together.
    let wait = ["--batch-wait-ms", "50", "--log", "warn"];
    let served =
        Served::start(dml(&folder, &[&["serve", "g", "--run", "run", "--listen", "127.0.0.1:0"], &wait[..]].concat()));
    let mut classes: Vec<_> = fs::read_dir(place.path("images")).unwrap().map(|e| e.unwrap().path()).collect();
    classes.sort();
    let picture =
        |class: usize| fs::read(fs::read_dir(&classes[class]).unwrap().next().unwrap().unwrap().path()).unwrap();
    let text = |text: &str| json!({"text": text}).to_string().into_bytes();
    let asked = [
        ("image/png", picture(0)),
        ("application/json", text("red apple")),
        ("image/png", b"no picture".to_vec()),
        ("image/png", picture(1)),
        ("application/json", text("a dog that barks at the moon")),
    ];
    let ask = |(kind, body): &(&str, Vec<u8>)| served.ask("POST", "/v1/embed", kind, body);
    let alone: Vec<(u16, Value)> = asked.iter().map(ask).collect();
    assert_eq!(alone.iter().map(|answer| answer.0).collect::<Vec<_>>(), [200, 200, 400, 200, 200]);
    let embeddings: Vec<&Value> = alone.iter().map(|answer| &answer.1["embeddings"][0]).collect();
    for (i, one) in embeddings.iter().enumerate() {
        assert!(embeddings[..i].iter().all(|other| other != one), "{embeddings:?}");
    }
    for turn in 0..asked.len() {
        let together: Vec<(u16, Value)> = std::thread::scope(|scope| {
            let order = (0..asked.len()).map(|i| &asked[(turn + i) % asked.len()]);
            let running: Vec<_> = order.map(|item| scope.spawn(move || ask(item))).collect();
            running.into_iter().map(|answer| answer.join().unwrap()).collect()
        });
        let wanted: Vec<_> = (0..asked.len()).map(|i| alone[(turn + i) % asked.len()].clone()).collect();
        assert_eq!(together, wanted);
    }
    // What is enrolled by a picture is asked for by words.
    let name = |class: usize| classes[class].file_name().unwrap().to_str().unwrap().to_owned();
    for class in [0, 1] {
        let (_, embedded) = ask(&asked[3 * class]);
        let body = json!({"name": name(class), "embeddings": embedded["embeddings"]});
        assert_eq!(served.post("/v1/identities", &body).0, 201);
    }
    let (status, answer) = served.post("/v1/identify", &json!({"texts": ["red apple", "dog"], "threshold": 0, "k": 2}));
    assert!(status == 200 && answer["answers"][1]["candidates"].as_array().unwrap().len() == 2, "{answer}");
    let metrics = served.ask_for_text("GET", "/metrics", "", b"").1;
    let of_batches = |what: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("dml_encoder_batch_items_{what} ")));
        line.unwrap_or_else(|| panic!("no {what}: {metrics}")).parse().unwrap()
    };
    // 5 alone, 25 together, 2 enrolled and 2 texts in one.
    assert_eq!(of_batches("sum"), 34.0);
    assert!(of_batches("count") < 30.0, "none shared a batch: {metrics}");
    served.end();
}

/// Enrols Ada, Bo and Cy, in three directions.
fn enrol_three(served: &Served) {
    for (name, embedding) in [("Ada", [1, 0]), ("Bo", [0, 1]), ("Cy", [-1, 0])] {
        let (status, said) = served.post("/v1/identities", &json!({"name": name, "embedding": embedding}));
        assert_eq!(status, 201, "{said}");
    }
}

fn serve_embeddings(folder: &Path, gallery: &str) -> Served {
    let mut command = dml(folder, &["serve", gallery, "--listen", "127.0.0.1:0", "--log", "warn"]);
    command.env("DML_API_KEY", KEY);
    Served::start(command)
}

#[test]
fn an_index_that_a_removal_has_erased_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let indices = || -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".index")).collect()
    };
    succeed(&mut dml(folder, &["gallery", "create", "g", "--dim", "2"]));
    let served = serve_embeddings(folder, "g");
    enrol_three(&served);
    served.end();
    assert_eq!(indices().len(), 0, "nobody has asked for one");
    succeed(&mut dml(folder, &["gallery", "search", "g", "--graph"]));
    let first = indices();
    succeed(&mut dml(folder, &["gallery", "remove", "g", "Cy"]));
    let second = indices();
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
    let served = serve_embeddings(folder, "g");
    assert_eq!(served.ask("DELETE", "/v1/identities/Bo", "", b"").0, 204);
    let patience = std::time::Instant::now();
    while indices().is_empty() || indices() == second {
        assert!(patience.elapsed().as_secs() < 60, "the index is not built again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(indices().len(), 1);
    let (_, answer) = served.post("/v1/identify", &json!({"embedding": [0, 1], "threshold": 0.9}));
    assert_eq!(answer["answers"][0]["decision"], "unknown");
    served.end();
}

#[test]
fn galleries_in_servers_are_served() {
    let folder = tempfile::tempdir().unwrap();
    for variable in ["DML_TEST_POSTGRES", "DML_TEST_MILVUS"] {
        let Ok(server) = std::env::var(variable) else {
            println!("skipped: {variable} names no server; tests/servers/servers.py starts one");
            continue;
        };
        let gallery = format!("{server}?gallery=served_{}", std::process::id());
        succeed(&mut dml(folder.path(), &["gallery", "create", &gallery, "--dim", "2"]));
        let served = serve_embeddings(folder.path(), &gallery);
        enrol_three(&served);
        let best = |embedding: [f32; 2]| {
            let (status, answer) = served.post("/v1/identify", &json!({"embedding": embedding, "threshold": 0.9}));
            assert_eq!(status, 200, "{answer}");
            let first = &answer["answers"][0];
            (first["decision"].clone(), first["candidates"][0]["name"].clone())
        };
        assert_eq!(best([0.1, 1.0]), (json!("accepted"), json!("Bo")));
        assert_eq!(served.ask("DELETE", "/v1/identities/Bo", "", b"").0, 204);
        assert_eq!(best([0.1, 1.0]), (json!("unknown"), json!("Ada")));
        // Another process asks the same gallery meanwhile.
        let info = succeed(&mut dml(folder.path(), &["gallery", "info", &gallery]));
        assert!(String::from_utf8_lossy(&info.stdout).starts_with("2 identities"));
        let log = served.end();
        assert!(!log.contains("only-for-tests") && !log.contains(KEY), "{log}");
        succeed(&mut dml(folder.path(), &["gallery", "destroy", &gallery]));
    }
}
