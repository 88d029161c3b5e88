use retold_events::store::MemoryStore;
use uuid::Uuid;

use super::*;

fn pasts() -> Arc<Pasts> {
    Arc::new(Pasts::new(Arc::new(MemoryStore::new())))
}

fn agent(number: u128) -> Whose {
    Whose::Agent(AgentId::from_uuid(Uuid::from_u128(number)))
}

const SERVER: Whose = Whose::Server(Tables::AGENTS);

/// Takes all turns, so that no fold begins.
async fn hold(folds: &Arc<Semaphore>, all: usize) -> OwnedSemaphorePermit {
    let all = u32::try_from(all).unwrap();
    Arc::clone(folds).acquire_many_owned(all).await.unwrap()
}

/// Asks for a past in a task of its own, and lets it come as far as it comes.
async fn ask(
    pasts: &Arc<Pasts>,
    whose: Whose,
    position: u64,
) -> tokio::task::JoinHandle<Result<Arc<Past>, Refusal>> {
    let pasts = Arc::clone(pasts);
    let asked = tokio::spawn(async move { pasts.get(whose, Position(position)).await });
    tokio::task::yield_now().await;
    asked
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_for_a_past_it_is_folded_once() {
    let pasts = pasts();
    let turns = hold(&pasts.folds.of_server, SERVER_FOLDS).await;
    let asked = [ask(&pasts, SERVER, 1).await, ask(&pasts, SERVER, 1).await];
    assert_eq!(lock(&pasts.kept).0.len(), 1);
    drop(turns);
    let [first, second] = asked;
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    let later = pasts.get(SERVER, Position(1)).await.unwrap();
    assert!(Arc::ptr_eq(&first, &later), "it is kept");
    let other = pasts.get(SERVER, Position(2)).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &other), "another moment is another past");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_a_turn_is_told_to_come_back() {
    let pasts = pasts();
    let turns = hold(&pasts.folds.of_server, SERVER_FOLDS).await;
    let refused = pasts.get(SERVER, Position(1)).await.unwrap_err();
    assert!(matches!(refused, Refusal::Crowded { retry_after } if retry_after == RETRY_AFTER));
    assert!(lock(&pasts.kept).0.is_empty(), "a failure is not kept");
    pasts.get(agent(1), Position(1)).await.expect("agents have turns of their own");
    drop(turns);
    pasts.get(SERVER, Position(1)).await.expect("and it is folded when there is a turn");
}

#[tokio::test(start_paused = true)]
async fn a_fold_goes_on_when_its_client_has_left() {
    let pasts = pasts();
    let turns = hold(&pasts.folds.of_server, SERVER_FOLDS).await;
    let asked = ask(&pasts, SERVER, 1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    drop(turns);
    while lock(&pasts.kept).count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_of_pasts_asked_for_others_are_refused_at_once() {
    let pasts = pasts();
    let turns = hold(&pasts.folds.of_agents, AGENT_FOLDS).await;
    let mut asked = Vec::new();
    for number in 0..ASKED_FOR {
        asked.push(ask(&pasts, agent(number as u128), 1).await);
    }
    let begun = Instant::now();
    let refused = pasts.get(agent(1 << 20), Position(1)).await.unwrap_err();
    assert!(matches!(refused, Refusal::Crowded { .. }));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let again = ask(&pasts, agent(0), 1).await;
    drop(turns);
    again.await.unwrap().expect("one that is on its way may be waited for");
    for asked in asked {
        asked.await.unwrap().expect("nobody was forgotten");
    }
    assert_eq!(lock(&pasts.kept).count(), KEPT, "the newest are kept");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_longest_ago_goes_first_and_what_nobody_reads_goes() {
    let pasts = pasts();
    for number in 0..3 {
        pasts.get(agent(number), Position(1)).await.unwrap();
    }
    let keys = |pasts: &Pasts| -> Vec<Whose> {
        lock(&pasts.kept).0.iter().map(|entry| entry.key.0).collect()
    };
    pasts.get(agent(0), Position(1)).await.unwrap();
    assert_eq!(keys(&pasts), [agent(1), agent(2), agent(0)]);
    lock(&pasts.kept).settle((agent(2), Position(1)), Some(KEPT_BYTES));
    assert_eq!(keys(&pasts), [agent(1), agent(2), agent(0)], "together they just fit");
    lock(&pasts.kept).settle((agent(2), Position(1)), Some(KEPT_BYTES + 1));
    assert_eq!(keys(&pasts), [agent(0)], "the oldest go until the rest fits");
    tokio::time::advance(KEPT_FOR - Duration::from_secs(1)).await;
    pasts.forget_idle();
    assert_eq!(keys(&pasts), [agent(0)]);
    tokio::time::advance(Duration::from_secs(1)).await;
    pasts.forget_idle();
    assert!(keys(&pasts).is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_the_end_was_announced_nothing_is_folded() {
    let pasts = pasts();
    let turns = hold(&pasts.folds.of_server, SERVER_FOLDS).await;
    let waiting = ask(&pasts, SERVER, 1).await;
    pasts.stop();
    assert!(matches!(waiting.await.unwrap(), Err(Refusal::Draining)));
    drop(turns);
    assert!(matches!(pasts.get(SERVER, Position(1)).await, Err(Refusal::Draining)));
}

#[tokio::test]
async fn a_fold_that_panics_ends_alone_and_gives_its_turn_back() {
    let folds = Arc::new(Semaphore::new(1));
    let panicked = in_turn(&folds, || -> u8 { panic!("a damaged history") }).await;
    assert!(matches!(panicked, Ok(None)));
    assert_eq!(in_turn(&folds, || 7).await.unwrap(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn the_store_is_let_go_with_the_pasts() {
    let store = Arc::new(MemoryStore::new());
    let pasts = Pasts::new(Arc::clone(&store) as Arc<dyn EventStore>);
    drop(pasts.get(SERVER, Position(1)).await.unwrap());
    assert!(Arc::strong_count(&store) > 1);
    drop(pasts);
    // The task that drove the fold may be about to end.
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&store), 1);
}
