//! In-Shop Clothes Retrieval of DeepFashion: 52,712 photographs of 7,982 items (Liu et al. 2016).
//!
//! Training images are in the part `train`. Those of the part `test` are either queries or the gallery, of the same items.
//! Groups are departments and kinds (`WOMEN/Dresses`). Some training classes have one image only.

use super::lists;
use super::published::Published;
use crate::{Catalog, CatalogBuilder, Error, FileEntry, Files, Manifest, Membership, Result};
use std::collections::HashMap;
use std::path::Path;

/// Where the lists may lie below the root: beside the images, or as in the owners' folders.
const PLACES: [&str; 3] = ["", "Eval", "Anno"];

/// The images in the parts `train` and `test`; [`Catalog::part`] also knows `query` and `gallery`.
///
/// # Errors
/// When the list is missing below `data_dir` or has other counts.
pub fn open(data_dir: &Path) -> Result<Catalog> {
    open_as(&Manifest::find("in-shop")?, data_dir)
}

/// As [`open`], of the files and counts that `manifest` says, such as those of a part of the set.
///
/// # Errors
/// As there.
pub fn open_as(manifest: &Manifest, data_dir: &Path) -> Result<Catalog> {
    let set = Published::of(manifest, data_dir);
    if lists::find(&set.folder, &PLACES, "list_eval_partition.txt").is_none() {
        set.tree("list_eval_partition.txt", &[])?;
    }
    set.disjoint(read(&set.folder)?)
}

/// Reads `list_eval_partition.txt` in `root` (or in `Eval` or `Anno` there) and, if it is there, `list_bbox_inshop.txt`.
/// Images lie below `root`, or `root/Img`, as `img/…`. The counts are not checked, but the list must be whole.
///
/// # Errors
/// When the list is missing or is not as published.
pub fn read(root: &Path) -> Result<Catalog> {
    let missing = || Error::Missing {
        path: root.join("list_eval_partition.txt"),
        mend: "bring it from the owners' folder".into(),
    };
    let list = lists::find(root, &PLACES, "list_eval_partition.txt").ok_or_else(missing)?;
    let boxes = match lists::find(root, &PLACES, "list_bbox_inshop.txt") {
        Some(path) => boxes(&path)?,
        None => HashMap::new(),
    };
    let images = lists::find(root, &["", "Img"], "img").and_then(|images| images.parent().map(Path::to_owned));
    let text = lists::text(&list)?;
    let rows = counted(&list, &text, "image_name item_id evaluation_status")?;
    let mut builder = CatalogBuilder::new("in-shop", &list, Files::below(images.unwrap_or_else(|| root.to_owned())));
    for row in lists::fields::<3>(&list, rows, "<image> <item> <train, query or gallery>") {
        let [image, item, status] = row?;
        let (part, is_query, is_gallery) = match status {
            "train" => ("train", true, true),
            "query" => ("test", true, false),
            "gallery" => ("test", false, true),
            _ => {
                let problem = format!("`{image}` is `{}`: train, query or gallery", lists::shown(status));
                return Err(Error::format(&list, problem));
            }
        };
        // img/WOMEN/Dresses/id_00000002/02_1_front.jpg
        let mut slashes = image.match_indices('/').map(|(at, _)| at);
        let group = slashes.next().zip(slashes.nth(1)).and_then(|(first, third)| image.get(first + 1..third));
        let entry = FileEntry { bounding_box: boxes.get(image).copied(), ..FileEntry::file(image) };
        builder.add(Membership { class: item, part, is_query, is_gallery, group }, entry)?;
    }
    let catalog = builder.finish().cut_to_boxes(false);
    // In training a query and a gallery mean nothing: `query` and `gallery` are those of the test.
    Ok(catalog.with_roles_of("test"))
}

/// The boxes of `list_bbox_inshop.txt`: `image_name clothes_type pose_type x_1 y_1 x_2 y_2`.
fn boxes(path: &Path) -> Result<HashMap<String, [f32; 4]>> {
    let text = lists::text(path)?;
    let rows = counted(path, &text, "image_name clothes_type pose_type x_1 y_1 x_2 y_2")?;
    lists::fields::<7>(path, rows, "<image> <type> <pose> <x1> <y1> <x2> <y2>")
        .map(|row| {
            let [image, _, _, corners @ ..] = row?;
            let [left, top, right, bottom] = lists::numbers(path, corners)?;
            Ok((image.to_owned(), [left, top, right - left, bottom - top]))
        })
        .collect()
}

/// The rows of a list that begins with their number and a header.
fn counted<'a>(path: &Path, text: &'a str, header: &str) -> Result<&'a str> {
    let (count, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (found, rows) = rest.split_once('\n').unwrap_or((rest, ""));
    if !found.split_whitespace().eq(header.split_whitespace()) {
        return Err(Error::format(path, format!("its second line is not `{header}`: bring the list anew")));
    }
    let got = rows.lines().filter(|line| !line.trim().is_empty()).count();
    if count.trim().parse() != Ok(got) {
        let count = lists::shown(count.trim());
        return Err(Error::format(
            path,
            format!("has {got} rows but its first line says `{count}`: bring the list anew"),
        ));
    }
    Ok(rows)
}
