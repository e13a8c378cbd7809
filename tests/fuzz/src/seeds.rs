//! Some small files that are right for each target.

#[path = "../../../crates/dml-data/tests/tiny/mod.rs"]
mod tiny;

use crate::place;
use dml_data::CachedImages;
use dml_data::image::Unreadable;
use std::fs;
use std::path::Path;
use tiny::{Files, text};

const IMAGES: [u8; 24] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
const LABELS: [u8; 16] = [0, 0, 12, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];

const MANIFEST: &str = r#"name = "toy"
summary = "one word"
licence = "CC0-1.0"
homepage = "none"
split = { seed = 1, test = 0.5, validation = 0.2 }
[[files]]
name = "word.txt"
bytes = 5
sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
urls = ["https://example.org/word.txt"]
unpack = false
[expected]
train = { classes = 1, images = 2, per_class = [1, 2] }
"#;

const CUB: &[&str] = &[
    "1 001.Albatross\n101 101.Wren\n",
    "1 001.Albatross/a.jpg\n2 101.Wren/b.jpg\n",
    "1 1\n2 101\n",
    "1 1.0 2.0 3.0 4.5\n2 0.0 0.0 8.0 8.0\n",
    "1 0\n2 1\n",
];

/// The lists of each set, as the target `lists` takes them.
const LISTS: [(&str, &[&str]); 11] = [
    ("b", CUB),
    ("c", CUB),
    ("f", &["2\n1\nAnn\t2\n1\nBob\t1\n", "1\nAnn\t2\n", "1\nBob\t1\n"]),
    ("k", &["text,category\n\"Where, now?\",card_arrival\n", "text,category\nHow?,top_up\n"]),
    (
        "l",
        &[
            r#"{"train": [["a", "hi"]], "val": [["b", "hi"]], "test": [], "oos_train": [], "oos_val": [], "oos_test": [["c", "oos"]]}"#,
            r#"{"small_talk": ["hi"]}"#,
        ],
    ),
    ("m", &["filename,label\n1.jpg,n01\n", "filename,label\n2.jpg,n02\n", "filename,label\n3.jpg,n03\n"]),
    ("n", &["train_val2018/Aves/27/a.jpg\n", "train_val2018/Insecta/13/c.jpg\n"]),
    (
        "p",
        &[
            "image_id class_id super_class_id path\n1 1 1 bicycle_final/1_0.JPG\n",
            "image_id class_id super_class_id path\n3 2 12 toaster_final/2_0.JPG\n",
        ],
    ),
    (
        "s",
        &[
            "2\nimage_name item_id evaluation_status\nimg/W/Tees/id_1/1.jpg id_1 train\nimg/W/Tees/id_2/1.jpg id_2 query\n",
            "1\nimage_name clothes_type pose_type x_1 y_1 x_2 y_2\nimg/W/Tees/id_1/1.jpg 1 1 10 20 110 220\n",
        ],
    ),
    ("t", &["\"A, b.\",C.,5.0\nD.,E.,0.5\n", "A,B,1\n", "C,D,2.5\n"]),
    ("v", &["0000001 7\n0000002 7\n", "3 8\n4 8\n6 9\n"]),
];

/// Files called `<target>/<name>`; `golden` is the folder of that name in `tests`.
pub fn all(golden: &Path) -> Files {
    let golden = |name: &str| fs::read(golden.join(name)).unwrap();
    let archive = vec![text("x/a/b.txt", "b"), text("x/c.txt", "c")];
    let shard = vec![text("a/1.jpg", "1"), text("a/1.cls", "wren"), text("2.png", "2"), text("2.cls", "gull")];
    let annotations = tiny::cars_annos(&[("car_ims/1.jpg".to_owned(), [1, 2, 3, 4], 1, 0)], &["Car".to_owned()]);

    let people = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t2\t3\nAnn\t2\tBob\t3\n";

    let settings = r#"{"model": {"dim": 2, "metric": "cosine"}, "templates": "mean", "calibration": null, "count": {"identities": 1, "samples": 1}}"#;
    let header = r#"{"embeddings":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
    let tensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 0, 128, 63, 0, 0, 0, 63]].concat();
    let identity = r#"{"name": "Ann", "metadata": {"site": "north"}, "samples": 1}"#;
    let export = [settings.as_bytes(), identity.as_bytes(), &tensors].join(&0);

    let mut seeds: Files = vec![
        ("idx/images".into(), IMAGES.to_vec()),
        ("idx/images.gz".into(), tiny::gz(&IMAGES)),
        ("idx/labels".into(), LABELS.to_vec()),
        ("mat5/plain".into(), annotations),
        ("mat5/compressed".into(), golden("data/compressed/cars_annos.mat")),
        text(
            "table/table",
            "path,label,split,is_query,box,group\na/1.jpg,\"wren, x\",train,yes,1 2 3 4,one\nb.jpg,gull,val,0,,\n",
        ),
        text("own_texts/texts", "text,label,split,group\n\"a wren, \"\"small\"\"\",bird,train,en\n"),
        text("own_texts/pairs", "left,right,score,split\na wren,a bird,0.5,train\na,b,1e3,dev\n"),
        ("tar_shards/shard".into(), tiny::tar(&shard)),
        ("unpack/tar".into(), tiny::tar(&archive)),
        ("unpack/gz".into(), tiny::gz(&tiny::tar(&archive))),
        ("unpack/zip".into(), tiny::zip(&archive)),
        text("pairs/folds", people),
        text("lfw_pairs/folds", people),
        text("pairs/one", "1\nAnn 1 3\nBob 1 Ann 2\n"),
        text("pairs/rows", "first,second,same,fold\n0,1,true,0\n2,3,0,1\n"),
        text("manifest/toy", MANIFEST),
        ("embeddings/npy".into(), golden("eval/inputs/little_f4.npy")),
        ("embeddings/safetensors".into(), golden("eval/inputs/set.safetensors")),
        ("gallery/export".into(), export),
        ("labels/csv".into(), golden("eval/inputs/table.csv")),
        ("labels/npy".into(), golden("eval/inputs/big_int16.npy")),
        ("labels/safetensors".into(), golden("eval/inputs/set.safetensors")),
    ];
    for (set, lists) in LISTS {
        seeds.push(text(&format!("lists/{set}"), &format!("{set}{}", lists.join("\0"))));
    }
    for name in ["image/a.jpg", "image/a.png", "image/a.pgm"] {
        seeds.push(tiny::picture(name, 7));
    }
    let colours = image::RgbImage::from_fn(48, 48, |x, y| image::Rgb([5 * x as u8, 5 * y as u8, (x * y) as u8]));
    for (name, format) in
        [("image/large.jpg", image::ImageFormat::Jpeg), ("image/large.webp", image::ImageFormat::WebP)]
    {
        let mut bytes = std::io::Cursor::new(vec![]);
        colours.write_to(&mut bytes, format).unwrap();
        seeds.push((name.into(), bytes.into_inner()));
    }
    let mut bitmap = std::io::Cursor::new(vec![]);
    image::imageops::crop_imm(&colours, 0, 0, 5, 5).to_image().write_to(&mut bitmap, image::ImageFormat::Bmp).unwrap();
    seeds.push(("image/a.bmp".into(), bitmap.into_inner()));
    seeds.push(("decoded_cache/cache".into(), cache()));
    seeds
}

/// A cache of which one image could not be read.
fn cache() -> Vec<u8> {
    let [first, second, third] = place::PICTURES;
    for name in [first, second] {
        place::file(name, &tiny::picture(name, 7).1);
    }
    place::file(third, b"no picture");
    let path = place::path("x.cache");
    CachedImages::open_or_make(place::images(), &path, Unreadable::Skip, &mut |_| ()).unwrap();
    fs::read(path).unwrap()
}
