//! The small published sets and tar shards, as tiny copies with the same layout: fetched, verified, unpacked, opened,
//! sampled, batched. The real ones where `DML_MIRROR` has them.

mod tiny;

use dml_data::sources::{
    att_faces, cars, cub, fashion_mnist, in_shop, inaturalist, lfw, mini_imagenet, mnist, sop, tar_shards, vehicle_id,
};
use dml_data::{Catalog, Dataset, ImageSet, Manifest, Split, image};
use std::fs;
use std::path::Path;
use std::time::Instant;
use tiny::{Files, Trimmed, in_memory, picture, rows, sampled, text};

fn lfw_files() -> Files {
    let people = [("Ann_Lee", 2), ("Bo_Chen", 1), ("Cy_Diaz", 3)];
    let images = people.iter().flat_map(|&(name, images)| (1..=images).map(move |i| (name, i)));
    let pictures = images
        .enumerate()
        .map(|(n, (name, i))| picture(&format!("lfw/{name}/{name}_{i:04}.jpg"), n as u8 * 10))
        .collect();
    vec![
        ("lfw.tgz".to_owned(), tiny::gz(&tiny::tar(&pictures))),
        text("people.txt", "2\n1\nCy_Diaz\t3\n2\nAnn_Lee\t2\nBo_Chen\t1\n"),
        text("peopleDevTrain.txt", "2\nAnn_Lee\t2\nBo_Chen\t1\n"),
        text("peopleDevTest.txt", "1\nCy_Diaz\t3\n"),
        text("pairs.txt", "2\t1\nCy_Diaz\t1\t3\nAnn_Lee\t1\tBo_Chen\t1\nAnn_Lee\t1\t2\nBo_Chen\t1\tCy_Diaz\t2\n"),
        text("pairsDevTrain.txt", "1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo_Chen\t1\n"),
        text("pairsDevTest.txt", "0\n"),
    ]
}

#[test]
fn lfw() {
    let set = Trimmed::new("lfw", lfw_files(), &[("all", 3, 6), ("train", 2, 3), ("test", 1, 3)]);
    let data = set.ready();
    let catalog = lfw::open_as(&set.manifest, data).unwrap();
    sampled(&catalog, &[0, 10, 20, 30, 40, 50]);
    assert_eq!(rows(&catalog)[3], ("Cy_Diaz/Cy_Diaz_0001.jpg", "Cy_Diaz", "test"));
    assert_eq!(catalog.group_names(), ["fold 2", "fold 1"]);
    let pair = |left, right, same, fold| lfw::FacePair { left, right, same, fold };
    let pairs = lfw::pairs(&set.folder().join("pairs.txt"), &catalog).unwrap();
    assert_eq!(pairs, [pair(3, 5, true, 0), pair(0, 2, false, 0), pair(0, 1, true, 1), pair(2, 4, false, 1)]);
    let train = catalog.part("train").unwrap();
    assert_eq!(lfw::pairs(&set.folder().join("pairsDevTrain.txt"), &train).unwrap().len(), 2);
    assert!(lfw::open(data).unwrap_err().to_string().contains("all has 3 classes but the manifest says 5749"));
    let list = set.folder().join("pairs.txt");
    for (content, expected) in [
        ("2\t1\nCy_Diaz\t1\t3\n", "has 1 pairs, not 2 x 1 in each of 2 folds"),
        ("1\nCy_Diaz\t1\t9\nAnn_Lee\t1\tBo_Chen\t1\n", "line 2: `Cy_Diaz\t1\t9` names Cy_Diaz/Cy_Diaz_0009.jpg"),
        (
            "1\nCy_Diaz\t1\t3\nAnn_Lee\t1\tAnn_Lee\t2\n",
            "line 3: `Ann_Lee\t1\tAnn_Lee\t2` is not `<name> <image> <other",
        ),
        ("pairs\n", "its first line is not"),
    ] {
        fs::write(&list, content).unwrap();
        let error = lfw::pairs(&list, &catalog).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn att_faces() {
    let names: Vec<String> = (1..=10).flat_map(|s| [1, 2, 10].map(|i| format!("att_faces/s{s}/{i}.pgm"))).collect();
    let mut files: Files = names.iter().enumerate().map(|(i, name)| picture(name, i as u8)).collect();
    files.push(text("att_faces/README", "Credit to ORL"));
    let set = Trimmed::new("att-faces", vec![("att_faces.zip".to_owned(), tiny::zip(&files))], &[("all", 10, 30)]);
    let data = set.ready();
    let catalog = att_faces::open_as(&set.manifest, data).unwrap();
    sampled(&catalog, &(0..30).collect::<Vec<u8>>());
    assert_eq!(["train", "validation", "test"].map(|part| catalog.part(part).unwrap().len()), [12, 3, 15]);
    assert_eq!((catalog.path(2), catalog.class_names()[9].as_str()), ("s1/10.pgm", "s10"));
    assert!(
        att_faces::open(data).unwrap_err().to_string().contains("class `s1` has 3 samples but the manifest says 10")
    );
}

/// The four files of MNIST and its kin: 30 and 10 images of one pixel, whose value is their label, of ten classes.
fn idx_files() -> Files {
    let half = |file: &str, n: u32| {
        let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
        [
            (format!("{file}-images-idx3-ubyte.gz"), tiny::idx(3, n, labels.clone())),
            (format!("{file}-labels-idx1-ubyte.gz"), tiny::idx(1, n, labels)),
        ]
    };
    half("train", 30).into_iter().chain(half("t10k", 10)).collect()
}

type Halves = (ImageSet, ImageSet);

/// Takes `idx_files` from the mirror of the set `name` to batches of its parts and of the halves as published.
fn of_idx_files(
    name: &str,
    read: fn(&Path) -> dml_data::Result<Halves>,
    open_as: fn(&Manifest, &Path) -> dml_data::Result<Split>,
    opened: [fn(&Path) -> Option<dml_data::Error>; 2],
) -> Halves {
    let set = Trimmed::new(name, idx_files(), &[("train", 10, 30), ("test", 10, 10)]);
    let data = set.ready();
    let (train, test) = read(&set.folder()).unwrap();
    assert_eq!((train.len(), test.len()), (30, 10));
    assert_eq!((train.labels()[13], train.pixels(13)), (3, [3].as_slice()));
    let split = open_as(&set.manifest, data).unwrap();
    assert_eq!([&split.train, &split.validation, &split.test].map(|part| part.len()), [16, 4, 20]);
    for part in [&split.train, &split.test] {
        in_memory(part);
        let class_of = |i: usize| &part.class_names()[part.labels()[i] as usize];
        assert!((0..part.len()).all(|i| *class_of(i) == train.class_names()[usize::from(part.pixels(i)[0])]));
    }
    [&train, &test].into_iter().for_each(in_memory);
    // The real manifest's checksums are not those of the tiny copy: nothing unverified is opened.
    for open in opened {
        let error = open(data).unwrap().to_string();
        assert!(error.contains("train-images-idx3-ubyte.gz: has size"), "{error}");
    }
    (train, test)
}

#[test]
fn mnist() {
    let opened: [fn(&Path) -> Option<_>; 2] =
        [|data| mnist::open(data).err(), |data| mnist::classification(data).err()];
    let (train, _) = of_idx_files("mnist", mnist::read, mnist::open_as, opened);
    assert_eq!(train.class_names()[9], "9");
}

#[test]
fn fashion_mnist() {
    let opened: [fn(&Path) -> Option<_>; 2] =
        [|data| fashion_mnist::open(data).err(), |data| fashion_mnist::classification(data).err()];
    let (train, _) = of_idx_files("fashion-mnist", fashion_mnist::read, fashion_mnist::open_as, opened);
    assert_eq!(train.class_names()[9], "Ankle boot");
}

#[test]
fn mini_imagenet() {
    let archive = |class: &str, value: u8| {
        tiny::tar(&vec![
            picture(&format!("{class}/{class}1.jpg"), value),
            picture(&format!("{class}/{class}2.jpg"), value + 10),
        ])
    };
    let files = vec![
        ("train64-42px.tar".to_owned(), archive("n01", 10)),
        ("val16-42px.tar".to_owned(), archive("n02", 30)),
        ("test20-42px.tar".to_owned(), archive("n03", 50)),
    ];
    let set = Trimmed::new("mini-imagenet", files, &[("train", 1, 2), ("validation", 1, 2), ("test", 1, 2)]);
    let catalog = mini_imagenet::open_as(&set.manifest, set.ready()).unwrap();
    sampled(&catalog, &[10, 20, 30, 40, 50, 60]);
    assert_eq!(rows(&catalog)[2], ("n02/n021.jpg", "n02", "validation"));
    fs::write(set.folder().join("val16-42px.tar"), tiny::tar(&vec![picture("flat.jpg", 1)])).unwrap();
    let error = mini_imagenet::read(&set.folder()).unwrap_err().to_string();
    assert!(error.contains("val16-42px.tar: `flat.jpg` is not <class>/<image>"), "{error}");
}

#[test]
fn lists_of_mini_imagenet_need_all_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let list = |classes: std::ops::Range<usize>, images: usize| {
        let rows = classes.flat_map(|class| (0..images).map(move |i| format!("{class}_{i}.jpg,n{class:08}\n")));
        format!("filename,label\n{}", rows.collect::<String>())
    };
    let write = |of_test: usize| {
        tiny::write(
            folder.path(),
            &vec![
                text("train.csv", &list(0..64, 600)),
                text("val.csv", &list(64..80, 600)),
                text("test.csv", &list(80..100, of_test)),
            ],
        );
    };
    write(600);
    let catalog = mini_imagenet::from_lists(folder.path(), folder.path()).unwrap();
    assert_eq!((catalog.len(), catalog.path(60_000 - 1)), (60_000, "n00000099/99_599.jpg"));
    write(599);
    let error = mini_imagenet::from_lists(folder.path(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("test: class `n00000080` has 599 samples but the manifest says 600"), "{error}");
}

#[test]
fn shards() {
    let folder = tempfile::tempdir().unwrap();
    let shard = |name: &str, files: Files| {
        let path = folder.path().join(name);
        fs::write(&path, tiny::tar(&files)).unwrap();
        path
    };
    let a = shard(
        "a.tar",
        vec![
            picture("x/0001.jpg", 10),
            text("x/0001.cls", "7\n"),
            text("x/0001.json", "{}"),
            text("x/0002.cls", "gull"),
            picture("x/0002.seg.png", 99),
            picture("x/0002.png", 20),
        ],
    );
    let b = shard("b.tar", vec![picture("0001.JPG", 30), text("0001.cls", "wren")]);
    let catalog = tar_shards::open("birds", &[("train", &a), ("test", &b)]).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(
        rows(&catalog),
        [("x/0001.jpg", "7", "train"), ("x/0002.png", "gull", "train"), ("0001.JPG", "wren", "test")]
    );
    let seen = tar_shards::open("birds", &[("train", &b), ("test", &b)]).unwrap_err().to_string();
    assert!(seen.contains("class `wren` is in train and in test"), "{seen}");
    for (files, expected) in [
        (vec![picture("1.jpg", 1)], "sample `1` has no class: add `1.cls`"),
        (vec![text("1.cls", "a")], "sample `1` has no image"),
        (vec![picture("1.jpg", 1), picture("1.png", 1)], "sample `1` has two images"),
        (vec![picture("1.jpg", 1), text("1.cls", " ")], "`1.cls` names no class"),
        (vec![text("readme", "a")], "holds no samples"),
    ] {
        let path = shard("c.tar", files);
        let error = tar_shards::open("birds", &[("all", &path)]).unwrap_err().to_string();
        assert!(error.contains("c.tar: ") && error.contains(expected), "{error}");
    }
    assert!(tar_shards::open("birds", &[]).unwrap_err().to_string().contains("no archives"));
}

#[test]
fn sets_that_are_not_there_say_how_to_get_them() {
    let nowhere = tempfile::tempdir().unwrap();
    let messages = [
        (cub::open(nowhere.path()).unwrap_err(), "fetch cub-200-2011 (1150.6 MB)"),
        (cars::open(nowhere.path()).unwrap_err(), "import cars-196 DIR (size not published)"),
        (sop::open(nowhere.path()).unwrap_err(), "import stanford-online-products DIR (3083.9 MB)"),
        (in_shop::open(nowhere.path()).unwrap_err(), "import in-shop DIR (size not published)"),
        (inaturalist::open(nowhere.path()).unwrap_err(), "import inaturalist-2018 DIR"),
        (vehicle_id::open(nowhere.path(), vehicle_id::TestSize::Large, 0).unwrap_err(), "import vehicle-id DIR"),
        (lfw::open(nowhere.path()).unwrap_err(), "import lfw DIR (more than 180.6 MB)"),
        (att_faces::open(nowhere.path()).unwrap_err(), "import att-faces DIR"),
        (mini_imagenet::open(nowhere.path()).unwrap_err(), "import mini-imagenet DIR (141.9 MB)"),
    ];
    for (error, expected) in messages {
        let error = error.to_string();
        assert!(error.contains("not found; run cargo xtask dataset ") && error.contains(expected), "{error}");
        assert!(!error.contains("unpack"), "fetching unpacks: {error}");
        // The same set by its name.
        let name = expected.split(' ').nth(1).unwrap();
        let named = dml_data::sources::open(name, nowhere.path()).unwrap_err().to_string();
        assert!(named.contains(expected), "{named}");
    }
    let unknown = dml_data::sources::open("cub", nowhere.path()).unwrap_err().to_string();
    assert!(unknown.contains("no set of image files is called `cub`: use one of att-faces, "), "{unknown}");
}

#[test]
fn the_real_mini_imagenet_has_the_counts_of_its_manifest() {
    let Some(data) = std::env::var_os("DML_MIRROR").filter(|mirror| Path::new(mirror).join("mini-imagenet").is_dir())
    else {
        println!("skipped: DML_MIRROR names no folder with mini-imagenet");
        return;
    };
    let start = Instant::now();
    let catalog = mini_imagenet::open(Path::new(&data)).unwrap();
    println!("mini-imagenet: {} images in {:?}, checksums of 142 MB included", catalog.len(), start.elapsed());
    let parts = ["train", "validation", "test"].map(|part| catalog.part(part).unwrap());
    let sizes = parts.each_ref().map(|part| (part.class_names().len(), part.len()));
    assert_eq!(sizes, [(64, 38_400), (16, 9_600), (20, 12_000)]);
    for part in &parts {
        for i in [0, part.len() / 2, part.len() - 1] {
            let (path, bytes) = part.read(i).unwrap();
            let picture = image::decode(&path, &bytes, 3).unwrap();
            assert_eq!((picture.width, picture.height), (42, 42));
        }
    }
    // Ravi's own lists name the same images.
    let lists = Path::new(&data).join("mini-imagenet/splits/splits/ravi");
    if lists.is_dir() {
        let listed = mini_imagenet::from_lists(Path::new("images"), &lists).unwrap();
        let paths = |catalog: &Catalog| {
            (0..catalog.len()).map(|i| catalog.path(i).to_owned()).collect::<std::collections::BTreeSet<_>>()
        };
        for part in ["train", "validation", "test"] {
            assert_eq!(paths(&listed.part(part).unwrap()), paths(&catalog.part(part).unwrap()), "{part}");
        }
    }
}

#[test]
fn the_real_fashion_mnist_has_ten_kinds_of_7000() {
    let folder = std::env::var_os("DML_MIRROR").map(|mirror| Path::new(&mirror).join("fashion-mnist"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("skipped: DML_MIRROR names no folder with fashion-mnist");
        return;
    };
    // Also Debian's package, whose files are packed anew: only `open` wants the owners' checksums.
    let (train, test) = fashion_mnist::read(&folder).unwrap();
    for (half, per_class) in [(&train, 6000), (&test, 1000)] {
        let mut counts = [0; 10];
        half.labels().iter().for_each(|&label| counts[label as usize] += 1);
        assert_eq!((counts, half.shape()), ([per_class; 10], [1, 28, 28]));
    }
}
