//! Queries beside the neighbours they found.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::neighbours;
use super::text::{escape, markdown, name, number};

/// Queries beside the neighbours they found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gallery {
    /// Title.
    pub title: String,
    /// One row per query.
    pub rows: Vec<GalleryRow>,
}

/// One query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GalleryRow {
    /// Why this query is shown: "best", "worst" or "random".
    pub group: String,
    /// The query.
    pub query: Tile,
    /// Each neighbour, whether it is right, and its score; best first.
    #[serde(deserialize_with = "neighbours")]
    pub neighbours: Vec<(Tile, bool, f32)>,
}

/// One picture with its class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// Class name.
    pub label: String,
    /// Which item of the set it is.
    pub id: String,
    /// Bytes of a PNG or JPEG; written to JSON as a data URI.
    #[serde(serialize_with = "as_data_uri", deserialize_with = "of_data_uri")]
    pub picture: Option<Vec<u8>>,
}

fn as_data_uri<S: Serializer>(picture: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    picture.as_deref().and_then(data_uri).serialize(serializer)
}

fn of_data_uri<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let Some(uri) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let bytes = uri.split_once(";base64,").and_then(|(_, text)| bytes_of_base64(text));
    bytes.map(Some).ok_or_else(|| serde::de::Error::custom("a picture is no data URI in base64"))
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

/// The bytes of RFC 4648 base64 with padding; none of anything else.
fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let letters = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    for four in letters.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for (i, &letter) in four.iter().enumerate() {
            bits |= u32::from(value(letter)?) << (18 - 6 * i);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
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
        for broken in ["Zg", "Zg=", "Zm9*", "Zg==Zg==", "é="] {
            assert_eq!(super::bytes_of_base64(broken), None, "{broken}");
        }
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
            assert_eq!(super::bytes_of_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
    }
}
