//! From stored images to network input: decoding, resizing, augmentation, normalisation.

mod affine;
mod augment;
mod color;
mod decode;
mod elastic;
mod erase;
mod normalize;

pub use augment::Augment;
pub(crate) use augment::planes;
pub use decode::{decode, fit_square, resize};
pub use normalize::Normalize;
