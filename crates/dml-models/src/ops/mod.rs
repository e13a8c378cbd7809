//! What networks are made of: operations with gradients, fast on the CPU in `f32`, and from candle's own elsewhere.
//!
//! candle's convolutions, norms and pools are made for inference on a CPU; training on them costs several times what PyTorch's does.
//! Each operation here has its arithmetic in slices for both directions, and a twin of candle's operations that tests compare it
//! with and that other devices and types run.

pub mod activation;
pub mod add;
pub mod attention;
pub mod batch_norm;
pub mod conv2d;
mod depthwise;
mod few_places;
pub mod layer_norm;
pub mod linear;
pub mod look_up;
mod max_pool;
pub mod norm_pool;
pub(crate) mod patches;
pub mod pool;
mod precision;
mod product;
pub(crate) mod slice;
mod stack;
pub mod statistics;
mod tape;
mod vector;
mod winograd;

pub use activation::Activation;
pub use add::add;
pub use attention::{Attended, attention};
pub(crate) use batch_norm::batch_norm_within;
pub use batch_norm::{Normalization, batch_norm};
pub use conv2d::conv2d;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use look_up::look_up;
pub use patches::Window;
pub use pool::{Pool, PoolWindow, global_mean, pool2d};
pub use precision::Precision;
pub use stack::stack3;
pub use statistics::ChannelStatistics;
pub use tape::gradients;
