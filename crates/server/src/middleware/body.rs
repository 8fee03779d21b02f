//! Reads request bodies into memory before the handler sees them.
//!
//! The head of a request is charged while the request lives. A body has a deadline, limits on its bytes as sent and after decompression, and a limit on how much it may grow
//! there. What arrives is charged to the budget first. Its content is not looked at; `routes` parses it.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::error::Refusal;
use crate::memory::Charge;

/// Bytes beyond the limit that are read and discarded, so that a client which writes its whole body before it
/// reads gets the 413 instead of a reset.
const DISCARD_BYTES: usize = 16 << 20;
/// Maximum time spent on discarding.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Bytes per request besides its head and its body: its stream, its task, its answer's head.
pub(super) const REQUEST_BYTES: usize = 4 << 10;

/// Bytes by which a charge grows while a body arrives.
const STEP_BYTES: usize = 16 << 10;

/// A compressed body may become this large whatever its ratio.
const RATIO_FREE_BYTES: usize = 64 << 10;

const PAYLOAD_LIMIT: &str = "--payload-limit";

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// Returns the request with its body in memory, decompressed, and the charge for it in its extensions.
pub(crate) async fn read_body(
    app: &App,
    payload_limit_bytes: usize,
    request: Request,
) -> Result<Request, Refusal> {
    let options = &app.options;
    let (mut parts, body) = request.into_parts();
    let charge = app.memory.charge_with_base(head_bytes(&parts))?;
    parts.extensions.insert(charge.clone());
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let encoding = encoding(&parts.headers)?;
    let (limit_bytes, flag) = match encoding {
        Encoding::Identity => (payload_limit_bytes, PAYLOAD_LIMIT),
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
    let reader = BodyReader { limit_bytes, deadline, limit: options.body_timeout, charge: &charge };
    let sent = reader.read(body, announced).await?.ok_or(refusal)?;
    let bytes = match encoding {
        Encoding::Identity => sent,
        _ => {
            let limits = DecompressionLimits {
                ratio_max: options.compression_ratio_max,
                payload_limit_bytes,
            };
            let most = limits.decompressed_max(sent.len());
            let work = || decompress(&sent, encoding, limits, &charge);
            app.offload.run(most, work).await?
        }
    };
    parts.headers.remove(CONTENT_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
    Ok(Request::from_parts(parts, Body::from(Bytes::from(bytes))))
}

/// Takes the body that [`read_body`] has put into a request, and the charge for it.
///
/// # Errors
/// [`Refusal::Syntax`] if the request did not pass through it and its body ends early.
pub(crate) async fn take_body(
    app: &App,
    parts: &mut Parts,
    body: Body,
) -> Result<(Bytes, Arc<Charge>), Refusal> {
    // It is bounded already; the framework's own limit is another.
    let bytes = to_bytes(body, usize::MAX).await;
    let bytes = bytes.map_err(|error| Refusal::Syntax(error.to_string()))?;
    let charge = parts.extensions.remove::<Arc<Charge>>().unwrap_or_else(|| app.memory.charge());
    Ok((bytes, charge))
}

/// How a body is read.
struct BodyReader<'a> {
    limit_bytes: usize,
    deadline: Instant,
    /// The time limit behind `deadline`, for the error.
    limit: Duration,
    charge: &'a Charge,
}

impl BodyReader<'_> {
    /// Returns the whole body, of which so many bytes are announced; `None` if it is longer than the limit.
    async fn read(&self, mut body: Body, announced: u64) -> Result<Option<Vec<u8>>, Refusal> {
        let mut bytes = Vec::new();
        // What is reserved and not written to takes no memory, but address space.
        let room = bytes.try_reserve_exact((announced as usize).min(self.limit_bytes));
        room.map_err(|_| self.charge.refused())?;
        let mut total = 0_usize;
        let mut deadline = self.deadline;
        loop {
            let Ok(frame) = timeout_at(deadline, body.frame()).await else {
                let slow = Refusal::SlowBody { seconds: self.limit.as_secs() };
                return if total > self.limit_bytes { Ok(None) } else { Err(slow) };
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|e| Refusal::Syntax(format!("the body ended early: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if total <= self.limit_bytes && total + data.len() > self.limit_bytes {
                bytes = Vec::new();
                deadline = deadline.min(Instant::now() + DISCARD_TIME);
            }
            total += data.len();
            if total > self.limit_bytes + DISCARD_BYTES {
                return Ok(None);
            }
            if total <= self.limit_bytes {
                // A body of unknown length doubles its memory when it grows.
                let held = if announced == 0 { 3 * total } else { total };
                if held > self.charge.bytes() {
                    self.charge.set(held.next_multiple_of(STEP_BYTES))?;
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok((total <= self.limit_bytes).then_some(bytes))
    }
}

/// Returns the bytes that a request takes besides its body: the head is held as it arrived and as a map.
fn head_bytes(parts: &Parts) -> usize {
    let line = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    REQUEST_BYTES + 2 * (line + parts.headers.iter().map(header).sum::<usize>())
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

/// How far a body may grow when it is decompressed.
#[derive(Clone, Copy)]
struct DecompressionLimits {
    /// A multiple of the bytes sent.
    ratio_max: usize,
    payload_limit_bytes: usize,
}

impl DecompressionLimits {
    /// Returns the size that a compressed body of `sent` bytes may have at most.
    fn decompressed_max(self, sent: usize) -> usize {
        let by_ratio = sent.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES);
        by_ratio.min(self.payload_limit_bytes)
    }
}

/// Decompresses a body within the limits. Each step is charged before it is written.
fn decompress(
    sent: &[u8],
    encoding: Encoding,
    limits: DecompressionLimits,
    charge: &Charge,
) -> Result<Vec<u8>, Refusal> {
    let most = limits.decompressed_max(sent.len());
    let mut decoder: Box<dyn Read + Send + '_> = match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(sent)),
        _ => Box::new(ZlibDecoder::new(sent)),
    };
    let mut out = Vec::new();
    let mut step = [0; STEP_BYTES];
    loop {
        let read = decoder.read(&mut step).map_err(|error| {
            Refusal::Syntax(format!("the body cannot be decompressed: {error}"))
        })?;
        if read == 0 {
            return Ok(out);
        }
        if out.len() + read > most {
            let limit_bytes = limits.payload_limit_bytes;
            return Err(match most < limit_bytes {
                true => Refusal::Ratio { ratio_max: limits.ratio_max },
                false => Refusal::TooLarge { limit_bytes, flag: PAYLOAD_LIMIT },
            });
        }
        // A vector that grows holds its old memory beside twice as much.
        charge.set(sent.len() + 3 * (out.len() + read))?;
        out.extend_from_slice(&step[..read]);
    }
}
