//! The archive over HTTP: what may be asked for, and what is refused.

use retold_events::store::archive::{Backup, Target};

use crate::support::{World, reply};

#[tokio::test]
async fn an_archive_is_a_stream_that_is_taken_for_whole_only_as_a_whole() {
    let world = World::new().await;
    world.model("echo", []);
    world.agent("echo").await;
    world.agent("echo").await;
    let answer = world.ask(reqwest::Method::GET, "/v1/admin/backup").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let bytes = answer.bytes().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cut = Target::open(dir.path()).unwrap().receive(&bytes[..bytes.len() - 1], &mut |_| ());
    assert!(cut.is_err());
    let target = Target::open(dir.path()).unwrap();
    let manifest = target.receive(&bytes[..], &mut |_| ()).unwrap();
    assert!(manifest.counts.events > 0);
    assert_eq!(Backup::open(dir.path()).unwrap().manifest(), &manifest);

    let chain: String = manifest.chain.iter().map(|byte| format!("{byte:02x}")).collect();
    let ask = |after: u64, chain: &str| {
        let path = format!("/v1/admin/backup?after={after}&chain={chain}");
        world.ask(reqwest::Method::GET, &path)
    };
    let answer = ask(manifest.position.0, &chain).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().len() < bytes.len(), "only what came after");
    for (after, chain) in
        [(manifest.position.0, "0".repeat(32)), (1 << 40, chain.clone()), (1, chain.clone())]
    {
        let refused = reply(ask(after, &chain)).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &"conflict".into()));
    }
    for query in ["after=1", "after=x&chain=00", "chain=00", "after=-1&chain=00"] {
        let path = format!("/v1/admin/backup?{query}");
        let refused = reply(world.ask(reqwest::Method::GET, &path)).await;
        assert_eq!(refused.status, 422, "{query}: {}", refused.text);
    }
}
