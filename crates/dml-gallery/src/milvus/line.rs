//! The line to a server.
//!
//! What changes anything goes by the SDK's own client. Questions go by the client that the SDK generates from Milvus' protocol:
//! its own cannot say for a search how new the rows must be, fails where a search finds nobody, and takes no answer of more
//! than 4 MB.

use super::MilvusServer;
use crate::{Error, Result, ServerProblem};
use base64::Engine as _;
use milvus::client::Client;
use milvus::proto::common::Status as Said;
use milvus::proto::milvus::milvus_service_client::MilvusServiceClient;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// How long a server may take to be reached, and to answer.
const PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// Of an answer, in bytes. The server stops at 100 MB.
const LONGEST: usize = 512 << 20;

pub(super) type Reader = MilvusServiceClient<InterceptedService<Channel, Credentials>>;

/// A line to a server, opened again by itself where it was cut.
pub(super) struct Line {
    runtime: Own,
    client: Client,
    reader: Reader,
    /// What errors name: server and gallery, never the user or a password.
    place: String,
}

/// A runtime that may end within another.
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a question is sent with.
#[derive(Clone)]
pub(super) struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    database: Option<MetadataValue<Ascii>>,
}

impl tonic::service::Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        for (name, value) in [("authorization", &self.token), ("dbname", &self.database)] {
            if let Some(value) = value {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

impl Line {
    pub(super) fn new(server: &MilvusServer, gallery: &str) -> Result<Self> {
        let place = format!("{server}, gallery {gallery}");
        let wrong = |what: String| Error::Server { place: place.clone(), problem: ServerProblem::Unreachable(what) };
        let mut endpoint = Endpoint::from_shared(server.uri()).map_err(|e| wrong(e.to_string()))?;
        if server.tls {
            let trusted = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(trusted).map_err(|e| wrong(e.to_string()))?;
        }
        let endpoint = endpoint.connect_timeout(PATIENCE[0]).timeout(PATIENCE[1]);
        let ascii = |text: String| MetadataValue::try_from(text).map_err(|e| wrong(e.to_string()));
        let encode = |user: &String| {
            let both = format!("{user}:{}", server.password.as_deref().unwrap_or(""));
            ascii(base64::engine::general_purpose::STANDARD.encode(both))
        };
        let token = server.user.as_ref().map(encode).transpose()?;
        let database = server.database.clone().map(ascii).transpose()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| wrong(e.to_string()))?;
        let (client, reader) = runtime
            .block_on(async {
                let reader =
                    MilvusServiceClient::with_interceptor(endpoint.connect_lazy(), Credentials { token, database })
                        .max_decoding_message_size(LONGEST);
                let password = server.user.as_ref().map(|_| server.password.clone().unwrap_or_default());
                let mut client = Client::with_timeout(endpoint, PATIENCE[1], server.user.clone(), password).await?;
                if let Some(database) = &server.database {
                    client.using_database(database).await?;
                }
                Ok((client, reader))
            })
            .map_err(|error| Error::Server { place: place.clone(), problem: problem(error) })?;
        Ok(Self { runtime: Own(Some(runtime)), client, reader, place })
    }

    pub(super) fn problem(&self, problem: ServerProblem) -> Error {
        Error::Server { place: self.place.clone(), problem }
    }

    fn wait<T>(&self, work: impl Future<Output = milvus::error::Result<T>>) -> Result<T> {
        let Some(runtime) = &self.runtime.0 else {
            return Err(self.problem(ServerProblem::Unreachable("the line is closed".to_owned())));
        };
        runtime.block_on(work).map_err(|error| self.problem(problem(error)))
    }

    /// Has something done by the SDK's client.
    pub(super) fn order<'a, T, F>(&'a self, work: impl FnOnce(&'a Client) -> F) -> Result<T>
    where
        F: Future<Output = milvus::error::Result<T>>,
    {
        self.wait(work(&self.client))
    }

    /// Asks something; again where the line was cut, for a question changes nothing.
    pub(super) fn ask<T, F>(&self, work: impl Fn(Reader) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let mut tries = 0;
        self.wait(async {
            loop {
                match work(self.reader.clone()).await {
                    Err(status) if status.code() == Code::Unavailable && tries < 3 => {
                        tries += 1;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    other => return other.map_err(milvus::error::Error::from),
                }
            }
        })
    }

    /// Refuses an answer that is a mistake.
    #[allow(deprecated, reason = "servers of 2.3 say it so, too")]
    pub(super) fn check(&self, status: Option<Said>) -> Result<()> {
        match status {
            Some(status) if status.error_code == 0 && status.code == 0 => Ok(()),
            Some(status) => Err(self.problem(problem(status.into()))),
            None => Err(self.problem(ServerProblem::Said("nothing".to_owned()))),
        }
    }
}

/// What went wrong, by its kind.
fn problem(error: milvus::error::Error) -> ServerProblem {
    use milvus::error::Error as Wrong;
    match error {
        Wrong::Communication(error) => ServerProblem::Unreachable(chain(&error)),
        Wrong::Grpc(status) => match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                ServerProblem::Unreachable(status.message().to_owned())
            }
            Code::Unauthenticated | Code::PermissionDenied => ServerProblem::Denied(status.message().to_owned()),
            _ => ServerProblem::Said(status.message().to_owned()),
        },
        Wrong::Server(code, said) => {
            let says = |words: &[&str]| words.iter().any(|word| said.to_lowercase().contains(word));
            if says(&["collection not found", "can't find collection"]) {
                ServerProblem::Missing
            } else if says(&["auth check failure", "permission", "unauthenticated", "privilege"]) {
                ServerProblem::Denied(said)
            } else {
                ServerProblem::Said(if said.is_empty() { code.as_str_name().to_owned() } else { said })
            }
        }
        other => ServerProblem::Said(other.to_string()),
    }
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
