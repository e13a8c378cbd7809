//! A gallery in PostgreSQL, by its extension pgvector: for many processes and machines at once.

mod pool;
mod schema;
mod search;
mod tls;
mod write;

use crate::answer::Candidate;
use crate::memory::check_length;
use crate::plan::Record;
use crate::roster::Key;
use crate::searched::compared;
use crate::server::{self, check_name};
use crate::{
    Calibration, Change, Count, Embeddings, Error, Filter, Gallery, Identity, Metadata, Model, Result, SampleId,
    ServerProblem, Visit,
};
use ::postgres::types::Json;
use ::postgres::{Client, Config, fallible_iterator::FallibleIterator};
use dml_eval::identification::Templates;
use pool::Pool;
use schema::Settings;
pub use search::Search;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// What a removal does with the bytes of what was removed. Whatever it is, no question and no export finds it once the call
/// returns, and neither says anything of the server's log of changes (WAL), its standbys and its backups: those forget as they are
/// set up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Erasure {
    /// The tables and the graph are written anew, in the same transaction: the bytes are in none of them. That costs as much as
    /// the whole gallery does, and everybody waits; so remove many at once. The default.
    #[default]
    Rewrite,
    /// VACUUM, after the transaction: it overwrites what the graph had, and frees the rows. Their bytes may stay in free space of
    /// the tables' pages until that is taken again, and rows that a transaction elsewhere may still want to see stay until a later
    /// VACUUM. For large galleries by a graph; [`PostgresGallery::rewrite`] does the rest when there is time.
    Vacuum,
}

/// A gallery in a schema `dml_<name>` of a PostgreSQL database, version 14 or later with pgvector 0.8 or later.
///
/// Every change is one transaction, as durable as the server is when the call returns (`synchronous_commit`). Any number of
/// processes may have it open: those that change it wait for each other, those that ask see what was committed, whole. Nothing is
/// held in memory; each search is the server's work, and the scores of those it finds are taken here, to the bit those of every
/// other gallery. A connection that was cut is opened again with the next question.
///
/// A visitor of [`for_each`](Gallery::for_each) asks this gallery nothing: a removal that waits for the visit to end would hold up
/// the question. Calls wait for the server; within an asynchronous runtime make them from a thread for blocking work. With `sslmode=require` the
/// line is encrypted, and the server's certificate must be one of its host name that this system trusts (or `SSL_CERT_FILE`);
/// otherwise it is plain.
pub struct PostgresGallery {
    pool: Pool,
    /// Of the gallery, and of the extension.
    schemas: [String; 2],
    model: Model,
    templates: Templates,
    search: RwLock<Search>,
    erasure: Erasure,
}

impl PostgresGallery {
    /// A new, empty gallery, searched exactly. `server` is read from `postgres://user:password@host:port/database`.
    ///
    /// ```no_run
    /// # use dml_gallery::{Model, PostgresGallery, Templates};
    /// # fn make(model: Model) -> Result<(), Box<dyn std::error::Error>> {
    /// let server = "postgres://dml@db.example/people".parse()?;
    /// let gallery = PostgresGallery::create(server, "staff", model, Templates::PerImage)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the server does not answer or refuses, has no pgvector, has such a gallery, or does not compare by the metric; when
    /// the name is not of small letters, digits and `_`.
    pub fn create(server: Config, name: &str, model: Model, templates: Templates) -> Result<Self> {
        check_name(name)?;
        schema::check(&model)?;
        let pool = Pool::new(server, name);
        let schemas = [schema::name(name), schema::extension(&pool, true)?];
        let settings = Settings { model, templates, search: Search::Exact };
        schema::create(&pool, &schemas[0], &schemas[1], &settings)?;
        Ok(Self::new(pool, schemas, settings))
    }

    /// The gallery of this name.
    ///
    /// # Errors
    /// When the server does not answer or refuses, there is no such gallery, or another version made it.
    pub fn open(server: Config, name: &str) -> Result<Self> {
        check_name(name)?;
        let pool = Pool::new(server, name);
        let schema = schema::name(name);
        let settings = schema::settings(&pool, &schema)?;
        let schemas = [schema, schema::extension(&pool, false)?];
        Ok(Self::new(pool, schemas, settings))
    }

    /// Drops the gallery of this name, with all that it holds.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or there is no such gallery.
    pub fn destroy(server: Config, name: &str) -> Result<()> {
        check_name(name)?;
        schema::destroy(&Pool::new(server, name), &schema::name(name))
    }

    fn new(pool: Pool, schemas: [String; 2], settings: Settings) -> Self {
        let Settings { model, templates, search } = settings;
        Self { pool, schemas, model, templates, search: RwLock::new(search), erasure: Erasure::default() }
    }

    /// The same gallery with another way to erase.
    #[must_use]
    pub fn with_erasure(self, erasure: Erasure) -> Self {
        Self { erasure, ..self }
    }

    /// How it is searched.
    pub fn search(&self) -> Search {
        *self.search.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches another way from now on: makes the graph, which takes minutes for a million, or drops it. Who has the gallery
    /// open already goes on as before. Enrol many first and build the graph then: that is quicker.
    ///
    /// # Errors
    /// When numbers of the graph are out of their range, embeddings are longer than 2,000, or the server fails.
    pub fn set_search(&self, search: Search) -> Result<()> {
        search.check()?;
        self.write(|client| schema::set_search(client, &self.pool, self.model.metric, self.model.dim, search))?;
        *self.search.write().unwrap_or_else(PoisonError::into_inner) = search;
        Ok(())
    }

    /// Writes the tables and the graph anew, as [`Erasure::Rewrite`] does with each removal.
    ///
    /// # Errors
    /// When the server fails.
    pub fn rewrite(&self) -> Result<()> {
        self.write(|client| write::rewrite(client).map_err(|e| self.pool.failed(e)))
    }

    /// Reads what is there at one moment. The tables are locked at once and before that moment, so nobody writes them anew between.
    fn read<T>(&self, work: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let [schema, extension] = &self.schemas;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {schema}, {extension}; \
             LOCK TABLE {schema}.gallery, {schema}.identities, {schema}.samples, {schema}.templates IN ACCESS SHARE MODE"
        );
        self.pool.within(&begin, false, work)
    }

    /// Writes, as the only one: the lock of the gallery's row serialises who writes.
    fn write<T>(&self, work: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let [schema, extension] = &self.schemas;
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL search_path TO {schema}, {extension}; \
             SELECT FROM {schema}.gallery FOR UPDATE"
        );
        self.pool.within(&begin, true, work)
    }

    fn vacuum(&self) -> Result<()> {
        let schema = &self.schemas[0];
        let work = format!("VACUUM {schema}.identities, {schema}.samples, {schema}.templates");
        self.pool.outside(&work).map_err(|error| match error {
            Error::Server { problem, .. } => self.pool.problem(ServerProblem::NotErased(problem.to_string())),
            other => other,
        })
    }
}

/// A mistake of the server's, named.
macro_rules! ask {
    ($gallery:expr, $asked:expr) => {
        $asked.map_err(|error| $gallery.pool.failed(error))?
    };
}

impl Gallery for PostgresGallery {
    fn model(&self) -> &Model {
        &self.model
    }

    fn templates(&self) -> Templates {
        self.templates
    }

    fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<Vec<SampleId>>> {
        write::check_texts(changes)?;
        let update = self.write(|client| {
            let (update, there) = ask!(self, write::plan(client, &self.model, self.templates, changes))?;
            ask!(self, write::write(client, &update, &there));
            if update.forgets && self.erasure == Erasure::Rewrite {
                ask!(self, write::rewrite(client));
            }
            Ok(update)
        })?;
        if update.forgets && self.erasure == Erasure::Vacuum {
            self.vacuum()?;
        }
        Ok(update.samples)
    }

    fn count(&self, filter: &Filter) -> Result<Count> {
        let condition = search::Condition::new(filter, 1);
        let asked = match filter.is_everybody() {
            true => "SELECT identities, samples FROM gallery".to_owned(),
            false => format!(
                "SELECT count(DISTINCT key), count(*) FROM identities JOIN samples USING (key) WHERE {}",
                condition.sql
            ),
        };
        let row = self.read(|client| Ok(ask!(self, client.query_one(&asked, &condition.parameters(&[])))))?;
        Ok(Count { identities: row.get::<_, i64>(0) as usize, samples: row.get::<_, i64>(1) as usize })
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Identity>> {
        let condition = search::Condition::new(filter, 1);
        let asked = format!(
            "SELECT name, metadata, array_agg(id ORDER BY id) FROM identities JOIN samples USING (key) WHERE {}
             GROUP BY key, name, metadata ORDER BY key",
            condition.sql
        );
        let rows = self.read(|client| Ok(ask!(self, client.query(&asked, &condition.parameters(&[])))))?;
        let identity = |row: &::postgres::Row| {
            let Json(metadata): Json<Metadata> = row.get(1);
            let samples = row.get::<_, Vec<i64>>(2).into_iter().map(|id| id as SampleId).collect();
            Identity { name: row.get(0), metadata, samples }
        };
        Ok(rows.iter().map(identity).collect())
    }

    fn samples(&self, name: &str) -> Result<(Identity, Vec<f32>)> {
        let missing = || Error::NotEnrolled(name.to_owned());
        if name.contains('\0') {
            return Err(missing());
        }
        let found = self.read(|client| Ok(ask!(self, write::records(client, &[name]))))?;
        let record = found.into_values().next().ok_or_else(missing)?;
        Ok((record.identity(), record.values))
    }

    fn for_each(&self, visit: Visit<'_>) -> Result<()> {
        self.read(|client| {
            let asked = format!("{} ORDER BY i.key, s.id", write::RECORDS);
            // As they come: nobody holds all of them.
            let mut rows = ask!(self, client.query_raw(&asked, std::iter::empty::<&str>()));
            let mut last: Option<(Key, Record)> = None;
            while let Some(row) = ask!(self, rows.next()) {
                if let Some((_, record)) = write::take(&mut last, &row) {
                    visit(&record.identity(), &record.values)?;
                }
            }
            last.map_or(Ok(()), |(_, record)| visit(&record.identity(), &record.values))
        })
    }

    fn nearest(&self, probes: Embeddings<'_>, k: usize, filter: &Filter) -> Result<Vec<Vec<Candidate>>> {
        probes.check(&self.model)?;
        check_length(k)?;
        let values = compared(&self.model, probes.values);
        let (lists, searched) = self.read(|client| {
            let lists = search::nearest(client, &self.model, self.search(), &values, k, filter)?;
            let lists = ask!(self, lists);
            let keys: BTreeSet<Key> = lists.iter().flatten().copied().collect();
            let searched = ask!(self, search::of_keys(client, &keys));
            Ok((lists, searched))
        })?;
        let probes = probes.values.data().chunks_exact(self.model.dim);
        let best = |(probe, named)| server::best(&self.model, self.templates, probe, k, named, &searched);
        probes.zip(lists).map(best).collect()
    }

    fn scores(&self, probes: Embeddings<'_>, names: &[&str]) -> Result<Vec<f32>> {
        probes.check(&self.model)?;
        let known: BTreeSet<&str> = names.iter().copied().filter(|name| !name.contains('\0')).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let searched = self.read(|client| Ok(ask!(self, search::of_names(client, &known))))?;
        let who = searched.iter().map(|(&key, found)| (key, found));
        server::roster(&self.model, self.templates, who)?.scores(probes.values, names)
    }

    fn calibration(&self) -> Result<Option<Calibration>> {
        let row = self.read(|client| Ok(ask!(self, client.query_one("SELECT calibration FROM gallery", &[]))))?;
        row.get::<_, Option<&str>>(0).map(|json| schema::read(&self.pool, json)).transpose()
    }

    fn set_calibration(&self, calibration: Option<&Calibration>) -> Result<()> {
        let json = calibration.map(serde_json::to_string).transpose().map_err(|e| Error::Input(e.to_string()))?;
        let asked = "UPDATE gallery SET calibration = $1";
        self.write(|client| Ok(ask!(self, client.execute(asked, &[&json]).map(drop))))
    }
}
