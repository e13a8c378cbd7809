//! Connections, and transactions on them.

use super::tls;
use crate::{Error, Result, ServerProblem};
use ::postgres::config::{Host, SslMode};
use ::postgres::error::SqlState;
use ::postgres::{Client, Config, NoTls};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a server may take to answer at first, where the configuration does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections to a server, opened when they are needed and kept.
pub(super) struct Pool {
    config: Config,
    /// What errors name: server, database and gallery, never the user or a password.
    place: String,
    idle: Mutex<Vec<Client>>,
}

impl Pool {
    pub(super) fn new(mut config: Config, gallery: &str) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or("");
        let place = format!("postgres://{host}:{port}/{database}, gallery {gallery}");
        Self { config, place, idle: Mutex::new(Vec::new()) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connect(&self) -> Result<Client> {
        match self.config.get_ssl_mode() {
            SslMode::Require => tls::connect(&self.config).map_err(|error| match error {
                tls::Failed::Here(said) => self.problem(ServerProblem::Lacks(said)),
                tls::Failed::Connecting(error) => self.failed(error),
            }),
            _ => self.config.connect(NoTls).map_err(|error| self.failed(error)),
        }
    }

    pub(super) fn problem(&self, problem: ServerProblem) -> Error {
        Error::Server { place: self.place.clone(), problem }
    }

    pub(super) fn failed(&self, error: ::postgres::Error) -> Error {
        let said = said(&error);
        self.problem(match error.code() {
            None if error.as_db_error().is_none() && is_of_the_line(&error) => ServerProblem::Unreachable(said),
            None if is_of_tls(&error) => ServerProblem::Denied(said),
            None => ServerProblem::Said(said),
            Some(code) if is_of_access(code) => ServerProblem::Denied(said),
            Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => {
                ServerProblem::Missing
            }
            Some(code) if ends_the_connection(code) => ServerProblem::Unreachable(said),
            Some(_) => ServerProblem::Said(said),
        })
    }

    /// A connection on which `begin` was done.
    fn begun(&self, begin: &str) -> Result<Client> {
        // One that lay idle may have been cut in the meantime: then the next is taken, at last a new one. Nothing was asked yet.
        loop {
            let Some(mut client) = self.idle().pop() else { break };
            match client.batch_execute(begin) {
                Ok(()) => return Ok(client),
                Err(error) if client.is_closed() || error.code().is_some_and(ends_the_connection) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        let mut client = self.connect()?;
        client.batch_execute(begin).map_err(|error| self.failed(error))?;
        Ok(client)
    }

    /// Does `work` in a transaction that `begin` opens, and takes it back where it fails. What was only read is known, whether or
    /// not the end of the transaction is heard of.
    pub(super) fn within<T>(
        &self,
        begin: &str,
        writes: bool,
        work: impl FnOnce(&mut Client) -> Result<T>,
    ) -> Result<T> {
        let mut client = self.begun(begin)?;
        match work(&mut client) {
            Ok(done) => match client.batch_execute("COMMIT") {
                Ok(()) => {
                    self.idle().push(client);
                    Ok(done)
                }
                Err(_) if !writes => Ok(done),
                Err(error) if error.as_db_error().is_some() && !client.is_closed() => Err(self.failed(error)),
                Err(error) => Err(self.problem(ServerProblem::Unanswered(said(&error)))),
            },
            Err(error) => {
                // Dropped, a connection takes back what was begun.
                if client.batch_execute("ROLLBACK").is_ok() {
                    self.idle().push(client);
                }
                Err(error)
            }
        }
    }

    /// Does `work` outside of transactions.
    pub(super) fn outside(&self, work: &str) -> Result<()> {
        let mut client = self.begun("")?;
        client.batch_execute(work).map_err(|error| self.failed(error))?;
        self.idle().push(client);
        Ok(())
    }
}

/// What an error says, without what the server was asked.
fn said(error: &::postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn is_of_access(code: &SqlState) -> bool {
    code.code().starts_with("28") || [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::INVALID_CATALOG_NAME].contains(code)
}

/// The server goes down, comes up, or has cut this connection.
fn ends_the_connection(code: &SqlState) -> bool {
    ["57P", "08", "25P03", "25P04", "53300"].iter().any(|class| code.code().starts_with(class))
}

fn io(error: &::postgres::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn is_of_the_line(error: &::postgres::Error) -> bool {
    let silent = std::error::Error::source(error).is_none();
    error.is_closed()
        || silent
        || io(error).is_some_and(|io| io.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()))
}

/// A certificate that is not trusted, above all.
fn is_of_tls(error: &::postgres::Error) -> bool {
    io(error).and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}
