//! Reads request bodies into memory before the handler sees them.
//!
//! A body has a deadline and two limits: its bytes as sent, and its bytes after decompression. Its content is
//! not looked at; `routes` parses it.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::error::Refusal;
use crate::options::Options;

/// Bytes beyond the limit that are read and discarded, so that a client which writes its whole body before it
/// reads gets the 413 instead of a reset.
const DISCARD_BYTES: usize = 16 << 20;
/// Maximum time spent on discarding.
const DISCARD_TIME: Duration = Duration::from_secs(1);

const PAYLOAD_LIMIT: &str = "--payload-limit";

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// Returns the request with its body in memory, decompressed.
pub(crate) async fn read_body(options: &Options, request: Request) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let encoding = encoding(&parts.headers)?;
    let (limit_bytes, flag) = match encoding {
        Encoding::Identity => (options.payload_limit_bytes, PAYLOAD_LIMIT),
        _ => (options.compressed_limit_bytes, "--compressed-limit"),
    };
    let refusal = Refusal::TooLarge { limit_bytes, flag };
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    // With `expect: 100-continue` the client has not sent the body yet.
    if announced > limit_bytes as u64 && parts.headers.contains_key(EXPECT) {
        return Err(refusal);
    }
    let deadline = Instant::now() + options.body_timeout;
    let sent =
        collect_body(body, limit_bytes, deadline, options.body_timeout).await?.ok_or(refusal)?;
    let bytes = match encoding {
        Encoding::Identity => sent,
        _ => decompress(&sent, encoding, options.payload_limit_bytes)?,
    };
    parts.headers.remove(CONTENT_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// Returns the whole body; `None` if it is longer than the limit.
async fn collect_body(
    mut body: Body,
    limit_bytes: usize,
    deadline: Instant,
    limit: Duration,
) -> Result<Option<Bytes>, Refusal> {
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut total = 0_usize;
    let mut deadline = deadline;
    loop {
        let Ok(frame) = timeout_at(deadline, body.frame()).await else {
            let slow = Refusal::SlowBody { seconds: limit.as_secs() };
            return if total > limit_bytes { Ok(None) } else { Err(slow) };
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| Refusal::Syntax(format!("the body ended early: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if total <= limit_bytes && total + data.len() > limit_bytes {
            chunks.clear();
            deadline = deadline.min(Instant::now() + DISCARD_TIME);
        }
        total += data.len();
        if total > limit_bytes + DISCARD_BYTES {
            return Ok(None);
        }
        if total <= limit_bytes {
            chunks.push(data);
        }
    }
    if total > limit_bytes {
        return Ok(None);
    }
    Ok(Some(match chunks.len() {
        1 => chunks.remove(0),
        _ => chunks.concat().into(),
    }))
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut all = headers.get_all(CONTENT_ENCODING).iter();
    let Some(first) = all.next() else { return Ok(Encoding::Identity) };
    let name = first.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    match (name.as_str(), all.next()) {
        ("identity", None) => Ok(Encoding::Identity),
        ("gzip" | "x-gzip", None) => Ok(Encoding::Gzip),
        ("deflate", None) => Ok(Encoding::Deflate),
        _ => Err(Refusal::Encoding),
    }
}

/// Decompresses a body without ever holding more than `limit_bytes` and one byte of output.
fn decompress(sent: &[u8], encoding: Encoding, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let most = limit_bytes as u64 + 1;
    let mut out = Vec::new();
    let read = match encoding {
        Encoding::Gzip => MultiGzDecoder::new(sent).take(most).read_to_end(&mut out),
        _ => ZlibDecoder::new(sent).take(most).read_to_end(&mut out),
    };
    read.map_err(|error| Refusal::Syntax(format!("the body cannot be decompressed: {error}")))?;
    if out.len() > limit_bytes {
        return Err(Refusal::TooLarge { limit_bytes, flag: PAYLOAD_LIMIT });
    }
    Ok(out.into())
}
