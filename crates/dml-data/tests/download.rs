//! Fetching against a server of this process that answers as it is told.
#![cfg(feature = "download")]

use dml_data::Manifest;
use dml_data::download::{Fetcher, Source};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

mod loopback;

/// The file of the data set `toy` and its SHA-256.
const CONTENT: &[u8] = b"0123456789";
const SHA256: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Answer {
    /// All of `CONTENT`, whatever was asked for.
    Whole,
    /// What was asked for, as 206 when it was a range.
    Range,
    /// As `Range`, but the connection ends after so many bytes of the body.
    Cut(usize),
    /// As `Whole`, but the connection ends after so many bytes of the body.
    CutWhole(usize),
    /// These bytes, whatever was asked for.
    Other(&'static [u8]),
    /// A byte more than there should be, its length not announced.
    TooMuch,
    /// 206 with another range than what was asked for.
    WrongRange(&'static str),
    /// What `Cut` sends, or nothing at all, and then no more until the client hangs up.
    Silent(Option<usize>),
    /// A status and no body.
    Status(&'static str),
}

/// A server for as many requests as there are answers; joining gives the first byte that each asked for.
fn serve(answers: Vec<Answer>) -> (String, JoinHandle<Vec<Option<usize>>>) {
    let (listener, address) = loopback::listen();
    let each = move |answer| reply(loopback::accept(&listener), answer);
    (address, thread::spawn(move || answers.into_iter().map(each).collect()))
}

fn reply(mut stream: TcpStream, answer: Answer) -> Option<usize> {
    let asked = loopback::asked(&stream, "/toy/digits.txt");
    let first = asked.unwrap_or(0);
    let as_asked = loopback::ranged(asked, CONTENT.len());
    let whole = ("200 OK", String::new());
    let (status, body, announced) = match answer {
        Answer::Whole => (whole, CONTENT, Some(CONTENT.len())),
        Answer::Range => (as_asked, &CONTENT[first..], Some(CONTENT.len() - first)),
        Answer::Cut(bytes) => (as_asked, &CONTENT[first..first + bytes], Some(CONTENT.len() - first)),
        Answer::CutWhole(bytes) => (whole, &CONTENT[..bytes], Some(CONTENT.len())),
        Answer::Other(bytes) => (whole, bytes, Some(bytes.len())),
        Answer::TooMuch => (whole, b"0123456789!".as_slice(), None),
        Answer::WrongRange(range) => {
            (("206 Partial Content", format!("content-range: {range}\r\n")), CONTENT, Some(CONTENT.len()))
        }
        Answer::Silent(bytes) => {
            if let Some(bytes) = bytes {
                loopback::head(&mut stream, &as_asked, Some(CONTENT.len() - first));
                stream.write_all(&CONTENT[first..first + bytes]).unwrap();
            }
            // Ends when the client does.
            let _ = stream.read(&mut [0]);
            return asked;
        }
        Answer::Status(status) => ((status, String::new()), b"".as_slice(), Some(0)),
    };
    loopback::head(&mut stream, &status, announced);
    stream.write_all(body).unwrap();
    asked
}

struct Bench {
    data: TempDir,
    manifest: Manifest,
}

impl Bench {
    fn new() -> Self {
        let text = format!(
            "name = 'toy'\nsummary = 'ten digits'\nlicence = 'CC0-1.0'\nhomepage = ''\n\
             [[files]]\nname = 'digits.txt'\nbytes = 10\nsha256 = '{SHA256}'"
        );
        Self { data: tempfile::tempdir().unwrap(), manifest: Manifest::parse(&text).unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.data.path().join("toy/digits.txt")
    }

    fn part(&self) -> PathBuf {
        self.data.path().join("toy/digits.txt.part")
    }

    fn leave_part(&self, bytes: &[u8]) {
        fs::create_dir_all(self.data.path().join("toy")).unwrap();
        fs::write(self.part(), bytes).unwrap();
    }

    /// Fetches; gives the message of the error, or how far the file had come at each report.
    fn fetch(&self, source: Source) -> Result<Vec<u64>, String> {
        let fetcher = Fetcher { attempts: 3, pause: Duration::from_millis(1), ..Fetcher::new(source) };
        let mut reports = vec![];
        let outcome = fetcher.fetch(&self.manifest, self.data.path(), &mut |progress| reports.push(progress.done));
        outcome.map(|_| reports).map_err(|error| error.to_string())
    }

    /// Fetches from a server that answers so; also what it was asked for.
    fn fetch_over_http(&self, answers: &[Answer]) -> (Result<Vec<u64>, String>, Vec<Option<usize>>) {
        let (address, server) = serve(answers.to_vec());
        (self.fetch(Source::Mirror(address)), server.join().unwrap())
    }

    fn holds_the_file(&self) {
        assert_eq!(fs::read(self.file()).unwrap(), CONTENT);
        assert!(!self.part().exists());
        self.manifest.verify(self.data.path()).unwrap();
    }

    fn holds_nothing(&self) {
        assert!(!self.file().exists() && !self.part().exists());
    }
}

#[test]
fn a_download_arrives_whole_and_is_not_repeated() {
    let bench = Bench::new();
    let (reports, asked) = bench.fetch_over_http(&[Answer::Range]);
    assert_eq!((reports.unwrap(), asked), (vec![0, 10], vec![None]));
    bench.holds_the_file();
    assert_eq!(bench.fetch(Source::Mirror("http://127.0.0.1:1".into())), Ok(vec![]), "nothing to bring, nothing asked");
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_stopped() {
    let bench = Bench::new();
    bench.leave_part(&CONTENT[..4]);
    let (reports, asked) = bench.fetch_over_http(&[Answer::Range]);
    assert_eq!((reports.unwrap(), asked), (vec![4, 10], vec![Some(4)]));
    bench.holds_the_file();
}

#[test]
fn truncated_bodies_are_resumed_within_a_fetch() {
    let bench = Bench::new();
    let answers = [Answer::Cut(3), Answer::Status("503 Busy"), Answer::Cut(2), Answer::Range];
    let (reports, asked) = bench.fetch_over_http(&answers);
    assert_eq!(asked, [None, Some(3), Some(3), Some(5)]);
    assert_eq!(reports.unwrap().last(), Some(&10));
    bench.holds_the_file();
}

#[test]
fn a_server_that_cannot_resume_sends_everything() {
    let bench = Bench::new();
    bench.leave_part(b"01xx");
    let (reports, asked) = bench.fetch_over_http(&[Answer::Whole]);
    assert_eq!((reports.unwrap(), asked), (vec![0, 10], vec![Some(4)]));
    bench.holds_the_file();
    let bench = Bench::new();
    bench.leave_part(&CONTENT[..4]);
    let (_, asked) = bench.fetch_over_http(&[Answer::Status("416 Range Not Satisfiable"), Answer::Range]);
    assert_eq!(asked, [Some(4), None]);
    bench.holds_the_file();
}

#[test]
fn another_range_than_what_was_asked_for_is_not_taken() {
    for range in ["bytes 0-9/10", "bytes 5-9/10", "bytes */10", "lines 4-9/10", ""] {
        let bench = Bench::new();
        bench.leave_part(&CONTENT[..4]);
        let (outcome, asked) = bench.fetch_over_http(&[Answer::WrongRange(range), Answer::Range]);
        assert_eq!((outcome, asked), (Ok(vec![0, 10]), vec![Some(4), None]), "{range}");
        bench.holds_the_file();
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let within = vec![Answer::Silent(Some(6)), Answer::Silent(Some(0))];
    for (answers, kept) in [(vec![Answer::Silent(None)], 0), (within, 6)] {
        let bench = Bench::new();
        let (address, server) = serve(answers);
        let source = Source::Mirror(address);
        let fetcher = Fetcher { attempts: 1, patience: Duration::from_secs(1), ..Fetcher::new(source) };
        // The server waits far longer than the client has patience, so only that can have ended it.
        let outcome = fetcher.fetch(&bench.manifest, bench.data.path(), &mut |_| ());
        let message = outcome.unwrap_err().to_string();
        server.join().unwrap();
        assert!(message.contains("timeout"), "{message}");
        assert_eq!(fs::read(bench.part()).unwrap_or_default(), &CONTENT[..kept], "what came is kept");
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let bench = Bench::new();
    let (outcome, _) = bench.fetch_over_http(&[Answer::Other(b"9876543210")]);
    let message = outcome.unwrap_err();
    assert!(message.contains("/toy/digits.txt: what arrived has sha256 ") && message.contains(SHA256), "{message}");
    bench.holds_nothing();
    // A part of something else is found out at the end, too.
    bench.leave_part(b"other");
    assert!(bench.fetch_over_http(&[Answer::Range]).0.unwrap_err().contains("nothing was kept"));
    bench.holds_nothing();
}

#[test]
fn a_body_of_another_size_is_refused() {
    let bench = Bench::new();
    let (outcome, _) = bench.fetch_over_http(&[Answer::TooMuch]);
    assert!(outcome.unwrap_err().contains("more than the manifest's 10 bytes"));
    assert!(!bench.file().exists());
    let (outcome, _) = bench.fetch_over_http(&[Answer::Other(b"0123")]);
    let message = outcome.unwrap_err();
    assert!(message.contains("the server offers 4 bytes but the manifest leaves 10"), "{message}");
    bench.holds_nothing();
}

#[test]
fn giving_up_names_the_cause_and_keeps_the_part() {
    let bench = Bench::new();
    let (outcome, asked) = bench.fetch_over_http(&[Answer::Status("404 Not Found")]);
    assert_eq!(asked.len(), 1, "asking again would not help");
    assert!(outcome.unwrap_err().contains("the server answered 404 Not Found; "));
    bench.holds_nothing();
    let (outcome, _) = bench.fetch_over_http(&[Answer::Cut(6), Answer::Cut(0), Answer::Cut(0), Answer::Cut(0)]);
    let message = outcome.unwrap_err();
    assert!(message.contains("3 attempts, 6 of 10 bytes are kept: run the fetch again"), "{message}");
    assert_eq!(fs::read(bench.part()).unwrap(), &CONTENT[..6]);
    let message = bench.fetch(Source::Mirror("http://127.0.0.1:1".into())).unwrap_err();
    assert!(message.contains("http://127.0.0.1:1/toy/digits.txt: "), "{message}");
    assert!(bench.fetch(Source::Owner).unwrap_err().contains("digits.txt has no public address"));
}

#[test]
fn a_server_that_cuts_whole_answers_is_given_up() {
    let bench = Bench::new();
    let answers = [6, 3, 5, 4].map(Answer::CutWhole);
    let (outcome, asked) = bench.fetch_over_http(&answers);
    let message = outcome.unwrap_err();
    assert_eq!(asked, [None, Some(6), Some(3), Some(5)]);
    assert!(message.contains("3 attempts, 4 of 10 bytes are kept"), "{message}");
    assert!(!message.contains("refused"), "asked a fifth time: {message}");
}

#[test]
fn a_login_page_does_not_destroy_the_part() {
    let bench = Bench::new();
    bench.leave_part(&CONTENT[..4]);
    let (outcome, _) = bench.fetch_over_http(&[Answer::Other(b"<html>")]);
    let message = outcome.unwrap_err();
    assert!(message.contains("the server offers 6 bytes but the manifest leaves 10"), "{message}");
    assert_eq!(fs::read(bench.part()).unwrap(), &CONTENT[..4]);
}

#[test]
fn folders_and_files_serve_as_sources() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("toy")).unwrap();
    let copy = elsewhere.path().join("toy/digits.txt");
    fs::write(&copy, CONTENT).unwrap();
    let sources = [
        Source::Mirror(elsewhere.path().to_string_lossy().into_owned()),
        Source::Local(elsewhere.path().to_owned()),
        Source::Local(elsewhere.path().join("toy")),
        Source::Local(copy.clone()),
    ];
    for source in sources {
        let bench = Bench::new();
        bench.leave_part(b"012");
        bench.fetch(source).unwrap();
        bench.holds_the_file();
    }
    for (content, expected) in
        [(b"0123".as_slice(), "has size 4"), (b"9876543210", "has sha256"), (b"01234567890", "has size 11")]
    {
        fs::write(&copy, content).unwrap();
        let bench = Bench::new();
        let message = bench.fetch(Source::Local(copy.clone())).unwrap_err();
        assert!(message.starts_with(&copy.display().to_string()) && message.contains(expected), "{message}");
        bench.holds_nothing();
    }
    let message = Bench::new().fetch(Source::Local(elsewhere.path().join("none"))).unwrap_err();
    assert!(message.contains("not found; give a folder or a file that exists"), "{message}");
    let stranger = elsewhere.path().join("letters.txt");
    fs::write(&stranger, b"abc").unwrap();
    assert!(
        Bench::new()
            .fetch(Source::Local(stranger))
            .unwrap_err()
            .contains("has no file `letters.txt`: it has digits.txt")
    );
}

#[test]
fn a_damaged_file_is_replaced() {
    let bench = Bench::new();
    fs::create_dir_all(bench.data.path().join("toy")).unwrap();
    fs::write(bench.file(), b"012345678x").unwrap();
    bench.fetch_over_http(&[Answer::Range]).0.unwrap();
    bench.holds_the_file();
}

#[test]
fn two_fetches_do_not_write_one_part() {
    let bench = Bench::new();
    bench.leave_part(&CONTENT[..4]);
    let held = fs::File::open(bench.part()).unwrap();
    held.lock().unwrap();
    let message = bench.fetch(Source::Mirror("http://127.0.0.1:1".into())).unwrap_err();
    assert!(message.contains("digits.txt.part: another process is fetching this file"), "{message}");
    drop(held);
    bench.fetch_over_http(&[Answer::Range]).0.unwrap();
    bench.holds_the_file();
}

#[test]
fn what_the_disk_has_no_room_for_is_not_begun() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = format!(
        "name = 'vast'\nsummary = 's'\nlicence = 'l'\nhomepage = 'h'\n[[files]]\nname = 'a.txt'\nbytes = {}\nsha256 = '{SHA256}'\n",
        1u64 << 60
    );
    let fetcher = Fetcher::new(Source::Local(elsewhere.path().to_owned()));
    let error = fetcher.fetch(&Manifest::parse(&manifest).unwrap(), data.path(), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("vast takes 1152921504606.8 MB more") && error.contains("make room"), "{error}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    // Room for the archive alone is not enough for what it is to become.
    let bytes = fs4::available_space(data.path()).unwrap() / 3 * 2;
    let files = format!("[[files]]\nname = 'a.tgz'\nbytes = {bytes}\nsha256 = '{SHA256}'\n");
    for (unpack, expected) in [("unpack = true", "make room"), ("", "the source must hold a.tgz")] {
        let manifest = format!("name = 'v'\nsummary = 's'\nlicence = 'l'\nhomepage = 'h'\n{files}{unpack}");
        let manifest = Manifest::parse(&manifest).unwrap();
        let outcome = fetcher.fetch(&manifest, data.path(), &mut |_| ());
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_data_folder_that_is_a_file_is_named_with_the_mend() {
    let bench = Bench::new();
    fs::write(bench.data.path().join("toy"), b"a file").unwrap();
    let message = bench.fetch(Source::Mirror("http://127.0.0.1:1".into())).unwrap_err();
    assert!(message.contains("/toy") && message.contains("DML_DATA_DIR or --data-dir"), "{message}");
    assert_eq!(fs::read(bench.data.path().join("toy")).unwrap(), b"a file");
}

/// `/dev/full` takes no byte: what a full disk says in the middle of a download.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_is_named_with_the_mend() {
    let bench = Bench::new();
    fs::create_dir_all(bench.data.path().join("toy")).unwrap();
    std::os::unix::fs::symlink("/dev/full", bench.part()).unwrap();
    let (outcome, _) = bench.fetch_over_http(&[Answer::Range]);
    let message = outcome.unwrap_err();
    assert!(message.contains("/toy/digits.txt.part: ") && message.contains("make room"), "{message}");
    bench.holds_nothing();
}
