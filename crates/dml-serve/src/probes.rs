//! What is enrolled or asked: embeddings as they are, or pictures or texts through the encoder.

use crate::encode::{Item, Takes};
use crate::refusal::Refusal;
use crate::service::Service;
use axum::body::Bytes;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dml_core::Matrix;
use dml_gallery::{Embeddings, Model};
use serde::{Deserialize, Deserializer};

/// A request with fields of its own and one of those that bring something to embed, or embeddings.
macro_rules! asked {
    ($(#[$about:meta])* $name:ident { $($(#[$how:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($(#[$how])* $field: $kind,)*
            #[serde(default, deserialize_with = "crate::probes::given")]
            embedding: Option<Vec<f32>>,
            #[serde(default, deserialize_with = "crate::probes::given")]
            embeddings: Option<Vec<Vec<f32>>>,
            #[serde(default, deserialize_with = "crate::probes::given")]
            image: Option<String>,
            #[serde(default, deserialize_with = "crate::probes::given")]
            images: Option<Vec<String>>,
            #[serde(default, deserialize_with = "crate::probes::given")]
            text: Option<String>,
            #[serde(default, deserialize_with = "crate::probes::given")]
            texts: Option<Vec<String>>,
            weights_sha256: Option<String>,
        }

        impl $name {
            /// What is to be embedded, or is already; taken out.
            fn probes(&mut self) -> $crate::probes::Probes {
                $crate::probes::Probes {
                    embedding: self.embedding.take(),
                    embeddings: self.embeddings.take(),
                    image: self.image.take(),
                    images: self.images.take(),
                    text: self.text.take(),
                    texts: self.texts.take(),
                    weights_sha256: self.weights_sha256.take(),
                }
            }
        }
    };
}
pub(crate) use asked;

/// A field that is there: `null` is no value of it.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// One of these is given, and of which weights it is if whoever sends embeddings knows.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) embeddings: Option<Vec<Vec<f32>>>,
    pub(crate) image: Option<String>,
    pub(crate) images: Option<Vec<String>>,
    pub(crate) text: Option<String>,
    pub(crate) texts: Option<Vec<String>>,
    pub(crate) weights_sha256: Option<String>,
}

/// Embeddings of the gallery's model.
pub(crate) struct Rows {
    pub(crate) values: Vec<f32>,
    pub(crate) model: Model,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.model.dim
    }

    pub(crate) fn embeddings(&self) -> dml_gallery::Result<Embeddings<'_>> {
        Ok(Embeddings::new(&self.model, Matrix::new(&self.values, self.len(), self.model.dim)?))
    }
}

impl Probes {
    /// The embeddings, by the encoder where it is needed.
    pub(crate) async fn rows(self, service: &Service) -> Result<Rows, Refusal> {
        let model = service.model().clone();
        if let Some(weights) = &self.weights_sha256 {
            model.check(&Model { weights_sha256: Some(weights.clone()), ..model.clone() })?;
        }
        let most = service.options().probes;
        let values = match self {
            Self {
                embedding: Some(row), embeddings: None, image: None, images: None, text: None, texts: None, ..
            } => checked(vec![row], "embedding", model.dim, most)?,
            Self {
                embedding: None,
                embeddings: Some(rows),
                image: None,
                images: None,
                text: None,
                texts: None,
                ..
            } => checked(rows, "embeddings", model.dim, most)?,
            Self { embedding: None, embeddings: None, image, images, text, texts, .. } => {
                let (field, takes, items) = items(image, images, text, texts)?;
                count(field, items.len(), most)?;
                encoded(service, field, takes, items).await?
            }
            _ => return Err(one_of()),
        };
        Ok(Rows { values, model })
    }
}

/// A picture as it is, through the encoder.
pub(crate) async fn of_picture(service: &Service, bytes: Bytes) -> Result<Rows, Refusal> {
    let values = encoded(service, "a picture", Takes::Image, vec![Item::Image(bytes)]).await?;
    Ok(Rows { values, model: service.model().clone() })
}

fn one_of() -> Refusal {
    Refusal::bad("want one of `embedding`, `embeddings`, `image`, `images`, `text`, `texts`")
}

fn count(field: &str, given: usize, most: usize) -> Result<(), Refusal> {
    match given {
        0 => Err(Refusal::bad(format!("`{field}` is empty: give one or more"))),
        _ if given > most => Err(Refusal::bad(format!("`{field}` holds {given}: give {most} at a time"))),
        _ => Ok(()),
    }
}

fn checked(rows: Vec<Vec<f32>>, field: &str, dim: usize, most: usize) -> Result<Vec<f32>, Refusal> {
    count(field, rows.len(), most)?;
    if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != dim) {
        let place = if field == "embedding" { String::new() } else { format!("[{i}]") };
        let n = row.len();
        return Err(Refusal::bad(format!("`{field}{place}` has length {n} but the gallery's model gives {dim}")));
    }
    Ok(rows.concat())
}

type Items = (&'static str, Takes, Vec<Item>);

fn items(
    image: Option<String>,
    images: Option<Vec<String>>,
    text: Option<String>,
    texts: Option<Vec<String>>,
) -> Result<Items, Refusal> {
    let pictures = |field: &str, all: Vec<String>| -> Result<Vec<Item>, Refusal> {
        let picture = |(i, text): (usize, &String)| {
            let place = if field == "image" { String::new() } else { format!("[{i}]") };
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|error| Refusal::bad(format!("`{field}{place}` is not base64: {error}")))?;
            Ok(Item::Image(bytes.into()))
        };
        all.iter().enumerate().map(picture).collect()
    };
    match (image, images, text, texts) {
        (Some(one), None, None, None) => Ok(("image", Takes::Image, pictures("image", vec![one])?)),
        (None, Some(all), None, None) => Ok(("images", Takes::Image, pictures("images", all)?)),
        (None, None, Some(one), None) => Ok(("text", Takes::Text, vec![Item::Text(one)])),
        (None, None, None, Some(all)) => Ok(("texts", Takes::Text, all.into_iter().map(Item::Text).collect())),
        _ => Err(one_of()),
    }
}

async fn encoded(service: &Service, field: &str, takes: Takes, items: Vec<Item>) -> Result<Vec<f32>, Refusal> {
    let no = |why: &str| Refusal::new(StatusCode::BAD_REQUEST, "no_encoder", format!("{field}: {why}"));
    match (service.encoder(), takes) {
        (None, _) => Err(no("the server has no encoder and takes embeddings only")),
        (Some((takes, batcher)), asked) if takes.includes(asked) => batcher.encode(items).await,
        (Some((Takes::Image, _)), _) => Err(no("the server's encoder takes pictures, not texts")),
        (Some(_), _) => Err(no("the server's encoder takes texts, not pictures")),
    }
}
