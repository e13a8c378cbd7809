//! Losses of deep metric learning with analytic gradients, and what goes around them: miners, reductions,
//! regularisers, memories, sums.
//!
//! An [`Objective`] takes a [`Batch`] and gives an ordinary differentiable scalar. By its name, with parameters:
//!
//! ```
//! use candle_core::{Device, Var};
//! use dml_losses::Context;
//!
//! let embeddings = Var::randn(0f32, 1.0, (8, 16), &Device::Cpu)?;
//! let context = Context::new(16, 4);
//! let mut loss = dml_losses::build("multi_similarity", &serde_json::json!({"epsilon": 0.1}), &context)?;
//! let value = loss.loss(&embeddings, &[0, 0, 1, 1, 2, 2, 3, 3])?;
//! let gradient = value.backward()?;
//! assert_eq!(gradient.get(&embeddings).unwrap().dims(), [8, 16]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With all that goes around it ([`ObjectiveConfig`]), of more than labels ([`Supervision`]), and with what was seen:
//!
//! ```
//! use candle_core::{Device, Var};
//! use dml_losses::{Batch, Context, ObjectiveConfig, Supervision};
//!
//! let config: ObjectiveConfig = serde_json::from_str(
//!     r#"{"name": "contrastive", "preset": "xbm", "reduction": "mean",
//!         "regularizers": [{"name": "lp", "weight": 0.01}]}"#,
//! )?;
//! let mut loss = config.build(&Context::new(16, 4))?;
//! let embeddings = Var::randn(0f32, 1.0, (8, 16), &Device::Cpu)?;
//! let supervision = Supervision::Labels(vec![0, 0, 1, 1, 2, 2, 3, 3]);
//! let evaluation = loss.evaluate(&Batch::new(&embeddings, &supervision))?;
//! let seen = evaluation.statistics;
//! assert_eq!((seen.positive_pairs, seen.negative_pairs), (8.0, 48.0));
//! evaluation.loss.backward()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a loss is made
//!
//! Most are 20–60 lines about one row of a score matrix, twice: a [`RowObjective`](dml_core::rowwise::RowObjective)
//! with its derivative, which the driver of `dml-core` runs on the CPU, and
//! [`RowForm::compose`](row_loss::RowForm::compose), candle's operations on the same scores, for all else.
//! [`row_loss`] puts a row, a space, references, mined tuples and a reduction together; [`autograd::attach`] makes the
//! result part of candle's graph. Terms that tie rows together are a [`TableForm`](row_loss::TableForm).
//!
//! # How to add a loss
//!
//! For one project, without touching this crate: [`own`], `examples/own_loss_row.rs`, `examples/own_loss_ops.rs`.
//!
//! To the registry:
//!
//! 1. A file in `pairs`, `ranking`, `proxy` or `few_shot`, whose doc comment has formula, source and defaults: the
//!    parameters with [`LossParams`], the row, and its composed twin. `pairs/contrastive.rs` shows all of it.
//! 2. A line in `registry.rs`: family, one line on what it does, source.
//! 3. A reference and parameter sets in `tests/golden/generate`, and the golden that they make.
//! 4. A row of the README.
//!
//! Tests and bench find it in the registry; `DML_LOSS=name cargo test -p dml-losses` runs the tests of that loss.

pub mod autograd;
mod chance;
pub mod composed;
pub mod config;
mod error;
pub mod few_shot;
pub mod memory;
pub mod mining;
mod named;
pub mod objective;
pub mod own;
pub mod pairs;
mod params;
pub mod proxy;
pub mod ranking;
mod reduction;
pub mod registry;
pub mod regularizer;
pub mod row_loss;
mod setting;
mod softmax;
mod supervision;
mod tabular;
mod tuples;
pub mod wrappers;

pub use config::ObjectiveConfig;
pub use dml_core::{Reduction, release_scratch};
pub use error::{Error, Result};
pub use memory::{CrossBatchMemory, MemoryConfig};
pub use mining::{MINERS, Miner, MinerConfig};
pub use objective::{Batch, Context, Evaluation, Kernel, Objective, References};
pub use params::LossParams;
pub use reduction::{ReductionConfig, ThresholdConfig};
pub use registry::{Family, LOSSES, LossConfig, LossSpec, build, build_with_memory};
pub use regularizer::{REGULARIZERS, RegularizerConfig};
pub use row_loss::Space;
pub use supervision::Supervision;
pub use tuples::Tuples;
