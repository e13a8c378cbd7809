//! Images found by texts, and texts by images.

use crate::Result;
use crate::embedding::{Embeddings, embed_texts};
use candle_core::Device;
use dml_core::{Exclude, Matrix, Metric, nearest};
use dml_data::ClassTexts;
use dml_data::text::TextTokenizer;
use dml_eval::Retrieval;
use dml_models::Encoder;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The texts that go with the images of a part.
pub struct Captions {
    /// By the classes of the images.
    pub texts: ClassTexts,
    /// What makes tokens of them.
    pub tokenizer: Arc<TextTokenizer>,
}

/// Retrieval between the images and the texts of classes that no one was trained on. Right is what is of the query's class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrossModal {
    /// Every image as a query among all texts.
    pub image_to_text: Retrieval,
    /// Every text as a query among all images.
    pub text_to_image: Retrieval,
    /// Some texts, and what they found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<FoundByText>,
}

/// A text and the images that are nearest to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundByText {
    /// The text.
    pub text: String,
    /// Its class, as the images number them.
    pub label: u32,
    /// The images, nearest first: number of each and its score.
    pub images: Vec<(u32, f32)>,
}

/// As published for Flickr30K and COCO.
const RANKS: [usize; 3] = [1, 5, 10];
/// Texts that are shown, and images of each.
const SHOWN: (usize, usize) = (12, 6);

impl Captions {
    /// The texts through `encoder`.
    ///
    /// # Errors
    /// When a text has no tokens or the encoder refuses.
    pub fn embed(&self, encoder: &dyn Encoder, device: &Device) -> Result<Embeddings> {
        let (texts, labels) = self.texts.all();
        Ok(Embeddings { values: embed_texts(encoder, &self.tokenizer, &texts, device)?, dim: encoder.dim(), labels })
    }

    /// Retrieval between `images`, embeddings of the part, and `texts`, those of [`Self::embed`].
    ///
    /// # Errors
    /// When an embedding is not finite.
    pub fn retrieval(&self, metric: Metric, images: &Embeddings, texts: &Embeddings) -> Result<CrossModal> {
        let mut found = CrossModal::between(metric, images, texts)?;
        found.examples = self.examples(metric, images, texts)?;
        Ok(found)
    }

    /// Some texts, evenly spread, with the images that they find.
    fn examples(&self, metric: Metric, images: &Embeddings, texts: &Embeddings) -> Result<Vec<FoundByText>> {
        let (all, labels) = self.texts.all();
        let (n, dim) = (SHOWN.0.min(all.len()), texts.dim);
        let chosen: Vec<usize> = (0..n).map(|i| (2 * i + 1) * all.len() / (2 * n)).collect();
        let queries: Vec<f32> = chosen.iter().flat_map(|&i| texts.values[i * dim..][..dim].iter().copied()).collect();
        let k = SHOWN.1.min(images.labels.len());
        let found = nearest(metric, Matrix::new(&queries, n, dim)?, images.matrix()?, k, Exclude::Nothing)?;
        let of = |(query, &text): (usize, &usize)| {
            let images = found.ids_of(query).iter().copied().zip(found.scores_of(query).iter().copied()).collect();
            FoundByText { text: all[text].to_owned(), label: labels[text], images }
        };
        Ok(chosen.iter().enumerate().map(of).collect())
    }
}

impl CrossModal {
    /// Retrieval between two sets of embeddings in one space, whose labels name the same classes.
    ///
    /// # Errors
    /// When one of them is empty, their lengths differ, or an embedding is not finite.
    pub fn between(metric: Metric, images: &Embeddings, texts: &Embeddings) -> Result<Self> {
        let values = [&images.values[..], &texts.values].concat();
        let labels = [&images.labels[..], &texts.labels].concat();
        let both = Embeddings { values, dim: images.dim, labels };
        let first_text = images.labels.len() as u32;
        let rows: [Vec<u32>; 2] = [(0..first_text).collect(), (first_text..both.labels.len() as u32).collect()];
        let found = |queries: &[u32], gallery: &[u32]| -> Result<Retrieval> {
            let ranks: Vec<usize> = RANKS.into_iter().filter(|&k| k <= gallery.len()).collect();
            Ok(dml_eval::retrieval_in_gallery(metric, both.matrix()?, &both.labels, [queries, gallery], &ranks)?)
        };
        let (image_to_text, text_to_image) = (found(&rows[0], &rows[1])?, found(&rows[1], &rows[0])?);
        Ok(Self { image_to_text, text_to_image, examples: vec![] })
    }

    /// The mean of both ways' MAP@R: one number to choose by.
    pub fn map_at_r(&self) -> f64 {
        f64::midpoint(self.image_to_text.map_at_r, self.text_to_image.map_at_r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embeddings(rows: &[[f32; 2]], labels: &[u32]) -> Embeddings {
        Embeddings { values: rows.concat(), dim: 2, labels: labels.to_vec() }
    }

    #[test]
    fn each_way_has_its_own_queries_and_gallery() {
        let images = embeddings(&[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], &[0, 1, 2]);
        let texts = embeddings(&[[1.0, 0.1], [0.1, 1.0]], &[0, 1]);
        let found = CrossModal::between(Metric::Cosine, &images, &texts).unwrap();
        // The third image has no text: it is no query, but it may be found.
        assert_eq!((found.image_to_text.queries, found.text_to_image.queries), (2, 2));
        assert_eq!(found.image_to_text.recall_at, [(1, 1.0)]);
        assert_eq!(found.text_to_image.recall_at[0], (1, 1.0));
        assert_eq!(found.map_at_r(), 1.0);
        let swapped = embeddings(&[[0.1, 1.0], [1.0, 0.1]], &[0, 1]);
        let found = CrossModal::between(Metric::Cosine, &images, &swapped).unwrap();
        assert_eq!((found.image_to_text.recall_at[0].1, found.map_at_r()), (0.0, 0.0));
    }
}
