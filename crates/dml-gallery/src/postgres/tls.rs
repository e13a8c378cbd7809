//! An encrypted line, for `sslmode=require`.

use ::postgres::{Client, Config};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why there is no line.
pub(super) enum Failed {
    /// Before the server was asked.
    Here(String),
    Connecting(::postgres::Error),
}

/// A connection to a server whose certificate an authority that this system trusts has signed.
pub(super) fn connect(server: &Config) -> Result<Client, Failed> {
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if trusted.is_empty() {
        let said = "sslmode=require, but this system trusts no authority: install its certificates, or name a file of them in SSL_CERT_FILE";
        return Err(Failed::Here(said.to_owned()));
    }
    // Named, not the process's default: that is the program's to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failed::Here(error.to_string()))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    server.connect(MakeRustlsConnect::new(config)).map_err(Failed::Connecting)
}
