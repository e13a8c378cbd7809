//! What a damaged or hostile file can do: nothing but give an error.

mod tiny;

use dml_data::sources::{
    cars, cub, idx, in_shop, inaturalist, lfw, mini_imagenet, own_texts, sop, table, tar_shards, vehicle_id,
};
use dml_data::unpack::{Limits, archive};
use dml_data::{CatalogBuilder, Error, FileEntry, Files, Manifest, Membership};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use tiny::text;

const LIMITS: Limits = Limits { files: 10, bytes: 1000 };

#[test]
fn two_processes_do_not_unpack_one_archive() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("x.tar"), folder.path().join("x"));
    let lock = fs::File::create(folder.path().join("x.unpacking.lock")).unwrap();
    lock.lock().unwrap();
    fs::create_dir(folder.path().join("x.unpacking")).unwrap();
    let message = archive(&path, &target, LIMITS).unwrap_err().to_string();
    assert!(message.contains("another process is unpacking"), "{message}");
    assert!(folder.path().join("x.unpacking").exists(), "what the other one has made so far stays");
}

/// Unpacks `bytes` and gives the message; neither target nor rest may be left.
fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    fs::write(&path, bytes).unwrap();
    let error = archive(&path, &folder.path().join("x"), LIMITS).unwrap_err();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.tar"], "{error}");
    error.to_string()
}

/// A tar archive of one entry whose name the builder would not write.
fn tar_of(name: &str, kind: tar::EntryType, link: Option<&str>) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    if let Some(link) = link {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    let mut builder = tar::Builder::new(vec![]);
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap()
}

/// A tar archive of one empty file whose name has `length` bytes, as GNU tar writes it.
fn tar_of_long_name(length: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    builder.append_data(&mut header, "x".repeat(length), std::io::empty()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn an_archive_gets_its_name_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![text("x/a/b.txt", "b"), text("x/c.txt", "c"), text("__MACOSX/x", "no"), text("x/._c.txt", "no")];
    for bytes in [tiny::tar(&files), tiny::gz(&tiny::tar(&files)), tiny::zip(&files)] {
        let (path, target) = (folder.path().join("archive"), folder.path().join("x"));
        fs::write(&path, bytes).unwrap();
        // What a crash left is no obstacle.
        fs::create_dir_all(folder.path().join("x.unpacking/old")).unwrap();
        archive(&path, &target, LIMITS).unwrap();
        assert_eq!(fs::read_to_string(target.join("a/b.txt")).unwrap(), "b", "the only folder has the target's name");
        assert!(!target.join("._c.txt").exists() && !folder.path().join("x.unpacking").exists());
        assert!(archive(&path, &target, LIMITS).unwrap_err().to_string().contains("exists already"));
        fs::remove_dir_all(&target).unwrap();
    }
    let path = folder.path().join("two");
    fs::write(&path, tiny::tar(&vec![text("x/a", "a"), text("y", "b")])).unwrap();
    archive(&path, &folder.path().join("x"), LIMITS).unwrap();
    assert!(folder.path().join("x/x/a").exists() && folder.path().join("x/y").exists());
}

#[test]
fn nothing_leaves_the_folder() {
    for name in ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\..\\evil"] {
        let error = refused(&tar_of(name, tar::EntryType::Regular, None));
        assert!(error.contains(&format!("entry `{name}` leads out of its folder")), "{error}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Char] {
        let error = refused(&tar_of("evil", kind, Some("/etc")));
        assert!(error.contains("entry `evil` is neither file nor folder"), "{error}");
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    writer.add_symlink("evil", "/etc", zip::write::SimpleFileOptions::default()).unwrap();
    assert!(refused(writer.finish().unwrap().get_ref()).contains("entry `evil` is a link"));
}

#[test]
fn limits_hold_whatever_a_header_claims() {
    let large = vec![("large".to_owned(), vec![0; 1001])];
    for bytes in [tiny::tar(&large), tiny::gz(&tiny::tar(&large)), tiny::zip(&large)] {
        assert!(refused(&bytes).contains("entry `large` is more than the limit of bytes"));
    }
    let many = (0..11).map(|i| text(&i.to_string(), "")).collect();
    assert!(refused(&tiny::zip(&many)).contains("entry `10` is more than the limit of files"));
    let twice = vec![text("a", "1"), text("a", "2")];
    assert!(refused(&tiny::tar(&twice)).contains("entry `a` occurs twice"));
    let whole = tiny::gz(&tiny::tar(&vec![text("a", "1")]));
    assert!(!refused(&whole[..whole.len() / 2]).is_empty());
    assert!(refused(b"no archive").contains("not a zip, tar or tar.gz archive"));
}

/// A zip archive of one file that is empty but said to hold so many bytes.
fn zip_of_claim(bytes: u64) -> Vec<u8> {
    let local = [b"PK\x03\x04".as_slice(), &[45, 0], &[0; 20], &[1, 0, 0, 0], b"a"].concat();
    // The size does not fit 32 bits and so stands behind the name.
    let sizes = [[0; 4], [0xff; 4]].concat();
    let lengths = [1, 0, 12, 0];
    let extra = [[1, 0, 8, 0].as_slice(), &bytes.to_le_bytes()].concat();
    let directory =
        [b"PK\x01\x02".as_slice(), &[45, 0, 45, 0], &[0; 12], &sizes, &lengths, &[0; 14], b"a", &extra].concat();
    let end = [&(directory.len() as u32).to_le_bytes(), &(local.len() as u32).to_le_bytes()].map(|le| le.to_vec());
    [local, directory, [b"PK\x05\x06".as_slice(), &[0, 0, 0, 0, 1, 0, 1, 0]].concat(), end.concat(), vec![0, 0]]
        .concat()
}

#[test]
fn what_the_disk_has_no_room_for_is_not_unpacked() {
    let message = refused(&zip_of_claim(1 << 60));
    assert!(message.contains("what x.tar holds takes 1152921504606.9 MB more but"), "{message}");
    assert!(message.contains("make room or choose another folder"), "{message}");
}

/// Few bytes, but gigabytes of memory if they were taken at their word.
#[test]
fn names_and_headers_have_a_limit() {
    let long = tar_of_long_name(3 << 20);
    assert!(refused(&tiny::gz(&long)).contains("headers and names of more than 1048576 bytes"));
    let name = tar_of_long_name(300);
    assert!(!refused(&name).contains("headers"), "{}", refused(&name));
    let folder = tempfile::tempdir().unwrap();
    let people: String = (0..40).map(|i| format!("Ann_{i}\t4096\n")).collect();
    for (list, content) in [("people.txt", "1\n0\n"), ("peopleDevTrain.txt", &format!("40\n{people}"))] {
        fs::write(folder.path().join(list), content).unwrap();
    }
    let error = lfw::read(folder.path(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("names more than 131072 images, the last of Ann_32"), "{error}");
    let content = format!("1\n{}\t1\n", "x".repeat(256));
    fs::write(folder.path().join("peopleDevTrain.txt"), content).unwrap();
    let error = lfw::read(folder.path(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("is not `<name> <images>`"), "{error}");
}

/// What is passed over may be large: it is neither a name nor a header.
#[test]
fn residue_of_any_size_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![("x/._a".to_owned(), vec![0; 2 << 20]), text("x/a", "a")];
    fs::write(folder.path().join("x.tar"), tiny::tar(&files)).unwrap();
    archive(&folder.path().join("x.tar"), &folder.path().join("x"), LIMITS).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("x/a")).unwrap(), "a");
}

#[test]
fn shards_with_links_or_ways_out_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let message = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        tar_shards::open("x", &[("all", &path)]).unwrap_err().to_string()
    };
    assert!(message(tar_of("../1.jpg", tar::EntryType::Regular, None)).contains("`../1.jpg` leads out of it"));
    assert!(message(tar_of("1.jpg", tar::EntryType::Symlink, Some("/etc"))).contains("`1.jpg` is not a plain file"));
    let whole = tiny::tar(&vec![("1.jpg".to_owned(), vec![1; 2000])]);
    assert!(message(whole[..1024].to_vec()).contains("`1.jpg` goes beyond the end (truncated)"));
    assert!(message(tiny::gz(&whole)).contains("not a readable plain tar archive"));
}

/// Every reader of lists, on a folder where each list is `content`.
fn read_all(content: &[u8]) -> Vec<Result<(), Error>> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("train_test_split")).unwrap();
    for name in [
        "classes.txt",
        "images.txt",
        "image_class_labels.txt",
        "bounding_boxes.txt",
        "train_test_split/train_list.txt",
        "train_test_split/test_list_800.txt",
        "Ebay_train.txt",
        "Ebay_test.txt",
        "list_eval_partition.txt",
        "list_bbox_inshop.txt",
        "Inaturalist_train_set1.txt",
        "Inaturalist_test_set1.txt",
        "people.txt",
        "peopleDevTrain.txt",
        "peopleDevTest.txt",
        "pairs.txt",
        "cars_annos.mat",
        "train.csv",
        "val.csv",
        "test.csv",
        "table.csv",
        "table.tsv",
        "train64-42px.tar",
        "val16-42px.tar",
        "test20-42px.tar",
    ] {
        fs::write(root.join(name), content).unwrap();
    }
    let mut people = CatalogBuilder::new("people", root, Files::below(root));
    for image in ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg"] {
        people.add(Membership::new(&image[..3], "all"), FileEntry::file(image)).unwrap();
    }
    let shard = root.join("train64-42px.tar");
    vec![
        cub::read(root).map(drop),
        cars::read(root).map(drop),
        sop::read(root).map(drop),
        in_shop::read(root).map(drop),
        {
            // Without boxes, whose list has another header.
            fs::remove_file(root.join("list_bbox_inshop.txt")).unwrap();
            in_shop::read(root).map(drop)
        },
        inaturalist::read(root).map(drop),
        vehicle_id::read(root, vehicle_id::TestSize::Small, 0).map(drop),
        lfw::read(root, root).map(drop),
        lfw::pairs(&root.join("pairs.txt"), &people.finish()).map(drop),
        table::open(&root.join("table.csv"), None).map(drop),
        table::open(&root.join("table.tsv"), None).map(drop),
        own_texts::open(&root.join("table.csv")).map(drop),
        own_texts::open(&root.join("table.tsv")).map(drop),
        own_texts::pairs(&root.join("table.csv")).map(drop),
        own_texts::pairs(&root.join("table.tsv")).map(drop),
        Manifest::parse(&String::from_utf8_lossy(content)).map(|manifest| drop(manifest.fetch_command())),
        mini_imagenet::from_lists(root, root).map(drop),
        mini_imagenet::read(root).map(drop),
        tar_shards::open("x", &[("all", &shard)]).map(drop),
        archive(&shard, &root.join("out"), LIMITS),
        idx::read(Path::new("x"), content).map(drop),
    ]
}

/// One list of each form, and a manifest: all are read when nothing is altered.
const TEXTS: [&str; 10] = [
    "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nAnn\t2\t1\nAnn\t2\tBob\t1\n",
    "path,label,split,is_query,box,group\na/1.jpg,\"wren, x\",train,yes,1 2 3 4,one\nb.jpg,gull,val,0,,\n",
    "path\tlabel\na/1.jpg\twren\n",
    "text,label,split,group\n\"a wren, \"\"small\"\"\",bird,train,en\nein Zaunkönig,Vogel,val,\n",
    "left\tright\tscore\tsplit\na wren\ta bird\t0.5\ttrain\na\tb\t1e3\tdev\n",
    "1\nimage_name item_id evaluation_status\nimg/W/Tees/id_1/1.jpg id_1 train\n",
    "image_id class_id super_class_id path\n1 1 1 bicycle_final/1_0.JPG\n",
    "train_val2018/Aves/27/a.jpg\n",
    "3 8\n4 8\n6 9\n",
    "name = 'toy'\nsummary = 'a word'\nlicence = 'none'\nhomepage = ''\n[[files]]\nname = 'a'\nbytes = 5\n[expected]\nx = { classes = 1 }",
];

#[test]
fn texts_are_read_as_they_are() {
    for (i, text) in TEXTS.iter().enumerate() {
        assert!(read_all(text.as_bytes()).iter().any(Result::is_ok), "{i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        read_all(&bytes);
    }

    /// Lines that look like the lists: numbers, names, tabs, the headers.
    #[test]
    fn any_lines_are_read_or_refused(
        head in "(2|10\t300|text,label|right,left,score|image_id class_id super_class_id path|3\nimage_name item_id evaluation_status|)",
        lines in "([0-9]{1,20}|[a-z/_.]{0,12}|\t|\n| |train|query|-|\"|,){0,40}",
    ) {
        read_all(format!("{head}\n{lines}").as_bytes());
    }

    /// Right files with a few bytes changed or cut off.
    #[test]
    fn altered_files_are_read_or_refused(
        which in 0usize..5 + TEXTS.len(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let files = vec![text("a/1.jpg", "1"), text("a/1.cls", "x")];
        let names: Vec<String> = (0..3).map(|i| format!("car {i}")).collect();
        let rows = [("car_ims/1.jpg".to_owned(), [1, 2, 3, 4], 1, 0), ("car_ims/2.jpg".to_owned(), [1, 2, 3, 4], 3, 1)];
        let mut bytes = match which {
            0 => tiny::tar(&files),
            1 => tiny::gz(&tiny::tar(&files)),
            2 => tiny::zip(&files),
            3 => tiny::cars_annos(&rows, &names),
            4 => vec![0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4],
            text => TEXTS[text - 5].as_bytes().to_vec(),
        };
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut.index(2) == 1 {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
    }
}
