//! Certificates that are wrong on purpose, each in one way.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shared::fault::action::Profile;

/// A chain, its own certificate first, and the key.
type Minted = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The name of another host (RFC 2606 §2).
const OTHER: &str = "other.invalid";

/// Mints a certificate for these names that is wrong in this way.
pub(crate) fn mint(names: &[String], profile: Profile) -> Result<Minted> {
    let what = || format!("minting a certificate that is {}", profile.name());
    minted(names, profile).with_context(what)
}

fn minted(names: &[String], profile: Profile) -> Result<Minted> {
    let key = KeyPair::generate()?;
    let own = match profile {
        Profile::WrongName => vec![OTHER.to_owned()],
        Profile::NameInCn => Vec::new(),
        _ => names.to_vec(),
    };
    let common = own
        .first()
        .or_else(|| names.first())
        .map_or(OTHER, String::as_str);
    let mut parameters = CertificateParams::new(own.clone())?;
    parameters.distinguished_name = named(common);
    let now = SystemTime::now();
    match profile {
        Profile::Expired => {
            parameters.not_before = (now - 30 * DAY).into();
            parameters.not_after = (now - DAY).into();
        }
        Profile::NotYetValid => {
            parameters.not_before = (now + DAY).into();
            parameters.not_after = (now + 30 * DAY).into();
        }
        _ => {}
    }
    let private = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|error| anyhow::anyhow!("the minted key: {error}"))?;
    let chain = match profile {
        Profile::UnknownCa => {
            let root = CertifiedIssuer::self_signed(authority("Unknown CA"), KeyPair::generate()?)?;
            let own = parameters.signed_by(&key, &root)?;
            vec![own.der().clone(), root.der().clone()]
        }
        Profile::MissingIntermediate => {
            let root = CertifiedIssuer::self_signed(authority("Root CA"), KeyPair::generate()?)?;
            let between = authority("Intermediate CA");
            let between = CertifiedIssuer::signed_by(between, KeyPair::generate()?, &root)?;
            vec![parameters.signed_by(&key, &between)?.der().clone()]
        }
        _ => vec![parameters.self_signed(&key)?.der().clone()],
    };
    Ok((chain, private))
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}
