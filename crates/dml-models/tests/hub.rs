//! Files of a hub that is a server of this test: what is asked, what is kept, what is refused.
#![cfg(feature = "hub")]

use dml_models::pretrained::{Fetched, Hub, HubFile, SentenceFolder, from_hub, sentence_transformer_from_hub};
use dml_models::{Error, Pooling};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// With the digits of an answer in it that none is.
const COMMIT: &str = "404fee00c0ffee00c0ffee00c0ffee00c0ffee00";
const BODY: &[u8] = b"weights";
const SHA256: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
const PATH: &str = "/owner/name/resolve/";

/// A file of a hub: its path in the repository, what the hub calls its content, and the content.
type Served = (&'static str, String, Vec<u8>);

/// What the hub calls the content of a file that it does not give just now.
const BUSY: &str = "busy";

/// The same of a file that is not for everybody.
const SECRET: &str = "secret";

/// A hub on a free port, which counts its requests and names its one file `etag`.
fn serve(etag: &'static str) -> (String, Arc<AtomicUsize>) {
    serve_all(vec![("model.bin", etag.to_owned(), BODY.to_vec())])
}

/// As [`serve`], of several files.
fn serve_all(files: Vec<Served>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            answer(stream.unwrap(), &files);
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, files: &[Served]) {
    let lines = BufReader::new(&stream).lines().map(|line| line.unwrap().to_lowercase());
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let asked = |file: &str| ["main", COMMIT].iter().any(|at| lines[0] == format!("get {PATH}{at}/{file} http/1.1"));
    let Some((_, etag, content)) = files.iter().find(|(file, ..)| asked(&file.to_lowercase())) else {
        write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        return;
    };
    if etag == SECRET && !lines.contains(&"authorization: bearer sesame".to_owned()) {
        write!(stream, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        return;
    }
    if etag == BUSY {
        write!(stream, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        return;
    }
    // `bytes=FIRST-` or `bytes=FIRST-LAST`.
    let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes=")).unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(content.len() - 1));
    let body = &content[first..=last.min(content.len() - 1)];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{}\r\n\
         etag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\nconnection: close\r\n\r\n",
        body.len(),
        content.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
}

fn hub(endpoint: &str, folder: &Path) -> Hub {
    Hub { endpoint: endpoint.to_owned(), cache: folder.join("hub"), offline: false, token: None }
}

fn wanted(revision: &str) -> HubFile<'_> {
    HubFile { repo: "owner/name", revision, file: "model.bin", sha256: None }
}

#[test]
fn a_file_comes_once_with_its_commit_and_sha256() {
    let folder = tempfile::tempdir().unwrap();
    let (address, asked) = serve("an-etag");
    let online = hub(&address, folder.path());
    let Fetched { path, commit, sha256 } = online.fetch(wanted("main")).unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), commit.as_str()), (BODY, COMMIT));
    assert_eq!(sha256, SHA256);
    let requests = asked.load(Ordering::SeqCst);
    assert!(requests > 0);
    // From now on nobody is asked: neither for the branch nor for the commit, online or not.
    let offline = Hub { offline: true, endpoint: "http://127.0.0.1:9".to_owned(), ..online.clone() };
    for (hub, revision) in [(&online, "main"), (&online, COMMIT), (&offline, "main"), (&offline, COMMIT)] {
        assert_eq!(hub.fetch(wanted(revision)).unwrap().path, path);
    }
    assert_eq!(asked.load(Ordering::SeqCst), requests);

    let right = HubFile { sha256: Some(&SHA256.to_uppercase()), ..wanted("main") };
    online.fetch(right).unwrap();
    let other = "0".repeat(64);
    let message = online.fetch(HubFile { sha256: Some(&other), ..wanted("main") }).unwrap_err().to_string();
    assert!(message.contains(SHA256) && message.contains(&other) && message.contains("owner/name@main"), "{message}");
}

#[test]
fn a_commit_is_fetched_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = serve(SHA256);
    let fetched = hub(&format!("{address}/"), folder.path()).fetch(wanted(COMMIT)).unwrap();
    assert_eq!((fetched.commit.as_str(), fetched.sha256.as_str()), (COMMIT, SHA256));
}

#[test]
fn what_is_not_for_everybody_comes_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = serve(SECRET);
    let without = hub(&address, folder.path());
    let message = without.fetch(wanted("main")).unwrap_err().to_string();
    assert!(message.contains("401") && message.contains("HF_TOKEN"), "{message}");
    let with = Hub { token: Some("sesame".to_owned()), ..without };
    assert_eq!(fs::read(with.fetch(wanted("main")).unwrap().path).unwrap(), BODY);
    assert!(!format!("{with:?}").contains("sesame"));
}

#[test]
fn what_came_damaged_or_does_not_come_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let says = |hub: &Hub, wanted: HubFile<'_>, part: &str| {
        let message = hub.fetch(wanted).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    // The name of a large file is its SHA-256: this one is another's.
    let (address, _) = serve("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let online = hub(&address, folder.path());
    says(&online, wanted("main"), "damaged");
    says(&online, HubFile { file: "other.bin", ..wanted("main") }, "other.bin");
    let offline = Hub { offline: true, ..online.clone() };
    says(&offline, wanted("v2"), "HF_HUB_OFFLINE");
    says(&offline, wanted("v2"), "is not to be had: ");
    for (repo, revision, file) in [("../name", "main", "a"), ("owner/name", "/main", "a"), ("owner/name", "main", "")] {
        says(&online, HubFile { repo, revision, file, sha256: None }, "is no name");
    }
    // The hub gives it, but there is no place for it: another matter than what is not to be had.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Hub { cache: file.join("hub"), ..online.clone() }.fetch(wanted("main")).unwrap_err();
    assert!(matches!(error, Error::Hub(_)), "{error}");
    assert!(error.to_string().contains("file/hub: make room there, or set HF_HOME"), "{error}");
    let nobody = hub("http://127.0.0.1:9", folder.path());
    says(&nobody, wanted("v2"), "http://127.0.0.1:9");
    says(&nobody, wanted("v2"), "is not to be had: ");
}

#[test]
fn a_sentence_encoder_comes_with_all_that_belongs_to_it() {
    let module =
        |kind: &str, path: &str| format!(r#"{{"path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#);
    let modules = format!("[{}, {}]", module("Transformer", ""), module("Pooling", "1_Pooling"));
    let config = r#"{"model_type": "bert", "vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2}"#;
    let all = [
        ("modules.json", modules.as_str()),
        ("config.json", config),
        ("tokenizer.json", "{}"),
        ("1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#),
        ("sentence_bert_config.json", r#"{"max_seq_length": 12}"#),
        ("tokenizer_config.json", r#"{"model_max_length": 14}"#),
        ("model.safetensors", "not read"),
    ];
    let serve_but = |left_out: &str| {
        let files = all.iter().filter(|(file, _)| *file != left_out);
        serve_all(
            files
                .map(|(file, text)| (*file, format!("of-{}", file.replace('/', "-")), text.as_bytes().to_vec()))
                .collect(),
        )
    };
    for (left_out, places) in [("none", 12), ("sentence_bert_config.json", 14), ("tokenizer_config.json", 12)] {
        let folder = tempfile::tempdir().unwrap();
        let (address, asked) = serve_but(left_out);
        let online = hub(&address, folder.path());
        let found = sentence_transformer_from_hub(&online, "owner/name", "main").unwrap();
        let read = SentenceFolder::read(&found).unwrap();
        assert_eq!((read.max_length, read.config.head.pooling), (places, Pooling::Cls));
        assert_eq!(read.weights, found.join("model.safetensors"));
        let requests = asked.load(Ordering::SeqCst);
        let offline = Hub { offline: true, ..online };
        assert_eq!(sentence_transformer_from_hub(&offline, "owner/name", "main").unwrap(), found);
        assert_eq!(asked.load(Ordering::SeqCst), requests);
    }
    // A hub that does not answer is not one that has no such file.
    let folder = tempfile::tempdir().unwrap();
    let busy = all.iter().map(|(file, text)| {
        let etag = if *file == "sentence_bert_config.json" { BUSY.to_owned() } else { file.replace('/', "-") };
        (*file, etag, text.as_bytes().to_vec())
    });
    let (address, _) = serve_all(busy.collect());
    let error = sentence_transformer_from_hub(&hub(&address, folder.path()), "owner/name", "main").unwrap_err();
    assert!(error.to_string().contains("sentence_bert_config.json is not to be had"), "{error}");
    for left_out in ["modules.json", "tokenizer.json", "model.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        let (address, _) = serve_but(left_out);
        let error = sentence_transformer_from_hub(&hub(&address, folder.path()), "owner/name", "main").unwrap_err();
        assert!(error.to_string().contains(left_out), "{error}");
    }
}

/// Run by the test below, with an environment of its own.
#[test]
#[ignore = "another test runs it"]
fn child() {
    let path = from_hub("owner/name", "main", "model.bin").unwrap();
    assert!(path.starts_with(Path::new(&env::var_os("HF_HOME").unwrap()).join("hub")));
    assert_eq!(fs::read(path).unwrap(), BODY);
}

#[test]
fn the_environment_says_where_hub_and_cache_are() {
    let folder = tempfile::tempdir().unwrap();
    let (address, asked) = serve("an-etag");
    let run = |variables: &[(&str, &str)]| {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["child", "--exact", "--ignored"]).env("HF_HOME", folder.path());
        child.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").envs(variables.iter().copied());
        child.output().unwrap().status.success()
    };
    assert!(!run(&[("HF_ENDPOINT", &address), ("HF_HUB_OFFLINE", "1")]));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(run(&[("HF_ENDPOINT", &address)]));
    assert!(run(&[("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", "1")]));
}
