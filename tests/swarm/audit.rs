//! The comparison of what readers saw with what the log holds at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde_json::Value;

use crate::{
    Result, client,
    figures::Figures,
    progress::{Form, Progress},
    sse::{self, Appetite},
    ws,
};

/// Panics unless every reading is the run's whole output, and the output is the same over both transports.
pub(crate) async fn audit(
    server: SocketAddr,
    readings: &[Progress],
    figures: &Figures,
) -> Result<()> {
    let runs: BTreeSet<&str> = readings.iter().map(|reading| reading.run.as_str()).collect();
    let mut wholes = BTreeMap::new();
    for run in runs {
        let mut streamed = Progress::new(run, Form::V1);
        sse::read(server, &mut streamed, true, Appetite::ALL).await?;
        let mut framed = [Progress::new(run, Form::V1)];
        ws::read(server, &mut framed, Appetite::ALL, figures).await?;
        compare(&streamed, &framed[0]);
        let mut simple = [Progress::new(run, Form::Simple)];
        ws::read(server, &mut simple, Appetite::ALL, figures).await?;
        let [simple] = simple;
        assert!(streamed.is_done() && simple.is_done(), "{run} has no end");
        let row: Value =
            client().get(format!("http://{server}/v1/runs/{run}")).send().await?.json().await?;
        figures.audited(row["status"].as_str().unwrap_or_default(), streamed.seen.len() as u64);
        wholes.insert((run, Form::V1), streamed);
        wholes.insert((run, Form::Simple), simple);
    }
    for reading in readings {
        compare(&wholes[&(reading.run.as_str(), reading.form)], reading);
    }
    Ok(())
}

fn compare(whole: &Progress, reading: &Progress) {
    let run = &whole.run;
    let differs = whole.seen.iter().zip(&reading.seen).find(|(wanted, found)| wanted != found);
    assert_eq!(differs, None, "{run}: a reader saw something else");
    assert_eq!(whole.seen.len(), reading.seen.len(), "{run}: a reader saw more or less");
    assert_eq!(whole.end, reading.end, "{run}: a reader saw another end");
}
