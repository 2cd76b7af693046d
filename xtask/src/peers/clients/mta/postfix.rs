//! Postfix: an smtp(8) or lmtp(8) service for each delivery, chosen by the envelope sender.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{CERTIFICATES, Delivery, Mta};
use crate::interrupt;
use crate::peers::clients::roster::TO;
use crate::peers::clients::site::{PASSWORD, USER};
use crate::peers::clients::{Protocol, Transport};
use crate::peers::lab::{Lab, must};

pub(super) const POSTFIX: Mta = Mta {
    name: "Postfix",
    about: "given lines in LF, sends CRLF, and adds its Received field; SASL is Cyrus's with \
            Debian's libsasl2-modules, which have no OAUTHBEARER and no XOAUTH2; it tells that \
            library neither the channel binding (`-PLUS`) nor the identity of its certificate, \
            without which there is no EXTERNAL; DIGEST-MD5 and NTLM are not offered",
    lab: "postfix",
    received: " (Postfix, from userid 0) ",
    lacks: "no mechanism available",
    ways: |transport| match transport {
        Transport::Clear => &["none"],
        Transport::Starttls => &["may", "encrypt", "verify"],
        Transport::Implicit => &["encrypt", "verify"],
    },
    prepare,
    submit: |delivery| (submit(delivery), "message.txt"),
    outcome,
    version: |lab| {
        let said = must(lab.inside("mx").args(["postconf", "-h", "mail_version"]))?;
        Ok(said.trim().to_owned())
    },
};

/// How long it may take to deliver a message, or to say that it could not.
const LIMIT: Duration = Duration::from_secs(60);

fn submit(delivery: &Delivery) -> Vec<String> {
    // A line with one dot is one like any other (-i).
    let mut arguments = vec!["sendmail", "-i"];
    if delivery.wants_all() {
        arguments.extend([
            "-B", "8BITMIME", "-N", "failure", "-R", "hdrs", "-V", "cell",
        ]);
    }
    let from = delivery.from();
    arguments.extend(["-f", &from, TO]);
    arguments.into_iter().map(str::to_owned).collect()
}

fn prepare(lab: &Lab, deliveries: &[Delivery]) -> Result<()> {
    let settings = lab.path().join("mx/etc/postfix");
    let append = |name: &str, text: &str| -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(settings.join(name))?;
        file.write_all(text.as_bytes())
            .with_context(|| format!("writing {name}"))
    };
    let mut routes = String::new();
    for delivery in deliveries {
        let (name, port) = (delivery.name(), &delivery.port);
        let nexthop = match delivery.protocol {
            Protocol::Smtp => format!("[localhost]:{port}"),
            Protocol::Lmtp => format!("inet:localhost:{port}"),
        };
        let route = format!("{} {name}:{nexthop}\n", delivery.from());
        routes += &route;
        append("master.cf", &service(delivery))?;
    }
    fs::write(settings.join("routes"), routes)?;
    append(
        "main.cf",
        "sender_dependent_default_transport_maps = texthash:/etc/postfix/routes\n",
    )?;
    must(lab.inside("mx").args(["postfix", "reload"])).map(drop)
}

/// An entry of master.cf.
fn service(delivery: &Delivery) -> String {
    let protocol = delivery.protocol.name();
    let level = if delivery.wants_all() {
        "none"
    } else {
        delivery.way
    };
    let mut options = vec![
        "inet_protocols=ipv4".to_owned(),
        format!("{protocol}_host_lookup=native"),
        format!("{protocol}_tls_security_level={level}"),
        "smtp_tls_verify_cert_match=hostname".to_owned(),
        format!("smtp_tls_CAfile={CERTIFICATES}/ca.pem"),
    ];
    if delivery.transport == Transport::Implicit {
        options.push("smtp_tls_wrappermode=yes".to_owned());
    }
    if delivery.proves() {
        options.extend([
            "smtp_sasl_auth_enable=yes".to_owned(),
            format!("smtp_sasl_mechanism_filter={}", delivery.mechanism),
            format!("smtp_sasl_password_maps=static:{USER}:{PASSWORD}"),
            "smtp_sasl_security_options=".to_owned(),
        ]);
    }
    if delivery.mechanism == "EXTERNAL" {
        options.push(format!("smtp_tls_chain_files={CERTIFICATES}/client.pem"));
    }
    let lines: Vec<String> = options
        .iter()
        .map(|option| format!("  -o {option}\n"))
        .collect();
    let (name, lines) = (delivery.name(), lines.concat());
    format!("{name} unix - - n - - {protocol}\n{lines}")
}

/// Its log says what has become of a message.
fn outcome(lab: &Lab, delivery: &Delivery) -> Result<()> {
    let log = lab.path().join("mx/var/log/mail.log");
    let begun = Instant::now();
    loop {
        interrupt::check()?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if let Some(status) = status(&text, &delivery.from()) {
            if status.starts_with("sent ") {
                return Ok(());
            }
            bail!("{status}");
        }
        if begun.elapsed() > LIMIT {
            bail!("its log has no end of it");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status of the message from somebody, once there is one.
fn status<'a>(log: &'a str, from: &str) -> Option<&'a str> {
    let from = format!(": from=<{from}>,");
    // Only whole lines, each with the time, the host, and the process.
    let (whole, _) = log.rsplit_once('\n')?;
    let said = |line: &'a str| line.split_once("]: ").map(|(_, said)| said);
    let mut lines = whole.lines().filter_map(said);
    let (id, _) = lines.find_map(|line| line.split_once(&from))?;
    let of_it = lines.filter_map(|line| line.strip_prefix(id));
    let mut statuses = of_it.filter_map(|line| line.split_once(" status="));
    statuses.next().map(|(_, status)| status)
}

#[cfg(test)]
mod tests {
    use super::status;

    const LOG: &str = "\
Nov 25 01:55:28 mx postfix/qmgr[3]: 90A: from=<a@test.invalid>, size=2, nrcpt=1 (queue active)
Nov 25 01:55:28 mx postfix/qmgr[3]: 90B: from=<b@test.invalid>, size=2, nrcpt=1 (queue active)
Nov 25 01:55:28 mx postfix/smtp[4]: 90B: to=<c@example.test>, dsn=4.7.0, status=deferred (why)
Nov 25 01:55:28 mx postfix/smtp[5]: 90A: to=<c@example.test>, dsn=2.0.0, status=sent (250 ok)
";

    #[test]
    fn each_message_has_its_own_status() {
        assert_eq!(status(LOG, "a@test.invalid"), Some("sent (250 ok)"));
        assert_eq!(status(LOG, "b@test.invalid"), Some("deferred (why)"));
    }

    #[test]
    fn a_message_that_is_on_its_way_has_none_yet() {
        assert_eq!(status(LOG, "c@test.invalid"), None);
        assert_eq!(status(LOG.trim_end(), "a@test.invalid"), None);
    }
}
