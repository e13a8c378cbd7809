//! Fetching what the manifest does not know: no size, perhaps no checksum. The server of this process says as much as it
//! is told to.
#![cfg(feature = "download")]

use dml_data::Manifest;
use dml_data::download::{Fetcher, Source};
use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

mod loopback;

const CONTENT: &[u8] = b"0123456789";
const MD5: &str = "md5 = '781e5e245d69b566979b86e28d23f2c7'";

/// Status and further lines of an answer's head, and all that comes behind it.
type Answer = (&'static str, &'static [u8]);

const WHOLE: Answer = ("200 OK\r\ncontent-length: 10", CONTENT);
const REST: Answer = ("206 Partial Content\r\ncontent-range: bytes 4-9/10\r\ncontent-length: 6", b"456789");
const CUT: Answer = ("200 OK\r\ncontent-length: 10\r\netag: \"one\"", b"0123");

/// A set of one file, of which no size is published.
struct Bench {
    data: TempDir,
    manifest: Manifest,
}

/// What became of a fetch: how many bytes there were to be at last, or the error; and first byte and version asked for each time.
type Fetched = (Result<Option<u64>, String>, Vec<(Option<usize>, Option<String>)>);

impl Bench {
    /// The set, its checksum, and what an earlier fetch left of it.
    fn new(checksum: &str, part: &[u8]) -> Self {
        let text = format!(
            "name = 'toy'\nsummary = 'ten digits'\nlicence = 'CC0-1.0'\nhomepage = ''\n\
             [[files]]\nname = 'digits.txt'\n{checksum}"
        );
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("toy")).unwrap();
        if !part.is_empty() {
            fs::write(data.path().join("toy/digits.txt.part"), part).unwrap();
        }
        Self { data, manifest: Manifest::parse(&text).unwrap() }
    }

    fn fetch(&self, answers: &[Answer]) -> Fetched {
        let (listener, address) = loopback::listen();
        let answers = answers.to_vec();
        let server = thread::spawn(move || {
            let reply = |(head, body): Answer| {
                let mut stream = loopback::accept(&listener);
                let request = loopback::request(&stream, "/toy/digits.txt");
                write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").unwrap();
                stream.write_all(body).unwrap();
                let version = request.iter().find_map(|line| line.strip_prefix("if-range: ")).map(str::to_owned);
                (loopback::first_byte(&request), version)
            };
            answers.into_iter().map(reply).collect()
        });
        let source = Source::Mirror(address);
        let fetcher = Fetcher { attempts: 2, pause: Duration::from_millis(1), ..Fetcher::new(source) };
        let mut size = None;
        let outcome = fetcher.fetch(&self.manifest, self.data.path(), &mut |progress| size = progress.size);
        (outcome.map(|_| size).map_err(|error| error.to_string()), server.join().unwrap())
    }

    /// The names in the set's folder and the content of the last.
    fn holds(&self) -> (Vec<String>, Vec<u8>) {
        let mut names: Vec<String> = fs::read_dir(self.data.path().join("toy"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let content = names.last().map(|name| fs::read(self.data.path().join("toy").join(name)).unwrap());
        (names, content.unwrap_or_default())
    }

    fn holds_the_file(&self) {
        assert_eq!(self.holds(), (vec!["digits.txt".to_owned()], CONTENT.to_vec()));
    }

    fn holds_nothing(&self) {
        assert_eq!(self.holds().0, [""; 0]);
    }
}

#[test]
fn the_size_is_the_servers_where_the_manifest_has_none() {
    for checksum in ["", MD5] {
        let bench = Bench::new(checksum, b"");
        assert_eq!(bench.fetch(&[WHOLE]), (Ok(Some(10)), vec![(None, None)]));
        bench.holds_the_file();
    }
}

#[test]
fn the_checksum_is_checked_without_a_size() {
    let bench = Bench::new(MD5, b"");
    let message = bench.fetch(&[("200 OK\r\ncontent-length: 4", b"0123")]).0.unwrap_err();
    assert!(message.contains("what arrived has md5 ") && message.contains("nothing was kept"), "{message}");
    bench.holds_nothing();
}

#[test]
fn what_a_checksum_will_tell_goes_on() {
    let bench = Bench::new(MD5, b"0123");
    assert_eq!(bench.fetch(&[REST]), (Ok(Some(10)), vec![(Some(4), None)]));
    bench.holds_the_file();
    // Killed when the last byte had come: there is nothing to send.
    let bench = Bench::new(MD5, CONTENT);
    let (outcome, asked) = bench.fetch(&[("416 Range Not Satisfiable\r\ncontent-range: bytes */10", b"")]);
    assert_eq!((outcome, asked), (Ok(None), vec![(Some(10), None)]));
    bench.holds_the_file();
}

#[test]
fn what_no_checksum_tells_begins_anew() {
    // What an earlier fetch left may be of another version.
    let bench = Bench::new("", b"xxxx");
    assert_eq!(bench.fetch(&[WHOLE]).1, [(None, None)]);
    bench.holds_the_file();
    // Nor does a server that names no version, or a weak one, say that the rest belongs to what there is.
    for cut in ["200 OK\r\ncontent-length: 10", "200 OK\r\ncontent-length: 10\r\netag: W/\"one\""] {
        let bench = Bench::new("", b"");
        let (outcome, asked) = bench.fetch(&[(cut, b"0123"), WHOLE]);
        assert_eq!((outcome, asked), (Ok(Some(10)), vec![(None, None), (None, None)]));
        bench.holds_the_file();
    }
}

#[test]
fn the_rest_of_the_same_version_is_taken() {
    let bench = Bench::new("", b"");
    let asked = vec![(None, None), (Some(4), Some("\"one\"".to_owned()))];
    assert_eq!(bench.fetch(&[CUT, REST]), (Ok(Some(10)), asked.clone()));
    bench.holds_the_file();
    // A server that has another one by now sends all of it.
    let other = ("200 OK\r\ncontent-length: 3\r\netag: \"two\"", b"abc".as_slice());
    let bench = Bench::new("", b"");
    assert_eq!(bench.fetch(&[CUT, other]), (Ok(Some(3)), asked));
    assert_eq!(bench.holds(), (vec!["digits.txt".to_owned()], b"abc".to_vec()));
}

#[test]
fn a_fetch_that_is_given_up_keeps_what_it_can_go_on_with() {
    let silent = ("200 OK\r\ncontent-length: 10", b"".as_slice());
    let bench = Bench::new("", b"");
    let message = bench.fetch(&[CUT, silent, silent]).0.unwrap_err();
    assert!(message.contains("nothing is kept, as no checksum is published: run the fetch again"), "{message}");
    bench.holds_nothing();
    let bench = Bench::new(MD5, b"");
    let nothing = ("503 Busy\r\ncontent-length: 0", b"".as_slice());
    let message = bench.fetch(&[CUT, nothing, nothing]).0.unwrap_err();
    assert!(message.contains("2 attempts, 4 bytes are kept: run the fetch again to go on"), "{message}");
    assert_eq!(bench.holds(), (vec!["digits.txt.part".to_owned()], b"0123".to_vec()));
}

#[test]
fn a_body_of_unknown_length_must_be_known_to_be_whole() {
    let chunked = "200 OK\r\ntransfer-encoding: chunked";
    let bench = Bench::new("", b"");
    assert_eq!(bench.fetch(&[(chunked, b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n")]).0, Ok(None));
    bench.holds_the_file();
    let bench = Bench::new("", b"");
    let cut = (chunked, b"4\r\n0123\r\n".as_slice());
    assert!(bench.fetch(&[cut, cut, cut]).0.unwrap_err().contains("nothing is kept"));
    bench.holds_nothing();
    // Where only the end of the connection ends it, it takes a checksum.
    let bench = Bench::new("", b"");
    let message = bench.fetch(&[("200 OK", CONTENT)]).0.unwrap_err();
    assert!(message.contains("neither the server nor the manifest says how long the file is"), "{message}");
    bench.holds_nothing();
    let bench = Bench::new(MD5, b"");
    assert_eq!(bench.fetch(&[("200 OK", CONTENT)]).0, Ok(None));
    bench.holds_the_file();
    let bench = Bench::new(MD5, b"");
    assert!(bench.fetch(&[("200 OK", b"0123")]).0.unwrap_err().contains("what arrived has md5"));
    bench.holds_nothing();
}
