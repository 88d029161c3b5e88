//! SIGINT and SIGTERM as things to wait for.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::Exit;

/// SIGINT.
pub(super) const INTERRUPT: u8 = 2;

/// Comes with Ctrl-C. A second one ends the process wherever it is: it may be waiting for whoever reads its output.
pub(super) fn interrupt() -> io::Result<impl Future<Output = ()>> {
    let mut signal = signal(SignalKind::interrupt())?;
    let (sender, pressed) = oneshot::channel();
    tokio::spawn(async move {
        signal.recv().await;
        // Nobody waits for it any more when the command is ending by itself.
        let _ = sender.send(());
        signal.recv().await;
        Exit::Signal(INTERRUPT).now();
    });
    Ok(async move {
        // The sender lives as long as the runtime, so it is not dropped while somebody waits.
        let _ = pressed.await;
    })
}

/// Both signals that ask a process to end.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes both signals over. From now on neither ends the process by itself.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next signal.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
