//! The large published sets, each as a tiny copy with the same layout: fetched, verified, unpacked, opened, sampled,
//! batched. Real counts where lists alone have them.

mod tiny;

use dml_data::Catalog;
use dml_data::sources::{cars, cub, in_shop, inaturalist, sop, vehicle_id};
use std::fs;
use std::path::Path;
use tiny::{Files, Trimmed, picture, rows, sampled, text};

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
    let catalog = cub::open_as(&set.manifest, data).unwrap();
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
    assert_eq!(catalog.cut(0), None, "the papers take whole pictures");
    assert_eq!(catalog.clone().cut_to_boxes(true).cut(0), catalog.bounding_box(0));
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
    let catalog = cars::open_as(&set.manifest, data).unwrap();
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
    let catalog = sop::open_as(&set.manifest, data).unwrap();
    sampled(&catalog, &[10, 20, 30]);
    assert_eq!(catalog.group_names(), ["bicycle_final", "toaster_final"]);
    let error = sop::open(data).unwrap_err().to_string();
    assert!(error.contains("test: class `11319` has 1 samples but the manifest says 2 to 12"), "{error}");
}

#[test]
fn sop_of_the_real_size_opens_by_its_lists_alone() {
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
    let catalog = sop::open(data.path()).unwrap();
    assert_eq!((catalog.len(), catalog.class_names().len()), (120_053, 22_634));
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
    let catalog = in_shop::open_as(&set.manifest, data).unwrap();
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
    let catalog = inaturalist::open_as(&set.manifest, data).unwrap();
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
    let counts = [("train", 1, 2), ("test-800", 2, 4), ("query", 1, 2), ("gallery", 2, 2)];
    let set = Trimmed::new("vehicle-id", vec![archive], &counts);
    let data = set.ready();
    let open = |seed| vehicle_id::open_as(&set.manifest, data, vehicle_id::TestSize::Small, seed).unwrap();
    let catalog = open(0);
    sampled(&catalog, &[10, 20, 30, 40, 50, 60]);
    let gallery = |catalog: &Catalog| {
        let gallery = catalog.part("gallery").unwrap();
        assert_eq!(gallery.labels(), [0, 1], "one image of each car");
        assert_eq!(catalog.part("query").unwrap().len(), 2);
        gallery.path(0).to_owned()
    };
    assert_eq!(gallery(&catalog), gallery(&open(0)));
    let drawn: std::collections::BTreeSet<String> = (0..30).map(|seed| gallery(&open(seed))).collect();
    assert_eq!(drawn.len(), 3, "each image is drawn by some seed");
    let error = vehicle_id::open(data, vehicle_id::TestSize::Small, 0).unwrap_err().to_string();
    assert!(error.contains("test-800 has 2 classes but the manifest says 800"), "{error}");
}
