//! Galleries in the servers that `DML_TEST_POSTGRES` and `DML_TEST_MILVUS` name: `tests/servers/servers.py` starts such.

use crate::{enrol, model};
use anyhow::Result;
use dml_core::Matrix;
use dml_gallery::{Error, Gallery, MilvusGallery, PostgresGallery, Search, ServerProblem, Templates};
use dml_tests::timing::Answer;
use std::env;

const NAME: &str = "dml_bench";

/// Galleries of these vectors in every server there is; they stay there for the next case of as many.
pub(crate) fn enrolled(x: Matrix<'_>) -> Result<Vec<(&'static str, Box<dyn Gallery>)>> {
    let mut all: Vec<(&str, Box<dyn Gallery>)> = Vec::new();
    let name = format!("{NAME}_{}", x.rows());
    if let Ok(server) = env::var("DML_TEST_POSTGRES") {
        for (contestant, search) in [("pgvector", Search::Exact), ("pgvector_graph", Search::HNSW)] {
            let name = format!("{name}_{contestant}");
            let gallery = match PostgresGallery::open(server.parse()?, &name) {
                Err(error) if is_missing(&error) => {
                    let gallery =
                        PostgresGallery::create(server.parse()?, &name, model(x.cols()), Templates::PerImage)?;
                    let made = enrol(&gallery, x).and_then(|()| Ok(gallery.set_search(search)?));
                    if made.is_err() {
                        PostgresGallery::destroy(server.parse()?, &name)?;
                    }
                    made.map(|()| gallery)?
                }
                other => other?,
            };
            all.push((contestant, Box::new(gallery)));
        }
    }
    if let Ok(server) = env::var("DML_TEST_MILVUS") {
        let server = server.parse()?;
        let gallery = match MilvusGallery::open(&server, &name) {
            Err(error) if is_missing(&error) => {
                let gallery = MilvusGallery::create(&server, &name, model(x.cols()), Templates::PerImage)?;
                let made = enrol(&gallery, x);
                if made.is_err() {
                    MilvusGallery::destroy(&server, &name)?;
                }
                made.map(|()| gallery)?
            }
            other => other?,
        };
        all.push(("milvus", Box::new(gallery)));
    }
    Ok(all)
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Server { problem: ServerProblem::Missing, .. })
}

/// Times how the vectors are enrolled in every server there is.
pub(crate) fn enrol_into(x: Matrix<'_>, answer: &mut Answer) -> Result<()> {
    let name = format!("{NAME}_enrol");
    if let Ok(server) = env::var("DML_TEST_POSTGRES") {
        answer.time("pgvector", || {
            let gallery = PostgresGallery::create(server.parse()?, &name, model(x.cols()), Templates::PerImage)?;
            let done = enrol(&gallery, x);
            PostgresGallery::destroy(server.parse()?, &name)?;
            done
        })?;
    }
    if let Ok(server) = env::var("DML_TEST_MILVUS") {
        let server = server.parse()?;
        answer.time("milvus", || {
            let gallery = MilvusGallery::create(&server, &name, model(x.cols()), Templates::PerImage)?;
            let done = enrol(&gallery, x);
            MilvusGallery::destroy(&server, &name)?;
            done
        })?;
    }
    Ok(())
}
