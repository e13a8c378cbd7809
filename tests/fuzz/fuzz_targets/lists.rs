//! The lists of published sets. The first byte says which set; then its lists, parted by zero bytes.
#![no_main]

use dml_data::sources::{banking77, clinc150, cub, in_shop, inaturalist, lfw, mini_imagenet, sop, stsb, vehicle_id};
use dml_fuzz::files;
use libfuzzer_sys::fuzz_target;
use std::fs;

const CUB: [&str; 5] =
    ["classes.txt", "images.txt", "image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"];

fuzz_target!(|bytes: &[u8]| {
    let Some((set, lists)) = bytes.split_first() else { return };
    let _ = match set {
        b'b' => cub::classification(&files(&CUB, lists)).map(drop),
        b'c' => cub::read(&files(&CUB, lists)).map(drop),
        b'f' => {
            let root = files(&["people.txt", "peopleDevTrain.txt", "peopleDevTest.txt"], lists);
            lfw::read(&root, &root).map(drop)
        }
        b'k' => banking77::read(&files(&["train.csv", "test.csv"], lists)).map(drop),
        b'l' => clinc150::read(&files(&["data_full.json", "domains.json"], lists)).map(drop),
        b'm' => {
            let root = files(&["train.csv", "val.csv", "test.csv"], lists);
            mini_imagenet::from_lists(&root, &root).map(drop)
        }
        b'n' => {
            inaturalist::read(&files(&["Inaturalist_train_set1.txt", "Inaturalist_test_set1.txt"], lists)).map(drop)
        }
        b'p' => sop::read(&files(&["Ebay_train.txt", "Ebay_test.txt"], lists)).map(drop),
        b's' => in_shop::read(&files(&["list_eval_partition.txt", "list_bbox_inshop.txt"], lists)).map(drop),
        b't' => stsb::read(&files(&["stsb-en-train.csv", "stsb-en-dev.csv", "stsb-en-test.csv"], lists)).map(drop),
        b'v' => {
            fs::create_dir_all(dml_fuzz::place("train_test_split")).expect("a folder in that of this process");
            let lists = files(&["train_test_split/train_list.txt", "train_test_split/test_list_800.txt"], lists);
            vehicle_id::read(&lists, vehicle_id::TestSize::Small, 0).map(drop)
        }
        _ => return,
    };
});
