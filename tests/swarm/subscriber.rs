//! A reader: comes when it likes, reads as long and as fast as it likes, by whatever transport, and comes again until it
//! has seen the end of its runs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    Result,
    figures::{Figures, Transport},
    progress::{Form, Progress},
    random::Random,
    sse::{self, Appetite},
    ws,
};

/// Runs that one reader reads at most.
const MOST_RUNS: u64 = 4;

pub(crate) struct Subscriber {
    runs: Vec<Progress>,
    random: Random,
    figures: Arc<Figures>,
}

impl Subscriber {
    /// A reader of some of these runs, rather of the newer ones.
    pub(crate) fn new(runs: &[String], random: &mut Random, figures: Arc<Figures>) -> Self {
        let mut random = random.fork();
        let form = if random.one_in(5) { Form::Simple } else { Form::V1 };
        let wanted = if random.one_in(3) { 2 + random.below(MOST_RUNS - 1) } else { 1 };
        let newest = runs.len().saturating_sub(7);
        let mut chosen: Vec<&String> = Vec::new();
        for _ in 0..wanted {
            let from = if random.one_in(4) { 0 } else { newest };
            let run = &runs[from + random.below((runs.len() - from) as u64) as usize];
            if !chosen.contains(&run) {
                chosen.push(run);
            }
        }
        let runs = chosen.into_iter().map(|run| Progress::new(run, form)).collect();
        Self { runs, random, figures }
    }

    /// Reads all runs to their ends, and gives what it saw.
    pub(crate) async fn read_all(
        mut self,
        mut server: watch::Receiver<Option<SocketAddr>>,
    ) -> Result<Vec<Progress>> {
        self.pause(1500).await;
        while self.runs.iter().any(|progress| !progress.is_done()) {
            let there = *server.wait_for(Option::is_some).await?;
            let Some(address) = there else { continue };
            if self.read(address).await.is_err() {
                // It has just gone away.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else if self.random.one_in(3) {
                self.pause(300).await;
            }
        }
        Ok(self.runs)
    }

    async fn pause(&mut self, at_most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.below(at_most_ms))).await;
    }

    /// Reads on, over one connection.
    async fn read(&mut self, server: SocketAddr) -> Result<()> {
        let appetite = self.appetite();
        let Some(first) = self.runs.iter_mut().find(|progress| !progress.is_done()) else {
            return Ok(());
        };
        let transport = match self.random.below(4) {
            0 if first.form == Form::V1 => Transport::Get,
            1 if first.form == Form::V1 => Transport::Post,
            _ => Transport::Socket,
        };
        self.figures.connected(transport);
        match transport {
            Transport::Get => sse::read(server, first, false, appetite).await,
            Transport::Post => sse::read(server, first, true, appetite).await,
            Transport::Socket => ws::read(server, &mut self.runs, appetite, &self.figures).await,
        }
    }

    fn appetite(&mut self) -> Appetite {
        let events = if self.random.one_in(3) { u64::MAX } else { 1 + self.random.below(12) };
        let slow = self.random.one_in(6);
        let pause = Duration::from_millis(if slow { 1 + self.random.below(8) } else { 0 });
        Appetite { events, pause }
    }
}
