//! Image encoders.

mod conv4;
pub(crate) mod resnet;
mod vit;

pub(crate) use conv4::Conv4;
pub use conv4::Conv4Config;
pub(crate) use vit::Vit;
pub use vit::VitConfig;
