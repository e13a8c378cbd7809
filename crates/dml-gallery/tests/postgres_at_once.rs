//! A gallery in PostgreSQL: what is left of who was removed, lines that are cut, and several processes at once. Without a server
//! these tests say so and do nothing.

mod people;
mod postgres_server;

use dml_core::{Matrix, Projection};
use dml_gallery::{Error, Filter, Gallery, PostgresGallery, Search, ServerProblem, Templates, export};
use people::{DIM, answers, enrol, is_there, leaves_a_trace, model, name, problem, remove, values};
use postgres::NoTls;
use postgres_server::{Name, admin, server};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Whether anything of a person stands in the server's tables: as they were enrolled, or as they are searched.
fn in_the_tables(tables: &Path, i: usize) -> Option<String> {
    let values = values(i);
    let unit = Projection::Unit.apply(Matrix::new(&values, values.len() / DIM, DIM).unwrap()).values;
    let needle: Vec<u8> = unit[..4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let holds = |path: PathBuf| std::fs::read(path).is_ok_and(|b| b.windows(needle.len()).any(|part| part == needle));
    let files = std::fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path());
    leaves_a_trace(tables, i)
        .or_else(|| files.into_iter().find(|path| holds(path.clone())).map(|p| p.display().to_string()))
}

#[test]
fn nothing_is_left_of_who_was_removed_in_the_servers_tables() {
    let Some(server) = server() else { return };
    let Ok(data) = std::env::var("DML_TEST_POSTGRES_DATA") else {
        println!("skipped: DML_TEST_POSTGRES_DATA does not say where the server's files are");
        return;
    };
    // A database of its own: other tests enrol the same people.
    let (mut first, name) = (admin(&server), Name::new(&server));
    let database = format!("{}_traces", name.name);
    first.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
    let own = server.clone().dbname(&database).clone();
    let oid: u32 = first.query_one("SELECT oid FROM pg_database WHERE datname = $1", &[&database]).unwrap().get(0);
    let tables = Path::new(&data).join("base").join(oid.to_string());
    for search in [Search::Exact, Search::HNSW] {
        let gallery = PostgresGallery::create(own.clone(), "g", model(), Templates::PerImage).unwrap();
        gallery.set_search(search).unwrap();
        enrol(&gallery, 0..400).unwrap();
        let mut admin = admin(&own);
        admin.batch_execute("ANALYZE; CHECKPOINT").unwrap();
        assert!(in_the_tables(&tables, 33).is_some(), "the search for traces finds none of somebody who is there");
        // Somebody elsewhere may still look at an old state of the database.
        let mut elsewhere = server.clone().dbname(&database).connect(NoTls).unwrap();
        elsewhere.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").unwrap();
        remove(&gallery, (0..400).filter(|i| i % 4 == 1)).unwrap();
        let (_, old) = gallery.samples(&people::name(2)).unwrap();
        let samples = gallery.samples(&people::name(2)).unwrap().0.samples;
        gallery.remove_samples(&people::name(2), &samples[..1]).unwrap();
        admin.batch_execute("ANALYZE; CHECKPOINT").unwrap();
        for i in [1, 33, 201, 397] {
            assert_eq!(in_the_tables(&tables, i), None, "{search:?}");
        }
        assert!((3..400).filter(|i| i % 4 != 1).all(|i| is_there(&gallery, i)));
        let needle: Vec<u8> = old[..4].iter().flat_map(|v| v.to_le_bytes()).collect();
        for entry in std::fs::read_dir(&tables).unwrap() {
            let bytes = people::contents(&entry.unwrap().path());
            assert!(!bytes.windows(needle.len()).any(|part| part == needle), "a removed sample is still there");
        }
        let folder = tempfile::tempdir().unwrap();
        export(&gallery, &folder.path().join("export")).unwrap();
        assert_eq!(leaves_a_trace(folder.path(), 33), None);
        drop((gallery, elsewhere));
        PostgresGallery::destroy(own.clone(), "g").unwrap();
    }
    first.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).unwrap();
}

#[test]
fn a_connection_that_was_cut_is_opened_again_and_changes_are_whole() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    let own = server.clone().application_name(&name.name).clone();
    let gallery = PostgresGallery::create(own, &name.name, model(), Templates::PerImage).unwrap();
    enrol(&gallery, 0..10).unwrap();
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'", name.name);
    let mut admin = admin(&server);
    for _ in 0..5 {
        assert!(!admin.query(&cut, &[]).unwrap().is_empty());
        assert!(is_there(&gallery, 7));
        assert!(!admin.query(&cut, &[]).unwrap().is_empty());
        gallery.set_calibration(None).unwrap();
    }
    // In the midst of changes: what was acknowledged is there, and nobody in part.
    let (writing, failed) = (AtomicBool::new(true), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = End(&writing);
            // Sixty rounds, and more while no cut has met a change.
            for round in (1..1000).take_while(|&round| round < 60 || failed.load(Ordering::Relaxed) == 0) {
                let who = || round * 100..round * 100 + 20;
                let done = enrol(&gallery, who());
                let there = who().filter(|&i| (0..100).find_map(|_| asked(&gallery, i)).unwrap()).count();
                match done {
                    Ok(()) => assert_eq!(there, 20, "acknowledged and not there"),
                    Err(error) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        assert!(there == 0 || there == 20, "{there} of 20");
                        let problem = problem(error);
                        let unanswered = matches!(problem, ServerProblem::Unanswered(_));
                        assert!(
                            unanswered || (there == 0 && matches!(problem, ServerProblem::Unreachable(_))),
                            "{problem}"
                        );
                    }
                }
            }
        });
        let mut wait = 1;
        while writing.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5 + wait % 90));
            wait += 71;
            admin.query(&cut, &[]).unwrap();
        }
    });
    assert!(failed.load(Ordering::Relaxed) > 0, "no change was cut");
}

/// Says that a thread has ended, however it did.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Says that one of several threads has ended.
struct OneLess<'a>(&'a AtomicUsize);

impl Drop for OneLess<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether somebody is there; `None` where the connection was cut with the question.
fn asked(gallery: &PostgresGallery, i: usize) -> Option<bool> {
    match gallery.samples(&name(i)) {
        Ok(_) => Some(true),
        Err(Error::NotEnrolled(_)) => Some(false),
        Err(_) => None,
    }
}

#[test]
fn several_processes_write_and_read_at_once() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    enrol(&name.create(Templates::PerImage), 0..60).unwrap();
    let writing = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (name, writing) = (&name, &writing);
            scope.spawn(move || {
                let _end = OneLess(writing);
                let gallery = name.open().unwrap();
                let first = 100 * (writer + 1);
                for round in 0..8 {
                    enrol(&gallery, first..first + 10).unwrap();
                    enrol(&gallery, first + 50 + round..first + 51 + round).unwrap();
                    remove(&gallery, first..first + 10).unwrap();
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let gallery = name.open().unwrap();
                while writing.load(Ordering::Relaxed) > 0 {
                    let list = gallery.list(&Filter::everybody()).unwrap();
                    for first in [100, 200] {
                        let names: Vec<String> = (first..first + 10).map(people::name).collect();
                        let passing = list.iter().filter(|who| names.contains(&who.name)).count();
                        assert!(passing == 0 || passing == 10, "{passing} of 10 that come and go together");
                    }
                    assert!(answers(&gallery, 10, &Filter::everybody()).iter().all(|list| list.len() == 10));
                    let mut people = 0;
                    let visited = gallery.for_each(&mut |_, _| {
                        people += 1;
                        Ok(())
                    });
                    visited.unwrap();
                    assert!((60..=96).contains(&people), "{people}");
                }
            });
        }
    });
    let gallery = name.open().unwrap();
    assert_eq!(gallery.count(&Filter::everybody()).unwrap().identities, 76);
    let ids: Vec<u64> = gallery.list(&Filter::everybody()).unwrap().into_iter().flat_map(|who| who.samples).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "a sample's number was given twice");
}
