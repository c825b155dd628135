//! WebSocket frames, encoded once and shared by everybody who gets them.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

/// A whole WebSocket frame as it goes over the wire, header included: server frames are not masked, so the same bytes
/// serve every socket. A clone copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

impl Frame {
    /// A text frame.
    pub fn text(payload: &str) -> Self {
        Self::encode(TEXT, payload.as_bytes())
    }

    /// A text frame that holds a value as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(payload) => Self::encode(TEXT, &payload),
            // Our own types have string keys and no fallible serializers.
            Err(error) => {
                tracing::error!(%error, "a frame could not be rendered");
                Self::encode(TEXT, br#"{"type":"error","payload":{"code":"INTERNAL","message":"a frame could not be rendered","temporary":true}}"#)
            }
        }
    }

    /// A ping.
    pub fn ping() -> Self {
        Self::encode(PING, b"")
    }

    /// The answer to a ping.
    pub fn pong(payload: &[u8]) -> Self {
        Self::encode(PONG, payload)
    }

    /// A close frame; the reason is cut to what fits into a control frame.
    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = Vec::with_capacity(2 + reason.len());
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes().get(..reason.len().min(120)).unwrap_or_default());
        Self::encode(CLOSE, &payload)
    }

    /// The frame's size on the wire, bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// What the frame carries, without its header.
    pub fn payload(&self) -> &[u8] {
        // RFC 6455, section 5.2; never masked.
        let header = match self.0.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.0.get(header..).unwrap_or_default()
    }

    /// The bytes as they go over the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    fn encode(opcode: u8, payload: &[u8]) -> Self {
        let mut frame = BytesMut::with_capacity(payload.len() + 10);
        frame.put_u8(opcode);
        // RFC 6455, section 5.2: 7 bits, or 126 and 16 bits, or 127 and 64 bits.
        match payload.len() {
            length @ 0..=125 => frame.put_u8(length as u8),
            length @ 126..=65_535 => {
                frame.put_u8(126);
                frame.put_u16(length as u16);
            }
            length => {
                frame.put_u8(127);
                frame.put_u64(length as u64);
            }
        }
        frame.put_slice(payload);
        Self(frame.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_rfc_6455_says() {
        assert_eq!(Frame::text("hi").bytes().as_ref(), b"\x81\x02hi");
        assert_eq!(&Frame::text(&"x".repeat(126)).bytes()[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(&Frame::text(&"x".repeat(65_536)).bytes()[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
        for length in [0, 125, 126, 65_535, 65_536] {
            assert_eq!(Frame::text(&"x".repeat(length)).payload().len(), length);
        }
        assert_eq!(Frame::close(4008, "slow").bytes().as_ref(), b"\x88\x06\x0f\xa8slow");
    }
}
