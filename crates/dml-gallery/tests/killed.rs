//! A process that enrols and removes is killed (SIGKILL) at many moments: what it said was done is done, what it had begun is
//! whole or not there, and the file opens.
#![cfg(unix)]

mod people;

use dml_gallery::{FileGallery, Templates};
use people::{enrol, is_there, leaves_a_trace, model, remove};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PLACE: &str = "DML_TEST_KILLED_GALLERY";
const FROM: &str = "DML_TEST_KILLED_FROM";
/// People who come and go together.
const BATCH: usize = 6;
/// Batches that stay before the oldest goes.
const STAY: usize = 5;
const KILLS: usize = 100;

#[test]
#[ignore = "the process that the other test kills"]
fn enrols_and_removes_for_its_parent() {
    let (Some(place), Ok(from)) = (std::env::var_os(PLACE), std::env::var(FROM)) else { return };
    let gallery = FileGallery::open(Path::new(&place)).unwrap();
    let say = |what: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{what}").and_then(|()| out.flush()).unwrap();
    };
    let from: usize = from.parse().unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.gallery");
    drop(FileGallery::create(&path, model(), Templates::PerImage).unwrap());
    let mut from = 0;
    // What must be there and what must not, of all the processes.
    let (mut enrolled, mut removed, mut in_between) = (vec![], vec![], 0);
    for kill in 0..3 * KILLS {
        // More while none has met what the last line asks for.
        if kill >= KILLS && in_between > 0 {
            break;
        }
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "enrols_and_removes_for_its_parent", "--nocapture"])
            .env(PLACE, &path)
            .env(FROM, from.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said: Vec<String> = vec![];
        // So many are waited for, and then a moment that hits any part of the next change.
        let wait = (kill * 7) % 16;
        while said.len() < wait {
            let line = lines.next().expect("it ended before it said so");
            said.extend(Some(line).filter(|line| line.starts_with(['+', '-'])));
        }
        std::thread::sleep(Duration::from_micros(((kill * 7919) % 97) as u64 * 150));
        process.kill().unwrap();
        process.wait().unwrap();
        // What it said before it was killed may still be on its way.
        said.extend(lines.filter(|line| line.starts_with(['+', '-'])));

        let gallery = FileGallery::open(&path).unwrap();
        let numbers = |sign: char| said.iter().filter_map(move |line| line.strip_prefix(sign)?.parse::<usize>().ok());
        let there = |batch: usize| of(batch).filter(|&i| is_there(&gallery, i)).count();
        enrolled.extend(numbers('+'));
        removed.extend(numbers('-'));
        // What it was at when it was killed, said or not.
        let last = numbers('+').next_back().map_or(from, |last| last + 1);
        let going = numbers('+').next_back().filter(|last| *last >= from + STAY).map(|last| last - STAY);
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
        in_between +=
            usize::from(begun > 0 || going.is_some_and(|going| !removed.contains(&going) && there(going) == 0));
        // Everybody who is gone by now, said or not, is gone from the file.
        let gone = removed.iter().copied().chain(going.filter(|&going| there(going) == 0));
        for i in gone.flat_map(of).filter(|_| kill % 10 == 9) {
            assert_eq!(leaves_a_trace(folder.path(), i), None, "kill {kill}");
        }
        // The next process begins with a gallery of its own people only.
        let left: Vec<usize> = (0..=last).filter(|&batch| there(batch) > 0).collect();
        for batch in left {
            remove(&gallery, of(batch)).unwrap();
            removed.push(batch);
        }
        enrolled.clear();
        removed.retain(|batch| batch + 30 > last);
        from = last + 1;
    }
    assert!(in_between > 0, "no process was killed between a change and its word");
}
