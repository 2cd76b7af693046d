//! `docs/clients.md`: how it is written, and how two of it differ.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::mta::extensions::EXTENSIONS;
use super::mta::{Column, MTAS};
use super::roster::CLIENTS;

/// What became of one attempt.
pub(super) enum Cell {
    Delivered,
    Failed(String),
    NotUsed,
    /// What proves the client is inside TLS.
    NeedsTls,
    /// The client does not use the mechanism in clear.
    Refused,
    /// The client does not know the mechanism.
    Unknown,
    Used,
}

impl Cell {
    /// What an attempt that failed shows: the client would not, or could not.
    pub(super) fn of(error: &anyhow::Error, refusal: Option<&str>) -> Self {
        let why = format!("{error:#}");
        if refusal.is_some_and(|refusal| why.contains(refusal)) {
            return Self::Refused;
        }
        Self::Failed(why)
    }

    fn shown(&self) -> String {
        match self {
            Self::Delivered => "ok".to_owned(),
            // A table's cell is one line, without its border.
            Self::Failed(why) => format!("{FAILED}{}", why.replace(['|', '\n'], " ")),
            Self::NotUsed => "not used".to_owned(),
            Self::NeedsTls => "needs TLS".to_owned(),
            Self::Refused => "refuses".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Used => "used".to_owned(),
        }
    }
}

/// One mechanism over one transport, a cell for each client.
pub(super) struct Row {
    pub(super) mechanism: &'static str,
    pub(super) transport: &'static str,
    pub(super) cells: Vec<Cell>,
}

/// How a cell begins that is never right.
const FAILED: &str = "failed: ";

/// The whole page: the rows of the clients, and the columns of the mail servers.
pub(super) fn page(rows: &[Row], columns: &[Column], versions: &[String]) -> String {
    let mut page = HEAD.to_owned();
    let clients = || CLIENTS.iter().map(|client| (client.name, client.about));
    let all = || clients().chain(MTAS.iter().map(|mta| (mta.name, mta.about)));
    let names = all().map(|(name, _)| name);
    line(
        &mut page,
        ["mechanism", "transport"].into_iter().chain(names),
    );
    line(&mut page, (0..2 + all().count()).map(|_| "---"));
    for (number, row) in rows.iter().enumerate() {
        let start = [row.mechanism.to_owned(), row.transport.to_owned()];
        let servers = columns.iter().filter_map(|column| column.cells.get(number));
        let cells = row.cells.iter().chain(servers).map(Cell::shown);
        line(&mut page, start.into_iter().chain(cells));
    }
    page.push_str(EXTENSIONS_HEAD);
    extensions(&mut page, columns);
    page.push_str(CLIENTS_HEAD);
    let of_servers = columns.iter().map(|column| &column.version);
    for ((name, about), version) in all().zip(versions.iter().chain(of_servers)) {
        line(&mut page, [name, version, about]);
    }
    page
}

/// The table of what the mail servers use: a column for each protocol of each.
fn extensions(page: &mut String, columns: &[Column]) {
    let uses = MTAS.iter().zip(columns).flat_map(|(mta, column)| {
        let uses = column.uses.iter();
        uses.map(|(protocol, cells)| (format!("{} {}", mta.name, protocol.name()), cells))
    });
    let (names, uses): (Vec<String>, Vec<&Vec<Cell>>) = uses.unzip();
    let start = ["extension".to_owned(), "shown by".to_owned()];
    line(page, start.into_iter().chain(names));
    line(page, (0..2 + uses.len()).map(|_| "---"));
    for (number, extension) in EXTENSIONS.iter().enumerate() {
        let start = [extension.name, extension.shown_by].map(str::to_owned);
        let cells = uses.iter().filter_map(|cells| cells.get(number));
        line(page, start.into_iter().chain(cells.map(Cell::shown)));
    }
}

fn line(page: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    page.push('|');
    for cell in cells {
        // Writing to a string cannot fail.
        let _ = write!(page, " {} |", cell.as_ref());
    }
    page.push('\n');
}

/// The cells that are not the same or failed, both shown. Versions may differ.
pub(super) fn differences(before: &str, now: &str) -> Vec<String> {
    let (before, now) = (cells(before), cells(now));
    let mut names: Vec<_> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let shown = |cell: Option<&String>| cell.cloned().unwrap_or_else(|| "not there".to_owned());
    names
        .into_iter()
        .filter(|name| {
            let failed = now.get(*name).is_some_and(|cell| cell.starts_with(FAILED));
            failed || before.get(*name) != now.get(*name)
        })
        .map(|name| {
            let (before, now) = (shown(before.get(name)), shown(now.get(name)));
            format!("{}: was {before:?}, is {now:?}", name.join(" "))
        })
        .collect()
}

/// Every cell of the tables of what clients do, by client and the start of its row
/// (mechanism and transport). The last one is about versions, which may differ.
fn cells(page: &str) -> BTreeMap<[String; 3], String> {
    let (tables, _) = page.split_once(CLIENTS_HEAD).unwrap_or((page, ""));
    let mut cells = BTreeMap::new();
    let mut names = Vec::new();
    for line in tables.lines() {
        let Some(inner) = line.strip_prefix('|') else {
            // The next table has a head of its own.
            names.clear();
            continue;
        };
        let inner = inner.trim_end_matches('|').split('|');
        let row: Vec<String> = inner.map(|cell| cell.trim().to_owned()).collect();
        if names.is_empty() {
            names = row;
            continue;
        }
        let mut row = row.into_iter();
        let (Some(first), Some(second)) = (row.next(), row.next()) else {
            continue;
        };
        // The line under the head.
        if first == "---" {
            continue;
        }
        for (client, cell) in names.iter().skip(2).zip(row) {
            cells.insert([client.clone(), first.clone(), second.clone()], cell);
        }
    }
    cells
}

const HEAD: &str = "# Real clients against helo-server

Written by `cargo xtask peers clients.md`, which fails when a cell is no longer what it is
here, and is part of `cargo xtask peers`.

Each cell is one message, with leading dots, lines of 998 octets, eight-bit text, spaces and
tabs at ends of lines and empty lines at its end. It is `ok` if the client ended well, the
store then had exactly the octets the client was given under the server's own trace fields
(but for what the last table says of the client), and the recording says that this
transport and this mechanism were used, before MAIL. Over TLS each client verifies the
server's certificate. The server offers one mechanism at a time; `none` is a session without
AUTH. `unknown`: the client does not have the mechanism. `needs TLS`: the mechanism proves
what a TLS handshake has shown, so there is none in clear. `refuses`: the client
does not use the mechanism in clear.

Postfix and Exim are sending mail servers here, each on a host of its own, with helo-server
as their smarthost. The message is submitted on that host, and their one addition to it is
their Received field, under helo-server's own. A cell of theirs over TLS is one message for
each way they know to ask for it, and `ok` if all arrive: Postfix's smtp_tls_security_level
`may` (STARTTLS alone), `encrypt` and `verify`, and Exim with TLS if offered (STARTTLS alone)
and with hosts_require_tls and tls_verify_hosts. Only the last of each verifies. They are
set up for every mechanism, and `unknown` is what they say themselves when they try.

No client here knows SCRAM with channel binding (`-PLUS`).

";

const EXTENSIONS_HEAD: &str = "
## What Postfix and Exim use of what is offered

One message over SMTP and one over LMTP (Postfix's lmtp(8), Exim's smtp driver with
`protocol = lmtp`), that has a use for every extension here: it is submitted with
BODY=8BITMIME, a reverse-path that needs SMTPUTF8, RET, ENVID, NOTIFY and ORCPT. The server
offers each of them, what is kept must again be what was submitted, and the recording says
what was used. Where 8BITMIME is not used, eight bits are sent all the same.

";

const CLIENTS_HEAD: &str = "
## The clients

| client | version | what it does |
| --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use super::differences;

    const PAGE: &str = "text\n\n| mechanism | transport | swaks | curl |\n| --- | --- | --- | --- |\n\
        | none | clear | ok | ok |\n\n## The clients\n\n| client | version | what it does |\n| --- | --- | --- |\n\
        | swaks | 1 | x |\n";

    #[test]
    fn the_same_cells_do_not_differ_whatever_the_versions() {
        assert!(differences(PAGE, &PAGE.replace("| swaks | 1 |", "| swaks | 2 |")).is_empty());
    }

    #[test]
    fn a_second_table_is_compared_too() {
        let second = "| none | clear | ok | ok |\n\n| extension | shown by | Exim smtp |\n\
            | --- | --- | --- |\n| SIZE | MAIL | used |\n";
        let page = PAGE.replace("| none | clear | ok | ok |\n", second);
        let now = page.replace("| used |", "| not used |");
        assert_eq!(
            differences(&page, &now),
            ["Exim smtp SIZE MAIL: was \"used\", is \"not used\""]
        );
        assert_eq!(differences(&page, PAGE).len(), 1);
    }

    #[test]
    fn a_cell_that_differs_is_named_with_both() {
        let now = PAGE.replace("clear | ok | ok", "clear | ok | failed: why");
        assert_eq!(
            differences(PAGE, &now),
            ["curl none clear: was \"ok\", is \"failed: why\""]
        );
    }

    #[test]
    fn a_failed_cell_is_named_even_if_it_was_so_before() {
        let page = PAGE.replace("clear | ok | ok", "clear | ok | failed: why");
        assert_eq!(differences(&page, &page).len(), 1);
    }

    #[test]
    fn a_missing_page_differs_in_every_cell() {
        assert_eq!(differences("", PAGE).len(), 2);
    }
}
