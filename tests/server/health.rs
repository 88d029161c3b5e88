//! Probes: open to all, and each tells what an orchestrator can do something about.

use std::{sync::Arc, time::Duration};

use retold::config::{Environment, Flags, Inputs};
use retold_events::store::{Failure, Faults, FaultyStore, MemoryStore, Moment, Space};
use serde_json::{Value, json};

use crate::support::{PATIENCE, World, config, list, message, text};

fn check<'a>(body: &'a Value, name: &str) -> &'a Value {
    let found = list(&body["checks"]).iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {body}"))
}

async fn faulty() -> (World, Faults) {
    let faults = Faults::new();
    let store = FaultyStore::new(Arc::new(MemoryStore::new()), faults.clone());
    (World::over(Arc::new(store)).await, faults)
}

#[tokio::test]
async fn probes_pass_without_the_password_and_say_little_unless_asked() {
    let environment = Environment::from_iter([("HOME", "/"), ("RETOLD_PASSWORD", "secret")]);
    let mut guarded = retold::config::Config::load(&Inputs {
        flags: Flags::default(),
        environment,
        directory: "/nonexistent".into(),
        generated_password: String::new(),
    })
    .unwrap();
    guarded.port = config().port;
    let world = World::with(guarded).await;
    assert_eq!(world.get("/v1/agents").await.status, 401);
    for path in ["/livez", "/readyz", "/healthz", "/readyz/"] {
        assert_eq!(world.get(path).await.ok(), json!({ "status": "ok" }), "{path}");
    }
    for path in ["/readyz?verbose", "/healthz?verbose=1", "/readyz?a=b&verbose"] {
        let body = world.get(path).await.ok();
        let names: Vec<&str> =
            list(&body["checks"]).iter().map(|check| text(&check["name"])).collect();
        assert_eq!(names, ["recovery", "log", "admission", "disk"], "{path}");
        assert!(list(&body["checks"]).iter().all(|check| check["status"] == "ok"), "{body}");
    }
    assert_eq!(check(&world.get("/livez?verbose").await.ok(), "log")["status"], "ok");
}

#[tokio::test]
async fn a_server_that_drains_is_alive_and_not_ready() {
    let world = World::new().await;
    world.server.drain(Duration::ZERO).await;
    assert_eq!(world.get("/livez").await.status, 200);
    for path in ["/readyz", "/healthz"] {
        let refused = world.get(path).await;
        assert_eq!((refused.status, &refused.body["code"]), (503, &json!("not_ready")), "{path}");
        assert_eq!(check(&refused.body, "admission")["status"], "failed");
        assert_eq!(check(&refused.body, "log")["status"], "ok");
    }
}

#[tokio::test]
async fn after_the_storage_failed_a_server_is_neither_alive_nor_ready() {
    let (world, faults) = faulty().await;
    let agent = world.agent("echo").await;
    faults.fail_append(1, Moment::Before, Failure::Io);
    let refused = world.say(&agent, "hi").await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    tokio::time::timeout(PATIENCE, world.server.failed()).await.expect("it is told");
    for path in ["/livez", "/readyz", "/healthz"] {
        let refused = world.get(path).await;
        assert_eq!((refused.status, &refused.body["code"]), (503, &json!("not_ready")), "{path}");
        let log = check(&refused.body, "log");
        assert_eq!(
            (&log["status"], &log["detail"]),
            (&json!("failed"), &json!("the storage failed"))
        );
    }
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_a_warning_because_reads_go_on() {
    let (world, faults) = faulty().await;
    let agent = world.agent("echo").await;
    faults.set_space(Some(Space { free: 1, reserve: 2 }));
    let begun = std::time::Instant::now();
    loop {
        let body = world.get("/readyz?verbose").await.ok();
        if check(&body, "disk")["status"] == "warning" {
            assert!(text(&check(&body, "disk")["detail"]).contains("1 bytes free"), "{body}");
            break;
        }
        // What is known of the disk may be a quarter of a second old.
        assert!(begun.elapsed() < PATIENCE, "{body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.get("/readyz").await.ok(), json!({ "status": "ok" }));
    let refused = world.post(&format!("/v1/agents/{agent}/messages"), message("hi")).await;
    assert_eq!(refused.status, 507);
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.status, 200);
}
