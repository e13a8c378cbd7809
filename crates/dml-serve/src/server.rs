//! A socket, and the service behind it.

use crate::routes::router;
use crate::service::{Error, Service};
use axum::serve::ListenerExt;
use std::net::{SocketAddr, TcpListener};

/// A socket that is bound: connections queue from now on.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `address`; port 0 is any that is free.
    ///
    /// # Errors
    /// When it is in use, or not this machine's.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let io = |source| Error::Io { what: format!("cannot listen at {address}"), source };
        let listener = TcpListener::bind(address).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        Ok(Self { address: listener.local_addr().map_err(io)?, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until [`Service::stop`] is called and what is being worked on has ended, or its time is over. HTTP/1.1 without TLS:
    /// a proxy does that. An approximate index that changes have made stale is built again meanwhile.
    ///
    /// # Errors
    /// When there are no threads.
    pub fn run(self, service: Service) -> Result<(), Error> {
        let io = |source| Error::Io { what: format!("cannot serve at {}", self.address), source };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(io)?;
        let outcome = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener)?.tap_io(|stream| {
                // Without it small answers may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
            });
            let app = router(service.clone()).into_make_service_with_connect_info::<SocketAddr>();
            let fresh = service.clone();
            tokio::spawn(async move { fresh.keep_fresh().await });
            let stopped = service.clone();
            let serving = axum::serve(listener, app).with_graceful_shutdown(async move { stopped.stopped().await });
            let out_of_time = async {
                service.stopped().await;
                tokio::time::sleep(service.options().grace).await;
            };
            tokio::select! {
                outcome = serving => outcome,
                () = out_of_time => {
                    tracing::warn!("requests were still being worked on when the time to stop was over");
                    Ok(())
                }
            }
        });
        // What still runs is a search that nobody waits for.
        runtime.shutdown_background();
        outcome.map_err(io)
    }
}
