//! Exim: a configuration and a spool for each delivery, made in the foreground.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use anyhow::{Context, Result, bail};

use super::{ALL, CERTIFICATES, Delivery, Mta};
use crate::peers::clients::roster::TO;
use crate::peers::clients::site::{PASSWORD, TOKEN, USER};
use crate::peers::clients::{Protocol, Transport};
use crate::peers::lab::{Lab, must};

pub(super) const EXIM: Mta = Mta {
    name: "Exim",
    about: "given lines in LF, sends CRLF, and adds its Received field; its plaintext driver \
            says PLAIN, LOGIN, OAUTHBEARER and XOAUTH2, cram_md5 and external the others; \
            Debian builds it without gsasl, and so without SCRAM",
    lab: "exim",
    received: " (Exim ",
    lacks: "authenticator driver \"gsasl\"",
    ways: |transport| match transport {
        Transport::Clear => &["never"],
        Transport::Starttls => &["if-offered", "require"],
        Transport::Implicit => &["require"],
    },
    prepare,
    submit,
    outcome,
    version: |lab| {
        let said = must(lab.inside("mx").args(["exim4", "-bV"]))?;
        let version = said.split_whitespace().nth(2);
        Ok(version.context("a version that is not there")?.to_owned())
    },
};

fn submit(delivery: &Delivery) -> (Vec<String>, &'static str) {
    let configuration = format!("/etc/exim4/{}", delivery.name());
    let from = delivery.from();
    let mut arguments = vec!["exim4", "-odf", "-C", &configuration];
    let input = if delivery.wants_all() {
        // Only SMTP has words for all of it, spoken over its standard input.
        arguments.push("-bs");
        "dialogue"
    } else {
        // A line with one dot is one like any other (-i).
        arguments.extend(["-i", "-f", &from, TO]);
        "message.txt"
    };
    (arguments.into_iter().map(str::to_owned).collect(), input)
}

fn prepare(lab: &Lab, deliveries: &[Delivery]) -> Result<()> {
    let host = lab.path().join("mx");
    let owner = fs::metadata(host.join("var/spool/exim4"))?.uid();
    fs::create_dir(host.join("var/spool/each"))?;
    for delivery in deliveries {
        let name = delivery.name();
        // One of its own, so that what it remembers of a host that failed (its hints)
        // is not held against the next.
        let spool = host.join("var/spool/each").join(&name);
        fs::create_dir(&spool)?;
        chown(&spool, Some(owner), None)?;
        fs::write(host.join("etc/exim4").join(&name), configuration(delivery))?;
    }
    Ok(())
}

fn configuration(delivery: &Delivery) -> String {
    let (name, port) = (delivery.name(), &delivery.port);
    let (tls, proof) = (tls(delivery), authenticator(delivery.mechanism));
    let must_prove = if delivery.proves() { "*" } else { "" };
    format!(
        "primary_hostname = client.test\n\
         spool_directory = /var/spool/each/{name}\n\
         log_file_path = $spool_directory/%slog\n\
         exim_user = Debian-exim\nexim_group = Debian-exim\n\
         keep_environment =\ndisable_ipv6\n\
         acl_smtp_rcpt = accept\ndsn_advertise_hosts = *\n\
         begin routers\n\
         smarthost:\n  driver = manualroute\n  route_list = * localhost\n  self = send\n  \
         transport = smarthost\n\
         begin transports\n\
         smarthost:\n  driver = smtp\n  allow_localhost\n  port = {port}\n  \
         hosts_require_auth = {must_prove}\n{tls}\
         begin retry\n* * F,1h,1m\n\
         begin authenticators\n{proof}"
    )
}

/// The options of its transport.
fn tls(delivery: &Delivery) -> String {
    let mut options = match delivery.way {
        "never" | ALL => "  hosts_avoid_tls = *\n".to_owned(),
        // It verifies, and goes on within TLS whatever it finds.
        "if-offered" => String::new(),
        _ => format!(
            "  hosts_require_tls = *\n  tls_verify_hosts = *\n  \
             tls_verify_certificates = {CERTIFICATES}/ca.pem\n"
        ),
    };
    if delivery.transport == Transport::Implicit {
        options += "  protocol = smtps\n";
    }
    if delivery.protocol == Protocol::Lmtp {
        options += "  protocol = lmtp\n";
    }
    if delivery.mechanism == "EXTERNAL" {
        let both = format!("  tls_certificate = {CERTIFICATES}/client.pem\n");
        options += &both;
    }
    options
}

fn authenticator(mechanism: &str) -> String {
    let options = match mechanism {
        "none" => return String::new(),
        // Between the names are NULs.
        "PLAIN" => format!("driver = plaintext\n  client_send = ^{USER}^{PASSWORD}"),
        "LOGIN" => format!("driver = plaintext\n  client_send = : {USER} : {PASSWORD}"),
        "OAUTHBEARER" => format!(
            "driver = plaintext\n  \
             client_send = n,a={USER},\\001auth=Bearer {TOKEN}\\001\\001"
        ),
        "XOAUTH2" => format!(
            "driver = plaintext\n  \
             client_send = user={USER}\\001auth=Bearer {TOKEN}\\001\\001"
        ),
        "CRAM-MD5" => {
            format!("driver = cram_md5\n  client_name = {USER}\n  client_secret = {PASSWORD}")
        }
        "EXTERNAL" => format!("driver = external\n  client_send = {USER}"),
        _ => format!(
            "driver = gsasl\n  client_username = {USER}\n  client_password = {PASSWORD}\n  \
             client_channelbinding = {}",
            mechanism.ends_with("-PLUS")
        ),
    };
    format!("proof:\n  public_name = {mechanism}\n  {options}\n")
}

/// It has ended, and its log says what it has done.
fn outcome(lab: &Lab, delivery: &Delivery) -> Result<()> {
    let spool = lab.path().join("mx/var/spool/each").join(delivery.name());
    let log = fs::read_to_string(spool.join("mainlog"))?;
    if log.contains(" => ") && log.trim_end().ends_with(" Completed") {
        return Ok(());
    }
    bail!("{}", log.trim_end());
}
