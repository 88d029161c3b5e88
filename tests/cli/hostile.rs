//! Clients that mean harm: slow ones, endless ones, deep ones, and very many. While each goes on the server answers the
//! others, its memory stays within bounds, and it ends what it need not bear.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Result;
use crate::api::{Api, message};
use crate::program::{Home, PATIENCE, Server};

/// Hostile connections at a time.
const MANY: usize = 100;
/// What the server may grow by while it is attacked. An attack that is not bounded takes hundreds of megabytes.
const GROWTH_KB: u64 = 96 << 10;
/// A pause of a client that is slow on purpose.
const DRIP: Duration = Duration::from_millis(20);
/// The most that a client which never ends sends.
const ENDLESS: usize = 64 << 20;

/// A server with little patience, an agent, and an ordinary client.
struct Besieged {
    server: Server,
    api: Api,
    agent: String,
    rss_kb: u64,
    _home: Home,
}

impl Besieged {
    async fn new(settings: &[(&str, &str)]) -> Result<Self> {
        let home = Home::new()?;
        let mut command = home.serve();
        for name in ["HEADER", "BODY", "IDLE", "STALL"] {
            command.env(format!("RETOLD_{name}_TIMEOUT"), "1s");
        }
        command.env("RETOLD_MAX_BODY_BYTES", "1MiB").envs(settings.iter().copied());
        let server = Server::start(&mut command).await?;
        let api = Api::of(&server)?;
        let agent = api.agent("Ada", "retold/rehearsal").await?;
        let mut besieged = Self { server, api, agent, rss_kb: 0, _home: home };
        besieged.serves().await?;
        besieged.rss_kb = besieged.rss_kb().await?;
        Ok(besieged)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.url.trim_start_matches("http://").parse()?)
    }

    async fn connect(&self) -> Result<TcpStream> {
        Ok(timeout(PATIENCE, TcpStream::connect(self.address()?)).await??)
    }

    /// An ordinary client gets what it asks for.
    async fn serves(&self) -> Result<()> {
        assert_eq!(self.api.status("health/").await?, 200);
        let (status, answer) = self.api.tell(&self.agent, "hello").await?;
        assert_eq!((status, &answer["stop_reason"]["stop_reason"]), (200, &json!("end_turn")));
        Ok(())
    }

    async fn rss_kb(&self) -> Result<u64> {
        let status =
            tokio::fs::read_to_string(format!("/proc/{}/status", self.server.id())).await?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.unwrap_or_default().trim().trim_end_matches(" kB").parse()?)
    }

    /// Lets ordinary clients be served while `attackers` are at work, waits until the server has ended each of these, and
    /// gives what it told them.
    async fn outlives(&self, mut attackers: JoinSet<Result<String>>) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let mut most_kb = 0;
        for _ in 0..3 {
            self.serves().await?;
            most_kb = most_kb.max(self.rss_kb().await?);
        }
        while let Some(ended) = timeout(PATIENCE, attackers.join_next()).await? {
            told.push(ended??);
            most_kb = most_kb.max(self.rss_kb().await?);
        }
        self.serves().await?;
        let grown = most_kb.saturating_sub(self.rss_kb);
        assert!(grown < GROWTH_KB, "it grew by {grown} kB from {} kB", self.rss_kb);
        Ok(told)
    }
}

/// Sends `piece` again and again, with a pause, while it reads whatever comes, until the server ends it. Gives what came.
async fn pester(
    mut socket: TcpStream,
    head: &[u8],
    piece: &[u8],
    pause: Duration,
) -> Result<String> {
    let (mut reading, mut writing) = socket.split();
    let sending = async {
        let mut sent = 0;
        if writing.write_all(head).await.is_err() {
            return std::future::pending().await;
        }
        while sent < ENDLESS && writing.write_all(piece).await.is_ok() {
            sent += piece.len();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        std::future::pending().await
    };
    let mut said = Vec::new();
    let listening = async {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = reading.read(&mut bytes).await {
            said.extend_from_slice(&bytes[..read]);
        }
    };
    let begun = Instant::now();
    let ended = async {
        tokio::select! {
            () = sending => {}
            () = listening => {}
        }
    };
    timeout(PATIENCE, ended).await.map_err(|_| format!("not ended after {:?}", begun.elapsed()))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The status and the code of a refusal; `None` when the connection was cut without a word.
fn refusal(said: &str) -> Option<(u16, Value)> {
    let (head, body) = said.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    Some((status, body["code"].clone()))
}

/// So many clients that do the same.
async fn all(
    besieged: &Besieged,
    count: usize,
    head: &'static str,
    piece: &[u8],
    pause: Duration,
) -> Result<JoinSet<Result<String>>> {
    let mut attackers = JoinSet::new();
    for _ in 0..count {
        let (socket, piece) = (besieged.connect().await?, piece.to_vec());
        attackers.spawn(async move { pester(socket, head.as_bytes(), &piece, pause).await });
    }
    Ok(attackers)
}

const HEAD: &str = "GET /v1/health/ HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
const BODY: &str =
    "POST /v1/blocks/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
const CHUNKED: &str =
    "POST /v1/blocks/ HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn heads_that_drip_are_cut_and_keep_nobody_waiting() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let attackers = all(&besieged, MANY, HEAD, b"a", DRIP).await?;
    for said in besieged.outlives(attackers).await? {
        assert!(refusal(&said).is_none_or(|(status, _)| status == 408), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_that_drip_are_refused_and_keep_nobody_waiting() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let attackers = all(&besieged, MANY, BODY, b" ", DRIP).await?;
    for said in besieged.outlives(attackers).await? {
        assert_eq!(refusal(&said), Some((408, json!("body_too_slow"))), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_that_have_no_end_are_refused_at_the_limit() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let chunk = [b"10000\r\n", &[b' '; 1 << 16][..], b"\r\n"].concat();
    let attackers = all(&besieged, 8, CHUNKED, &chunk, Duration::ZERO).await?;
    for said in besieged.outlives(attackers).await? {
        // Who goes on sending may find the connection reset before it has read the answer.
        assert!(refusal(&said).is_none_or(|it| it == (413, json!("body_too_large"))), "{said}");
    }
    let head = "POST /v1/blocks/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9223372036854775807\r\n\r\n";
    let attackers = all(&besieged, MANY, head, b"", Duration::from_millis(200)).await?;
    for said in besieged.outlives(attackers).await? {
        assert_eq!(refusal(&said), Some((413, json!("body_too_large"))), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn halves_of_large_bodies_share_what_there_is_for_them() -> Result<()> {
    let besieged =
        Besieged::new(&[("RETOLD_BODIES_BYTES", "4MiB"), ("RETOLD_BODY_TIMEOUT", "3s")]).await?;
    let mut attackers = JoinSet::new();
    let half = Vec::from_iter([BODY.as_bytes(), &[b' '; 900_000]].concat());
    for _ in 0..MANY {
        let (socket, half) = (besieged.connect().await?, half.clone());
        attackers.spawn(async move { pester(socket, &half, b" ", DRIP).await });
    }
    let mut busy = 0;
    for said in besieged.outlives(attackers).await? {
        match refusal(&said) {
            Some((503, code)) if code == "bodies_busy" => busy += 1,
            Some((408, code)) if code == "body_too_slow" => {}
            None => {}
            other => panic!("{other:?}: {said}"),
        }
    }
    assert!(busy > MANY / 2, "{busy} of {MANY} were refused: there is room for four");
    let body = json!({ "label": "x", "value": "y".repeat(90_000) });
    assert_eq!(besieged.api.post("blocks/", body).await?.0, 200, "the room is given back");
    Ok(())
}

#[tokio::test]
async fn heads_without_an_end_are_refused_before_they_take_memory() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let long = vec![b'a'; 1 << 16];
    let mut many = String::new();
    for number in 0..2000 {
        write!(many, "x-header-{number}: value\r\n")?;
    }
    for (head, piece) in [
        // One header, many headers, a path, a method.
        (HEAD, &long[..]),
        ("GET /v1/health/ HTTP/1.1\r\nhost: localhost\r\n", many.as_bytes()),
        ("GET /", &long),
        ("", &long),
    ] {
        let attackers = all(&besieged, 20, head, piece, Duration::ZERO).await?;
        for said in besieged.outlives(attackers).await? {
            let refused = refusal(&said).map(|(status, _)| status);
            assert!(matches!(refused, None | Some(400 | 414 | 431)), "{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn json_that_is_deep_is_refused_and_brackets_in_a_text_are_a_text() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let path = format!("agents/{}/messages", besieged.agent);
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for deep in
        [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(100_000), "[{\"a\":".repeat(50_000)]
    {
        for body in [
            deep.clone(),
            format!(r#"{{"messages":{deep}}}"#),
            format!(r#"{{"messages":[{{"role":"user","content":{deep}}}]}}"#),
            format!(r#"{{"input":"hello","unknown":{deep}}}"#),
        ] {
            let asked = besieged.api.http.post(besieged.api.url(&path)).body(body);
            let answer = asked.send().await?;
            assert_eq!(answer.status(), 422);
            let told: Value = serde_json::from_str(&answer.text().await?)?;
            assert!(
                told["detail"].as_str().is_some_and(|detail| detail.contains("128 deep")),
                "{told}"
            );
        }
    }
    let text = "[{\"".repeat(30_000);
    let (status, answer) = besieged.api.post(&path, message(&text)).await?;
    // A text of brackets is what a person may send; whether the model has room for it is another question.
    assert!(matches!(status, 200 | 400), "{status} {answer}");
    let quoted = json!({ "label": "x", "value": "[\\\"".repeat(20_000), "metadata": { "a": "}".repeat(9999) } });
    assert_eq!(besieged.api.post("blocks/", quoted).await?.0, 200);
    besieged.outlives(JoinSet::new()).await?;
    Ok(())
}

#[tokio::test]
async fn packed_bodies_are_refused_and_not_unpacked() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    // The head of a gzip stream, and a megabyte that stands for a thousand.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xed; 1 << 19]].concat();
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unknown", "identity, gzip"] {
        for path in ["blocks/", "agents/", &format!("agents/{}/messages", besieged.agent)] {
            let asked = besieged.api.http.post(besieged.api.url(path)).body(bomb.clone());
            let answer = asked.header("content-encoding", encoding).send().await?;
            assert_eq!(answer.status(), 415, "{encoding} {path}");
            let told: Value = serde_json::from_str(&answer.text().await?)?;
            assert!(
                told["detail"].as_str().is_some_and(|it| it.contains("send plain JSON")),
                "{told}"
            );
        }
    }
    let transfer = "POST /v1/blocks/ HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n\
                    3\r\n\x1f\x08\x08\r\n0\r\n\r\n";
    let said =
        pester(besieged.connect().await?, transfer.as_bytes(), b"", Duration::from_millis(200))
            .await?;
    assert!(refusal(&said).is_some_and(|(status, _)| (400..=501).contains(&status)), "{said}");
    besieged.outlives(JoinSet::new()).await?;
    Ok(())
}

#[tokio::test]
async fn garbage_behind_a_request_ends_its_connection_and_no_other() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let garbage: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let asked = "GET /v1/health/ HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let attackers = all(&besieged, MANY, asked, &garbage, DRIP).await?;
    for said in besieged.outlives(attackers).await? {
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 200 OK"), "{said}");
        assert!(said.matches("HTTP/1.1 ").count() <= 2, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_for_ever_and_never_reads_is_cut() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let mut attackers = JoinSet::new();
    for _ in 0..4 {
        let mut socket = besieged.connect().await?;
        attackers.spawn(async move {
            let asked = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
            let asking = async { while socket.write_all(&asked).await.is_ok() {} };
            timeout(PATIENCE, asking).await?;
            Ok(String::new())
        });
    }
    besieged.outlives(attackers).await?;
    Ok(())
}

#[tokio::test]
async fn past_the_limit_of_connections_the_others_go_on_and_new_ones_get_their_turn() -> Result<()>
{
    let settings = [("RETOLD_MAX_CONNECTIONS", "20"), ("RETOLD_IDLE_TIMEOUT", "20s")];
    let besieged = Besieged::new(&settings).await?;
    // Its connection is among the twenty, and stays.
    besieged.serves().await?;
    let attackers = all(&besieged, MANY, "G", b"", DRIP).await?;
    // All of these are on connections that are there, or wait until the silent ones before them are cut.
    for said in besieged.outlives(attackers).await? {
        assert_eq!(said, "", "nothing was asked");
    }
    let fresh = Api::of(&besieged.server)?;
    assert_eq!(fresh.status("health/").await?, 200, "a new client gets its turn");
    Ok(())
}

#[tokio::test]
async fn cursors_at_the_edge_of_what_there_can_be_are_answered() -> Result<()> {
    let besieged = Besieged::new(&[]).await?;
    let agent = &besieged.agent;
    for route in [
        "events".to_owned(),
        format!("agents/{agent}/events"),
        "agents/".to_owned(),
        "runs/".to_owned(),
    ] {
        for name in ["after", "before", "as_of", "limit"] {
            for number in [
                "0",
                "1",
                "9223372036854775807",
                "18446744073709551614",
                "18446744073709551615",
                "-1",
                "latest",
            ] {
                let path = format!("{route}?{name}={number}");
                let status = besieged.api.status(&path).await?;
                assert!(matches!(status, 200 | 400 | 404 | 422), "{path}: {status}");
            }
        }
    }
    besieged.outlives(JoinSet::new()).await?;
    Ok(())
}
