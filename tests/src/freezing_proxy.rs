//! A TCP proxy whose connections can be frozen: a frozen connection stays open and carries neither data nor an end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A proxy on a free port of the loopback interface. It ends with all connections on drop.
pub struct FreezingProxy {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    /// Connections with a number up to this one are frozen.
    frozen: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl FreezingProxy {
    /// Starts a proxy for `target`. Must be called in a tokio runtime, which then drives the proxy.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicU64::new(0));
        let (frozen, receiver) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&accepted), receiver));
        Ok(Self { address, accepted, frozen, accepting })
    }

    /// The address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections that were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Freezes all connections that are open now; later ones work.
    pub fn freeze_open_connections(&self) {
        self.frozen.send_replace(self.accepted());
    }

    /// Lets later connections work again; those that are open now stay frozen.
    pub fn thaw_new_connections(&self) {
        self.freeze_open_connections();
    }

    /// Freezes all connections, also those that are opened later.
    pub fn freeze_everything(&self) {
        self.frozen.send_replace(u64::MAX);
    }
}

impl Drop for FreezingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, accepted: Arc<AtomicU64>, frozen: watch::Receiver<u64>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::SeqCst) + 1;
        connections.spawn(carry(connection, target, number, frozen.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries data both ways until both sides have ended, one side fails, or the connection is frozen. Holds a frozen
/// connection forever.
async fn carry(mut connection: TcpStream, target: SocketAddr, number: u64, mut frozen: watch::Receiver<u64>) {
    let copy = async {
        if let Ok(mut server) = TcpStream::connect(target).await {
            // An error means that one side has closed the connection.
            let _ = copy_bidirectional(&mut connection, &mut server).await;
        }
    };
    let mut copy = std::pin::pin!(copy);
    let is_frozen = tokio::select! {
        biased;
        frozen = frozen.wait_for(|frozen| number <= *frozen) => frozen.is_ok(),
        () = &mut copy => false,
    };
    if is_frozen {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The longest time until a byte comes back on a slow machine.
    const ECHO: Duration = Duration::from_secs(10);
    /// The time in which no byte comes back through a frozen connection.
    const SILENCE: Duration = Duration::from_millis(300);

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = connection.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    /// Whether a byte comes back within this time.
    async fn is_echoed(connection: &mut TcpStream, within: Duration) -> bool {
        connection.write_all(b"x").await.expect("an open connection");
        let mut answer = [0];
        let read = connection.read_exact(&mut answer);
        tokio::time::timeout(within, read).await.is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn frozen_connections_are_silent_and_new_ones_work_until_all_are_frozen() {
        let proxy = FreezingProxy::start(echo().await).await.expect("a free port");
        let mut old = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert!(is_echoed(&mut old, ECHO).await);
        proxy.freeze_open_connections();
        assert!(!is_echoed(&mut old, SILENCE).await);
        let mut new = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert!(is_echoed(&mut new, ECHO).await);
        proxy.freeze_everything();
        let mut last = TcpStream::connect(proxy.address()).await.expect("it listens");
        assert!(!is_echoed(&mut new, SILENCE).await);
        assert!(!is_echoed(&mut last, SILENCE).await);
    }
}
