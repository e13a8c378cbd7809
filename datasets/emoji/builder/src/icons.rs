//! Reads an icon package in Iconify's JSON format and draws its icons.

use crate::mosaic::SIDE;
use anyhow::{Context, Result, ensure};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use serde_json::Value;
use std::path::Path;

/// One package: SVG bodies by name.
pub struct IconSet {
    pub name: String,
    data: Value,
}

impl IconSet {
    /// Opens a package and refuses it unless it is `version` and states `licence` itself.
    pub fn open(folder: &Path, version: &str, licence: &str) -> Result<Self> {
        let read = |file: &str| -> Result<Value> {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            serde_json::from_str(&text).with_context(|| path.display().to_string())
        };
        let (package, info, data) = (read("package.json")?, read("info.json")?, read("icons.json")?);
        ensure!(package["version"] == version, "{}: version {} is not {version}", folder.display(), package["version"]);
        let stated = [&package["license"], &info["license"]["spdx"]];
        ensure!(
            stated.iter().all(|stated| *stated == licence),
            "{}: states {stated:?}, not {licence}",
            folder.display()
        );
        let name = data["prefix"].as_str().context("icons.json has no prefix")?.to_owned();
        Ok(Self { name, data })
    }

    /// The names of the icons, aliases left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.data["icons"].as_object().into_iter().flat_map(|icons| icons.keys().map(String::as_str))
    }

    /// The icon as RGB on white, `SIDE` × `SIDE`, or `None` when the package has no such name.
    pub fn render(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let icon = &self.data["icons"][name];
        let Some(body) = icon["body"].as_str() else { return Ok(None) };
        for turned in ["rotate", "hFlip", "vFlip"] {
            ensure!(icon[turned].is_null(), "{turned} is not supported");
        }
        let number = |key: &str, default: f64| icon[key].as_f64().or(self.data[key].as_f64()).unwrap_or(default);
        let (left, top) = (number("left", 0.0), number("top", 0.0));
        let (width, height) = (number("width", 16.0), number("height", 16.0));
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIDE}" height="{SIDE}" viewBox="{left} {top} {width} {height}">{body}</svg>"#
        );
        let tree = Tree::from_str(&svg, &Options::default())?;
        let mut pixmap = Pixmap::new(SIDE as u32, SIDE as u32).context("no pixmap")?;
        pixmap.fill(Color::WHITE);
        resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
        // On an opaque ground premultiplied values are the plain ones.
        Ok(Some(pixmap.data().chunks_exact(4).flat_map(|rgba| &rgba[..3]).copied().collect()))
    }
}
