//! A gallery in Milvus. Without a server these tests say so and do nothing; `tests/servers/servers.py` starts one.

mod milvus_server;
mod people;

use dml_core::{Matrix, Metric};
use dml_gallery::{
    Embeddings, Error, FileGallery, Filter, Gallery, Metadata, MilvusGallery, Model, ServerProblem, Templates,
    conformance,
};
use milvus_server::{Name, server};
use people::{DIM, answers, enrol, model, problem, remove, values};

#[test]
fn a_gallery_in_milvus_conforms() {
    let Some(server) = server() else { return };
    // Each metric and each kind of templates; the server compares by two ways only. Side by side, for it is the server's clock
    // that is waited for.
    let suites = [
        (Metric::Cosine, Templates::PerImage),
        (Metric::Cosine, Templates::Mean),
        (Metric::Cosine, Templates::Medoid),
        (Metric::Dot, Templates::Mean),
        (Metric::Euclidean, Templates::PerImage),
        (Metric::SquaredEuclidean, Templates::Medoid),
    ];
    std::thread::scope(|scope| {
        for (metric, templates) in suites {
            let server = &server;
            scope.spawn(move || {
                let names = std::sync::Mutex::new(Vec::new());
                let make = |model: Model, templates| {
                    let name = Name::new(server);
                    let gallery = name.create(model, templates)?;
                    names.lock().unwrap().push(name);
                    Ok(Box::new(gallery) as Box<dyn Gallery>)
                };
                conformance::check_one(&make, metric, templates).unwrap();
            });
        }
    });
}

#[test]
fn it_answers_as_a_file_does_and_keeps_what_it_held() {
    let Some(server) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    for templates in [Templates::PerImage, Templates::Mean] {
        let name = Name::new(&server);
        let gallery = name.create(model(), templates).unwrap();
        let file = FileGallery::create(folder.path().join(format!("{templates:?}")), model(), templates).unwrap();
        for gallery in [&gallery as &dyn Gallery, &file] {
            enrol(gallery, 0..3000).unwrap();
            remove(gallery, (0..3000).filter(|i| i % 7 == 0)).unwrap();
            let held: Vec<f32> = [2, 5, 8, 11].into_iter().flat_map(values).collect();
            let labels: Vec<u32> = (0..12).map(|i| i / 3).collect();
            let model = model();
            let held = Embeddings::new(&model, Matrix::new(&held, 12, DIM).unwrap());
            gallery.calibrate(held, &labels, &dml_gallery::CalibrationOptions::default()).unwrap();
        }
        let compared = |gallery: &MilvusGallery| {
            assert_eq!((gallery.model(), gallery.templates()), (&model(), templates));
            for filter in [Filter::everybody(), Filter::everybody().with("badge", "secret badge 000033")] {
                assert_eq!(gallery.list(&filter).unwrap(), file.list(&filter).unwrap());
                assert_eq!(gallery.count(&filter).unwrap(), file.count(&filter).unwrap());
                assert_eq!(answers(gallery, 10, &filter), answers(&file, 10, &filter));
            }
        };
        compared(&gallery);
        // Once the rows lie in files, and those who were removed no longer do.
        gallery.compact().unwrap();
        drop(gallery);
        let gallery = name.open().unwrap();
        compared(&gallery);
        let kept = [&gallery as &dyn Gallery, &file].map(|gallery| gallery.calibration().unwrap().unwrap());
        assert_eq!(kept[0].verification.threshold.threshold, kept[1].verification.threshold.threshold);
        gallery.set_calibration(None).unwrap();
        assert!(gallery.calibration().unwrap().is_none());
    }
}

#[test]
fn a_list_that_is_longer_than_the_servers_is_exact_too() {
    let Some(server) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = Name::new(&server);
    let gallery = name.create(model(), Templates::PerImage).unwrap();
    let file = FileGallery::create(folder.path().join("g.gallery"), model(), Templates::PerImage).unwrap();
    // Twice as many rows: the server's longest list does not name 9,000 identities.
    for gallery in [&gallery as &dyn Gallery, &file] {
        enrol(gallery, 0..9000).unwrap();
    }
    assert_eq!(answers(&gallery, 8990, &Filter::everybody()), answers(&file, 8990, &Filter::everybody()));
}

#[test]
fn what_is_wrong_with_a_server_is_said_by_its_kind_and_without_a_password() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    assert_eq!(problem(name.open().err().unwrap()), ServerProblem::Missing);
    assert_eq!(problem(MilvusGallery::destroy(&server, &name.name).unwrap_err()), ServerProblem::Missing);
    let gallery = name.create(model(), Templates::Mean).unwrap();
    assert_eq!(problem(name.create(model(), Templates::Mean).err().unwrap()), ServerProblem::Exists);
    MilvusGallery::destroy(&server, &name.name).unwrap();
    let gone = problem(gallery.list(&Filter::everybody()).unwrap_err());
    assert_eq!(gone, ServerProblem::Missing);

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = format!("milvus://dml:verysecret@127.0.0.1:{port}").parse().unwrap();
    let silent = MilvusGallery::open(&silent, &name.name).err().unwrap();
    assert!(silent.to_string().contains(&port.to_string()) && !silent.to_string().contains("verysecret"), "{silent}");
    assert!(matches!(problem(silent), ServerProblem::Unreachable(_)));

    for metric in [Metric::Snr, Metric::Lp(1.0), Metric::Hyperbolic(0.1)] {
        let refused = name.create(Model { metric, ..model() }, Templates::Mean).err().unwrap();
        assert!(refused.to_string().contains(&metric.to_string()), "{refused}");
    }
    for dim in [1, 32_769] {
        assert!(name.create(Model { dim, ..model() }, Templates::Mean).is_err());
    }
    assert!(MilvusGallery::create(&server, "Not; a name", model(), Templates::Mean).is_err());
}

#[test]
fn texts_of_any_characters_are_kept_and_too_long_ones_refused() {
    let Some(server) = server() else { return };
    let name = Name::new(&server);
    let (gallery, model, values) = (name.create(model(), Templates::PerImage).unwrap(), model(), values(0));
    let embeddings = Embeddings::new(&model, Matrix::new(&values, 1, DIM).unwrap());
    let with = |value: &str| Metadata::from([("note".to_owned(), value.to_owned())]);
    let long = "ü'\"\\$1;--".repeat(2000);
    let odd = "\0\u{1}'] or pk > 0 or name in [\"";
    gallery.enrol(&long, embeddings, with(odd)).unwrap();
    assert!(matches!(gallery.enrol(&long, embeddings, Metadata::new()), Err(Error::AlreadyEnrolled(_))));
    let found = gallery.nearest(embeddings, 1, &Filter::everybody().with("note", odd)).unwrap();
    assert_eq!(found[0][0].name, long);
    assert_eq!(gallery.list(&Filter::everybody()).unwrap()[0].metadata, with(odd));
    assert!(gallery.nearest(embeddings, 1, &Filter::everybody().with("note", "x")).unwrap()[0].is_empty());
    // As JSON each of these is six bytes.
    let refused = gallery.enrol("a", embeddings, with(&"\u{1}".repeat(11_000))).unwrap_err();
    assert!(refused.to_string().contains("65535"), "{refused}");
}
