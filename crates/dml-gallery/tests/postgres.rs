//! A gallery in PostgreSQL. Without a server these tests say so and do nothing; `tests/servers/servers.py` starts one.

mod people;
mod postgres_server;

use dml_core::{Matrix, Metric};
use dml_gallery::{
    Embeddings, Erasure, Error, FileGallery, Filter, Gallery, Metadata, Model, PostgresGallery, Search, ServerProblem,
    Templates, conformance,
};
use people::{DIM, Found, answers, enrol, model, problem, remove, values};
use postgres_server::{Name, admin, server};
use std::time::Duration;

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
    let recall = |found: &[Found]| {
        let hit = |(f, e): (&Found, &Found)| e.iter().filter(|who| f.contains(who)).count();
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
