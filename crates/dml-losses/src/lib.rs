//! Objectives of deep metric learning, with analytic gradients.
//!
//! A loss is a [`RowObjective`](dml_core::rowwise::RowObjective): 20–60 lines about one row of a score matrix. The
//! driver of `dml-core` does the rest, and [`autograd::attach`] makes the result an ordinary differentiable scalar.
//!
//! To add a loss: one file with its parameters and its row, one line in [`registry::LOSSES`], one golden.
//!
//! ```
//! use candle_core::{Device, Var};
//! use dml_losses::{Context, Objective};
//!
//! let embeddings = Var::randn(0f32, 1.0, (8, 16), &Device::Cpu)?;
//! let context = Context { dim: 16, classes: 4, seed: 0, device: Device::Cpu };
//! let mut loss = dml_losses::build("multi_similarity", &serde_json::json!({"epsilon": 0.1}), &context)?;
//! let value = loss.loss(&embeddings, &[0, 0, 1, 1, 2, 2, 3, 3])?;
//! let gradient = value.backward()?;
//! assert_eq!(gradient.get(&embeddings).unwrap().dims(), [8, 16]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod autograd;
mod error;
pub mod few_shot;
pub mod memory;
pub mod objective;
pub mod pairs;
mod params;
pub mod proxy;
pub mod registry;
mod row_loss;
mod softmax;

pub use error::{Error, Result};
pub use memory::{CrossBatchMemory, MemoryConfig};
pub use objective::{Context, Objective};
pub use registry::{Family, LOSSES, LossSpec, build, build_with_memory};
