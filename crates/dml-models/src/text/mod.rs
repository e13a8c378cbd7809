//! Text encoders: tokens in, a vector for each token out.

mod bert;
mod block;
mod distil_bert;
mod embeddings;

pub(crate) use bert::Bert;
pub use bert::BertConfig;
pub(crate) use distil_bert::DistilBert;
pub use distil_bert::DistilBertConfig;
