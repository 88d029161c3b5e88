//! The promises of the log, with a store that hangs and fails on command.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::AtomicUsize,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    Position, Seq,
    store::{
        Failure, Faults, FaultyStore, MemoryStore, Moment,
        conformance::{agent, commit},
    },
};

fn log() -> (Log, Faults, Arc<MemoryStore>) {
    let (faults, memory) = (Faults::new(), Arc::new(MemoryStore::new()));
    let store = FaultyStore::new(Arc::clone(&memory), faults.clone());
    (Log::open(Arc::new(store)), faults, memory)
}

/// Whether a future is not ready now, polled once.
fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn an_answer_comes_only_after_the_store_has_answered() {
    runtime().block_on(async {
        let (log, faults, memory) = log();
        let hold = faults.hold(Moment::After);
        let mut append = pin!(log.append(commit(agent(1), 0, 2)));
        assert!(is_pending(append.as_mut()));
        hold.reached().await;
        assert_eq!(memory.stream_head(agent(1)).unwrap(), Seq(2), "it is written");
        assert!(is_pending(append.as_mut()), "and not yet acknowledged");
        assert_eq!(log.head().position, Position(0));
        drop(hold);
        assert_eq!(append.await.unwrap().position, Position(2));
        assert_eq!(log.head().position, Position(2));
    });
}

#[test]
fn a_read_never_shows_what_is_not_durable() {
    runtime().block_on(async {
        let (log, faults, _) = log();
        let hold = faults.hold(Moment::After);
        let ticket = log.submit(log.reserve().await, commit(agent(1), 0, 1), |_| ());
        hold.reached().await;
        let mut inline = pin!(log.read_inline(|store| store.stream_head(agent(1))));
        let mut spawned = pin!(log.read(|store| store.stream_head(agent(1))));
        let mut durable = pin!(log.durable(ticket));
        for _ in 0..50 {
            assert!(is_pending(inline.as_mut()));
            assert!(is_pending(spawned.as_mut()));
            assert!(is_pending(durable.as_mut()));
            tokio::task::yield_now().await;
        }
        assert!(!log.is_durable(ticket));
        drop(hold);
        assert_eq!(inline.await.unwrap(), Seq(1));
        assert_eq!(spawned.await.unwrap(), Seq(1));
        durable.await.unwrap();
        assert!(log.is_durable(ticket));
    });
}

#[test]
fn a_read_does_not_wait_when_nothing_is_being_written() {
    runtime().block_on(async {
        let (log, ..) = log();
        log.append(commit(agent(1), 0, 1)).await.unwrap();
        let read = pin!(log.read_inline(|store| store.stream_head(agent(1))));
        let ready = read.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(Seq(1)))));
    });
}

#[test]
fn a_read_fails_rather_than_show_what_was_never_acknowledged() {
    runtime().block_on(async {
        let (log, faults, memory) = log();
        faults.fail_append(1, Moment::After, Failure::Io);
        let error = log.append(commit(agent(1), 0, 1)).await.unwrap_err();
        assert!(matches!(error, AppendError::Storage(_)), "{error}");
        assert_eq!(memory.stream_head(agent(1)).unwrap(), Seq(1), "the acknowledgement was torn");
        let read = log.read(|store| store.stream_head(agent(1))).await;
        assert!(matches!(read, Err(StoreError::Closed(_))));
    });
}

#[test]
fn commits_are_written_in_the_order_they_were_submitted_and_in_groups() {
    runtime().block_on(async {
        let (log, faults, _) = log();
        let hold = faults.hold(Moment::Before);
        let answered = Arc::new(Mutex::new(Vec::new()));
        let mut tickets = Vec::new();
        for number in 0..300 {
            let answered = Arc::clone(&answered);
            let permit = log.reserve().await;
            let done = move |answer: Result<Committed, AppendError>| {
                answered.lock().unwrap().push(answer.unwrap().position.0);
            };
            tickets.push(log.submit(permit, commit(agent(1), number, 1), done));
            if number == 0 {
                hold.reached().await;
            }
        }
        assert!(tickets.is_sorted());
        drop(hold);
        log.durable(tickets[299]).await.unwrap();
        log.close().await;
        assert_eq!(*answered.lock().unwrap(), (1..=300).collect::<Vec<_>>());
        assert_eq!(faults.appends(), 3, "one alone, 256 commits together, the rest");
    });
}

#[test]
fn a_conflict_hinders_nobody_else() {
    runtime().block_on(async {
        let (log, ..) = log();
        log.append(commit(agent(1), 0, 3)).await.unwrap();
        let refused = log.append(commit(agent(1), 2, 1)).await.unwrap_err();
        let (stream, expected, actual) = (agent(1), Seq(2), Seq(3));
        let AppendError::Conflict(conflict) = refused else { panic!("{refused}") };
        assert_eq!(conflict, Conflict { stream, expected, actual });
        log.append(commit(agent(1), 3, 1)).await.unwrap();
        assert!(log.failure().is_none());
    });
}

#[test]
fn what_is_too_long_is_refused_before_it_can_harm_the_store() {
    runtime().block_on(async {
        let (log, faults, _) = log();
        let mut long = commit(agent(1), 0, 1);
        long.appends[0].events[0].encoded.payload = vec![0; MAX_PAYLOAD_BYTES + 1].into();
        let error = log.append(long).await.unwrap_err();
        assert!(matches!(error, AppendError::TooLong { what: "an event", .. }), "{error}");
        let mut long = commit(agent(1), 0, 1);
        let key = vec![0; MAX_KEY_BYTES + 1];
        long.rows.push(crate::store::RowChange {
            table: crate::store::Table::Tags,
            key,
            value: None,
        });
        let error = log.append(long).await.unwrap_err();
        assert!(matches!(error, AppendError::TooLong { what: "a key", .. }), "{error}");
        assert_eq!(faults.appends(), 0);
        log.append(commit(agent(1), 0, 1)).await.unwrap();
    });
}

#[test]
fn a_full_queue_makes_writers_wait() {
    runtime().block_on(async {
        let (log, faults, _) = log();
        let hold = faults.hold(Moment::Before);
        for number in 0..QUEUED_COMMITS as u64 {
            log.submit(log.reserve().await, commit(agent(1), number, 1), |_| ());
        }
        hold.reached().await;
        let mut reserve = pin!(log.reserve());
        assert!(is_pending(reserve.as_mut()), "what is being written counts too");
        drop(hold);
        reserve.await;
    });
}

#[test]
fn a_failure_beside_the_groups_is_told_though_nobody_writes() {
    runtime().block_on(async {
        let (log, faults, memory) = log();
        log.append(commit(agent(1), 0, 1)).await.unwrap();
        faults.fail_beside(Failure::Full);
        assert!(matches!(*log.failed().await, StoreError::Full));
        let error = log.append(commit(agent(1), 1, 1)).await.unwrap_err();
        assert!(matches!(&error, AppendError::Storage(e) if matches!(**e, StoreError::Full)));
        log.close().await;
        assert_eq!(memory.head().position, Position(1));
    });
}

#[test]
fn after_a_failure_everybody_is_told_at_once() {
    runtime().block_on(async {
        let (log, faults, memory) = log();
        faults.fail_append(2, Moment::Before, Failure::Full);
        log.append(commit(agent(1), 0, 1)).await.unwrap();
        let hold = faults.hold(Moment::Before);
        let mut failed = pin!(log.failed());
        assert!(is_pending(failed.as_mut()));
        let told = Arc::new(AtomicUsize::new(0));
        let mut tickets = Vec::new();
        for number in 1..QUEUED_COMMITS as u64 + 1 {
            let told = Arc::clone(&told);
            let done = move |answer: Result<Committed, AppendError>| {
                assert!(matches!(answer, Err(AppendError::Storage(_))));
                told.fetch_add(1, Ordering::SeqCst);
            };
            tickets.push(log.submit(log.reserve().await, commit(agent(1), number, 1), done));
        }
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { drop(log.reserve().await) }
        });
        hold.reached().await;
        drop(hold);
        assert!(matches!(*failed.await, StoreError::Full));
        assert!(log.durable(tickets[0]).await.is_err());
        waiting.await.unwrap();
        let error = log.append(commit(agent(2), 0, 1)).await.unwrap_err();
        assert!(matches!(&error, AppendError::Storage(e) if matches!(**e, StoreError::Full)));
        assert!(matches!(log.failure().as_deref(), Some(StoreError::Full)));
        log.close().await;
        assert_eq!(told.load(Ordering::SeqCst), QUEUED_COMMITS);
        assert_eq!(memory.head().position, Position(1), "nothing was written after it");
    });
}

#[test]
fn what_is_shown_of_a_commit_is_shown_before_anybody_hears_that_it_is_durable() {
    runtime().block_on(async {
        let (log, _, memory) = log();
        let (sender, told) = std::sync::mpsc::channel();
        for number in 0..20 {
            let (shown, durable) = (sender.clone(), sender.clone());
            let show = |_| {
                // Time enough for a committer that could see the commit already.
                for _ in 0..200 {
                    std::thread::yield_now();
                    assert_eq!(memory.stream_head(agent(1)).unwrap(), Seq(number));
                }
                shown.send((number, "shown")).unwrap();
            };
            let permit = log.reserve().await;
            let ticket = log.submit_shown(permit, commit(agent(1), number, 1), show, move |_| {
                durable.send((number, "durable")).unwrap();
            });
            log.durable(ticket).await.unwrap();
        }
        drop(sender);
        let expected = (0..20).flat_map(|number| [(number, "shown"), (number, "durable")]);
        assert!(told.iter().eq(expected));
    });
}

#[test]
fn closing_writes_what_waits_and_refuses_what_comes_later() {
    runtime().block_on(async {
        let (log, faults, memory) = log();
        let hold = faults.hold(Moment::Before);
        for number in 0..20 {
            log.submit(log.reserve().await, commit(agent(1), number, 1), |answer| {
                answer.unwrap();
            });
        }
        hold.reached().await;
        let mut close = pin!(log.close());
        assert!(is_pending(close.as_mut()));
        assert!(log.append(commit(agent(2), 0, 1)).await.is_err());
        drop(hold);
        close.await;
        assert_eq!(memory.stream_head(agent(1)).unwrap(), Seq(20));
        assert!(memory.append(&[]).is_err(), "the store is closed");
        assert!(log.append(commit(agent(2), 0, 1)).await.is_err());
        assert!(log.failure().is_none(), "closing is no failure");
        log.close().await;
    });
}

#[test]
fn dropping_the_last_log_writes_what_waits() {
    let (log, faults, memory) = log();
    let hold = faults.hold(Moment::Before);
    let (sender, receiver) = std::sync::mpsc::channel();
    let permit = runtime().block_on(log.reserve());
    log.submit(permit, commit(agent(1), 0, 1), move |answer| sender.send(answer).unwrap());
    drop(log);
    drop(hold);
    assert!(receiver.recv().unwrap().is_ok());
    assert_eq!(memory.stream_head(agent(1)).unwrap(), Seq(1));
}

#[test]
fn an_answer_that_panics_ends_nothing() {
    runtime().block_on(async {
        let (log, ..) = log();
        log.submit(log.reserve().await, commit(agent(1), 0, 1), |_| panic!("a test said so"));
        log.append(commit(agent(1), 1, 1)).await.unwrap();
    });
}

#[test]
fn space_is_asked_for_four_times_a_second_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (log, faults, _) = log();
        let pretended = Space { free: 1, reserve: 2 };
        faults.set_space(Some(pretended));
        assert_eq!(log.space(), pretended);
        faults.set_space(Some(Space { free: 3, reserve: 2 }));
        assert_eq!(log.space(), pretended);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_looks_between_two_groups_sees_one_moment() {
    let log = Log::open(Arc::new(MemoryStore::new()));
    let writers = (0..4).map(|number| {
        let log = log.clone();
        tokio::spawn(async move {
            for expected in 0..200 {
                log.append(commit(agent(number), expected, 1)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut last = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let look = |store: &dyn EventStore| {
            let before = store.head().position;
            let events = store.read_all(Position(1), usize::MAX)?.len();
            std::thread::yield_now();
            Ok((before, events, store.head().position))
        };
        let (before, events, after) = log.at_rest(look).await.unwrap();
        assert_eq!((before, events as u64), (after, after.0));
        assert!(before.0 >= last, "a later look is of a later moment");
        last = before.0;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    log.close().await;
    assert!(log.at_rest(|store| Ok(store.head())).await.is_err());
}
