//! Losses on each row's whole ranking.

pub mod fast_ap;
mod gaps;
pub mod histogram;
pub mod pnp;
pub mod ranked_list;
pub mod recall_at_k;
pub mod roadmap;
pub mod smooth_ap;
mod soft_rank;
