//! Losses against one learned proxy per class.

pub mod arc_face;
pub mod normalized_softmax;
pub mod proxies;
pub mod proxy_anchor;
pub mod proxy_nca;
