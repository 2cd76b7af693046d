//! The parameters of MAIL and RCPT, each understood by the extension it is of.

use std::fmt;
use std::str::FromStr;

use super::{
    ALL, Body, ByMode, DeliverBy, EnvelopeError, EnvelopeId, Extension, Hold, HoldLimits, Notify,
    Offered, OriginalRecipient, Priority, Return, Size, Submitter, ValueError,
};
use crate::parameter::{Parameter, Parameters};

/// What the parameters of MAIL say. Printed, it is what was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    heard: Parameters,
    /// AUTH: who submitted the message.
    pub auth: Option<Submitter>,
    /// BODY: what octets the content has.
    pub body: Option<Body>,
    /// BY: a time by which to deliver.
    pub by: Option<DeliverBy>,
    /// ENVID: what the sender calls this transaction.
    pub envid: Option<EnvelopeId>,
    /// HOLDFOR or HOLDUNTIL: how long to hold the message.
    pub hold: Option<Hold>,
    /// MT-PRIORITY.
    pub priority: Option<Priority>,
    /// REQUIRETLS: TLS on the whole way (RFC 8689 §2). That it comes within TLS is
    /// for a policy to demand.
    pub requiretls: bool,
    /// RET: how much of the message a notification of failure returns.
    pub ret: Option<Return>,
    /// SIZE: the size of the message.
    pub size: Option<Size>,
    /// SMTPUTF8: UTF-8 in addresses and headers.
    pub smtputf8: bool,
}

/// What the parameters of RCPT say. Printed, it is what was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters {
    heard: Parameters,
    /// NOTIFY: when to notify the sender.
    pub notify: Option<Notify>,
    /// ORCPT: the recipient as the sender wrote it.
    pub orcpt: Option<OriginalRecipient>,
}

impl MailParameters {
    /// Understands parameters, given what the EHLO reply offered.
    pub fn parse(parameters: &Parameters, offered: &Offered) -> Result<Self, EnvelopeError> {
        let mut found = Self {
            heard: parameters.clone(),
            ..Self::default()
        };
        for parameter in parameters.iter() {
            check_offered(parameter, offered, |extension| extension.mail)?;
            found.take(parameter)?;
        }
        found.check_values(offered)?;
        Ok(found)
    }

    /// The parameters as they came.
    pub const fn heard(&self) -> &Parameters {
        &self.heard
    }

    fn take(&mut self, parameter: &Parameter) -> Result<(), EnvelopeError> {
        match parameter.keyword.as_str() {
            "AUTH" => self.auth = Some(value(parameter)?),
            "BODY" => self.body = Some(value(parameter)?),
            "BY" => self.by = Some(value(parameter)?),
            "ENVID" => self.envid = Some(value(parameter)?),
            "HOLDFOR" | "HOLDUNTIL" if self.hold.is_some() => {
                return Err(EnvelopeError::BothHolds);
            }
            "HOLDFOR" => self.hold = Some(Hold::parse_for(text(parameter))?),
            "HOLDUNTIL" => self.hold = Some(Hold::parse_until(text(parameter))?),
            "MT-PRIORITY" => self.priority = Some(value(parameter)?),
            "REQUIRETLS" => self.requiretls = flag("REQUIRETLS", parameter)?,
            "RET" => self.ret = Some(value(parameter)?),
            "SIZE" => self.size = Some(value(parameter)?),
            "SMTPUTF8" => self.smtputf8 = flag("SMTPUTF8", parameter)?,
            keyword => return Err(EnvelopeError::not_offered(keyword)),
        }
        Ok(())
    }

    /// Values that are sound, and yet more than is offered.
    fn check_values(&self, offered: &Offered) -> Result<(), EnvelopeError> {
        if self.body == Some(Body::BinaryMime) && !offered.has("BINARYMIME") {
            return Err(EnvelopeError::not_offered("BODY=BINARYMIME"));
        }
        if let (Some(size), Some(limit)) = (self.size, offered.size_limit())
            && size.octets() > limit
        {
            return Err(EnvelopeError::TooBig { limit });
        }
        if let (Some(by), Some(least)) = (self.by, offered.deliver_by_minimum())
            && by.mode() == ByMode::Return
            && u64::from(by.seconds().unsigned_abs()) < least
        {
            return Err(EnvelopeError::TooSoon { least });
        }
        let limits = offered.parameters("FUTURERELEASE").map(str::parse);
        if let (Some(hold), Some(Ok::<HoldLimits, _>(limits))) = (self.hold, limits)
            && !limits.allow(hold)
        {
            return Err(EnvelopeError::HoldTooLong);
        }
        Ok(())
    }
}

impl RcptParameters {
    /// Understands parameters, given what the EHLO reply offered.
    pub fn parse(parameters: &Parameters, offered: &Offered) -> Result<Self, EnvelopeError> {
        let mut found = Self {
            heard: parameters.clone(),
            ..Self::default()
        };
        for parameter in parameters.iter() {
            check_offered(parameter, offered, |extension| extension.rcpt)?;
            match parameter.keyword.as_str() {
                "NOTIFY" => found.notify = Some(value(parameter)?),
                "ORCPT" => found.orcpt = Some(value(parameter)?),
                keyword => return Err(EnvelopeError::not_offered(keyword)),
            }
        }
        Ok(found)
    }

    /// The parameters as they came.
    pub const fn heard(&self) -> &Parameters {
        &self.heard
    }
}

/// RFC 5321 §4.1.1.11: a parameter of no extension on offer is refused.
fn check_offered(
    parameter: &Parameter,
    offered: &Offered,
    of: fn(&Extension) -> &'static [&'static str],
) -> Result<(), EnvelopeError> {
    let keyword = parameter.keyword.as_str();
    ALL.iter()
        .any(|extension| of(extension).contains(&keyword) && offered.has(extension.keyword))
        .then_some(())
        .ok_or_else(|| EnvelopeError::not_offered(keyword))
}

/// No value of ours is empty: what has none is refused as what is empty.
fn text(parameter: &Parameter) -> &str {
    parameter.value.as_deref().unwrap_or_default()
}

fn value<T: FromStr<Err = ValueError>>(parameter: &Parameter) -> Result<T, ValueError> {
    text(parameter).parse()
}

fn flag(keyword: &'static str, parameter: &Parameter) -> Result<bool, EnvelopeError> {
    match parameter.value {
        None => Ok(true),
        Some(_) => Err(EnvelopeError::UnexpectedValue(keyword)),
    }
}

impl fmt::Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heard.fmt(f)
    }
}

impl fmt::Display for RcptParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heard.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Cursor;

    const EVERYTHING: &[&str] = &[
        "8BITMIME",
        "AUTH PLAIN",
        "BINARYMIME",
        "CHUNKING",
        "DELIVERBY",
        "DSN",
        "FUTURERELEASE 86400 2026-12-31T00:00:00Z",
        "MT-PRIORITY",
        "REQUIRETLS",
        "SIZE 1000",
        "SMTPUTF8",
    ];

    /// A sound value for each parameter in the table.
    const SAMPLES: &[&str] = &[
        "AUTH=<>",
        "BODY=BINARYMIME",
        "BY=120;R",
        "ENVID=QQ314159",
        "HOLDFOR=60",
        "HOLDUNTIL=2026-11-23T12:00:00Z",
        "MT-PRIORITY=-3",
        "NOTIFY=SUCCESS,DELAY",
        "ORCPT=rfc822;a@b",
        "REQUIRETLS",
        "RET=HDRS",
        "SIZE=1000",
        "SMTPUTF8",
    ];

    fn read(text: &str) -> Parameters {
        Parameters::read(&mut Cursor::new(text)).unwrap()
    }

    fn mail(text: &str, offered: &[&str]) -> Result<MailParameters, EnvelopeError> {
        let offered = Offered::parse(offered.iter().copied());
        MailParameters::parse(&read(text), &offered)
    }

    fn rcpt(text: &str, offered: &[&str]) -> Result<RcptParameters, EnvelopeError> {
        let offered = Offered::parse(offered.iter().copied());
        RcptParameters::parse(&read(text), &offered)
    }

    fn sample(keyword: &str) -> String {
        let is_it = |sample: &&&str| sample.split('=').next() == Some(keyword);
        let sample = SAMPLES.iter().find(is_it);
        format!(" {}", sample.unwrap_or_else(|| panic!("no {keyword}")))
    }

    #[test]
    fn every_parameter_of_the_table_is_understood_where_it_is_offered() {
        for extension in ALL {
            for keyword in extension.mail {
                let sample = sample(keyword);
                let understood = mail(&sample, EVERYTHING).unwrap();
                assert_eq!(understood.to_string(), sample);
                let MailParameters { heard, .. } = understood.clone();
                let nothing = MailParameters {
                    heard,
                    ..MailParameters::default()
                };
                assert_ne!(understood, nothing, "{sample} says nothing");
                assert!(rcpt(&sample, EVERYTHING).is_err(), "{sample} in RCPT");
            }
            for keyword in extension.rcpt {
                let sample = sample(keyword);
                let understood = rcpt(&sample, EVERYTHING).unwrap();
                assert_eq!(understood.to_string(), sample);
                let RcptParameters { heard, .. } = understood.clone();
                let nothing = RcptParameters {
                    heard,
                    ..RcptParameters::default()
                };
                assert_ne!(understood, nothing, "{sample} says nothing");
                assert!(mail(&sample, EVERYTHING).is_err(), "{sample} in MAIL");
            }
        }
    }

    #[test]
    fn what_is_not_offered_is_refused_by_name() {
        for (text, reply) in [
            (" FOO=1", "555 5.5.4 FOO is not offered here"),
            (" SIZE=1", "555 5.5.4 SIZE is not offered here"),
            (" BODY=7BIT", "555 5.5.4 BODY is not offered here"),
            (" NOTIFY=NEVER", "555 5.5.4 NOTIFY is not offered here"),
        ] {
            assert_eq!(mail(text, &[]).unwrap_err().reply().to_string(), reply);
            assert!(rcpt(text, &[]).is_err());
        }
        let error = mail(" BODY=BINARYMIME", &["8BITMIME"]).unwrap_err();
        assert_eq!(
            error.reply().to_string(),
            "555 5.5.4 BODY=BINARYMIME is not offered here"
        );
        assert!(mail(" BODY=8BITMIME", &["8BITMIME"]).is_ok());
        let long = format!(" {}", "A".repeat(1000));
        assert!(
            mail(&long, EVERYTHING)
                .unwrap_err()
                .reply()
                .to_string()
                .len()
                < 512
        );
    }

    #[test]
    fn errors_know_the_reply_they_deserve() {
        for (text, reply) in [
            (" SIZE=1001", "552 5.3.4"),
            (" SIZE=99999999999999999999", "552 5.3.4"),
            (" SIZE", "501 5.5.4"),
            (" SIZE=x", "501 5.5.4"),
            (" SMTPUTF8=1", "501 5.5.4"),
            (" REQUIRETLS=yes", "501 5.5.4"),
            (" HOLDFOR=1 HOLDUNTIL=2026-11-23T12:00:00Z", "501 5.5.4"),
            (" HOLDFOR=86401", "501 5.5.4"),
            (" HOLDUNTIL=2027-01-01T00:00:00Z", "501 5.5.4"),
            (" BY=0;R", "501 5.5.4"),
            (" BODY", "501 5.5.4"),
            (" RET=ALL", "501 5.5.4"),
        ] {
            let error = mail(text, EVERYTHING).expect_err(text);
            assert!(
                error.reply().to_string().starts_with(reply),
                "{text}: {error}"
            );
        }
        let error = rcpt(" NOTIFY=NEVER,DELAY", EVERYTHING).unwrap_err();
        assert!(
            error
                .reply()
                .to_string()
                .starts_with("501 5.5.4 NOTIFY needs")
        );
    }

    #[test]
    fn nothing_is_returned_sooner_than_is_offered() {
        let mail = |text| mail(text, &["DELIVERBY 60"]);
        assert!(mail(" BY=60;R").is_ok());
        assert!(mail(" BY=59;N").is_ok());
        let error = mail(" BY=59;R").unwrap_err();
        assert_eq!(
            error.reply().to_string(),
            "555 5.5.4 a message is returned after 60 seconds at least"
        );
    }

    #[test]
    fn several_are_understood_together() {
        let text = " SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=a+2Bb AUTH=a+3Db@c";
        let found = mail(text, EVERYTHING).unwrap();
        assert_eq!(found.size, Some(Size::new(10)));
        assert_eq!(found.body, Some(Body::EightBitMime));
        assert!(found.smtputf8 && !found.requiretls);
        assert_eq!(found.envid.as_ref().unwrap().as_str(), "a+b");
        assert_eq!(found.to_string(), text);
        assert_eq!(found.heard(), &read(text));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "( [A-Z0-9-]{1,12}(=[!-<>-~é]{1,30})?){0,4}") {
            if let Ok(parameters) = Parameters::read(&mut Cursor::new(&text)) {
                let offered = Offered::parse(EVERYTHING.iter().copied());
                for error in [
                    MailParameters::parse(&parameters, &offered).err(),
                    RcptParameters::parse(&parameters, &offered).err(),
                ].into_iter().flatten() {
                    proptest::prop_assert!(error.reply().code().is_refusal());
                }
            }
        }
    }
}
