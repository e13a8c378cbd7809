//! From stored images to network input: decoding, resizing, augmentation, normalisation.
//!
//! [`Pipeline`] is a list of steps for images of any size, 8 bits to 8 bits, as torchvision makes them from Pillow images;
//! [`Augment`] is one fixed set of changes for small images of one size.

mod affine;
mod augment;
mod blur;
mod color;
mod color_jitter;
mod crop;
mod decode;
mod decoder;
mod elastic;
pub mod enhance;
mod erase;
mod extent;
mod fill;
mod flip;
mod framed;
mod jpeg;
#[cfg(feature = "turbojpeg")]
mod libjpeg_turbo;
mod normalize;
mod part;
mod pipeline;
mod presets;
mod rand_augment;
mod random_affine;
mod random_erasing;
mod random_resized_crop;
mod reduced;
mod resize;
mod short_form;
mod thumbnail;
pub mod tone;
mod transform;
pub mod warp;

pub use augment::Augment;
pub use blur::{GaussianBlur, gaussian_blur};
pub use color_jitter::{ColorJitter, Grayscale};
pub use crop::{CenterCrop, RandomCrop, Region, crop};
pub use decode::{decode, fit_square, resize};
pub use decoder::{Decoder, JpegLibrary, Unreadable};
pub use extent::Extent;
pub use fill::Fill;
pub use flip::{HorizontalFlip, VerticalFlip, flip_horizontal, flip_vertical};
pub use normalize::Normalize;
pub use pipeline::{Pipeline, Step};
pub use presets::Preset;
pub use rand_augment::{Op, RandAugment};
pub use random_affine::RandomAffine;
pub use random_erasing::RandomErasing;
pub use random_resized_crop::RandomResizedCrop;
pub use resize::{Filter, Resize, Size, resample, resample_region};
