//! The one thread that writes: takes what waits, writes it as a group, answers.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{AppendError, Pending, Shared};
use crate::{
    defect::Defect,
    store::{Commit, Committed, Conflict, Head, StoreError},
};

/// Events in one group, at most: the sync is paid for long before, and every caller waits for the whole group.
const GROUP_EVENTS: usize = 512;
/// Bytes in one group, at most, as far as the callers' payloads go.
const GROUP_BYTES: usize = 1 << 20;
/// Commits in one group, at most.
const GROUP_COMMITS: usize = 256;

/// Between two looks at the store while there is nothing to write.
const LOOK: Duration = Duration::from_secs(1);

/// Writes groups until the log is closed or the store fails.
pub(super) fn run(shared: &Shared) {
    while let Some(group) = next_group(shared) {
        write(shared, group);
    }
    if shared.failure.get().is_none()
        && let Err(error) = shared.store.close()
    {
        tracing::error!(%error, "the store did not close cleanly");
    }
    shared.watched.end();
    shared.progress.send_modify(|progress| progress.closed = true);
}

/// Waits for work; `None` when there will be none any more.
fn next_group(shared: &Shared) -> Option<Vec<Pending>> {
    let mut queue = shared.lock_queue();
    while queue.waiting.is_empty() && !queue.closing {
        let waited = shared.queued.wait_timeout(queue, LOOK);
        let (locked, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        queue = locked;
        if timeout.timed_out() && queue.waiting.is_empty() {
            drop(queue);
            look(shared);
            queue = shared.lock_queue();
        }
    }
    let mut group = Vec::new();
    let (mut events, mut bytes) = (0, 0);
    while let Some(next) = queue.waiting.front() {
        let (more_events, more_bytes) = size(&next.commit);
        let is_full = group.len() >= GROUP_COMMITS
            || events + more_events > GROUP_EVENTS
            || bytes + more_bytes > GROUP_BYTES;
        if is_full && !group.is_empty() {
            break;
        }
        (events, bytes) = (events + more_events, bytes + more_bytes);
        group.extend(queue.waiting.pop_front());
    }
    if group.is_empty() {
        // No permit is worth anything now: let those go on who wait for one.
        shared.permits.close();
        return None;
    }
    Some(group)
}

/// Asks the store how it is: what fails beside the groups must not wait for the next one to be told.
fn look(shared: &Shared) {
    if let Err(error) = shared.store.check() {
        tracing::error!(%error, "the store failed; nothing is written any more");
        fail(shared, &Arc::new(error), Vec::new());
    }
}

/// Events and bytes of a commit.
pub(super) fn size(commit: &Commit) -> (usize, usize) {
    let events = commit.appends.iter().map(|append| append.events.len()).sum();
    let payloads = commit.appends.iter().flat_map(|append| &append.events);
    let payloads: usize = payloads.map(|event| event.encoded.payload.len()).sum();
    let rows: usize =
        commit.rows.iter().filter_map(|row| row.value.as_ref()).map(|v| v.len()).sum();
    let outputs: usize = commit.outputs.iter().map(|batch| batch.items.len()).sum();
    let snapshots: usize = commit.snapshots.iter().map(|saved| saved.bytes.len()).sum();
    (events, payloads + rows + outputs + snapshots)
}

fn write(shared: &Shared, group: Vec<Pending>) {
    let last = group.last().map_or(0, |pending| pending.ticket);
    let mut commits = Vec::with_capacity(group.len());
    let mut waiting = Vec::with_capacity(group.len());
    let mut queued = Vec::with_capacity(group.len());
    for Pending { ticket, commit, done, queued: at, _permit } in group {
        commits.push(commit);
        queued.push(at);
        waiting.push((ticket, done, _permit));
    }

    let began = Instant::now();
    // Before anything can be seen: whoever reads from now on waits for this group.
    let number = shared.begun.fetch_add(1, Ordering::SeqCst) + 1;
    match append(shared, &commits) {
        Ok((answers, head)) => {
            let durable = Instant::now();
            let refused = waiting.iter().zip(&answers).filter(|(_, answer)| answer.is_err());
            shared.refused().extend(refused.map(|((ticket, ..), _)| *ticket));
            shared.durable.store(number, Ordering::SeqCst);
            shared.progress.send_modify(|progress| {
                progress.groups = number;
                progress.ticket = last;
                progress.head = head;
            });
            for ((_, done, _permit), answer) in waiting.into_iter().zip(answers) {
                answer_one(move || done(answer.map_err(AppendError::Conflict)));
            }
            shared.watched.tell(&commits);
            shared.metrics.wrote(&commits, &queued, began, durable);
        }
        Err(error) => {
            let error = Arc::new(error);
            tracing::error!(%error, "the store failed; nothing is written any more");
            let dones = waiting.into_iter().map(|(_, done, _permit)| done);
            if Defect::WriteAfterFailure.is_on() {
                return dones.for_each(|done| done(Err(AppendError::Storage(Arc::clone(&error)))));
            }
            fail(shared, &error, dones.collect());
        }
    }
}

type Answers = Vec<Result<Committed, Conflict>>;

fn append(shared: &Shared, commits: &[Commit]) -> Result<(Answers, Head), StoreError> {
    let append = || {
        let answers = shared.store.append(commits)?;
        Ok((answers, shared.store.head()))
    };
    match catch_unwind(AssertUnwindSafe(append)) {
        Ok(Ok((answers, _))) if answers.len() != commits.len() => {
            Err(io::Error::other("the store answered another number of commits").into())
        }
        Ok(result) => result,
        Err(_) => Err(io::Error::other("the store panicked").into()),
    }
}

/// Tells everybody, those who wait in the queue too.
fn fail(shared: &Shared, error: &Arc<StoreError>, mut dones: Vec<super::Done>) {
    let mut queue = shared.lock_queue();
    // Only this thread sets it, once; and under the lock, so that no commit slips into the queue after it was emptied.
    let _ = shared.failure.set(Arc::clone(error));
    queue.closing = true;
    dones.extend(queue.waiting.drain(..).map(|pending| pending.done));
    shared.metrics.gave_up();
    drop(queue);
    shared.permits.close();
    shared.watched.end();
    shared.progress.send_modify(|progress| progress.failed = true);
    for done in dones {
        let error = Arc::clone(error);
        answer_one(move || done(Err(AppendError::Storage(error))));
    }
}

/// A caller's panic must not end the thread that everybody writes through.
fn answer_one(answer: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(answer)).is_err() {
        tracing::error!("a commit's answer was met with a panic");
    }
}
