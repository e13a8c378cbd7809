//! Fetching and unpacking in a process that is killed (SIGKILL) at many moments: what carries a final name is whole, and
//! the next fetch goes on.
//!
//! No moment is a time: they are counts of bytes or files.
#![cfg(all(unix, feature = "download"))]

use dml_data::download::{Fetcher, Source};
use dml_data::{Manifest, unpack};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod loopback;

/// Files of the set's archive: enough that unpacking takes a while.
const FILES: usize = 1000;
/// The variables in which the process that is killed finds the set and the server.
const PLACE: &str = "DML_TEST_KILLED_PLACE";
const SERVER: &str = "DML_TEST_KILLED_SERVER";

#[test]
#[ignore = "the process that the other tests kill"]
fn fetches_for_its_parent() {
    let (Some(place), Ok(server)) = (std::env::var_os(PLACE), std::env::var(SERVER)) else { return };
    fetch(Path::new(&place), server);
}

/// What `cargo xtask dataset fetch` does.
fn fetch(place: &Path, server: String) {
    let manifest = Manifest::parse(&fs::read_to_string(place.join("toy.toml")).unwrap()).unwrap();
    let data = place.join("data");
    Fetcher::new(Source::Mirror(server)).fetch(&manifest, &data, &mut |_| ()).unwrap();
    manifest.verify(&data).unwrap();
    unpack::set(&manifest, &data, unpack::Limits::default()).unwrap();
}

/// A set of one archive, `birds.tar`, with one folder, `birds`, and where it is fetched to.
struct Bench {
    place: TempDir,
    archive: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let mut builder = tar::Builder::new(vec![]);
        for (name, content) in files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("birds/{name}"), content.as_bytes()).unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let sha256: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let place = tempfile::tempdir().unwrap();
        let manifest = format!(
            "name = 'toy'\nsummary = 'birds'\nlicence = 'CC0-1.0'\nhomepage = ''\n\
             [[files]]\nname = 'birds.tar'\nbytes = {}\nsha256 = '{sha256}'\nunpack = true\n",
            archive.len()
        );
        fs::write(place.path().join("toy.toml"), manifest).unwrap();
        fs::create_dir_all(place.path().join("data/toy")).unwrap();
        Self { place, archive }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("data/toy").join(name)
    }

    /// Bytes there are of the archive while it has no name.
    fn part(&self) -> usize {
        fs::metadata(self.path("birds.tar.part")).map_or(0, |part| part.len() as usize)
    }

    /// Files there are of the folder while it has no name.
    fn unpacked(&self) -> usize {
        fs::read_dir(self.path("birds.unpacking/birds")).map_or(0, Iterator::count)
    }

    /// Starts the process that fetches.
    fn start(&self, server: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "fetches_for_its_parent", "--nocapture"])
            .env(PLACE, self.place.path())
            .env(SERVER, server)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Has a process fetch, sends it at most `bytes` of what it asks for, and kills it when `moment` has come.
    fn kill_at(&self, bytes: usize, moment: impl Fn(usize) -> bool) {
        let (listener, server) = loopback::listen();
        let mut process = self.start(&server);
        let mut stream = loopback::accept(&listener);
        let asked = loopback::asked(&stream, "/toy/birds.tar");
        let first = asked.unwrap_or(0);
        assert_eq!(first, self.part(), "the fetch goes on where the killed one stopped");
        let size = self.archive.len();
        let end = size.min(first + bytes);
        loopback::head(&mut stream, &loopback::ranged(asked, size), Some(size - first));
        stream.write_all(&self.archive[first..end]).unwrap();
        until(|| moment(end));
        kill(&mut process);
        self.is_honest();
    }

    /// Whatever carries a final name is whole, and beside it lies only what the next fetch goes on with or clears away.
    fn is_honest(&self) {
        for name in names(&self.path("")) {
            match name.as_str() {
                "birds.tar" => assert!(fs::read(self.path(&name)).unwrap() == self.archive, "{name} is not whole"),
                "birds.tar.part" => assert!(self.archive.starts_with(&fs::read(self.path(&name)).unwrap())),
                "birds" => self.holds_the_folder(),
                "birds.unpacking" | "birds.unpacking.lock" => {}
                other => panic!("what is {other}?"),
            }
        }
    }

    fn holds_the_folder(&self) {
        let found: BTreeMap<String, String> = names(&self.path("birds"))
            .into_iter()
            .map(|name| (name.clone(), fs::read_to_string(self.path("birds").join(name)).unwrap()))
            .collect();
        assert!(found == files(), "{} of {FILES} files, or other bytes in them", found.len());
    }

    /// The next fetch, not killed: it brings what is lacking, and leaves nothing else.
    fn completes(&self) {
        let first = self.part();
        thread::scope(|scope| {
            let (listener, server) = loopback::listen();
            let lacking = !self.path("birds.tar").exists();
            // A part that is whole needs no server.
            if lacking && first < self.archive.len() {
                scope.spawn(move || {
                    let mut stream = loopback::accept(&listener);
                    let asked = loopback::asked(&stream, "/toy/birds.tar");
                    assert_eq!(asked.unwrap_or(0), first);
                    let size = self.archive.len();
                    loopback::head(&mut stream, &loopback::ranged(asked, size), Some(size - first));
                    stream.write_all(&self.archive[first..]).unwrap();
                });
            }
            fetch(self.place.path(), server);
        });
        assert_eq!(names(&self.path("")), ["birds", "birds.tar"]);
        self.is_honest();
    }
}

/// The content of the archive's folder.
fn files() -> BTreeMap<String, String> {
    (0..FILES).map(|i| (format!("{i:04}.txt"), format!("{i} ").repeat(150))).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for `moment`, within a minute: a process that never comes so far must fail the test, not hang it.
fn until(moment: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !moment() {
        assert!(Instant::now() < deadline, "the process never came so far");
        thread::yield_now();
    }
}

fn kill(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_fetch_killed_at_any_byte_goes_on() {
    let bench = Bench::new();
    let step = bench.archive.len() / 14;
    for i in 0..12 {
        // By turns when all that was sent is in the part, and somewhere before; by one byte, by odd and even counts.
        let bytes = [1, step, step + 1, 2 * step - 1][i % 4];
        match i % 2 {
            0 => bench.kill_at(bytes, |end| bench.part() == end),
            _ => bench.kill_at(bytes, |_| true),
        }
        assert!(!bench.path("birds.tar").exists(), "it was never sent whole");
    }
    assert!(bench.part() > 0);
    bench.completes();
}

#[test]
fn a_fetch_killed_when_all_has_been_sent_goes_on() {
    type Moment = fn(&Bench) -> bool;
    let moments: [Moment; 5] = [
        |_| true,
        |bench| bench.part() == bench.archive.len() || bench.path("birds.tar").exists(),
        |bench| bench.path("birds.tar").exists(),
        |bench| bench.path("birds.unpacking").exists() || bench.path("birds").exists(),
        |bench| bench.path("birds").exists(),
    ];
    for moment in moments {
        let bench = Bench::new();
        bench.kill_at(usize::MAX / 2, |_| moment(&bench));
        bench.completes();
    }
}

#[test]
fn a_set_unpacked_half_never_looks_whole() {
    let bench = Bench::new();
    fs::write(bench.path("birds.tar"), &bench.archive).unwrap();
    let mut halves = 0;
    for files in [1, 1, 2, 3, 10, 50, 100, 200, 400, 600, 800, 900] {
        // The archive is there: the server is not asked.
        let mut process = bench.start("http://127.0.0.1:1");
        let whole = || bench.path("birds").exists();
        // What an earlier process left is cleared first.
        until(|| whole() || bench.unpacked() < files);
        until(|| whole() || bench.unpacked() >= files);
        kill(&mut process);
        bench.is_honest();
        match whole() {
            true => fs::remove_dir_all(bench.path("birds")).unwrap(),
            false => halves += 1,
        }
    }
    assert!(halves > 0, "no process was killed in the middle");
    bench.completes();
}

#[test]
fn what_a_kill_after_the_naming_leaves_is_cleared() {
    let bench = Bench::new();
    fs::write(bench.path("birds.tar"), &bench.archive).unwrap();
    bench.completes();
    fs::create_dir(bench.path("birds.unpacking")).unwrap();
    fs::write(bench.path("birds.unpacking.lock"), "").unwrap();
    bench.completes();
}
