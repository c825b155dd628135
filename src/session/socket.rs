//! The bytes of one WebSocket: reading frames with deadlines, writing queued frames many at a time.
//!
//! Reading is tungstenite's. Writing is ours: frames come encoded and shared from the rooms, and what is queued leaves
//! in one vectored write, so a delivery costs a pointer and a part of a system call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use glassbox_protocol::server::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding as tungstenite;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::outbound::Outbound;
use crate::config::FRAME_DEADLINE;
use crate::room::frame::Frame;

/// The read buffer of one socket, bytes. The default of 128 KiB would be most of an idle socket's memory.
const READ_BUFFER_BYTES: usize = 2048;

/// How long the last frames and the close may take to leave.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// What a client sent, or how it ended.
#[derive(Debug)]
pub enum Inbound {
    /// A text frame.
    Text(String),
    /// A sign of life.
    Pong,
    /// A ping that wants an answer.
    Ping(Bytes),
    /// The client closed.
    Closed,
    /// The connection broke.
    Lost,
    /// The client broke the protocol; the session ends with this code.
    Violation(CloseCode, &'static str),
}

/// The reading side.
pub struct Reader {
    stream: WebSocketStream<ReadSide>,
}

impl Reader {
    /// Takes over the reading side of an upgraded connection with what was already read from it.
    pub async fn new(read: OwnedReadHalf, leftover: Bytes, frame_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(frame_bytes_max))
            .max_frame_size(Some(frame_bytes_max));
        let side = ReadSide { read, started_at: None, deadline: None };
        let stream = WebSocketStream::from_partially_read(side, leftover.to_vec(), Role::Server, Some(config)).await;
        Self { stream }
    }

    /// Waits for the next frame of the client.
    pub async fn next(&mut self) -> Inbound {
        loop {
            let next = self.stream.next().await;
            let is_late =
                next.as_ref().is_some_and(|n| matches!(n, Err(WsError::Io(e)) if e.kind() == io::ErrorKind::TimedOut));
            self.stream.get_mut().frame_complete();
            return match next {
                Some(Ok(Message::Text(text))) => Inbound::Text(text.as_str().to_owned()),
                Some(Ok(Message::Pong(_))) => Inbound::Pong,
                Some(Ok(Message::Ping(payload))) => Inbound::Ping(payload),
                // What tungstenite makes of a code that no client may send; also right for one that sent this one.
                Some(Ok(Message::Close(Some(close)))) if close.code == tungstenite::CloseCode::Protocol => {
                    Inbound::Violation(CloseCode::ProtocolError, "not a close code")
                }
                Some(Ok(Message::Close(_))) | None => Inbound::Closed,
                Some(Ok(Message::Binary(_))) => {
                    Inbound::Violation(CloseCode::Unsupported, "binary frames are not part of the protocol")
                }
                Some(Ok(Message::Frame(_))) => continue,
                Some(Err(_)) if is_late => Inbound::Violation(CloseCode::MalformedFrames, "a frame took too long"),
                Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    Inbound::Violation(CloseCode::TooLarge, "the frame is larger than frameBytes")
                }
                Some(Err(WsError::Utf8(_))) => Inbound::Violation(CloseCode::InvalidText, "text frames hold UTF-8"),
                Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Inbound::Lost,
                Some(Err(WsError::Protocol(_) | WsError::Capacity(_))) => {
                    Inbound::Violation(CloseCode::ProtocolError, "not a WebSocket frame")
                }
                Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => Inbound::Closed,
                Some(Err(_)) => Inbound::Lost,
            };
        }
    }
}

/// The reading half of the connection with a deadline on frames that have begun. What tungstenite would write by
/// itself (pongs, the echo of a close) is dropped: the session answers through its queue.
struct ReadSide {
    read: OwnedReadHalf,
    started_at: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl ReadSide {
    fn frame_complete(&mut self) {
        self.started_at = None;
        self.deadline = None;
    }
}

impl AsyncRead for ReadSide {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.read).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before && self.started_at.is_none() {
                    self.started_at = Some(Instant::now());
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                // A part of a frame is here and the rest is not.
                let Some(started_at) = self.started_at else { return Poll::Pending };
                let deadline = self
                    .deadline
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(started_at + FRAME_DEADLINE)));
                match deadline.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl AsyncWrite for ReadSide {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes what is queued until the session ends and everything is written, or the connection breaks.
///
/// # Errors
/// The connection broke.
pub async fn write_all(write: &mut OwnedWriteHalf, outbound: &Outbound) -> io::Result<()> {
    while let Some(frames) = outbound.take().await {
        write_frames(write, &frames).await?;
        outbound.written();
    }
    Ok(())
}

/// Says goodbye, within a deadline, and shuts the writing side down.
pub async fn write_close(write: &mut OwnedWriteHalf, code: u16, reason: &str) {
    let goodbye = async {
        let frame = Frame::close(code, reason);
        write.write_all(frame.bytes()).await?;
        write.shutdown().await
    };
    // A client that does not read misses the reason.
    let _ = tokio::time::timeout(CLOSE_DEADLINE, goodbye).await;
}

async fn write_frames(write: &mut OwnedWriteHalf, frames: &[Frame]) -> io::Result<()> {
    if let [frame] = frames {
        return write.write_all(frame.bytes()).await;
    }
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|f| IoSlice::new(f.bytes())).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = write.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Splits an upgraded connection. Small frames leave at once.
pub fn split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    // Without it a cursor would wait for the acknowledgement of the one before; a failure only costs latency.
    let _ = stream.set_nodelay(true);
    stream.into_split()
}
