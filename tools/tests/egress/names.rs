//! Names: resolved once, and called only where they may lead.

use std::{net::Ipv4Addr, sync::Arc};

use retold_tools::egress::{Egress, EgressError, Redirects};

use crate::{
    spellings::{CLOSED_V4, CLOSED_V6},
    support::{Answers, Server, answer, client, policy},
};

/// The reason for which a call through `egress` was refused.
async fn refusal(egress: &Egress, url: &str) -> EgressError {
    let client = client(egress, Redirects::Never);
    let request = match client.get(url) {
        Ok(request) => request,
        Err(error) => return error,
    };
    let error = request.send().await.expect_err("the call is refused");
    EgressError::within(&error).unwrap_or_else(|| panic!("{error:?}")).clone()
}

#[tokio::test]
async fn a_name_that_resolves_to_an_address_that_is_not_open_is_not_called() {
    let canary = Server::canary().await;
    let v4 = CLOSED_V4.iter().map(|octets| Ipv4Addr::from(*octets).to_string());
    let v6 = CLOSED_V6.iter().map(|address| (*address).to_owned());
    let mapped = CLOSED_V4.iter().map(|octets| format!("::ffff:{}", Ipv4Addr::from(*octets)));
    for address in v4.chain(v6).chain(mapped) {
        let answers = Answers::new([("a.example", vec![vec![address.as_str()]])]);
        let egress = Egress::with_lookup(policy(""), answers);
        let url = format!("http://a.example:{}/?hidden", canary.address.port());
        let error = refusal(&egress, &url).await;
        assert!(matches!(error, EgressError::Closed { resolved: true, .. }), "{address}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("`a.example` resolves to "), "{text}");
        assert!(text.contains("`egress_allow`") && !text.contains("hidden"), "{text}");
        assert!(!text.contains(&address), "who asks does not learn what names mean here: {text}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_address_that_was_judged_is_called() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    // The same port on another address of loopback stands for one that everybody can reach.
    let meant = Server::at((Ipv4Addr::new(127, 0, 0, 2), port), |_| answer(204, "")).await;
    let answers = Answers::new([("a.example", vec![vec!["127.0.0.2"], vec!["127.0.0.1"]])]);
    let egress = Egress::with_lookup(policy("127.0.0.2"), Arc::clone(&answers) as _);
    let url = format!("http://a.example:{port}/");
    let answered = client(&egress, Redirects::Never).get(&url).unwrap().send().await.unwrap();
    assert_eq!((answered.status().as_u16(), answers.asked()), (204, 1));
    assert_eq!((meant.connections(), canary.connections()), (1, 0));
    // By the next call the name has been bound to the other address, and is refused.
    let error = refusal(&egress, &url).await;
    assert!(matches!(error, EgressError::Closed { resolved: true, .. }), "{error}");
    assert_eq!((answers.asked(), meant.connections(), canary.connections()), (2, 1, 0));
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_open_are_called() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    let meant = Server::at((Ipv4Addr::new(127, 0, 0, 2), port), |_| answer(204, "")).await;
    let several = vec!["127.0.0.1", "10.0.0.1", "127.0.0.2", "::1"];
    let answers = Answers::new([("a.example", vec![several])]);
    let egress = Egress::with_lookup(policy("127.0.0.2"), answers);
    let request = client(&egress, Redirects::Never).get(format!("http://a.example:{port}/"));
    assert_eq!(request.unwrap().send().await.unwrap().status().as_u16(), 204);
    assert_eq!((meant.connections(), canary.connections()), (1, 0));
    // Where the one that is open does not answer, none of the others is tried in its place.
    let nobody = Server::at((Ipv4Addr::LOCALHOST, 0), |_| answer(204, "")).await;
    let request = client(&egress, Redirects::Never)
        .get(format!("http://a.example:{}/", nobody.address.port()));
    assert!(request.unwrap().send().await.unwrap_err().is_connect());
    assert_eq!(nobody.connections(), 0);
}

#[tokio::test]
async fn a_name_that_means_nothing_is_said_to_mean_nothing() {
    for answers in [Answers::new([]), Answers::new([("a.example", vec![vec![]])])] {
        let error = refusal(&Egress::with_lookup(policy(""), answers), "http://a.example/").await;
        assert_eq!(error, EgressError::Unresolved { name: "a.example".to_owned() });
    }
}

#[tokio::test]
async fn an_open_name_is_called_wherever_it_leads_in_every_spelling_and_no_other_is() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    let names = ["tools.corp", "other.corp", "a.tools.corp", "tools.corp.example"];
    let answers = Answers::new(names.map(|name| (name, vec![vec!["127.0.0.1"]])));
    let egress = Egress::with_lookup(policy("Tools.Corp."), answers);
    for spelling in ["tools.corp", "TOOLS.corp", "tools.corp.", "t%6fols.corp", "tools\u{3002}corp"]
    {
        let request = client(&egress, Redirects::Never).get(format!("http://{spelling}:{port}/"));
        assert_eq!(request.unwrap().send().await.unwrap().status().as_u16(), 204, "{spelling}");
    }
    let called = canary.connections();
    for name in names.into_iter().skip(1).chain(["127.0.0.1"]) {
        let error = refusal(&egress, &format!("http://{name}:{port}/")).await;
        assert!(matches!(error, EgressError::Closed { .. }), "{name}: {error}");
    }
    assert_eq!(canary.connections(), called);
}

#[tokio::test]
async fn a_port_opens_that_port_only() {
    let (open, canary) = (Server::canary().await, Server::canary().await);
    let (port, other) = (open.address.port(), canary.address.port());
    let named = Answers::new([("tools.corp", vec![vec!["127.0.0.1"]])]);
    for (entry, host) in [("tools.corp", "tools.corp"), ("127.0.0.1", "127.0.0.1")] {
        let allowed = policy(&format!("{entry}:{port}"));
        let egress = Egress::with_lookup(allowed, Arc::clone(&named) as _);
        let request = client(&egress, Redirects::Never).get(format!("http://{host}:{port}/"));
        assert_eq!(request.unwrap().send().await.unwrap().status().as_u16(), 204);
        for url in [format!("http://{host}:{other}/"), format!("http://{host}/")] {
            let error = refusal(&egress, &url).await;
            assert!(
                matches!(error, EgressError::Port { .. } | EgressError::Closed { .. }),
                "{url}: {error}"
            );
        }
    }
    // An address with a port is open as it is written, and not to names that resolve to it.
    let egress = Egress::with_lookup(policy(&format!("127.0.0.1:{port}")), named);
    let error = refusal(&egress, &format!("http://tools.corp:{port}/")).await;
    assert!(matches!(error, EgressError::Closed { resolved: true, .. }), "{error}");
    assert_eq!((open.connections(), canary.connections()), (2, 0));
}

#[tokio::test]
async fn an_open_network_is_open_to_its_addresses_and_to_names_that_resolve_into_it() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    let answers = Answers::new([
        ("inside.example", vec![vec!["127.0.0.1"]]),
        ("outside.example", vec![vec!["10.0.0.1"]]),
    ]);
    let egress = Egress::with_lookup(policy("127.0.0.0/31"), answers);
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "inside.example"] {
        let request = client(&egress, Redirects::Never).get(format!("http://{host}:{port}/"));
        assert_eq!(request.unwrap().send().await.unwrap().status().as_u16(), 204, "{host}");
    }
    for host in ["127.0.0.2", "[::1]", "[64:ff9b::127.0.0.1]", "10.0.0.1", "outside.example"] {
        let error = refusal(&egress, &format!("http://{host}:{port}/")).await;
        assert!(matches!(error, EgressError::Closed { .. }), "{host}: {error}");
    }
    assert_eq!(canary.connections(), 4);
}

#[tokio::test]
async fn the_resolver_of_the_machine_is_judged_like_any_other() {
    let canary = Server::canary().await;
    let url = format!("http://localhost:{}/", canary.address.port());
    let error = Egress::default().check(&url).unwrap_err();
    assert!(matches!(error, EgressError::Closed { resolved: false, .. }), "{error}");
    // Its other address, ::1, is not open, and does not stand in the way.
    let egress = Egress::new(policy("127.0.0.0/8"));
    let request = client(&egress, Redirects::Never).get(&url).unwrap();
    assert_eq!(request.send().await.unwrap().status().as_u16(), 204);
    assert_eq!(canary.connections(), 1);
}
