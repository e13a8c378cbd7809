//! Queries beside the neighbours they found.

use std::fmt::Write;

use serde::{Serialize, Serializer};

use super::text::{escape, markdown, name, number};

/// Queries beside the neighbours they found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gallery {
    /// Title.
    pub title: String,
    /// One row per query.
    pub rows: Vec<GalleryRow>,
}

/// One query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GalleryRow {
    /// Why this query is shown: "best", "worst" or "random".
    pub group: String,
    /// The query.
    pub query: Tile,
    /// Each neighbour, whether it is right, and its score; best first.
    pub neighbours: Vec<(Tile, bool, f32)>,
}

/// One picture with its class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tile {
    /// Class name.
    pub label: String,
    /// Which item of the set it is.
    pub id: String,
    /// Bytes of a PNG or JPEG; written to JSON as a data URI.
    #[serde(serialize_with = "as_data_uri")]
    pub picture: Option<Vec<u8>>,
}

fn as_data_uri<S: Serializer>(picture: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    picture.as_deref().and_then(data_uri).serialize(serializer)
}

/// A data URI; none for bytes that begin neither as PNG nor as JPEG.
fn data_uri(bytes: &[u8]) -> Option<String> {
    let kind = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, 0xff, ..] => "jpeg",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", base64(bytes)))
}

/// RFC 4648 base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize] as char;
            text.push(if i <= three.len() { letter } else { '=' });
        }
    }
    text
}

impl Tile {
    fn html(&self, class: &str, verdict: &str, score: &str) -> String {
        let (label, id) = (escape(&self.label), escape(&self.id));
        let picture = match self.picture.as_deref().and_then(data_uri) {
            Some(uri) => format!("<img src=\"{uri}\" alt=\"{label}, item {id}\" loading=\"lazy\">"),
            None => format!("<span class=\"blank\">{}</span>", escape(&self.id)),
        };
        format!(
            "<figure class=\"tile {class}\"><span class=\"frame\" title=\"{label} · {id}\">{picture}{verdict}</span>\
             <figcaption>{}<small>{score}</small></figcaption></figure>",
            name(&self.label)
        )
    }
}

impl Gallery {
    pub(super) fn html(&self) -> String {
        let mut html = String::from("<div class=\"gallery\">\n");
        let mut group = None;
        for row in &self.rows {
            if group != Some(&row.group) {
                let _ = writeln!(html, "<h3>{}</h3>", escape(&row.group));
                group = Some(&row.group);
            }
            html += "<div class=\"found\">";
            html += &row.query.html("query", "", "query");
            html += "<span class=\"arrow\" aria-hidden=\"true\">→</span><div class=\"neighbours\">";
            for (tile, right, score) in &row.neighbours {
                let (class, verdict) = if *right {
                    ("right", "<span class=\"verdict\" role=\"img\" aria-label=\"right\">✓</span>")
                } else {
                    ("wrong", "<span class=\"verdict\" role=\"img\" aria-label=\"wrong\">✗</span>")
                };
                html += &tile.html(class, verdict, &number(f64::from(*score)));
            }
            html += "</div></div>\n";
        }
        html + "</div>\n"
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("| Group | Query | Neighbours, best first |\n| --- | --- | --- |\n");
        let item = |t: &Tile| format!("{} ({})", markdown(&t.label), markdown(&t.id));
        for row in &self.rows {
            let found = |(tile, right, score): &(Tile, bool, f32)| {
                format!("{} {} {}", if *right { "✓" } else { "✗" }, item(tile), number(f64::from(*score)))
            };
            let neighbours = row.neighbours.iter().map(found).collect::<Vec<_>>().join("; ");
            let _ = writeln!(text, "| {} | {} | {neighbours} |", markdown(&row.group), item(&row.query));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    /// Test vectors of RFC 4648, section 10.
    #[test]
    fn base64_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
    }
}
