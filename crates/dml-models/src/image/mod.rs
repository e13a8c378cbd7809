//! Image encoders.

mod conv4;
mod conv_norm;
mod inverted_residual;
pub(crate) mod mobile;
pub(crate) mod resnet;
mod vit;

pub(crate) use conv4::Conv4;
pub use conv4::Conv4Config;
pub(crate) use vit::Vit;
pub use vit::VitConfig;
