//! Each published set as a tiny copy with the same layout: verified, unpacked, opened, sampled. Real counts where lists
//! alone have them.

mod tiny;

use dml_data::sources::{
    att_faces, cars, cub, fashion_mnist, in_shop, inaturalist, lfw, mini_imagenet, sop, tar_shards, vehicle_id,
};
use dml_data::{Catalog, Dataset, image};
use std::fs;
use std::path::Path;
use std::time::Instant;
use tiny::{Files, Trimmed, picture, text};

/// The whole catalogue as (path, class, part).
fn rows(catalog: &Catalog) -> Vec<(&str, &str, &str)> {
    (0..catalog.len())
        .map(|i| (catalog.path(i), catalog.class_names()[catalog.labels()[i] as usize].as_str(), catalog.part_of(i)))
        .collect()
}

/// Opens every sample and checks that its picture is the one that the tiny set drew.
fn sampled(catalog: &Catalog, values: &[u8]) {
    catalog.check_files().unwrap();
    catalog.check_disjoint().unwrap();
    for (i, &value) in values.iter().enumerate() {
        let (path, bytes) = catalog.read(i).unwrap();
        let picture = image::decode(&path, &bytes, 1).unwrap();
        assert!(picture.pixels[0].abs_diff(value) < 3, "{}: {} is not {value}", path.display(), picture.pixels[0]);
    }
    assert_eq!(catalog.len(), values.len());
}

fn cub_lists() -> Files {
    vec![
        text("CUB_200_2011/classes.txt", "1 001.Albatross\n100 100.Pelican\n101 101.Wren\n"),
        text("CUB_200_2011/images.txt", "1 001.Albatross/a.jpg\n2 101.Wren/b.jpg\n3 100.Pelican/c.jpg\n"),
        text("CUB_200_2011/image_class_labels.txt", "1 1\n2 101\n3 100\n"),
        text("CUB_200_2011/bounding_boxes.txt", "1 1.0 2.0 3.0 4.5\n2 0.0 0.0 8.0 8.0\n3 1.0 1.0 1.0 1.0\n"),
        text("CUB_200_2011/train_test_split.txt", "1 0\n2 1\n3 1\n"),
    ]
}

#[test]
fn cub() {
    let mut files = cub_lists();
    files.push(text("attributes.txt", "1 has_bill_shape::curved\n"));
    files.push(text("CUB_200_2011/images/001.Albatross/._a.jpg", "left by macOS"));
    for (path, value) in [("001.Albatross/a.jpg", 10), ("101.Wren/b.jpg", 20), ("100.Pelican/c.jpg", 30)] {
        files.push(picture(&format!("CUB_200_2011/images/{path}"), value));
    }
    let archive = ("CUB_200_2011.tgz".to_owned(), tiny::gz(&tiny::tar(&files)));
    let set = Trimmed::new("cub-200-2011", vec![archive], &[("train", 2, 2), ("test", 1, 1)]);
    let data = set.ready();
    let root = set.folder().join("CUB_200_2011/CUB_200_2011");
    let catalog = cub::read(&root).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(
        rows(&catalog),
        [
            ("001.Albatross/a.jpg", "001.Albatross", "train"),
            ("101.Wren/b.jpg", "101.Wren", "test"),
            ("100.Pelican/c.jpg", "100.Pelican", "train")
        ]
    );
    assert_eq!(catalog.bounding_box(0), Some([1.0, 2.0, 3.0, 4.5]));
    assert!(!root.join("images/001.Albatross/._a.jpg").exists());
    let published = cub::classification(&root).unwrap();
    assert_eq!((0..3).map(|i| published.part_of(i)).collect::<Vec<_>>(), ["test", "train", "train"]);
    // The tiny copy is found, but it is not the real set.
    let error = cub::open(data).unwrap_err().to_string();
    assert!(error.contains("test: class `101.Wren` has 1 samples but the manifest says 49 to 60"), "{error}");
}

/// `n` samples of `classes` classes, as even as it goes: (sample, class).
fn evenly(n: usize, classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).map(move |i| (i, i * classes / n))
}

#[test]
fn cub_lists_of_the_real_size_are_accepted_and_one_image_less_is_not() {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("cub-200-2011/CUB_200_2011");
    let images: Vec<usize> =
        evenly(5864, 100).map(|(_, class)| class + 1).chain(evenly(5924, 100).map(|(_, class)| class + 101)).collect();
    let list = |row: &dyn Fn(usize, usize) -> String, n: usize| {
        images[..n].iter().enumerate().map(|(i, &class)| format!("{} {}\n", i + 1, row(i, class))).collect::<String>()
    };
    let write = |n: usize| {
        let classes: String = (1..=200).map(|class| format!("{class} {class:03}.Bird\n")).collect();
        tiny::write(
            &root,
            &vec![
                text("classes.txt", &classes),
                text("images.txt", &list(&|i, class| format!("{class:03}.Bird/{i}.jpg"), n)),
                text("image_class_labels.txt", &list(&|_, class| class.to_string(), n)),
                text("bounding_boxes.txt", &list(&|_, _| "0 0 1 1".into(), n)),
            ],
        );
    };
    write(images.len());
    let catalog = cub::open(data.path()).unwrap();
    assert_eq!(catalog.part("test").unwrap().class_names().len(), 100);
    write(images.len() - 1);
    let error = cub::open(data.path()).unwrap_err().to_string();
    assert!(error.contains("test has 5923 samples but the manifest says 5924: from 58 in class `200.Bird`"), "{error}");
    write(images.len() - 59);
    let error = cub::open(data.path()).unwrap_err().to_string();
    assert!(
        error.contains("test has 99 classes but the manifest says 100: class `200.Bird` has no samples"),
        "{error}"
    );
}

#[test]
fn damaged_cub_lists_are_refused() {
    for (list, from, to, expected) in [
        ("image_class_labels.txt", "2 101", "3 101", "has image 3 where images.txt has 2"),
        ("image_class_labels.txt", "3 100\n", "", "lacks image 3"),
        ("image_class_labels.txt", "3 100", "3 7", "image 3 is of class 7, without a name"),
        ("bounding_boxes.txt", "4.5", "inf", "`inf` is not a number"),
        ("images.txt", "101.Wren/b.jpg", "../b.jpg", "`../b.jpg` is no path below it"),
        ("classes.txt", "1 001.Albatross", "one 001.Albatross", "`one` is not a number"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny::write(folder.path(), &cub_lists());
        let root = folder.path().join("CUB_200_2011");
        let content = fs::read_to_string(root.join(list)).unwrap();
        fs::write(root.join(list), content.replace(from, to)).unwrap();
        let error = cub::read(&root).unwrap_err().to_string();
        assert!(error.contains(expected), "{list}: {error}");
    }
}

#[test]
fn cars() {
    let names: Vec<String> = (1..=99).map(|class| format!("Car {class}")).collect();
    let annotations = tiny::cars_annos(
        &[
            ("car_ims/000001.jpg".into(), [2, 3, 5, 7], 1, 0),
            ("car_ims/000002.jpg".into(), [1, 1, 8, 8], 99, 0),
            ("car_ims/000003.jpg".into(), [1, 1, 8, 8], 98, 1),
        ],
        &names,
    );
    let pictures = (1..=3).map(|i| picture(&format!("car_ims/{i:06}.jpg"), i * 10)).collect();
    let files =
        vec![("car_ims.tgz".to_owned(), tiny::gz(&tiny::tar(&pictures))), ("cars_annos.mat".to_owned(), annotations)];
    let set = Trimmed::new("cars-196", files, &[("train", 2, 2), ("test", 1, 1)]);
    let data = set.ready();
    let catalog = cars::read(&set.folder()).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(rows(&catalog)[1], ("car_ims/000002.jpg", "Car 99", "test"));
    assert_eq!(catalog.bounding_box(0), Some([1.0, 2.0, 4.0, 5.0]));
    assert_eq!(cars::classification(&set.folder()).unwrap().part_of(2), "test");
    assert!(cars::open(data).unwrap_err().to_string().contains("class `Car 99` has 1 samples"));
}

#[test]
fn cars_annotations_as_scipy_writes_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data");
    for name in ["plain", "compressed"] {
        let catalog = cars::read(&golden.join(name)).unwrap();
        assert_eq!(
            rows(&catalog),
            [
                ("car_ims/000001.jpg", "AM General Hummer SUV 2000", "train"),
                ("car_ims/000002.jpg", "Citroën C4 Picasso 2012", "train"),
                ("car_ims/000003.jpg", "Class 99", "test")
            ],
            "{name}"
        );
        assert_eq!(catalog.bounding_box(0), Some([111.0, 6.0, 742.0, 289.0]), "{name}");
        assert_eq!(catalog.class_names().len(), 99, "{name}");
        assert_eq!(cars::classification(&golden.join(name)).unwrap().part_of(0), "test", "{name}");
    }
}

#[test]
fn sop() {
    let header = "image_id class_id super_class_id path\n";
    let mut files = vec![
        text(
            "Stanford_Online_Products/Ebay_train.txt",
            &format!("{header}1 1 1 bicycle_final/1_0.JPG\n2 1 1 bicycle_final/1_1.JPG\n"),
        ),
        text("Stanford_Online_Products/Ebay_test.txt", &format!("{header}3 11319 12 toaster_final/2_0.JPG\n")),
    ];
    for (path, value) in [("bicycle_final/1_0.JPG", 10), ("bicycle_final/1_1.JPG", 20), ("toaster_final/2_0.JPG", 30)] {
        files.push(picture(&format!("Stanford_Online_Products/{path}"), value));
    }
    let archive = ("Stanford_Online_Products.zip".to_owned(), tiny::zip(&files));
    let set = Trimmed::new("stanford-online-products", vec![archive], &[("train", 1, 2), ("test", 1, 1)]);
    let data = set.ready();
    let catalog = sop::read(&set.folder().join("Stanford_Online_Products")).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(catalog.group_names(), ["bicycle_final", "toaster_final"]);
    let error = sop::open(data).unwrap_err().to_string();
    assert!(error.contains("test: class `11319` has 1 samples but the manifest says 2 to 12"), "{error}");
}

#[test]
fn sop_of_the_real_size_opens_in_a_second() {
    let data = tempfile::tempdir().unwrap();
    let list = |n: usize, classes: usize, first: usize| {
        let rows = evenly(n, classes).map(|(i, class)| {
            let (class, group) = (first + class, class % 12 + 1);
            format!("{} {class} {group} kind{group}_final/{class}_{i}.JPG\n", first + i)
        });
        format!("image_id class_id super_class_id path\n{}", rows.collect::<String>())
    };
    tiny::write(
        &data.path().join("stanford-online-products"),
        &vec![text("Ebay_train.txt", &list(59_551, 11_318, 1)), text("Ebay_test.txt", &list(60_502, 11_316, 11_319))],
    );
    let open = || {
        let start = Instant::now();
        let catalog = sop::open(data.path()).unwrap();
        (start.elapsed(), catalog)
    };
    // The best of a few: other tests run beside this one.
    let (fastest, catalog) = (0..5).map(|_| open()).min_by_key(|(time, _)| *time).unwrap();
    println!("SOP's lists: {fastest:?}");
    assert_eq!((catalog.len(), catalog.class_names().len()), (120_053, 22_634));
    assert!(fastest.as_secs_f64() < 1.0, "{fastest:?}");
}

fn in_shop_list(rows: &[(&str, &str, &str)]) -> String {
    let list: String = rows.iter().map(|(image, item, part)| format!("{image}    {item}  {part}\n")).collect();
    format!("{}\nimage_name item_id evaluation_status\n{list}", rows.len())
}

#[test]
fn in_shop() {
    let images = [
        "img/WOMEN/Tees/id_1/01_1_front.jpg",
        "img/WOMEN/Tees/id_2/01_1_front.jpg",
        "img/MEN/Denim/id_2/02_2_side.jpg",
    ];
    let rows = [(images[0], "id_1", "train"), (images[1], "id_2", "query"), (images[2], "id_2", "gallery")];
    let pictures = images.iter().zip([10, 20, 30]).map(|(name, value)| picture(name, value)).collect();
    let files =
        vec![("img.zip".to_owned(), tiny::zip(&pictures)), text("list_eval_partition.txt", &in_shop_list(&rows))];
    let set = Trimmed::new("in-shop", files, &[("train", 1, 1), ("query", 1, 1), ("gallery", 1, 1)]);
    let data = set.ready();
    let boxes = format!("1\nimage_name clothes_type pose_type x_1 y_1 x_2 y_2\n{} 1 1 10 20 110 220\n", images[0]);
    fs::write(set.folder().join("list_bbox_inshop.txt"), boxes).unwrap();
    let catalog = in_shop::read(&set.folder()).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!((catalog.bounding_box(0), catalog.bounding_box(1)), (Some([10.0, 20.0, 100.0, 200.0]), None));
    assert_eq!(catalog.group_names(), ["WOMEN/Tees", "MEN/Denim"]);
    assert_eq!(catalog.part("query").unwrap().path(0), images[1]);
    assert_eq!(catalog.part("gallery").unwrap().path(0), images[2]);
    let error = in_shop::open(data).unwrap_err().to_string();
    assert!(error.contains("gallery has 1 classes but the manifest says 3985: the last is `id_2`"), "{error}");

    let list = set.folder().join("list_eval_partition.txt");
    for (from, to, expected) in [
        ("3\nimage", "4\nimage", "has 3 rows but its first line says `4`"),
        ("item_id", "item", "its second line is not `image_name item_id evaluation_status`"),
        ("gallery", "galery", "is `galery`: train, query or gallery"),
    ] {
        fs::write(&list, in_shop_list(&rows).replace(from, to)).unwrap();
        let error = in_shop::read(&set.folder()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn inaturalist() {
    let images = ["train_val2018/Aves/2761/a.jpg", "train_val2018/Insecta/12/b.jpg", "train_val2018/Insecta/13/c.jpg"];
    let pictures = images.iter().zip([10, 20, 30]).map(|(name, value)| picture(name, value)).collect();
    let files = vec![
        ("train_val2018.tar.gz".to_owned(), tiny::gz(&tiny::tar(&pictures))),
        text("Inaturalist_train_set1.txt", &format!("{}\n{}\n", images[0], images[1])),
        text("Inaturalist_test_set1.txt", &format!("{}\n", images[2])),
    ];
    let set = Trimmed::new("inaturalist-2018", files, &[("train", 2, 2), ("test", 1, 1)]);
    let data = set.ready();
    let catalog = inaturalist::read(&set.folder()).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(catalog.class_names(), ["Aves/2761", "Insecta/12", "Insecta/13"]);
    assert_eq!(catalog.group_names(), ["Aves", "Insecta"]);
    assert!(inaturalist::open(data).unwrap_err().to_string().contains("the manifest says 2452"));
    fs::write(set.folder().join("Inaturalist_test_set1.txt"), "c.jpg\n").unwrap();
    let error = inaturalist::read(&set.folder()).unwrap_err().to_string();
    assert!(error.contains("line 1: `c.jpg` is not `…/<group>/<class>/<image>`"), "{error}");
}

#[test]
fn vehicle_id() {
    let mut files = vec![
        text("VehicleID_V1.0/train_test_split/train_list.txt", "0000001 7\n0000002 7\n"),
        text("VehicleID_V1.0/train_test_split/test_list_800.txt", "3 8\n4 8\n5 8\n6 9\n"),
    ];
    files.extend((1..=6).map(|i| picture(&format!("VehicleID_V1.0/image/{i:07}.jpg"), i * 10)));
    let archive = ("VehicleID_V1.0.zip".to_owned(), tiny::zip(&files));
    let set = Trimmed::new("vehicle-id", vec![archive], &[("train", 1, 2), ("test-800", 2, 4), ("query", 2, 2)]);
    let data = set.ready();
    let root = set.folder().join("VehicleID_V1.0");
    let read = |seed| vehicle_id::read(&root, vehicle_id::TestSize::Small, seed).unwrap();
    let catalog = read(0);
    sampled(&catalog, &[10, 20, 30, 40, 50, 60]);
    let gallery = |catalog: &Catalog| {
        let gallery = catalog.part("gallery").unwrap();
        assert_eq!(gallery.labels(), [0, 1], "one image of each car");
        assert_eq!(catalog.part("query").unwrap().len(), 2);
        gallery.path(0).to_owned()
    };
    assert_eq!(gallery(&catalog), gallery(&read(0)));
    let drawn: std::collections::BTreeSet<String> = (0..30).map(|seed| gallery(&read(seed))).collect();
    assert_eq!(drawn.len(), 3, "each image is drawn by some seed");
    let error = vehicle_id::open(data, vehicle_id::TestSize::Small, 0).unwrap_err().to_string();
    assert!(error.contains("test-800 has 2 classes but the manifest says 800"), "{error}");
}

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
    let catalog = lfw::read(&set.folder(), &set.folder().join("lfw")).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
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
    let catalog = att_faces::read(&set.folder().join("att_faces")).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
    sampled(&catalog, &(0..30).collect::<Vec<u8>>());
    assert_eq!((catalog.path(2), catalog.class_names()[9].as_str()), ("s1/10.pgm", "s10"));
    assert!(
        att_faces::open(data).unwrap_err().to_string().contains("class `s1` has 3 samples but the manifest says 10")
    );
}

#[test]
fn fashion_mnist() {
    let idx = |kind: u8, n: u32, values: Vec<u8>| {
        let mut bytes = vec![0, 0, 8, kind];
        bytes.extend(n.to_be_bytes());
        (1..kind).for_each(|_| bytes.extend(1u32.to_be_bytes()));
        bytes.extend(values);
        tiny::gz(&bytes)
    };
    let half = |file: &str, n: u32| {
        let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
        [
            (format!("{file}-images-idx3-ubyte.gz"), idx(3, n, labels.clone())),
            (format!("{file}-labels-idx1-ubyte.gz"), idx(1, n, labels)),
        ]
    };
    let files: Files = half("train", 30).into_iter().chain(half("t10k", 10)).collect();
    let set = Trimmed::new("fashion-mnist", files, &[("train", 10, 30), ("test", 10, 10)]);
    set.manifest.verify(set.data.path()).unwrap();
    let (train, test) = fashion_mnist::read(&set.folder()).unwrap();
    assert_eq!((train.len(), test.len(), train.class_names()[9].as_str()), (30, 10, "Ankle boot"));
    assert_eq!((train.labels()[13], train.pixels(13)), (3, [3].as_slice()));
    // The real manifest's checksums are not those of the tiny copy: nothing unverified is opened.
    for error in [
        fashion_mnist::open(set.data.path()).unwrap_err().to_string(),
        fashion_mnist::classification(set.data.path()).unwrap_err().to_string(),
    ] {
        assert!(error.contains("train-images-idx3-ubyte.gz: has size"), "{error}");
    }
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
    set.ready();
    let catalog = mini_imagenet::read(&set.folder()).unwrap();
    catalog.check_counts(&set.manifest.expected).unwrap();
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
        (cub::open(nowhere.path()).unwrap_err(), "fetch cub-200-2011 (1150.6 MB) and unpack it there"),
        (cars::open(nowhere.path()).unwrap_err(), "fetch cars-196 --from DIR (size not published)"),
        (sop::open(nowhere.path()).unwrap_err(), "fetch stanford-online-products --from DIR (3083.9 MB)"),
        (in_shop::open(nowhere.path()).unwrap_err(), "fetch in-shop --from DIR (size not published)"),
        (inaturalist::open(nowhere.path()).unwrap_err(), "fetch inaturalist-2018 --from DIR"),
        (vehicle_id::open(nowhere.path(), vehicle_id::TestSize::Large, 0).unwrap_err(), "fetch vehicle-id --from DIR"),
        (lfw::open(nowhere.path()).unwrap_err(), "fetch lfw --from DIR (more than 180.6 MB)"),
        (att_faces::open(nowhere.path()).unwrap_err(), "fetch att-faces --from DIR"),
        (mini_imagenet::open(nowhere.path()).unwrap_err(), "fetch mini-imagenet --from DIR (141.9 MB)"),
    ];
    for (error, expected) in messages {
        let error = error.to_string();
        assert!(error.contains("not found; run cargo xtask dataset ") && error.contains(expected), "{error}");
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
