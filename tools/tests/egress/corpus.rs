//! Addresses that lead where the server does not call, in every spelling.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use retold_tools::egress::{Egress, EgressError, Redirects};

use crate::{
    spellings::{CLOSED_V4, CLOSED_V6, SPELLINGS},
    support::{Answers, Server, client, policy},
};

/// A URL, and what it is an example of.
type Case = (String, String);

/// Every spelling of every closed address.
fn hosts(port: u16) -> Vec<Case> {
    let v4 = CLOSED_V4.iter().flat_map(|octets| {
        let address = Ipv4Addr::from(*octets);
        SPELLINGS.iter().map(move |spelling| {
            let what = format!("{address} {}", spelling.name);
            (format!("http://{}:{port}/", (spelling.write)(address)), what)
        })
    });
    let v6 = CLOSED_V6
        .iter()
        .map(|address| (format!("http://[{address}]:{port}/"), format!("{address} plain")));
    v4.chain(v6).collect()
}

/// Whole URLs made to be read differently by different readers. `{}` stands for the host and the port.
const FORMS: &[&str] = &[
    "https://{}/",
    "HTTP://{}/",
    "hTTpS://{}/",
    "http:{}/",
    "http:/{}/",
    "http:///{}/",
    "http:////{}/",
    "http:\\\\{}\\",
    "http:\\{}\\path",
    "http:/\\{}/",
    "  http://{}/  ",
    "\u{1}http://{}/",
    "ht\ntp://{}/",
    "http://\t{}/",
    "http://{}\r\n/",
    "http://{}?x=1",
    "http://{}#part",
    "http://{}#@example.com/",
    "http://{}?@example.com/",
    "http://{}\\@example.com/",
    "http://{}/..//../",
    "http://example.com@{}/",
    "http://example.com:80@{}/",
    "http://@{}/",
    "http://:@{}/",
    "http://user:secret@{}/",
    "http://example.com%40@{}/",
    "http://a@b@{}/",
    "gopher://{}/_GET",
    "file://{}/etc/passwd",
    "ftp://{}/",
    "ftps://{}/",
    "sftp://{}/",
    "dict://{}/d",
    "ldap://{}/",
    "tftp://{}/",
    "ssh://{}/",
    "ws://{}/",
    "wss://{}/",
    "unix://{}/run/docker.sock",
    "http+unix://{}/",
    "jar:http://{}/!/",
    "view-source:http://{}/",
    "data:text/plain,{}",
    "javascript://{}/%0aalert(1)",
    "blob:http://{}/",
    "about:{}",
    "//{}/",
    "{}",
    "/{}",
    "",
];

/// URLs whose host is `example.com`, though some readers would take it for the other.
const OTHER_HOST: &[&str] = &[
    "http://example.com\\@{}/",
    "http://example.com/@{}/",
    "http://example.com?@{}/",
    "http://example.com#@{}/",
    "http:\\\\example.com\\{}",
    "http://example.com/\\\\{}/",
    "http://example.com//{}/",
];

/// Hosts that are none, or that no client should read as one.
const HOSTS: &[&str] = &[
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "a.b.localhost.",
    "%6cocalhost",
    "loc%61lhost",
    "\u{24db}ocalhost",
    "\u{ff4c}ocalhost",
    "local\u{ad}host",
    "a\u{3002}localhost",
    "",
    " ",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::1%251]",
    "[::1",
    "::1",
    "[::1]]",
    "[]",
    "[::ffff:127.0.0.1%25lo]",
    "[::ffff:127.1]",
    "[::ffff:0177.0.0.1]",
    "[127.0.0.1]",
    "127.0.0.1.1",
    "127.0.0.256",
    "127.0.0.0x",
    "256.1",
    "4294967296",
    "0x100000000",
    "1.2.3.4.5",
    "127.0.0.1%00",
    "127.0.0.1%00.example.com",
    "127.0.0.1%0d%0a",
    "127.0.0.1%20",
    "127.0.0.1%2f",
    "127.0.0.1%23.example.com",
    "127.0.0.1%5c",
    "exa mple.com",
    "exa<mple.com",
    "xn--",
    "a%",
    "\u{0}",
    "127.0.0.1\u{0}",
];

/// Ports that are none.
const PORTS: &[&str] = &["65536", "-1", "99999", "x", "80x", "0x50", "80:80", "%38%30", "+80"];

fn corpus(port: u16) -> Vec<Case> {
    let formed = ["127.0.0.1", "[::1]", "2130706433", "localhost"].iter().flat_map(|host| {
        FORMS.iter().map(move |form| {
            (form.replace("{}", &format!("{host}:{port}")), format!("{form:?} of {host}"))
        })
    });
    let odd = HOSTS.iter().map(|host| (format!("http://{host}:{port}/"), format!("host {host:?}")));
    let ports =
        PORTS.iter().map(|port| (format!("http://127.0.0.1:{port}/"), format!("port {port:?}")));
    hosts(port).into_iter().chain(formed).chain(odd).chain(ports).collect()
}

/// Asks for everything in the corpus as a caller would, and gives what was not refused before a connection was tried.
async fn call_all(egress: &Egress, corpus: &[Case]) -> Vec<String> {
    let client = client(egress, Redirects::Anywhere);
    let mut tried = Vec::new();
    for (url, what) in corpus {
        if let Ok(request) = client.get(url) {
            let sent = request.send().await;
            tried.push(format!("{what}: {url:?} {:?}", sent.map(|it| it.status())));
        }
    }
    tried
}

#[tokio::test]
async fn no_spelling_of_an_address_that_is_not_open_is_ever_called() {
    let canary = Server::canary().await;
    let corpus = corpus(canary.address.port());
    assert!(corpus.len() >= 1000, "{} addresses are too few", corpus.len());
    let egress = Egress::with_lookup(policy(""), Answers::new([]));
    let tried = call_all(&egress, &corpus).await;
    assert_eq!(tried, Vec::<String>::new(), "all are refused when they are given");
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn the_host_that_is_judged_is_the_host_that_is_called() {
    let (canary, meant) = (Server::canary().await, Server::canary().await);
    let answers = Answers::new([("example.com", vec![vec!["127.0.0.1"]])]);
    let egress = Egress::with_lookup(policy("example.com"), answers);
    let client = client(&egress, Redirects::Anywhere);
    for form in OTHER_HOST {
        let url = form
            .replace("example.com", &format!("example.com:{}", meant.address.port()))
            .replace("{}", &canary.address.to_string());
        let answered = client.get(&url).unwrap().send().await.unwrap();
        assert_eq!(answered.status().as_u16(), 204, "{url}");
    }
    assert_eq!((meant.connections(), canary.connections()), (OTHER_HOST.len(), 0));
}

#[tokio::test]
async fn the_same_spellings_reach_the_listener_when_everything_is_open() {
    let canary = Server::canary().await;
    let client = client(&Egress::new(policy("*")), Redirects::Never);
    let mut calls = 0;
    // To call 0.0.0.0 is to call this machine.
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        for spelling in SPELLINGS.iter().filter(|spelling| spelling.is_direct) {
            let url = format!("http://{}:{}/", (spelling.write)(address), canary.address.port());
            let answered = client.get(&url).unwrap().send().await.unwrap();
            calls += 1;
            assert_eq!((answered.status(), canary.connections()), (204.try_into().unwrap(), calls));
        }
    }
    assert!(calls >= 50, "{calls} calls prove little");
}

#[test]
fn addresses_that_everybody_can_reach_are_open_in_every_spelling() {
    let egress = Egress::default();
    for address in [[1, 1, 1, 1], [8, 8, 8, 8], [172, 32, 0, 1], [100, 128, 0, 1], [198, 20, 0, 1]]
    {
        let own_gateways = ["through a NAT64 of the network's own", "through Teredo"];
        for spelling in SPELLINGS.iter().filter(|it| !own_gateways.contains(&it.name)) {
            let url = format!("https://{}/", (spelling.write)(address.into()));
            assert!(egress.check(&url).is_ok(), "{}: {url}", spelling.name);
        }
    }
    for url in [
        "http://example.com",
        "https://EXAMPLE.com:8443/a?b#c",
        "https://[2606:4700::1111]:443/",
        "https://b\u{fc}cher.example/",
        "http://localhost.example.com/",
        "http://10.example.com/",
        "http://example.com./",
    ] {
        assert!(egress.check(url).is_ok(), "{url}");
    }
}

#[test]
fn a_refusal_names_what_is_wrong_and_the_setting_and_repeats_no_secret() {
    let egress = Egress::default();
    for (url, says) in [
        ("http://10.0.0.1/hidden?token=hidden", "`10.0.0.1` is a private address"),
        ("http://[fe80::1]/hidden#hidden", "`fe80::1` is a link-local address"),
        ("http://[::ffff:127.0.0.1]/hidden", "is a loopback address"),
        ("http://localhost/hidden", "`localhost` is the server's own machine"),
        ("ftp://hidden:hidden@hidden/hidden", "http or https, not `ftp`"),
        ("https://hidden:hidden@example.com/hidden", "user name or a password"),
        ("https://hidden hidden/hidden", "not a URL"),
        ("hidden", "not a URL"),
    ] {
        let text = egress.check(url).unwrap_err().to_string();
        assert!(text.contains(says) && !text.contains("hidden"), "{url}: {text}");
        assert_eq!(text.contains("`egress_allow`"), text.contains("does not call"), "{text}");
    }
}

#[test]
fn an_address_is_bounded_and_given_back_in_its_normal_form() {
    let egress = Egress::default();
    let long = |path: usize| format!("https://a.example/{}", "p".repeat(path));
    assert!(egress.check(&long(8000)).is_ok());
    assert!(matches!(egress.check(&long(9000)), Err(EgressError::TooLong { .. })));
    // It is the normal form that is kept: what is let through once is let through again.
    let escaped = |count: usize| format!("https://a.example/{}", "\u{e9}".repeat(count));
    assert_eq!(
        egress.check(&escaped(1300)).map(|url| egress.check(url.as_str()).is_ok()),
        Ok(true)
    );
    assert!(matches!(egress.check(&escaped(1400)), Err(EgressError::TooLong { .. })));
    let given = egress.check(" HTTPS://A.Example:443/x/../y ").unwrap();
    assert_eq!(given.as_str(), "https://a.example/y");
}

proptest! {
    #[test]
    fn how_an_address_is_spelled_changes_nothing(address: u32, number in 0..SPELLINGS.len()) {
        let (address, spelling) = (Ipv4Addr::from_bits(address), &SPELLINGS[number]);
        let egress = Egress::default();
        let is_open = |host: &str| egress.check(&format!("http://{host}/")).is_ok();
        let spelled = (spelling.write)(address);
        if spelling.is_direct {
            prop_assert_eq!(is_open(&spelled), is_open(&address.to_string()), "{}", spelled);
        } else {
            prop_assert!(!is_open(&spelled) || is_open(&address.to_string()), "{}", spelled);
        }
    }

    #[test]
    fn no_text_is_too_odd_to_judge_and_what_is_given_back_is_judged_alike(text in ".{0,60}") {
        let egress = Egress::default();
        for text in [text.clone(), format!("http://{text}"), format!("http://a{text}/")] {
            if let Ok(url) = egress.check(&text) {
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
                prop_assert_eq!(egress.check(url.as_str()), Ok(url));
            }
        }
    }
}
