//! A connection that can be cut: everything goes through, to whichever server it leads to at the time.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Result;

pub(crate) struct Proxy {
    pub(crate) url: String,
    /// Where it leads, and how often all that goes through was cut.
    leads: watch::Sender<(Option<SocketAddr>, u32)>,
}

impl Proxy {
    /// It leads nowhere, and ends with the runtime it was started on.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (leads, seen) = watch::channel((None, 0));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let seen = seen.clone();
                // A peer that is gone breaks its connection, which is the point and no error.
                tokio::spawn(async move { pass(socket, seen).await.ok() });
            }
        });
        Ok(Self { url, leads })
    }

    /// Leads to a server from now on; what goes through is cut.
    pub(crate) fn leads_to(&self, url: &str) -> Result<()> {
        let address = url.trim_start_matches("http://").parse()?;
        self.leads.send_modify(|(to, cuts)| (*to, *cuts) = (Some(address), *cuts + 1));
        Ok(())
    }

    /// Cuts what goes through.
    pub(crate) fn cut(&self) {
        self.leads.send_modify(|(_, cuts)| *cuts += 1);
    }
}

async fn pass(
    mut socket: TcpStream,
    mut leads: watch::Receiver<(Option<SocketAddr>, u32)>,
) -> Result<()> {
    let Some(address) = leads.borrow_and_update().0 else { return Ok(()) };
    let mut server = TcpStream::connect(address).await?;
    tokio::select! {
        _ = copy_bidirectional(&mut socket, &mut server) => {}
        _ = leads.changed() => {}
    }
    Ok(())
}
