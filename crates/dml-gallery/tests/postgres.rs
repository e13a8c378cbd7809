//! A gallery in PostgreSQL. Without a server these tests say so and do nothing; `tests/servers/servers.py` starts one.

mod people;

use dml_core::{Matrix, Metric, Projection};
use dml_gallery::{
    Embeddings, Erasure, Error, FileGallery, Filter, Gallery, Metadata, Model, PostgresGallery, Search, ServerProblem,
    Templates, conformance, export,
};
use people::{DIM, enrol, is_there, leaves_a_trace, model, name, remove, values};
use postgres::{Client, Config, NoTls};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Where a server is, or `None` and why nothing is tested.
fn server() -> Option<Config> {
    let said = std::env::var("DML_TEST_POSTGRES").ok();
    if said.is_none() {
        println!("skipped: DML_TEST_POSTGRES names no server; tests/servers/servers.py starts one");
    }
    said.map(|url| url.parse().unwrap())
}

fn admin(server: &Config) -> Client {
    server.connect(NoTls).unwrap()
}

/// The name of a gallery that goes when the test ends.
struct Name {
    server: Config,
    name: String,
}

impl Name {
    fn new(server: &Config) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { server: server.clone(), name }
    }

    fn create(&self, templates: Templates) -> PostgresGallery {
        PostgresGallery::create(self.server.clone(), &self.name, model(), templates).unwrap()
    }

    fn open(&self) -> dml_gallery::Result<PostgresGallery> {
        PostgresGallery::open(self.server.clone(), &self.name)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = PostgresGallery::destroy(self.server.clone(), &self.name);
    }
}

fn problem(error: Error) -> ServerProblem {
    match error {
        Error::Server { problem, .. } => problem,
        other => panic!("not of the server: {other}"),
    }
}

fn answers(gallery: &dyn Gallery, k: usize, filter: &Filter) -> Vec<Vec<(String, u32)>> {
    let (model, probes): (_, Vec<f32>) = (model(), (0..20).flat_map(|i| values(1_000_000 + 3 * i)).collect());
    let probes = Embeddings::new(&model, Matrix::new(&probes, probes.len() / DIM, DIM).unwrap());
    let found = gallery.nearest(probes, k, filter).unwrap();
    found.into_iter().map(|list| list.into_iter().map(|c| (c.name, c.score.to_bits())).collect()).collect()
}

fn conforms(search: Search, erasure: Erasure) {
    let Some(server) = server() else { return };
    let names = std::sync::Mutex::new(Vec::new());
    let make = |model: Model, templates| {
        let name = Name::new(&server);
        let gallery = PostgresGallery::create(server.clone(), &name.name, model, templates)?.with_erasure(erasure);
        names.lock().unwrap().push(name);
        gallery.set_search(search)?;
        Ok(Box::new(gallery) as Box<dyn Gallery>)
    };
    conformance::check(&make).unwrap();
}

#[test]
fn a_gallery_in_postgres_conforms() {
    conforms(Search::Exact, Erasure::Rewrite);
}

#[test]
fn so_it_does_by_a_graph() {
    conforms(Search::HNSW, Erasure::Vacuum);
}

#[test]
fn it_answers_as_a_file_does_and_keeps_what_it_held() {
    let Some(server) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    for templates in [Templates::PerImage, Templates::Mean, Templates::Medoid] {
        let name = Name::new(&server);
        let gallery = name.create(templates);
        let file = FileGallery::create(folder.path().join(format!("{templates:?}")), model(), templates).unwrap();
        for gallery in [&gallery as &dyn Gallery, &file] {
            enrol(gallery, 0..500).unwrap();
            remove(gallery, (0..500).filter(|i| i % 7 == 0)).unwrap();
            let held: Vec<f32> = [2, 5, 8, 11].into_iter().flat_map(values).collect();
            let labels: Vec<u32> = (0..12).map(|i| i / 3).collect();
            let model = model();
            let held = Embeddings::new(&model, Matrix::new(&held, 12, DIM).unwrap());
            gallery.calibrate(held, &labels, &dml_gallery::CalibrationOptions::default()).unwrap();
        }
        drop(gallery);
        let gallery = name.open().unwrap();
        assert_eq!((gallery.model(), gallery.templates()), (&model(), templates));
        for filter in [Filter::everybody(), Filter::everybody().with("badge", "secret badge 000033")] {
            assert_eq!(gallery.list(&filter).unwrap(), file.list(&filter).unwrap());
            assert_eq!(gallery.count(&filter).unwrap(), file.count(&filter).unwrap());
            assert_eq!(answers(&gallery, 10, &filter), answers(&file, 10, &filter));
        }
        let kept = [&gallery as &dyn Gallery, &file].map(|gallery| gallery.calibration().unwrap().unwrap());
        assert_eq!(kept[0].verification.threshold.threshold, kept[1].verification.threshold.threshold);
        assert_eq!(kept[0].identification.threshold.threshold, kept[1].identification.threshold.threshold);
        gallery.set_calibration(None).unwrap();
        assert!(gallery.calibration().unwrap().is_none());
    }
}

#[test]
fn a_graph_finds_nearly_all_and_narrow_filters_are_filled() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    let gallery = name.create(Templates::PerImage);
    enrol(&gallery, 0..4000).unwrap();
    let exact = answers(&gallery, 10, &Filter::everybody());
    gallery.set_search(Search::HNSW).unwrap();
    let wide = Search::Hnsw { m: 16, ef_construction: 64, ef_search: 1000 };
    assert!(gallery.set_search(Search::Hnsw { m: 1, ef_construction: 64, ef_search: 1 }).is_err());
    drop(gallery);
    let gallery = name.open().unwrap();
    assert_eq!(gallery.search(), Search::HNSW);
    let recall = |found: &[Vec<(String, u32)>]| {
        let hit = |(f, e): (&Vec<(String, u32)>, &Vec<(String, u32)>)| e.iter().filter(|who| f.contains(who)).count();
        found.iter().zip(&exact).map(hit).sum::<usize>() as f64 / exact.iter().map(Vec::len).sum::<usize>() as f64
    };
    let found = answers(&gallery, 10, &Filter::everybody());
    assert!(recall(&found) > 0.9, "{}", recall(&found));
    assert!(found.iter().all(|list| list.len() == 10));
    // The server goes by the graph, not by all rows; it counts when a connection ends.
    drop(gallery);
    let mut admin = admin(&server);
    let used = format!(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE schemaname = 'dml_{}' AND indexrelname = 'templates_graph'",
        name.name
    );
    let mut scans = || -> i64 { admin.query_one(&used, &[]).unwrap().get(0) };
    let asked = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        scans() >= 20
    });
    assert!(asked, "the graph was asked {} times by 20 probes", scans());
    let gallery = name.open().unwrap();
    gallery.set_search(wide).unwrap();
    assert!(recall(&answers(&gallery, 10, &Filter::everybody())) > 0.99);
    let one = Filter::everybody().with("badge", "secret badge 000033").with("badge", "secret badge 003999");
    gallery.set_search(Search::HNSW).unwrap();
    let narrow = answers(&gallery, 2, &one);
    gallery.set_search(Search::Exact).unwrap();
    assert_eq!(narrow, answers(&gallery, 2, &one));
    assert!(narrow.iter().all(|list| list.len() == 2));
    assert_eq!(answers(&gallery, 10, &Filter::everybody()), exact);
}

#[test]
fn what_is_wrong_with_a_server_is_said_by_its_kind_and_without_a_password() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    assert_eq!(problem(name.open().err().unwrap()), ServerProblem::Missing);
    assert_eq!(problem(PostgresGallery::destroy(server.clone(), &name.name).unwrap_err()), ServerProblem::Missing);
    let gallery = name.create(Templates::Mean);
    let again = PostgresGallery::create(server.clone(), &name.name, model(), Templates::Mean);
    assert_eq!(problem(again.err().unwrap()), ServerProblem::Exists);

    let secret = "a very secret word";
    let wrong = PostgresGallery::open(server.clone().password(secret).clone(), &name.name).err().unwrap();
    assert!(!wrong.to_string().contains(secret) && !format!("{wrong:?}").contains(secret), "{wrong:?}");
    assert!(matches!(problem(wrong), ServerProblem::Denied(_)));
    let nowhere = PostgresGallery::open(server.clone().dbname("no_such_database").clone(), &name.name).err().unwrap();
    assert!(matches!(problem(nowhere), ServerProblem::Denied(_)));
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = format!("postgres://dml:{secret}@127.0.0.1:{port}/postgres").parse().unwrap();
    let silent = PostgresGallery::open(silent, &name.name).err().unwrap();
    assert!(silent.to_string().contains(&port.to_string()) && !silent.to_string().contains(secret), "{silent}");
    assert!(matches!(problem(silent), ServerProblem::Unreachable(_)));

    // Somebody who may make no extension, in a database without one.
    let mut admin = admin(&server);
    let (role, database) = (format!("{}_poor", name.name), format!("{}_bare", name.name));
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'poor'")).unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
    let poor = server.clone().user(&role).password("poor").dbname(&database).clone();
    let lacks = PostgresGallery::create(poor, "g", model(), Templates::Mean).err().unwrap();
    admin.batch_execute(&format!("DROP DATABASE {database}")).unwrap();
    assert!(lacks.to_string().contains("CREATE EXTENSION vector"), "{lacks}");
    assert!(matches!(problem(lacks), ServerProblem::Lacks(_)));
    let poor = PostgresGallery::open(server.clone().user(&role).password("poor").clone(), &name.name).err().unwrap();
    assert!(matches!(problem(poor), ServerProblem::Denied(_)));
    admin.batch_execute(&format!("DROP ROLE {role}")).unwrap();

    admin.execute(&format!("UPDATE dml_{}.gallery SET layout = 99", name.name), &[]).unwrap();
    let newer = problem(name.open().err().unwrap());
    assert!(matches!(newer, ServerProblem::Layout { found: 99, .. }), "{newer}");
    admin.execute(&format!("UPDATE dml_{}.gallery SET layout = 1", name.name), &[]).unwrap();
    assert!(name.open().is_ok());

    PostgresGallery::destroy(server.clone(), &name.name).unwrap();
    assert_eq!(problem(gallery.list(&Filter::everybody()).unwrap_err()), ServerProblem::Missing);
    for metric in [Metric::Snr, Metric::Lp(3.0), Metric::Hyperbolic(0.1)] {
        let model = Model { metric, ..model() };
        let refused = PostgresGallery::create(server.clone(), &name.name, model, Templates::Mean).err().unwrap();
        assert!(refused.to_string().contains(&metric.to_string()), "{refused}");
    }
    let long = Model { dim: 16_001, ..model() };
    assert!(PostgresGallery::create(server.clone(), &name.name, long, Templates::Mean).is_err());
    assert!(PostgresGallery::create(server, "Not; a name", model(), Templates::Mean).is_err());
}

#[test]
fn texts_that_the_server_cannot_keep_are_refused_and_long_ones_kept() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    let (gallery, model, values) = (name.create(Templates::PerImage), model(), values(0));
    let embeddings = Embeddings::new(&model, Matrix::new(&values, 1, DIM).unwrap());
    let with = |value: &str| Metadata::from([("note".to_owned(), value.to_owned())]);
    assert!(gallery.enrol("a", embeddings, with("\0")).unwrap_err().to_string().contains("NUL"));
    assert!(matches!(gallery.samples("\0"), Err(Error::NotEnrolled(_))));
    assert!(matches!(gallery.scores(embeddings, &["\0"]), Err(Error::NotEnrolled(_))));
    assert!(gallery.nearest(embeddings, 1, &Filter::everybody().with("\0", "x")).unwrap()[0].is_empty());
    let long = "ü'\"\\$1;--".repeat(4000);
    gallery.enrol(&long, embeddings, with("\u{1}'; DROP TABLE samples; --")).unwrap();
    assert!(matches!(gallery.enrol(&long, embeddings, Metadata::new()), Err(Error::AlreadyEnrolled(_))));
    let found = gallery.nearest(embeddings, 1, &Filter::everybody().with("note", "\u{1}'; DROP TABLE samples; --"));
    assert_eq!(found.unwrap()[0][0].name, long);
}

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
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
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
            for round in 1..60 {
                let who = || round * 100..round * 100 + 20;
                let done = enrol(&gallery, who());
                let there = who().filter(|&i| (0..3).find_map(|_| asked(&gallery, i)).unwrap()).count();
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
            writing.store(false, Ordering::Relaxed);
        });
        let mut wait = 1;
        while writing.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20 + wait % 23));
            wait += 7;
            admin.query(&cut, &[]).unwrap();
        }
    });
    assert!(failed.load(Ordering::Relaxed) > 0, "no change was cut");
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
                let gallery = name.open().unwrap();
                let first = 100 * (writer + 1);
                for round in 0..8 {
                    enrol(&gallery, first..first + 10).unwrap();
                    enrol(&gallery, first + 50 + round..first + 51 + round).unwrap();
                    remove(&gallery, first..first + 10).unwrap();
                }
                writing.fetch_sub(1, Ordering::Relaxed);
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
