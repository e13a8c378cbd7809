//! A gallery in Milvus: several processes at once, and processes that are killed (SIGKILL). Without a server these tests say so
//! and do nothing.
#![cfg(unix)]

mod milvus_server;
mod people;

use dml_gallery::{Filter, Gallery, MilvusGallery, Templates, export};
use milvus_server::{Name, server};
use people::{answers, enrol, is_there, leaves_a_trace, model, name, remove};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PLACE: &str = "DML_TEST_KILLED_MILVUS";
const FROM: &str = "DML_TEST_KILLED_FROM";
/// People who come and go together.
const BATCH: usize = 6;
/// Batches that stay before the oldest goes.
const STAY: usize = 2;
const KILLS: usize = 8;
/// Long enough for a slow machine, and what each kill costs.
const PATIENCE: Duration = Duration::from_secs(3);

/// Says that one of several threads has ended, however it did.
struct OneLess<'a>(&'a AtomicUsize);

impl Drop for OneLess<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn several_processes_write_and_read_at_once() {
    let Some(server) = server() else { return };
    let place = Name::new(&server);
    enrol(&place.create(model(), Templates::PerImage).unwrap(), 0..30).unwrap();
    let writing = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (place, writing) = (&place, &writing);
            scope.spawn(move || {
                let _end = OneLess(writing);
                let gallery = place.open().unwrap();
                let first = 100 * (writer + 1);
                for round in 0..3 {
                    enrol(&gallery, first..first + 10).unwrap();
                    enrol(&gallery, first + 50 + round..first + 51 + round).unwrap();
                    remove(&gallery, first..first + 10).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let gallery = place.open().unwrap();
                while writing.load(Ordering::Relaxed) > 0 {
                    let list = gallery.list(&Filter::everybody()).unwrap();
                    let there: BTreeSet<&str> = list.iter().map(|who| who.name.as_str()).collect();
                    for first in [100, 200] {
                        let passing = (first..first + 10).filter(|&i| there.contains(&*name(i))).count();
                        assert!(passing == 0 || passing == 10, "{passing} of 10 that come and go together");
                    }
                    assert!(answers(&gallery, 10, &Filter::everybody()).iter().all(|list| list.len() == 10));
                }
            });
        }
    });
    let gallery = place.open().unwrap();
    assert_eq!(gallery.count(&Filter::everybody()).unwrap().identities, 36);
    let ids: Vec<u64> = gallery.list(&Filter::everybody()).unwrap().into_iter().flat_map(|who| who.samples).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a sample's number was given twice");
    // Nobody who was removed is in an export.
    let folder = tempfile::tempdir().unwrap();
    export(&gallery, &folder.path().join("export")).unwrap();
    assert!(leaves_a_trace(folder.path(), 5).is_some() && leaves_a_trace(folder.path(), 105).is_none());
}

#[test]
#[ignore = "the process that the other test kills"]
fn enrols_and_removes_for_its_parent() {
    let (Ok(place), Ok(from)) = (std::env::var(PLACE), std::env::var(FROM)) else { return };
    let gallery = MilvusGallery::open(&server().unwrap(), &place).unwrap().with_patience(PATIENCE);
    let say = |what: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{what}").and_then(|()| out.flush()).unwrap();
    };
    let from: usize = from.parse().unwrap();
    say("=".to_owned());
    for batch in from.. {
        enrol(&gallery, of(batch)).unwrap();
        say(format!("+{batch}"));
        if batch >= from + STAY {
            remove(&gallery, of(batch - STAY)).unwrap();
            say(format!("-{}", batch - STAY));
        }
    }
}

fn of(batch: usize) -> std::ops::Range<usize> {
    batch * BATCH..(batch + 1) * BATCH
}

#[test]
fn no_acknowledged_change_is_lost_and_nobody_is_there_in_part() {
    let Some(server) = server() else { return };
    let place = Name::new(&server);
    let gallery = place.create(model(), Templates::PerImage).unwrap().with_patience(PATIENCE);
    let mut from = 0;
    for kill in 0..KILLS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "enrols_and_removes_for_its_parent", "--nocapture"])
            .env(PLACE, &place.name)
            .env(FROM, from.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said: Vec<String> = vec![];
        let word = |line: &String| line.starts_with(['+', '-', '=']);
        // So many words are waited for, and then a moment that hits any part of the next change.
        while said.len() < 1 + (kill * 3) % 6 {
            said.extend(Some(lines.next().expect("it ended before it said so")).filter(word));
        }
        std::thread::sleep(Duration::from_millis((kill as u64 * 7919) % 23 * 20));
        process.kill().unwrap();
        process.wait().unwrap();
        // What it said before it was killed may still be on its way.
        said.extend(lines.filter(word));

        let numbers = |sign: char| said.iter().filter_map(move |line| line.strip_prefix(sign)?.parse::<usize>().ok());
        let (enrolled, removed): (Vec<usize>, Vec<usize>) = (numbers('+').collect(), numbers('-').collect());
        let list = gallery.list(&Filter::everybody()).unwrap();
        let names: BTreeSet<&str> = list.iter().map(|who| who.name.as_str()).collect();
        let there = |batch: usize| of(batch).filter(|&i| names.contains(&*name(i))).count();
        // What it was at when it was killed, said or not.
        let last = enrolled.last().map_or(from, |last| last + 1);
        let going = enrolled.last().filter(|last| **last >= from + STAY).map(|last| last - STAY);
        for &batch in &removed {
            assert_eq!(there(batch), 0, "kill {kill}: batch {batch} was removed");
        }
        for &batch in enrolled.iter().filter(|batch| !removed.contains(batch)) {
            let count = there(batch);
            let whole = count == BATCH || (count == 0 && Some(batch) == going);
            assert!(whole, "kill {kill}: {count} of batch {batch} are there");
        }
        let begun = there(last);
        assert!(begun == 0 || begun == BATCH, "kill {kill}: {begun} of batch {last}, which was begun");
        // As they were enrolled, or not at all; and the count is that of the list.
        assert_eq!(is_there(&gallery, of(last).end - 1), begun > 0, "kill {kill}");
        let count = gallery.count(&Filter::everybody()).unwrap();
        assert_eq!(count.identities, list.len(), "kill {kill}");
        assert_eq!(count.samples, list.iter().map(|who| who.samples.len()).sum::<usize>(), "kill {kill}");
        // The next process begins with nobody. Whoever was writing is waited for here.
        let left: Vec<&str> = names.into_iter().collect();
        if !left.is_empty() {
            gallery.remove(&left).unwrap();
        }
        assert!(gallery.list(&Filter::everybody()).unwrap().is_empty(), "kill {kill}");
        from = last + 1;
    }
}
