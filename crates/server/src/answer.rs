//! The body of an answer: JSON in pieces, of which each is freed when it has been sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::error::Refusal;
use crate::memory::Charge;

/// Bytes per piece.
const PIECE_BYTES: usize = 64 << 10;

/// JSON that was written whole, and how much memory the rest of it holds.
pub(crate) struct JsonBody {
    pieces: VecDeque<Bytes>,
    left_bytes: usize,
    charge: Arc<Charge>,
}

impl JsonBody {
    /// Writes `value`. The charge becomes its size in JSON.
    ///
    /// # Errors
    /// Those of [`Charge::set`], where the charge was too small a bound.
    pub(crate) fn write(value: &impl Serialize, charge: Arc<Charge>) -> Result<JsonBody, Refusal> {
        let mut writer = PieceWriter::default();
        // Neither our types nor the writer fail.
        let _ = serde_json::to_writer(&mut writer, value);
        let pieces = writer.finish();
        let left_bytes = pieces.iter().map(Bytes::len).sum();
        charge.set(left_bytes)?;
        Ok(JsonBody { pieces, left_bytes, charge })
    }
}

impl HttpBody for JsonBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        // Those before it have been sent. Shrinking cannot fail.
        let _ = self.charge.set(self.left_bytes);
        self.left_bytes -= piece.as_ref().map_or(0, Bytes::len);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes as u64)
    }
}

/// Collects what is written in pieces, so that nothing is copied when it grows.
#[derive(Default)]
struct PieceWriter {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
}

impl PieceWriter {
    fn finish(mut self) -> VecDeque<Bytes> {
        if !self.last.is_empty() {
            self.full.push_back(self.last.into());
        }
        self.full
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.last.len();
        let taken = bytes.len().min(room);
        self.last.extend_from_slice(&bytes[..taken]);
        if taken == room {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE_BYTES));
            self.full.push_back(full.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::memory::HostMemory;

    #[tokio::test]
    async fn pieces_are_the_whole_and_are_given_back_as_they_are_sent() {
        let memory = HostMemory::new(16 << 20);
        for count in [0_usize, 1, 30_000, PIECE_BYTES, 400_000] {
            let value = vec![7; count];
            let charge = memory.charge();
            charge.set(8 << 20).expect("the budget is larger");
            let mut body = JsonBody::write(&value, charge).expect("it fits");
            let whole = serde_json::to_vec(&value).expect("numbers");
            assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
            let mut sent = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame;
                let piece = frame.into_data().expect("data");
                assert!((1..=PIECE_BYTES).contains(&piece.len()));
                sent.extend_from_slice(&piece);
                assert_eq!(memory.taken_bytes(), whole.len() - sent.len() + piece.len());
            }
            assert_eq!(sent, whole);
            drop(body);
            assert_eq!(memory.taken_bytes(), 0);
        }
    }
}
