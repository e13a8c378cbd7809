//! Losses against learned proxies of the classes.

pub mod ada_face;
pub mod arc_face;
pub mod cos_face;
pub mod large_margin_softmax;
mod margin_softmax;
mod multiplicative_margin;
mod norm_softmax;
pub mod normalized_softmax;
pub mod p2s_grad;
pub(crate) mod proxies;
pub mod proxy_anchor;
pub mod proxy_nca;
pub mod soft_triple;
pub mod sphere_face;
pub mod sub_center_arc_face;
