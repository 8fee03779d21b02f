//! Recognises HTTP/2 and limits the control frames of a connection.
//!
//! SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown frames and empty ones cost the server work and the client
//! nothing. Their bytes come out of a bucket, which time and payload fill: a client that asks and reads needs
//! few of them. Only the nine bytes before each frame are looked at; hyper parses the frames.

use tokio::time::Instant;

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes before each frame: length, type, flags, stream.
const FRAME_HEAD_BYTES: usize = 9;

/// Bytes of control frames that a connection may send at once.
const CONTROL_BURST_BYTES: u64 = 64 << 10;

/// Bytes of control frames per second that a connection may send without any payload: about 960 PINGs.
const CONTROL_BYTES_PER_SECOND: u64 = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// The first so many bytes of the preface, which may also begin a request of HTTP/1.
    Preface(usize),
    Http1,
    Http2,
}

/// The bytes that a client has sent, as far as they matter for its limits.
#[derive(Debug)]
pub(super) struct FrameMeter {
    protocol: Protocol,
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of `head` that have arrived.
    head_bytes: usize,
    /// Bytes of the current frame that have not arrived.
    payload_left: usize,
    /// Bytes of control frames that the client may send now.
    credit: u64,
    filled_at: Instant,
}

impl FrameMeter {
    pub(super) fn new(now: Instant) -> FrameMeter {
        FrameMeter {
            protocol: Protocol::Preface(0),
            head: [0; FRAME_HEAD_BYTES],
            head_bytes: 0,
            payload_left: 0,
            credit: CONTROL_BURST_BYTES,
            filled_at: now,
        }
    }

    /// Returns whether the whole preface has arrived.
    pub(super) fn is_http_2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// Follows the bytes that have arrived. Returns whether the client is within its limit.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> bool {
        let mut rest = bytes;
        if let Protocol::Preface(seen) = self.protocol {
            let length = rest.len().min(PREFACE.len() - seen);
            let (start, more) = rest.split_at(length);
            self.protocol = match seen + length {
                _ if start != &PREFACE[seen..seen + length] => Protocol::Http1,
                seen if seen == PREFACE.len() => Protocol::Http2,
                seen => Protocol::Preface(seen),
            };
            rest = more;
        }
        if self.protocol != Protocol::Http2 {
            return true;
        }
        let fill = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let fill = (fill * CONTROL_BYTES_PER_SECOND as f64) as u64;
        // Fractions of a byte are kept for the next time.
        if fill > 0 {
            self.filled_at = now;
            self.add_payload(fill);
        }
        while !rest.is_empty() {
            let skipped = rest.len().min(self.payload_left);
            self.payload_left -= skipped;
            rest = &rest[skipped..];
            let length = rest.len().min(FRAME_HEAD_BYTES - self.head_bytes);
            self.head[self.head_bytes..self.head_bytes + length].copy_from_slice(&rest[..length]);
            self.head_bytes += length;
            rest = &rest[length..];
            if self.head_bytes == FRAME_HEAD_BYTES && !self.begin_frame() {
                return false;
            }
        }
        true
    }

    /// Adds bytes that the client may send in control frames: of payload in either direction.
    pub(super) fn add_payload(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes).min(CONTROL_BURST_BYTES);
    }

    /// Charges the frame whose head has arrived. Returns whether the client had the credit for it.
    fn begin_frame(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.head_bytes = 0;
        self.payload_left = length as usize;
        // Padding is no payload, and no client in use pads.
        let is_payload = match kind {
            DATA => flags & PADDED == 0,
            HEADERS | CONTINUATION => true,
            _ => false,
        };
        let head = FRAME_HEAD_BYTES as u64;
        let (cost, payload) =
            if is_payload { (head, length) } else { (head + u64::from(length), 0) };
        let Some(left) = self.credit.checked_sub(cost) else { return false };
        self.credit = left;
        self.add_payload(u64::from(payload));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        [vec![a, b, c, kind, flags, 0, 0, 0, 1], vec![0; length]].concat()
    }

    fn meter(now: Instant) -> FrameMeter {
        let mut meter = FrameMeter::new(now);
        assert!(meter.read(PREFACE, now) && meter.is_http_2());
        meter
    }

    #[test]
    fn the_preface_is_recognised_in_any_pieces() {
        let now = Instant::now();
        let bytes = [PREFACE, &frame(4, 0, 0), &frame(1, 4, 300), &frame(0, 1, 18)].concat();
        for size in 1..bytes.len() {
            let mut meter = FrameMeter::new(now);
            assert!(bytes.chunks(size).all(|piece| meter.read(piece, now)));
            assert!(meter.is_http_2(), "in pieces of {size}");
            assert_eq!((meter.head_bytes, meter.payload_left), (0, 0), "in pieces of {size}");
        }
        for other in ["POST / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n\r\nSM", "P"] {
            let mut meter = FrameMeter::new(now);
            assert!(meter.read(other.as_bytes(), now) && !meter.is_http_2(), "{other}");
        }
    }

    #[test]
    fn each_flood_runs_out_of_credit() {
        let now = Instant::now();
        let floods = [
            ("PRIORITY", frame(2, 0, 5)),
            ("RST_STREAM", frame(3, 0, 4)),
            ("SETTINGS", frame(4, 0, 6)),
            ("PING", frame(6, 0, 8)),
            ("WINDOW_UPDATE", frame(8, 0, 4)),
            ("unknown", frame(99, 0, 1000)),
            ("empty DATA", frame(0, 0, 0)),
            ("empty CONTINUATION", frame(9, 0, 0)),
            ("padded DATA", frame(0, 8, 256)),
            ("DATA byte by byte", frame(0, 0, 1)),
        ];
        for (what, frame) in floods {
            let mut meter = meter(now);
            let sent = (0..10_000).take_while(|_| meter.read(&frame, now)).count();
            assert!(sent < 10_000, "{what}");
            assert!(sent * frame.len() >= 60_000, "{what}: {sent} frames are a burst");
        }
    }

    #[test]
    fn time_and_payload_fill_the_bucket() {
        let start = Instant::now();
        let mut now = start;
        let mut pinging = meter(now);
        for _ in 0..100_000 {
            now += Duration::from_millis(2);
            assert!(pinging.read(&frame(6, 0, 8), now), "after {:?}", now - start);
        }
        // A small request with the frames that clients send around it, and an answer of 60 bytes.
        let request =
            [frame(1, 4, 24), frame(0, 1, 18), frame(8, 0, 4), frame(8, 0, 4), frame(6, 0, 8)];
        let mut asking = meter(now);
        for count in 0..100_000 {
            assert!(asking.read(&request.concat(), now), "request {count}");
            asking.add_payload(60);
        }
    }
}
