//! A TCP proxy that loses, holds up and delays what goes through it: between clients and an instance, or between an
//! instance and PostgreSQL.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Chunks that are under way in one direction of one connection.
const CHUNKS_MAX: usize = 1024;

/// What happens to the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// They go through.
    Fair,
    /// The connection stays open and nothing goes through; later it all does.
    Stalled,
    /// They go through later.
    Delayed(Duration),
}

/// The proxy; dropped, it cuts all connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accept: AbortHandle,
}

struct Shared {
    target: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    is_refusing: watch::Sender<bool>,
    connections: Mutex<BTreeMap<u64, Connection>>,
}

struct Connection {
    /// The port that the target sees, once it is connected.
    port: Arc<OnceLock<u16>>,
    weather: watch::Sender<Weather>,
    cut: CancellationToken,
}

impl Proxy {
    /// Starts a proxy in front of `target` on a free port of the loopback address.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            weather: watch::Sender::new(Weather::Fair),
            is_refusing: watch::Sender::new(false),
            connections: Mutex::default(),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, accept }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections elsewhere.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, is_refusing: bool) {
        self.shared.is_refusing.send_replace(is_refusing);
    }

    /// The connections that are open, oldest first.
    pub fn connections(&self) -> Vec<u64> {
        self.shared.connections().keys().copied().collect()
    }

    /// The connection that the target sees as coming from `port`.
    pub fn connection(&self, port: u16) -> Option<u64> {
        self.shared.connections().iter().find(|(_, c)| c.port.get() == Some(&port)).map(|(number, _)| *number)
    }

    /// Cuts one connection with a reset, whatever is under way.
    pub fn cut(&self, connection: u64) {
        if let Some(connection) = self.shared.connections().remove(&connection) {
            connection.cut.cancel();
        }
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        for connection in self.connections() {
            self.cut(connection);
        }
    }

    /// Changes the weather of one connection.
    pub fn set(&self, connection: u64, weather: Weather) {
        if let Some(connection) = self.shared.connections().get(&connection) {
            connection.weather.send_replace(weather);
        }
    }

    /// Changes the weather of all connections, later ones too.
    pub fn set_all(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
        for connection in self.shared.connections().values() {
            connection.weather.send_replace(weather);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.cut_all();
    }
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        let Ok((inbound, _)) = listener.accept().await else { return };
        if *shared.is_refusing.borrow() {
            reset_on_drop(&inbound);
            continue;
        }
        let weather = watch::Sender::new(*shared.weather.borrow());
        let cut = CancellationToken::new();
        let port = Arc::default();
        let mut connections = shared.connections();
        let carried = carry(inbound, Arc::clone(&shared), Arc::clone(&port), weather.subscribe(), cut.clone());
        let for_task = Arc::clone(&shared);
        tokio::spawn(async move {
            carried.await;
            for_task.connections().remove(&number);
        });
        connections.insert(number, Connection { port, weather, cut });
    }
}

async fn carry(
    mut inbound: TcpStream,
    shared: Arc<Shared>,
    port: Arc<OnceLock<u16>>,
    weather: watch::Receiver<Weather>,
    cut: CancellationToken,
) {
    let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut outbound) = TcpStream::connect(target).await else { return };
    if let Ok(address) = outbound.local_addr() {
        port.get_or_init(|| address.port());
    }
    for stream in [&inbound, &outbound] {
        let _ = stream.set_nodelay(true);
    }
    let is_cut = {
        let (caller_reads, caller_writes) = inbound.split();
        let (target_reads, target_writes) = outbound.split();
        // One side's end ends both: half-open is what `Stalled` is for.
        tokio::select! {
            () = one_way(caller_reads, target_writes, weather.clone()) => false,
            () = one_way(target_reads, caller_writes, weather) => false,
            () = cut.cancelled() => true,
        }
    };
    if is_cut {
        reset_on_drop(&inbound);
        reset_on_drop(&outbound);
    }
}

async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut weather: watch::Receiver<Weather>) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut pace = weather.clone();
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let delay = match *pace.borrow_and_update() {
                Weather::Delayed(delay) => delay,
                Weather::Fair | Weather::Stalled => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if weather.wait_for(|w| *w != Weather::Stalled).await.is_err() || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    // The reader's end closes the channel, and the writer finishes what is under way.
    tokio::join!(reading, writing);
}

/// Makes both ends see a reset, as from a network that is gone.
fn reset_on_drop(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[tokio::test]
async fn what_is_stalled_comes_later_and_what_is_cut_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = Proxy::start(listener.local_addr().expect("a bound port")).await;
    let mut caller = TcpStream::connect(proxy.address()).await.expect("the proxy takes us");
    let (mut target, _) = listener.accept().await.expect("the proxy comes");
    let mut buffer = [0; 4];

    caller.write_all(b"fair").await.expect("write");
    target.read_exact(&mut buffer).await.expect("read");
    assert_eq!(&buffer, b"fair");

    proxy.set_all(Weather::Stalled);
    target.write_all(b"late").await.expect("write");
    let early = tokio::time::timeout(Duration::from_millis(100), caller.read(&mut buffer)).await;
    assert!(early.is_err(), "a stalled connection carries nothing");
    proxy.set_all(Weather::Fair);
    caller.read_exact(&mut buffer).await.expect("read");
    assert_eq!(&buffer, b"late");

    proxy.set_all(Weather::Delayed(Duration::from_millis(50)));
    let start = Instant::now();
    caller.write_all(b"slow").await.expect("write");
    target.read_exact(&mut buffer).await.expect("read");
    assert!(start.elapsed() >= Duration::from_millis(50));

    proxy.cut_all();
    assert!(caller.read_exact(&mut buffer).await.is_err());
    assert!(target.read_exact(&mut buffer).await.is_err());
    assert!(proxy.connections().is_empty());
}
