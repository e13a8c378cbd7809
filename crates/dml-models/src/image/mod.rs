//! Image encoders.

mod bn_inception;
mod conv4;
mod conv_norm;
mod face_resnet;
mod inverted_residual;
mod iresnet;
pub(crate) mod mobile;
mod mobile_face_net;
pub(crate) mod resnet;
#[cfg(test)]
mod shallow;
mod vit;

pub(crate) use bn_inception::BnInception;
pub(crate) use conv4::Conv4;
pub use conv4::Conv4Config;
pub(crate) use face_resnet::FaceResNet;
pub(crate) use iresnet::IResNet;
pub(crate) use mobile_face_net::MobileFaceNet;
pub(crate) use vit::Vit;
pub use vit::VitConfig;
