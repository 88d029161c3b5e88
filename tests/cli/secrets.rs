//! No secret leaves the server: fifty agents with one each, tools that use and print them, and then every byte that the
//! server wrote or sent is searched.

mod provider;

use std::{fs, path::Path};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use self::provider::{MODEL, Provider, TOOL};
use crate::Result;
use crate::api::Api;
use crate::program::{Ended, Home, Server, run};

const AGENTS: usize = 50;
/// Agents that are spoken to at a time: each call of a tool is a process.
const AT_ONCE: usize = 4;

/// Uses its secret, prints it to both its outputs, and hands it back in the middle of something.
const SOURCE: &str = r#"
def use_secret() -> dict:
    """Use the secret of the agent."""
    import os, sys
    canary = os.environ["CANARY"]
    print("using", canary)
    print("using " + canary, file=sys.stderr)
    return {"length": len(canary), "url": "https://host/?key=" + canary + "&x=1"}
"#;

/// What every value has twice, and nothing else has.
const MARKS: [&str; 2] = ["cAnAry-", "Zq7Zq7Zq7"];

/// A value that is nowhere else, of a length of its own.
fn canary(number: usize) -> String {
    format!("{}{number:03}-{}{}", MARKS[0], MARKS[1], "Zq7".repeat(number % 7))
}

/// What must be nowhere: a part of all values, as it is, in base64 wherever it begins, and as hexadecimal digits.
fn needles(part: &str) -> Vec<String> {
    let mut needles = vec![part.to_owned(), HEXLOWER.encode(part.as_bytes())];
    for lead in 0..3 {
        let moved = [&b"xyz"[..lead], part.as_bytes()].concat();
        // The characters at either end hold bits of what stands beside the part.
        let inside = |text: String| text[lead * 2..text.len() - 2].to_owned();
        needles.push(inside(BASE64_NOPAD.encode(&moved)));
        needles.push(inside(BASE64URL_NOPAD.encode(&moved)));
    }
    needles
}

/// All that left the server or stayed behind, under the name of where. What is no text is kept as far as it is.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, bytes: impl AsRef<[u8]>) {
        self.0.push((place.into(), String::from_utf8_lossy(bytes.as_ref()).into_owned()));
    }

    fn add_files(&mut self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add_files(&path)?;
            } else {
                self.add(path.display().to_string(), fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// Names of the places that hold it.
    fn holding(&self, needle: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, text)| text.contains(needle)).map(|(place, _)| &**place).collect()
    }
}

async fn agent(api: &Api, number: usize, tool: &Value) -> Result<String> {
    let body = json!({
        "name": format!("plain {number:03}"), "model": MODEL, "tool_ids": [tool],
        "secrets": { "CANARY": canary(number) },
    });
    let (status, agent) = api.post("agents/", body).await?;
    assert_eq!(status, 200, "{agent}");
    Ok(agent["id"].as_str().unwrap_or_default().to_owned())
}

/// The whole text of an answer, noted.
async fn get(api: &Api, seen: &mut Seen, path: &str) -> Result<Value> {
    let answer = api.http.get(api.url(path)).send().await?;
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    let bytes = answer.bytes().await?;
    seen.add(format!("GET {path}"), &bytes);
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn post(api: &Api, path: &str, body: Value) -> Result<(String, Vec<u8>)> {
    let answer = api.http.post(api.url(path)).json(&body).send().await?;
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    Ok((format!("POST {path}"), answer.bytes().await?.to_vec()))
}

/// Lets an agent use its secret, in a conversation and by hand. Gives what was answered.
async fn use_it(api: &Api, agent: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let message = json!({
        "messages": [{ "role": "user", "content": "Use it." }], "stream_tokens": true,
    });
    Ok(vec![
        post(api, &format!("agents/{agent}/messages/stream"), message).await?,
        post(api, &format!("agents/{agent}/tools/{TOOL}/run"), json!({ "args": {} })).await?,
    ])
}

/// Reads all there is to read of the server.
async fn read_all(api: &Api, seen: &mut Seen, agents: &[String]) -> Result<()> {
    for path in [
        "agents/?limit=100&include=agent.tools&include=agent.blocks&include=agent.tags",
        "agents/?limit=100&include=",
        "tools/",
        "blocks/",
        "runs/?limit=500",
        "steps/?limit=500",
        "events?limit=1000",
    ] {
        get(api, seen, path).await?;
    }
    let runs = get(api, seen, "runs/?limit=500").await?;
    for agent in agents {
        for part in ["", "/messages?limit=100", "/events?limit=1000", "/core-memory/blocks"] {
            get(api, seen, &format!("agents/{agent}{part}")).await?;
        }
    }
    for run in runs.as_array().into_iter().flatten() {
        let run = run["id"].as_str().unwrap_or_default();
        for part in ["", "/messages", "/steps", "/trace", "/replay"] {
            get(api, seen, &format!("runs/{run}{part}")).await?;
        }
        let again =
            post(api, &format!("runs/{run}/stream"), json!({ "starting_after": 0 })).await?;
        seen.add(again.0, again.1);
    }
    // The feed of events, up to what it has now.
    let feed = api.http.get(api.url("events")).header("accept", "text/event-stream").send().await?;
    let head = get(api, seen, "events?before=latest&limit=1").await?[0]["position"].to_string();
    let (mut told, mut pieces) = (Vec::new(), feed.bytes_stream());
    while !String::from_utf8_lossy(&told).contains(&format!("\"position\":{head},")) {
        let Some(piece) = pieces.next().await else { break };
        told.extend_from_slice(&piece?);
    }
    seen.add("the feed of events", told);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_secrets_are_used_and_none_is_found_anywhere() -> Result<()> {
    let (home, provider) = (Home::new()?, Provider::start().await?);
    let mut command = home.serve();
    command
        .env("OPENAI_API_KEY", "sk-of-the-provider")
        .env("OPENAI_BASE_URL", format!("{}/v1", provider.url))
        .env("RETOLD_OTLP_ENDPOINT", &provider.url)
        .env("RETOLD_OTLP_CONTENT", "true")
        .env("RETOLD_LOG", "trace")
        .env("RETOLD_TOOL_UNCAGED", "true");
    let server = Server::start(&mut command).await?;
    let api = Api::of(&server)?;
    let mut seen = Seen::default();
    let (status, tool) = api.post("tools/", json!({ "source_code": SOURCE })).await?;
    assert_eq!(status, 200, "{tool}");
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        agents.push(agent(&api, number, &tool["id"]).await?);
    }

    let used = stream::iter(&agents).map(|agent| use_it(&api, agent)).buffered(AT_ONCE);
    for (number, answers) in used.try_collect::<Vec<_>>().await?.into_iter().enumerate() {
        let length = canary(number).chars().count();
        for (place, bytes) in answers {
            // It was there and was used: only the tool can know how long it is.
            let told = String::from_utf8_lossy(&bytes).replace('\\', "");
            assert!(told.contains(&format!("\"length\": {length}")), "{place}: {told}");
            assert!(told.contains("[secret CANARY]"), "{place}: {told}");
            seen.add(place, bytes);
        }
    }
    // Others replace what was there; the bytes of the former ones stay in the log.
    for (number, agent) in agents.iter().enumerate().take(10) {
        let change = json!({ "secrets": { "CANARY": canary(AGENTS + number) } });
        let (status, answer) = api.patch(&format!("agents/{agent}"), change).await?;
        assert_eq!(status, 200, "{answer}");
        seen.add("PATCH", answer.to_string());
        let (status, answer) = api.post(&format!("agents/{agent}/fork"), json!({})).await?;
        assert_eq!(status, 200, "{answer}");
        seen.add("fork", answer.to_string());
    }
    read_all(&api, &mut seen, &agents).await?;
    for (number, agent) in agents.iter().enumerate() {
        let shown = api.get(&format!("agents/{agent}?include=agent.secrets")).await?;
        let now = canary(if number < 10 { AGENTS + number } else { number });
        assert_eq!(shown["secrets"][0]["value"], now, "whoever asks by name is told");
    }

    let backup = home.path().join("backup");
    let mut backing_up = home.retold(&["backup", "--url", &server.url]);
    let Ended { code, stdout, stderr } = run(backing_up.arg(&backup)).await?;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("the key of secrets is no part of a backup"), "{stderr}");
    let log = server.said();
    assert!(log.contains("TRACE"), "all is logged that can be");
    server.stop().await?;
    seen.add("the log", log);
    seen.add("backup", [stdout, stderr].concat());
    for body in provider.heard() {
        seen.add("sent to the provider or the collector", body);
    }
    seen.add_files(&home.data())?;
    seen.add_files(&backup)?;

    // The search finds what is there in clear, in each kind of place.
    let plain = seen.holding("plain 049");
    for place in ["GET ", "/data/", "/backup/"] {
        assert!(plain.iter().any(|it| it.contains(place)), "{place} in {plain:?}");
    }
    let marked = seen.holding("[secret CANARY]");
    for place in ["sent to", "the feed", "/data/"] {
        assert!(marked.iter().any(|it| it.contains(place)), "{place} in {marked:?}");
    }
    for needle in MARKS.into_iter().flat_map(needles) {
        assert_eq!(seen.holding(&needle), [""; 0], "{needle}");
    }
    let key = fs::read_to_string(home.data().join("secrets.key"))?;
    let holding = seen.holding(key.lines().last().unwrap_or("no key"));
    assert!(holding.len() == 1 && holding[0].ends_with("/secrets.key"), "{holding:?}");
    Ok(())
}

async fn value_of(server: &Server, agent: &str) -> Result<Value> {
    let shown = Api::of(server)?.get(&format!("agents/{agent}?include=agent.secrets")).await?;
    Ok(shown["secrets"][0]["value"].clone())
}

#[tokio::test]
async fn a_backup_is_restored_beside_its_key_and_without_it_all_but_secrets_are_there() -> Result<()>
{
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let api = Api::of(&server)?;
    let body = json!({ "name": "Sam", "model": "retold/rehearsal", "secrets": { "A": "value" } });
    let (status, agent) = api.post("agents/", body).await?;
    assert_eq!(status, 200, "{agent}");
    let agent = agent["id"].as_str().unwrap_or_default().to_owned();
    server.stop().await?;
    let (backup, key) = (home.path().join("backup"), home.data().join("secrets.key"));
    let mut backing_up = home.retold(&["backup", "--data-dir"]);
    let made = run(backing_up.arg(home.data()).arg(&backup)).await?;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(!backup.join("secrets.key").exists());

    // The key first, then what it opens.
    let with_key = home.path().join("with-key");
    fs::create_dir(&with_key)?;
    fs::copy(&key, with_key.join("secrets.key"))?;
    let mut restoring = home.retold(&["restore"]);
    let restored = run(restoring.arg(&backup).arg("--data-dir").arg(&with_key)).await?;
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(!restored.stderr.contains("key of secrets"), "{}", restored.stderr);
    let server = Server::start(&mut home.serve_on(&with_key)).await?;
    assert_eq!(value_of(&server, &agent).await?, "value");
    server.stop().await?;
    let mut verifying = home.retold(&["verify"]);
    let verified = run(verifying.arg(&with_key)).await?;
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);

    let without = home.path().join("without");
    let mut restoring = home.retold(&["restore"]);
    let restored = run(restoring.arg(&backup).arg("--data-dir").arg(&without)).await?;
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(restored.stderr.contains("put the file secrets.key"), "{}", restored.stderr);
    let server = Server::start(&mut home.serve_on(&without)).await?;
    assert_eq!(value_of(&server, &agent).await?, "");
    assert!(server.said().contains("the key of the secret A is missing"), "{}", server.said());
    fs::copy(&key, without.join("secrets.key"))?;
    assert_eq!(value_of(&server, &agent).await?, "value");
    server.stop().await
}

#[tokio::test]
async fn the_key_of_the_environment_needs_no_file_and_another_one_opens_nothing() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(home.serve().env("LETTA_ENCRYPTION_KEY", "any text")).await?;
    let body = json!({ "name": "Sam", "model": "retold/rehearsal", "secrets": { "A": "value" } });
    let (status, agent) = Api::of(&server)?.post("agents/", body).await?;
    assert_eq!(status, 200, "{agent}");
    let agent = agent["id"].as_str().unwrap_or_default().to_owned();
    assert!(!server.said().contains("any text"));
    server.stop().await?;
    assert!(!home.data().join("secrets.key").exists());
    for (text, value) in [("any text", "value"), ("another", "")] {
        let server = Server::start(home.serve().env("RETOLD_ENCRYPTION_KEY", text)).await?;
        assert_eq!(value_of(&server, &agent).await?, value, "{text}");
        let said = server.said();
        assert_eq!(said.contains("was sealed with another key"), value.is_empty(), "{said}");
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_others_can_read_keeps_the_server_from_starting() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new()?;
    fs::create_dir(home.data())?;
    let key = home.data().join("secrets.key");
    fs::write(&key, format!("{}\n", "0".repeat(64)))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let refused = run(&mut home.serve()).await?;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("mode 0644") && refused.stderr.contains("chmod 600"));
    assert!(!refused.stderr.contains("00000000"), "{}", refused.stderr);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    Server::start(&mut home.serve()).await?.stop().await
}
