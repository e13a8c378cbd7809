//! `cargo xtask bench`: measurements that take time and assert nothing.

mod data;
mod eval;
mod gallery;
mod losses;
mod peers;
mod readme;
mod record;
mod table;
mod text;
mod train;
mod versus;
mod worker;

use anyhow::Result;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Time forward and backward of each loss: fused, composed of tensor operations, and the floor of its matrix products
    Losses(versus::Arguments),
    /// Time exact search, retrieval measures, clustering and verification of embeddings
    Eval(versus::Arguments),
    /// Time a gallery: opened, enrolled into, asked who somebody is
    Gallery(versus::Arguments),
    /// Time image files to batches, sampling, and the opening of a set
    Data(versus::Arguments),
    /// Time steps of training and inference of networks on the CPU
    Train(versus::Arguments),
    /// Fine-tune a sentence encoder on Banking77, CLINC150 and STS-B, beside sentence-transformers: quality and time of a step
    Text(text::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Losses(arguments) => versus::run(&losses::CONTEST, arguments),
        What::Eval(arguments) => versus::run(&eval::CONTEST, arguments),
        What::Gallery(arguments) => versus::run(&gallery::CONTEST, arguments),
        What::Data(arguments) => versus::run(&data::CONTEST, arguments),
        What::Train(arguments) => versus::run(&train::CONTEST, arguments),
        What::Text(arguments) => text::run(arguments),
    }
}
