//! Omniglot as tiny copies of its archives and files: fetched, verified, opened, batched.

mod tiny;

use dml_data::sources::omniglot::{self, Part};
use dml_data::{Dataset, ImageSet};
use tiny::{Files, Trimmed, in_memory, picture, text};

/// The archives of two alphabets and of one, each character of them drawn by four people, and of a run.
fn omniglot_files() -> Files {
    let background = |name: &str, alphabets: &[&str]| {
        let drawings =
            alphabets.iter().flat_map(|alphabet| [1, 2].map(|character| format!("{alphabet}/character{character:02}")));
        let drawings =
            drawings.flat_map(|class| [1, 2, 3, 4].map(|drawer| format!("{name}/{class}/0001_{drawer:02}.png")));
        let drawings = drawings.enumerate().map(|(i, drawing)| picture(&drawing, 10 * i as u8)).collect();
        (format!("{name}.zip"), tiny::zip(&drawings))
    };
    let mut run: Files = vec![];
    let mut answers = String::new();
    for i in 1..=20 {
        run.push(picture(&format!("run01/training/class{i:02}.png"), i));
        run.push(picture(&format!("run01/test/item{i:02}.png"), 21 - i));
        answers += &format!("run01/test/item{i:02}.png run01/training/class{:02}.png\n", 21 - i);
    }
    run.push(text("run01/class_labels.txt", &answers));
    vec![
        background("images_background_small1", &["Greek", "Latin"]),
        background("images_background_small2", &["Tagalog"]),
        ("all_runs.zip".to_owned(), tiny::zip(&run)),
    ]
}

#[test]
fn omniglot_small() {
    let set = Trimmed::new("omniglot", omniglot_files(), &[]);
    let data = set.ready();
    let background = |part, size| omniglot::background_as(&set.manifest, data, part, size).unwrap();
    for (part, characters) in [(Part::Small1, 4), (Part::Small2, 2)] {
        let set = background(part, 8);
        assert_eq!((set.class_names().len(), set.len(), set.domain_names().len()), (characters, 4 * characters, 4));
        assert!((0..set.len()).all(|i| set.pixels(i) == [255 - 10 * i as u8; 64]), "ink is bright");
        in_memory(&set);
    }
    assert_eq!(background(Part::Small1, 8).class_names()[1], "Greek/character02");
    assert_eq!(background(Part::Small2, 5).shape(), [1, 5, 5]);
    let runs = omniglot::one_shot_runs_as(&set.manifest, data, 8).unwrap();
    let [run] = runs.as_slice() else { panic!("one run") };
    assert!(
        run.answers().iter().enumerate().all(|(i, &answer)| run.test.pixels(i) == run.train.pixels(answer as usize))
    );
    let error = omniglot::background(data, Part::Small1, 8).unwrap_err().to_string();
    assert!(error.contains("images_background_small1.zip: has size"), "{error}");
    assert!(omniglot::one_shot_runs(data, 8).unwrap_err().to_string().contains("all_runs.zip: has size"));
}

#[test]
fn omniglot_full() {
    let mut table = "class\tpart\talphabet\tcharacter\tvinyals\n".to_owned();
    let rows = [("background", "train"), ("background", "val"), ("evaluation", "test"), ("evaluation", "train")];
    for (class, (part, vinyals)) in rows.into_iter().cycle().take(8).enumerate() {
        table += &format!("{class}\t{part}\tGreek\tcharacter{class:02}\t{vinyals}\n");
    }
    let labels = (0..32u32).flat_map(|image| (image / 4).to_be_bytes()).collect();
    let files = vec![
        ("omniglot28-lanczos-idx3-ubyte.gz".to_owned(), tiny::idx(3, 32, (0..32).map(|image| image / 4).collect())),
        ("omniglot-labels-idx1-int.gz".to_owned(), tiny::idx(1, 32, labels)),
        text("omniglot-classes.tsv", &table),
    ];
    let set = Trimmed::new("omniglot-full", files, &[]);
    let data = set.ready();
    let split = omniglot::full_as(&set.manifest, data).unwrap();
    let [background, evaluation] = omniglot::background_and_evaluation_as(&set.manifest, data).unwrap();
    let parts: [(&ImageSet, &[u8]); 5] = [
        (&split.train, &[0, 3, 4, 7]),
        (&split.validation, &[1, 5]),
        (&split.test, &[2, 6]),
        (&background, &[0, 1, 4, 5]),
        (&evaluation, &[2, 3, 6, 7]),
    ];
    for (part, classes) in parts {
        assert_eq!(
            part.class_names(),
            classes.iter().map(|class| format!("Greek/character{class:02}")).collect::<Vec<_>>()
        );
        assert!((0..part.len()).all(|i| part.pixels(i) == [classes[part.labels()[i] as usize]]));
        in_memory(part);
    }
    let error = omniglot::full(data).unwrap_err().to_string();
    assert!(error.contains("omniglot-classes.tsv: has size"), "{error}");
}
