//! The tables of a gallery, in a schema of its own.
//!
//! | table | row | holds |
//! |---|---|---|
//! | `gallery` | the only one | layout, model, templates, search and calibration as JSON; numbers not given yet; counts |
//! | `identities` | an identity | its number by the order of enrolment, its name, its metadata |
//! | `samples` | a sample | whose, its number, the embedding as it was enrolled |
//! | `templates` | what is searched | whose, a number among theirs, their metadata again, the vector: of unit length by cosine |

use super::pool::Pool;
use super::search::Search;
use crate::{Error, Model, Result, ServerProblem};
use ::postgres::Client;
use dml_core::Metric;
use dml_eval::identification::Templates;
use serde::de::DeserializeOwned;

/// Of this layout.
const LAYOUT: i32 = 1;
/// The extension's longest vector, and the longest that a graph takes.
const LONGEST: usize = 16_000;
const LONGEST_IN_GRAPH: usize = 2_000;
/// Vectors so long still fit in a page, and are read without a detour.
const FITS_IN_PAGE: usize = 1_900;

/// What a gallery was made for.
pub(super) struct Settings {
    pub(super) model: Model,
    pub(super) templates: Templates,
    pub(super) search: Search,
}

pub(super) fn name(gallery: &str) -> String {
    format!("dml_{gallery}")
}

/// The extension's operator for a metric, and the graph's class of it. By cosine the rows are of unit length, and so the product
/// is the cosine.
pub(super) fn operator(metric: Metric) -> Result<(&'static str, &'static str)> {
    match metric {
        Metric::Cosine | Metric::Dot => Ok(("<#>", "vector_ip_ops")),
        Metric::Euclidean | Metric::SquaredEuclidean => Ok(("<->", "vector_l2_ops")),
        Metric::Lp(1.0) => Ok(("<+>", "vector_l1_ops")),
        other => Err(Error::Input(format!(
            "PostgreSQL's vectors are not compared by {other}: cosine, dot, euclidean, squared_euclidean and lp:1 are there; \
             keep this gallery in a file"
        ))),
    }
}

/// Refuses what no gallery here can be made for.
pub(super) fn check(model: &Model) -> Result<()> {
    crate::memory::check_settings(model)?;
    operator(model.metric)?;
    if model.dim > LONGEST {
        let dim = model.dim;
        return Err(Error::Input(format!(
            "embeddings have length {dim}, PostgreSQL's vectors {LONGEST} at most: keep this gallery in a file"
        )));
    }
    Ok(())
}

/// The schema that the extension `vector` lies in; it is made where that is possible.
pub(super) fn extension(pool: &Pool, make: bool) -> Result<String> {
    let mut client = pool.connect()?;
    let lacks = |what: String| pool.problem(ServerProblem::Lacks(what));
    let asked = "SELECT extversion, quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace \
                 WHERE extname = 'vector'";
    let mut found = client.query_opt(asked, &[]).map_err(|e| pool.failed(e))?;
    if found.is_none() && make {
        match client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector") {
            // Another makes it at this moment.
            Err(error) if error.code().is_some_and(|code| ["23505", "42710"].contains(&code.code())) => {}
            Err(error) => {
                let said = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
                return Err(lacks(format!(
                    "the extension vector cannot be made ({said}): install pgvector in the server, and as its administrator \
                     say CREATE EXTENSION vector"
                )));
            }
            Ok(()) => {}
        }
        found = client.query_opt(asked, &[]).map_err(|e| pool.failed(e))?;
    }
    let Some(row) = found else {
        return Err(lacks("the database has no extension vector: name the database of the gallery".to_owned()));
    };
    let (version, schema): (String, String) = (row.get(0), row.get(1));
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let new_enough = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (0, 8);
    match new_enough {
        true => Ok(schema),
        false => Err(lacks(format!(
            "the extension vector is {version}, want 0.8 or later: install it and say ALTER EXTENSION vector UPDATE"
        ))),
    }
}

/// Whether a gallery is there.
fn exists(client: &mut Client, pool: &Pool, schema: &str) -> Result<bool> {
    let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.gallery")]);
    Ok(row.map_err(|e| pool.failed(e))?.get(0))
}

/// Makes the tables, all or none.
pub(super) fn create(pool: &Pool, schema: &str, extension: &str, settings: &Settings) -> Result<()> {
    let Settings { model, templates, search } = settings;
    check(model)?;
    let d = model.dim;
    let plain = if d <= FITS_IN_PAGE { ", ALTER embedding SET STORAGE PLAIN" } else { "" };
    // Names may be longer than an ordered index takes; a hashed one holds no name either. Without statistics the server keeps no
    // names and vectors in its catalogue, where no removal would find them.
    let tables = format!(
        "CREATE SCHEMA {schema};
         SET LOCAL search_path TO {schema}, {extension};
         CREATE TABLE gallery (
             single boolean PRIMARY KEY DEFAULT true CHECK (single), layout int NOT NULL, model text NOT NULL,
             templates text NOT NULL, search text NOT NULL, calibration text, next_key bigint NOT NULL DEFAULT 0,
             next_sample bigint NOT NULL DEFAULT 0, identities bigint NOT NULL DEFAULT 0,
             samples bigint NOT NULL DEFAULT 0);
         CREATE TABLE identities (
             key bigint PRIMARY KEY, name text COLLATE \"C\" NOT NULL, metadata jsonb NOT NULL,
             EXCLUDE USING hash (name WITH =));
         CREATE TABLE samples (
             key bigint NOT NULL, id bigint NOT NULL, embedding vector({d}) NOT NULL, PRIMARY KEY (key, id));
         CREATE TABLE templates (
             key bigint NOT NULL, number int NOT NULL, metadata jsonb NOT NULL, embedding vector({d}) NOT NULL,
             PRIMARY KEY (key, number));
         ALTER TABLE identities ALTER name SET STATISTICS 0, ALTER metadata SET STATISTICS 0;
         ALTER TABLE samples ALTER embedding SET STATISTICS 0;
         ALTER TABLE templates ALTER metadata SET STATISTICS 0, ALTER embedding SET STATISTICS 0{plain};"
    );
    pool.within("BEGIN", true, |client| {
        client.batch_execute(&tables).map_err(|error| match error.code().map(|code| code.code()) {
            // Of the schema, found before or at the moment that another makes it.
            Some("42P06" | "23505") => pool.problem(ServerProblem::Exists),
            _ => pool.failed(error),
        })?;
        let json = |what: serde_json::Result<String>| what.map_err(|e| Error::Input(e.to_string()));
        let (model, templates) = (json(serde_json::to_string(model))?, json(serde_json::to_string(templates))?);
        let exact = json(serde_json::to_string(&Search::Exact))?;
        let insert = "INSERT INTO gallery (layout, model, templates, search) VALUES ($1, $2, $3, $4)";
        client.execute(insert, &[&LAYOUT, &model, &templates, &exact]).map_err(|e| pool.failed(e))?;
        set_search(client, pool, settings.model.metric, d, *search)
    })
}

/// Makes or drops the graph. The tables must be on the path.
pub(super) fn set_search(client: &mut Client, pool: &Pool, metric: Metric, d: usize, search: Search) -> Result<()> {
    let mut work = "DROP INDEX IF EXISTS templates_graph".to_owned();
    if let Search::Hnsw { m, ef_construction, .. } = search {
        let class = operator(metric)?.1;
        if d > LONGEST_IN_GRAPH {
            return Err(Error::Input(format!(
                "embeddings have length {d}, PostgreSQL's graph takes {LONGEST_IN_GRAPH} at most: search exactly, or in a file"
            )));
        }
        work += &format!(
            "; CREATE INDEX templates_graph ON templates USING hnsw (embedding {class})
               WITH (m = {m}, ef_construction = {ef_construction})"
        );
    }
    client.batch_execute(&work).map_err(|e| pool.failed(e))?;
    let json = serde_json::to_string(&search).map_err(|e| Error::Input(e.to_string()))?;
    client.execute("UPDATE gallery SET search = $1", &[&json]).map(drop).map_err(|e| pool.failed(e))
}

/// What the gallery was made for.
pub(super) fn settings(pool: &Pool, schema: &str) -> Result<Settings> {
    let mut client = pool.connect()?;
    if !exists(&mut client, pool, schema)? {
        return Err(pool.problem(ServerProblem::Missing));
    }
    let layout = client.query_one(&format!("SELECT layout FROM {schema}.gallery"), &[]).map_err(|e| pool.failed(e))?;
    let layout: i32 = layout.get(0);
    if layout != LAYOUT {
        let (found, known) = (layout.into(), LAYOUT.into());
        return Err(pool.problem(ServerProblem::Layout { found, known }));
    }
    let asked = format!("SELECT model, templates, search FROM {schema}.gallery");
    let row = client.query_one(&asked, &[]).map_err(|e| pool.failed(e))?;
    let (model, templates, search) = (read(pool, row.get(0))?, read(pool, row.get(1))?, read(pool, row.get(2))?);
    Ok(Settings { model, templates, search })
}

/// What a column of JSON says.
pub(super) fn read<T: DeserializeOwned>(pool: &Pool, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        pool.problem(ServerProblem::Said(format!(
            "settings that are none ({error}): restore the gallery from a backup"
        )))
    })
}

/// Drops a gallery with all that it holds.
pub(super) fn destroy(pool: &Pool, schema: &str) -> Result<()> {
    let mut client = pool.connect()?;
    match exists(&mut client, pool, schema)? {
        true => client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).map_err(|e| pool.failed(e)),
        false => Err(pool.problem(ServerProblem::Missing)),
    }
}
