//! Two echo servers for the fuzzing client of the Autobahn test suite: one on the socket code of the server, one on
//! plain tungstenite to compare it with. Binary frames are not part of our protocol, so the first one refuses them.
//!
//! `echo <port of ours> <port of tungstenite's>`; runs until it is killed.

use anyhow::Context as _;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use glassbox::room::frame::Frame;
use glassbox::session::outbound::Outbound;
use glassbox::session::socket::{self, Inbound, Reader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Largest message of the suite, bytes, and some more.
const FRAME_BYTES_MAX: usize = 20 * 1024 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut ports = std::env::args().skip(1);
    let mut port = || ports.next().context("two ports are needed");
    let ours = TcpListener::bind(format!("127.0.0.1:{}", port()?)).await?;
    let theirs = TcpListener::bind(format!("127.0.0.1:{}", port()?)).await?;
    loop {
        tokio::select! {
            accepted = ours.accept() => { tokio::spawn(echo(accepted?.0)); }
            accepted = theirs.accept() => { tokio::spawn(echo_plainly(accepted?.0)); }
        }
    }
}

/// Echoes texts with the reader, the queue and the writer that sessions have.
async fn echo(mut stream: TcpStream) -> anyhow::Result<()> {
    shake_hands(&mut stream).await?;
    let (read, mut write) = socket::split(stream);
    let mut reader = Reader::new(read, Bytes::new(), FRAME_BYTES_MAX).await;
    let outbound = Outbound::new(4 * FRAME_BYTES_MAX);
    let read_all = async {
        loop {
            match reader.next().await {
                Inbound::Text(text) => outbound.send(Frame::text(&text)),
                Inbound::Ping(payload) => outbound.send(Frame::pong(&payload)),
                Inbound::Pong => {}
                Inbound::Closed | Inbound::Lost => return (1000, ""),
                Inbound::Violation(code, reason) => return (code.code(), reason),
            }
            outbound.has_room().await;
        }
    };
    let (code, reason) = tokio::select! {
        ended = read_all => ended,
        written = socket::write_all(&mut write, &outbound) => return Ok(written?),
    };
    // What was queued before the end still leaves, as in a session.
    outbound.close(glassbox_protocol::server::CloseCode::GoingAway, "");
    socket::write_all(&mut write, &outbound).await?;
    socket::write_close(&mut write, code, reason).await;
    Ok(())
}

async fn shake_hands(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, key)| key.trim())
        .context("a handshake without a key")?;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Ok(stream.write_all(answer.as_bytes()).await?)
}

/// Echoes with tungstenite alone.
async fn echo_plainly(stream: TcpStream) -> anyhow::Result<()> {
    let (mut sink, mut stream) = tokio_tungstenite::accept_async(stream).await?.split();
    while let Some(message) = stream.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            sink.send(message).await?;
        }
    }
    Ok(())
}
