//! Redirects are judged like requests.

use retold_tools::egress::{Egress, EgressError, MAX_REDIRECTS, Redirects};

use crate::support::{Answers, Server, answer, client, moved, policy};

/// A server that sends `/` to `target`, and all else nowhere.
async fn sender(status: u16, target: &str) -> Server {
    let target = target.to_owned();
    let respond = move |path: &str| {
        if path == "/" { moved(status, &target) } else { answer(204, "") }
    };
    Server::at("127.0.0.1:0", respond).await
}

/// What opens one server and nothing else.
fn opening(server: &Server) -> Egress {
    Egress::new(policy(&server.address.to_string()))
}

async fn refusal(egress: &Egress, redirects: Redirects, url: &str) -> EgressError {
    let request = client(egress, redirects).post(url).expect("where it begins is open");
    let error = request.send().await.expect_err("the redirect is refused");
    EgressError::within(&error).unwrap_or_else(|| panic!("{error:?}")).clone()
}

#[tokio::test]
async fn a_redirect_to_where_the_server_does_not_call_is_not_followed() {
    let canary = Server::canary().await;
    let port = canary.address.port();
    for status in [301, 302, 303, 307, 308] {
        for target in [
            format!("http://127.0.0.1:{port}/"),
            format!("//127.0.0.1:{port}/"),
            format!("\\\\127.0.0.1:{port}/"),
            format!("http://0x7f.1:{port}/"),
            format!("http://[::ffff:7f00:1]:{port}/"),
            format!("http://localhost:{port}/"),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
        ] {
            let server = sender(status, &target).await;
            let error = refusal(&opening(&server), Redirects::Anywhere, &server.url("/")).await;
            assert!(matches!(error, EgressError::Closed { .. }), "{status} {target}: {error}");
            assert_eq!(server.connections(), 1);
        }
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_redirect_by_a_name_is_resolved_and_judged() {
    let canary = Server::canary().await;
    let server = sender(307, &format!("http://a.example:{}/", canary.address.port())).await;
    let answers = Answers::new([("a.example", vec![vec!["127.0.0.1"]])]);
    let egress = Egress::with_lookup(policy(&server.address.to_string()), answers);
    let error = refusal(&egress, Redirects::Anywhere, &server.url("/")).await;
    assert!(matches!(error, EgressError::Closed { resolved: true, .. }), "{error}");
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_redirect_to_another_scheme_or_with_a_login_is_not_followed() {
    for target in ["ftp://example.com/", "gopher://example.com/_x", "ws://example.com/"] {
        let server = sender(302, target).await;
        let error = refusal(&opening(&server), Redirects::Anywhere, &server.url("/")).await;
        assert!(matches!(error, EgressError::Scheme { .. }), "{target}: {error}");
    }
    let server = sender(302, "http://user:secret@example.com/").await;
    let error = refusal(&opening(&server), Redirects::Anywhere, &server.url("/")).await;
    assert_eq!(error, EgressError::Login);
}

#[tokio::test]
async fn only_so_many_redirects_are_followed() {
    let count = |path: &str| path.trim_start_matches('/').parse::<usize>().unwrap_or_default();
    let respond = move |path: &str| match count(path) {
        0 => answer(204, ""),
        left => moved(307, &format!("/{}", left - 1)),
    };
    for redirects in [Redirects::Anywhere, Redirects::SameOrigin] {
        let server = Server::at("127.0.0.1:0", respond).await;
        let egress = opening(&server);
        let within = client(&egress, redirects).post(server.url(&format!("/{MAX_REDIRECTS}")));
        assert_eq!(within.unwrap().send().await.unwrap().status().as_u16(), 204);
        let beyond = server.url(&format!("/{}", MAX_REDIRECTS + 1));
        let error = refusal(&egress, redirects, &beyond).await;
        assert_eq!(error, EgressError::TooManyRedirects { most: MAX_REDIRECTS });
        assert_eq!(server.connections(), 2 * (MAX_REDIRECTS + 1));
    }
}

#[tokio::test]
async fn within_one_origin_headers_go_along_and_no_other_origin_hears_of_them() {
    let canary = Server::canary().await;
    let server = sender(307, "/next").await;
    let egress = Egress::new(policy("127.0.0.1"));
    let follow = client(&egress, Redirects::SameOrigin);
    let request = follow.post(server.url("/")).unwrap().header("x-key", "secret");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 204);
    assert!(server.heard().iter().all(|head| head.contains("x-key: secret")));
    assert_eq!(server.heard().len(), 2);
    // The canary is open, and a redirect there is refused all the same.
    let server = sender(307, &canary.url("/")).await;
    let error = refusal(&egress, Redirects::SameOrigin, &server.url("/")).await;
    assert_eq!((error, canary.connections()), (EgressError::Elsewhere, 0));
}

#[tokio::test]
async fn where_redirects_lead_anywhere_credentials_do_not_go_along() {
    let other = Server::canary().await;
    let server = sender(307, &other.url("/")).await;
    let egress = Egress::new(policy("127.0.0.1"));
    let request = client(&egress, Redirects::Anywhere).get(server.url("/")).unwrap();
    let request = request.header("authorization", "Bearer x").header("cookie", "a=b");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 204);
    let (first, second) = (server.heard().remove(0), other.heard().remove(0));
    for secret in ["authorization", "cookie"] {
        assert!(first.contains(secret) && !second.contains(secret), "{second}");
    }
    assert!(!second.contains("referer"), "{second}");
}

#[tokio::test]
async fn where_redirects_are_not_wanted_they_are_the_answer() {
    let canary = Server::canary().await;
    let server = sender(302, &canary.url("/")).await;
    let egress = Egress::new(policy("127.0.0.1"));
    let answered = client(&egress, Redirects::Never).get(server.url("/")).unwrap().send().await;
    assert_eq!((answered.unwrap().status().as_u16(), canary.connections()), (302, 0));
}
