//! What turns pictures or texts into embeddings, whatever it is.

use axum::body::Bytes;
use dml_gallery::Model;
use serde::Serialize;

/// Something to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The bytes of a picture's file.
    Image(Bytes),
    /// A text.
    Text(String),
}

/// What an encoder embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Pictures.
    Image,
    /// Texts.
    Text,
    /// Pictures and texts, which become embeddings of one space.
    Both,
}

impl Takes {
    /// Whether it takes all that `asked` is.
    pub fn includes(self, asked: Self) -> bool {
        self == asked || self == Self::Both
    }
}

/// Why an item has no embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The item is at fault, and whoever sent it is told so.
    #[error("{0}")]
    Unreadable(String),
    /// The encoder is at fault: this is logged, and not told.
    #[error("{0}")]
    Failed(String),
}

/// An encoder, on a thread of its own.
pub trait Encode: Send + 'static {
    /// Fingerprint of what makes the embeddings. It must be the gallery's.
    fn model(&self) -> &Model;

    /// What it embeds; it is given nothing else.
    fn takes(&self) -> Takes;

    /// The embedding of each item, of length [`Model::dim`], in their order. What one of them gets must not depend on the others.
    fn encode(&mut self, items: &[Item]) -> Vec<Result<Vec<f32>, EncodeError>>;
}
