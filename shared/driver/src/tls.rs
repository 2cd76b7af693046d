//! TLS: configurations, minted certificates, and what a handshake showed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
pub use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
pub use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    version,
};
use sha2::{Digest, Sha256};
use shared::escape::hex;
use shared::fault::action::Profile;
use x509_parser::prelude::GeneralName;

use crate::stream::Stream;

/// What is demanded of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// It must verify, or the handshake fails.
    Required,
    /// What is wrong with it is noted, and the session goes on: opportunistic
    /// TLS, as mail servers do among themselves (RFC 7435).
    Noted,
}

/// A client's configuration, with where the verdict on the certificate goes.
#[derive(Clone, Debug)]
pub struct Client {
    /// For the connector.
    pub config: Arc<ClientConfig>,
    verdict: Arc<Mutex<Option<String>>>,
}

/// What a handshake showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It succeeded.
    pub ok: bool,
    /// Such as `1.3`.
    pub version: Option<String>,
    /// By its IANA name.
    pub cipher: Option<String>,
    /// The key exchange group.
    pub kx: Option<String>,
    /// The name asked for.
    pub sni: Option<String>,
    /// The peer's certificates, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// `ok`, `none` (nothing to verify), or what is wrong.
    pub verify: String,
    /// Why the handshake failed.
    pub alert: Option<String>,
}

impl Facts {
    /// The facts of a handshake that failed.
    pub fn failed(sni: Option<String>, error: &std::io::Error) -> Self {
        Self {
            sni,
            verify: "none".into(),
            alert: Some(error.to_string()),
            ..Self::default()
        }
    }

    /// The facts of the TLS session in force on a stream.
    pub fn of(stream: &Stream, sni: Option<String>, verify: String) -> Self {
        let Some(state) = stream.tls() else {
            return Self::default();
        };
        let version = state.protocol_version().map(|version| {
            let name = format!("{version:?}");
            name.trim_start_matches("TLSv").replace('_', ".")
        });
        let suite = state.negotiated_cipher_suite();
        Self {
            ok: true,
            version,
            cipher: suite.map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")),
            kx: state
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name())),
            sni,
            chain: state
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
            verify,
            alert: None,
        }
    }
}

/// The SHA-256 digest of a certificate, in hex.
pub fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

impl Client {
    /// A configuration that trusts the system's roots, and those of `ca` (PEM).
    pub fn new(verify: Verify, ca: Option<&Path>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let certificates = certificates(path)?;
            roots.add_parsable_certificates(certificates);
        }
        let verdict = Arc::new(Mutex::new(None));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = if roots.is_empty() {
            None
        } else {
            Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .context("building the certificate verifier")?,
            )
        };
        let verifier = NotingVerifier {
            inner,
            provider: Arc::clone(&provider),
            verify,
            verdict: Arc::clone(&verdict),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choosing TLS versions")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            verdict,
        })
    }

    /// The verdict on the certificate of the last handshake made with this
    /// configuration; make one configuration a connection to have it apart.
    pub fn verdict(&self) -> String {
        let verdict = self.verdict.lock().ok().and_then(|verdict| verdict.clone());
        verdict.unwrap_or_else(|| "none".into())
    }
}

/// Verifies, notes the verdict, and lets the session go on if told so.
#[derive(Debug)]
struct NotingVerifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    verify: Verify,
    verdict: Arc<Mutex<Option<String>>>,
}

impl ServerCertVerifier for NotingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = match &self.inner {
            Some(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(rustls::Error::General("no trusted roots".into())),
        };
        if let Ok(mut verdict) = self.verdict.lock() {
            *verdict = Some(match &result {
                Ok(_) => "ok".into(),
                Err(error) => error.to_string(),
            });
        }
        match self.verify {
            Verify::Required => result,
            Verify::Noted => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a server asks of its clients.
#[derive(Clone, Copy, Debug)]
pub enum Clients<'a> {
    /// Nothing.
    Unknown,
    /// A certificate, if they have one that these CAs (PEM) signed.
    MayShow(&'a Path),
    /// A certificate that these CAs (PEM) signed.
    MustShow(&'a Path),
}

/// A certificate minted now, and a server's configuration with it.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The configuration.
    pub config: Arc<ServerConfig>,
    /// The certificate in PEM: whoever trusts it can verify the server.
    pub certificate: String,
}

/// Mints a certificate for these names, signed by itself.
pub fn mint(names: &[String], clients: Clients<'_>) -> Result<Minted> {
    let minted = rcgen::generate_simple_self_signed(names.to_vec())
        .with_context(|| format!("minting a certificate for {}", names.join(", ")))?;
    let key = PrivateKeyDer::try_from(minted.signing_key.serialize_der())
        .map_err(|error| anyhow::anyhow!("the minted key: {error}"))?;
    Ok(Minted {
        config: server_config(
            vec![minted.cert.der().clone()],
            key,
            client_verifier(clients)?,
        )?,
        certificate: minted.cert.pem(),
    })
}

/// A server's configuration with a certificate minted now for these names.
pub fn minted(names: &[String], clients: Clients<'_>) -> Result<Arc<ServerConfig>> {
    mint(names, clients).map(|minted| minted.config)
}

/// A server's configuration with a certificate chain and key from PEM files.
pub fn loaded(chain: &Path, key: &Path, clients: Clients<'_>) -> Result<Arc<ServerConfig>> {
    let certificates = certificates(chain)?;
    let private_key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("reading the key {}", key.display()))?;
    let verifier = client_verifier(clients)?;
    server_config(certificates, private_key, verifier).with_context(|| {
        format!(
            "the certificate {} and the key {} do not fit together",
            chain.display(),
            key.display()
        )
    })
}

/// A server's configuration that is wrong on purpose: in its certificate, or in speaking
/// one version of TLS alone, 1.2 or 1.3 (by its last digit).
pub fn wrong(
    names: &[String],
    profile: Option<Profile>,
    only: Option<u8>,
) -> Result<Arc<ServerConfig>> {
    let (chain, key) = crate::shelf::mint(names, profile.unwrap_or(Profile::SelfSigned))?;
    let versions: &[&SupportedProtocolVersion] = match only {
        Some(2) => &[&version::TLS12],
        Some(3) => &[&version::TLS13],
        _ => rustls::DEFAULT_VERSIONS,
    };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .context("choosing TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choosing TLS versions")?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn client_verifier(clients: Clients<'_>) -> Result<Arc<dyn ClientCertVerifier>> {
    let (ca, must_show) = match clients {
        Clients::Unknown => return Ok(WebPkiClientVerifier::no_client_auth()),
        Clients::MayShow(ca) => (ca, false),
        Clients::MustShow(ca) => (ca, true),
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .with_context(|| format!("{} holds what is no CA certificate", ca.display()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if must_show {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().context("building the verifier of clients")
}

/// The names in a certificate (DER), the one to use first: mailboxes, host names,
/// and without either the common name (RFC 6125 §6.4.4).
pub fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|one| &one.value.general_names) {
        match name {
            GeneralName::RFC822Name(mailbox) => names.insert(0, (*mailbox).to_owned()),
            GeneralName::DNSName(host) => names.push((*host).to_owned()),
            _ => {}
        }
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    }
    names
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("{} is not PEM", path.display()))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "{} holds no certificate",
        path.display()
    );
    Ok(certificates)
}

/// What a failed handshake says of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It closed the connection.
    Closed,
    /// What it sent is no TLS.
    NotTls,
    /// There can be no TLS with it: its certificate does not verify, or it wants
    /// none of what we offer.
    Refused,
}

impl Failure {
    /// Of the error that a handshake gave.
    pub fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (inner, error.kind()) {
            (
                Some(
                    rustls::Error::InvalidCertificate(_)
                    | rustls::Error::AlertReceived(_)
                    | rustls::Error::PeerIncompatible(_),
                ),
                _,
            ) => Self::Refused,
            (
                None,
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe,
            ) => Self::Closed,
            _ => Self::NotTls,
        }
    }
}

/// A name or an address as the name of a server; any other text is refused.
pub fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .with_context(|| format!("'{host}' can be no name in a certificate"))
}
