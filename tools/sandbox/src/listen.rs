//! The socket before a server: plain http, or https with a certificate authority made for the occasion.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::Router;

/// A router that listens.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Its address.
    pub(crate) url: String,
    /// The certificate authority of its certificate, with https.
    pub(crate) ca_certificate: Option<PathBuf>,
    handle: axum_server::Handle<SocketAddr>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Listening {
    /// Stops it.
    pub(crate) async fn shutdown(self) {
        self.handle.shutdown();
        // The server has nothing more to say.
        let _ = self.task.await;
    }

    /// Waits until it stops on its own.
    pub(crate) async fn wait(self) -> io::Result<()> {
        self.task.await.map_err(io::Error::other)?
    }
}

/// Lets a router listen; `tls` is the folder for the certificate authority.
pub(crate) async fn listen(addr: SocketAddr, tls: Option<&Path>, router: Router) -> io::Result<Listening> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let handle = axum_server::Handle::new();
    let (scheme, ca_certificate, task) = match tls {
        None => {
            let listening = axum_server::from_tcp(listener)?.handle(handle.clone());
            ("http", None, tokio::spawn(async move { listening.serve(router.into_make_service()).await }))
        }
        Some(dir) => {
            // Another part of the program may have chosen the same provider already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let (ca, certificate, key) = certificates(dir)?;
            let config = axum_server::tls_rustls::RustlsConfig::from_pem(certificate, key).await?;
            let listening = axum_server::from_tcp_rustls(listener, config)?.handle(handle.clone());
            ("https", Some(ca), tokio::spawn(async move { listening.serve(router.into_make_service()).await }))
        }
    };
    Ok(Listening { url: format!("{scheme}://{addr}"), ca_certificate, handle, task })
}

/// Makes a certificate authority for the occasion, and a certificate by it.
fn certificates(dir: &Path) -> io::Result<(PathBuf, Vec<u8>, Vec<u8>)> {
    let made = || -> Result<(String, String, String), rcgen::Error> {
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // Strict clients want each certificate to say what it is for and whose key signed it (RFC 5280, section 4.2.1).
        ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(rcgen::DnType::CommonName, "Waybill sandbox");
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate()?;
        let mut own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        own.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        own.use_authority_key_identifier_extension = true;
        own.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        own.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = own.signed_by(&key, &issuer)?;
        Ok((ca_certificate.pem(), certificate.pem(), key.serialize_pem()))
    };
    let (ca, certificate, key) = made().map_err(io::Error::other)?;
    std::fs::create_dir_all(dir)?;
    let path = dir.join("ca.pem");
    std::fs::write(&path, ca)?;
    Ok((path, certificate.into_bytes(), key.into_bytes()))
}
