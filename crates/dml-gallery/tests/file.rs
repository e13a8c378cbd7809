//! A gallery in a file: what it holds when it is opened again, what it refuses, and what is left of who was removed.

mod people;

use dml_core::Matrix;
use dml_gallery::{CalibrationOptions, Embeddings, Error, FileGallery, Filter, Gallery, Templates, export};
use people::{DIM, enrol, is_there, leaves_a_trace, model, name, remove, values};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const PLACE: &str = "DML_TEST_GALLERY";

fn gallery(folder: &Path, people: usize) -> (FileGallery, PathBuf) {
    let path = folder.join("g.gallery");
    let gallery = FileGallery::create(&path, model(), Templates::PerImage).unwrap();
    enrol(&gallery, 0..people).unwrap();
    (gallery, path)
}

/// What three probes find, to the bit.
fn answers(gallery: &dyn Gallery) -> Vec<Vec<(String, u32)>> {
    let (model, probes) = (model(), [values(1_000_002), values(1_000_005)].concat());
    let probes = Embeddings::new(&model, Matrix::new(&probes, probes.len() / DIM, DIM).unwrap());
    let found = gallery.nearest(probes, 10, &Filter::everybody()).unwrap();
    found.into_iter().map(|list| list.into_iter().map(|c| (c.name, c.score.to_bits())).collect()).collect()
}

#[test]
fn a_gallery_opened_again_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for templates in [Templates::PerImage, Templates::Mean, Templates::Medoid] {
        let path = folder.path().join(format!("{templates:?}"));
        let gallery = FileGallery::create(&path, model(), templates).unwrap();
        // Once so many that the file is read in many parts.
        let people = if templates == Templates::Mean { 80_000 } else { 200 };
        enrol(&gallery, 0..people).unwrap();
        remove(&gallery, (0..people).filter(|i| i % 7 == 0)).unwrap();
        let held = values(2).iter().copied().chain(values(5)).chain(values(8)).chain(values(11)).collect::<Vec<f32>>();
        let labels: Vec<u32> = (0..12).map(|i| i / 3).collect();
        let model = model();
        let held = Embeddings::new(&model, Matrix::new(&held, 12, DIM).unwrap());
        let calibration = gallery.calibrate(held, &labels, &CalibrationOptions::default()).unwrap();
        let (before, list) = (answers(&gallery), gallery.list(&Filter::everybody()).unwrap());
        drop(gallery);
        let again = FileGallery::open(&path).unwrap();
        assert_eq!(answers(&again), before);
        assert_eq!(again.list(&Filter::everybody()).unwrap(), list);
        let kept = again.calibration().unwrap().unwrap();
        assert_eq!(kept.identification.threshold.threshold, calibration.identification.threshold.threshold);
        // JSON may cost a digit.
        let slopes = [&kept, &calibration].map(|found| found.verification.platt.slope);
        assert!((slopes[0] - slopes[1]).abs() < 1e-12 * slopes[1].abs(), "{slopes:?}");
        assert_eq!((again.model(), again.templates()), (&model, templates));
        // Numbers are never given twice, whoever had them.
        let highest = list.iter().flat_map(|who| &who.samples).max().unwrap();
        enrol(&again, people..people + 1).unwrap();
        assert!(again.samples(&name(people)).unwrap().0.samples[0] > *highest);
    }
}

#[test]
fn nothing_is_left_of_who_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path(), 400);
    assert!(leaves_a_trace(folder.path(), 33).is_some(), "the search for traces finds none of somebody who is there");
    let size = fs::metadata(&path).unwrap().len();
    remove(&gallery, (0..400).filter(|i| i % 4 == 1)).unwrap();
    // While the gallery is open, and after.
    for _ in 0..2 {
        for i in 0..400 {
            match i % 4 {
                1 => assert_eq!(leaves_a_trace(folder.path(), i), None),
                _ => assert!(is_there(&gallery, i)),
            }
        }
    }
    // Samples are forgotten, too.
    let (who, old) = gallery.samples(&name(2)).unwrap();
    gallery.remove_samples(&name(2), &who.samples[..1]).unwrap();
    let needle: Vec<u8> = old[..4].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(needle.len()).any(|window| window == needle), "a removed sample is still in the file");
    export(&gallery, &folder.path().join("export")).unwrap();
    drop(gallery);
    assert_eq!(leaves_a_trace(folder.path(), 33), None);
    let mut files: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["export", "g.gallery"], "something else was left");
    assert!(fs::metadata(&path).unwrap().len() <= size);
    assert!(FileGallery::open(&path).unwrap().samples(&name(33)).is_err());
}

#[test]
#[ignore = "the second process of another test"]
fn opens_for_its_parent() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    match FileGallery::open(Path::new(&place)) {
        Ok(_) => println!("\nopened"),
        Err(error) => println!("\n{error}"),
    }
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path(), 3);
    // The lock goes with the file that takes the place of the first.
    remove(&gallery, 0..1).unwrap();
    assert!(matches!(FileGallery::open(&path), Err(Error::Busy(_))), "opened twice in one process");
    let said = |place: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "opens_for_its_parent", "--nocapture"]).env(PLACE, place);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let other = said(&path);
    assert!(other.contains("the gallery is open elsewhere"), "{other}");
    drop(gallery);
    let other = said(&path);
    assert!(other.contains("opened"), "{other}");
    let error = FileGallery::create(&path, model(), Templates::Mean).err().unwrap();
    assert!(error.to_string().contains("there is such a file already"), "{error}");
}

#[test]
fn what_is_no_gallery_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = FileGallery::open(&path).err().unwrap_or_else(|| panic!("{name} was opened")).to_string();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} was changed");
        error
    };
    assert!(open("empty", b"").contains("remove it, or restore"));
    let text = open("text", &b"label,image\n".repeat(1000));
    assert!(text.contains("name a file that") || text.contains("restore it"), "{text}");
    let missing = FileGallery::open(folder.path().join("missing")).err().unwrap().to_string();
    assert!(missing.contains("missing") && missing.contains("check the path"), "{missing}");
    let other = folder.path().join("other");
    drop(redb::Database::create(&other).unwrap());
    let error = FileGallery::open(&other).err().unwrap().to_string();
    assert!(error.contains("this is no gallery"), "{error}");
}

/// Damage shows or does not matter: no panic, and never another answer.
#[test]
fn damaged_files_are_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path(), 300);
    let expected = (answers(&gallery), gallery.list(&Filter::everybody()).unwrap());
    drop(gallery);
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    let mut open = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let opened = catch_unwind(AssertUnwindSafe(|| match FileGallery::open(&path) {
            Ok(gallery) => Ok((answers(&gallery), gallery.list(&Filter::everybody()).unwrap())),
            Err(error) => Err(error.to_string()),
        }));
        match opened.unwrap_or_else(|_| panic!("{what}: a panic")) {
            Ok(found) => assert!(found == expected, "{what}: damage changed what the gallery holds"),
            Err(error) => {
                refused += 1;
                let advice = ["restore it", "name a file that", "check the path"].iter().any(|a| error.contains(a));
                assert!(advice && error.contains("g.gallery"), "{what}: {error}");
            }
        }
    };
    for share in 1..40 {
        let length = whole.len() * share / 40;
        open(&whole[..length], &format!("cut at {length}"));
    }
    open(&whole[..whole.len() - 1], "cut by a byte");
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap();
    for i in 0..200usize {
        let at = if i < 64 { i * 5 } else { (i * 7919 * 131) % used };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (i % 8);
        open(&bytes, &format!("bit {} of byte {at} turned", i % 8));
    }
    assert!(refused > 60, "{refused} of 240 damaged files were refused");
}

#[test]
#[ignore = "the process that the next test gives no room"]
fn runs_out_of_room_for_its_parent() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let gallery = FileGallery::open(Path::new(&place)).unwrap();
    let outcome = match std::env::var("DML_TEST_REMOVE").is_ok() {
        true => remove(&gallery, 0..50),
        false => enrol(&gallery, 10_000..60_000),
    };
    println!("\n{}", outcome.err().map_or("done".to_owned(), |error| format!("refused: {error}")));
}

/// A process whose files may be so many bytes long at most.
#[cfg(unix)]
fn in_room(path: &Path, bytes: u64, removes: bool) -> String {
    let mut command = Command::new("sh");
    let exe = std::env::current_exe().unwrap();
    let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512);
    command.args(["-c", &limit]).arg(exe);
    command.args(["--ignored", "--exact", "runs_out_of_room_for_its_parent", "--nocapture"]).env(PLACE, path);
    if removes {
        command.env("DML_TEST_REMOVE", "1");
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, path) = gallery(folder.path(), 3000);
    let expected = (answers(&gallery), gallery.list(&Filter::everybody()).unwrap());
    drop(gallery);
    let said = in_room(&path, fs::metadata(&path).unwrap().len() + (64 << 10), false);
    assert!(said.contains("refused:") && said.contains("make room"), "{said}");
    let gallery = FileGallery::open(&path).unwrap();
    assert!((answers(&gallery), gallery.list(&Filter::everybody()).unwrap()) == expected, "something was kept");
    drop(gallery);
    // No room for the file without them: gone or all there, and no bytes of them once they are gone.
    for share in [2, 3, 8] {
        let said = in_room(&path, fs::metadata(&path).unwrap().len() / share, true);
        let gallery = FileGallery::open(&path).unwrap();
        let there = (0..50).filter(|&i| is_there(&gallery, i)).count();
        assert!(there == 0 || there == 50, "{there} of 50 are left: {said}");
        if said.contains("not yet erased") || said.contains("done") {
            assert_eq!(there, 0, "{said}");
        }
        if there == 0 {
            (0..50).for_each(|i| assert_eq!(leaves_a_trace(folder.path(), i), None));
            enrol(&gallery, 0..50).unwrap();
        }
    }
}

#[test]
fn readers_see_whole_changes_while_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (gallery, _) = gallery(folder.path(), 60);
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..12 {
                enrol(&gallery, 100..110).unwrap();
                enrol(&gallery, 200 + round..201 + round).unwrap();
                remove(&gallery, 100..110).unwrap();
            }
            writing.store(false, Ordering::Relaxed);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while writing.load(Ordering::Relaxed) {
                    let list = gallery.list(&Filter::everybody()).unwrap();
                    let passing = list.iter().filter(|who| (100..110).any(|i| who.name == name(i))).count();
                    assert!(passing == 0 || passing == 10, "{passing} of 10 that come and go together");
                    assert!(answers(&gallery).iter().all(|list| list.len() == 10));
                    assert!(is_there(&gallery, 7));
                    let mut people = 0;
                    gallery
                        .for_each(&mut |_, _| {
                            people += 1;
                            Ok(())
                        })
                        .unwrap();
                    assert!((60..=82).contains(&people), "{people}");
                }
            });
        }
    });
    assert_eq!(gallery.count(&Filter::everybody()).unwrap().identities, 72);
}
