//! The GS2 header that SCRAM and OAUTHBEARER messages begin with (RFC 5801 §4).
//!
//! ```abnf
//! gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","
//! gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
//! saslname = 1*(value-safe-char / "=2C" / "=3D")
//! ```

/// A header that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) flag: Flag<'a>,
    pub(super) authzid: Option<String>,
    /// Exactly as it came, up to its last comma.
    pub(super) text: &'a str,
}

/// What the client says of channel binding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flag<'a> {
    /// It cannot: `n`.
    No,
    /// It binds to a channel of this kind: `p=`.
    Used(&'a str),
    /// It could, but saw no -PLUS offered: `y`.
    WouldHave,
}

/// Reads the header; what follows it is the second value.
pub(super) fn parse(message: &str) -> Option<(Header<'_>, &str)> {
    let (flag, rest) = message.split_once(',')?;
    let flag = match flag {
        "n" => Flag::No,
        "y" => Flag::WouldHave,
        flag => Flag::Used(flag.strip_prefix("p=").filter(|name| !name.is_empty())?),
    };
    let (authzid, rest) = rest.split_once(',')?;
    let authzid = match authzid {
        "" => None,
        authzid => Some(name(authzid.strip_prefix("a=")?)?),
    };
    let text = message.get(..message.len() - rest.len())?;
    Some((
        Header {
            flag,
            authzid,
            text,
        },
        rest,
    ))
}

/// The header of our own message.
pub(super) fn header(flag: &Flag<'_>, authzid: Option<&str>) -> String {
    let authzid = authzid.map(|authzid| format!("a={}", escape(authzid)));
    let authzid = authzid.unwrap_or_default();
    match flag {
        Flag::No => format!("n,{authzid},"),
        Flag::Used(name) => format!("p={name},{authzid},"),
        Flag::WouldHave => format!("y,{authzid},"),
    }
}

/// A saslname without its escapes.
pub(super) fn name(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        name.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

/// A name as a saslname.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_written_alike() {
        for (text, flag, authzid) in [
            ("n,,", Flag::No, None),
            ("y,,", Flag::WouldHave, None),
            ("n,a=tim,", Flag::No, Some("tim")),
            (
                "p=tls-exporter,a=a=2Cb=3D,",
                Flag::Used("tls-exporter"),
                Some("a,b="),
            ),
        ] {
            let message = format!("{text}n=user,r=x");
            let (found, rest) = parse(&message).unwrap();
            assert_eq!((&found.flag, found.authzid.as_deref()), (&flag, authzid));
            assert_eq!((found.text, rest), (text, "n=user,r=x"));
            assert_eq!(header(&flag, authzid), text);
        }
        for wrong in [
            "",
            "n",
            "n,",
            "x,,",
            "p=,,",
            "n,tim,",
            "n,a=,",
            "n,a=x=2c,",
            "n,a==,",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
