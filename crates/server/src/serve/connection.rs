//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::gateway::Gateway;
use super::timer::{ConnectionTimer, TimedStream};
use super::tls::Tls;
use crate::lifecycle::{Lifecycle, Phase};
use crate::options::Transport;

/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Said to a connection too many. To come back in a second: others may end at any moment, and nothing tells when.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";

/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// Serves a connection that was accepted.
pub(super) async fn serve_connection(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    limits: Arc<Transport>,
    door: Gateway,
) {
    let Some(tls) = tls else { return serve_http(stream, &limits, door).await };
    let agreed = tls.acceptor().accept(stream);
    match tokio::time::timeout(limits.header_timeout, agreed).await {
        Ok(Ok(stream)) => serve_http(stream, &limits, door).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
        Err(_) => tracing::debug!("a client took too long to agree on TLS"),
    }
}

async fn serve_http<S>(stream: S, limits: &Transport, door: Gateway)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timer = ConnectionTimer::new(limits);
    let io = TokioIo::new(TimedStream { stream, timer: timer.clone() });
    let (entry, gateway) = (timer.clone(), door.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (busy, answer) = (entry.begin_request(), gateway.answer(request.map(Body::new)));
        async move {
            // The request is over when the last of its answer has been handed to the socket.
            let hold = move |body: Body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &busy;
                    frame
                }))
            };
            Ok::<Response<Body>, Infallible>(answer.await.map(hold))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(None)
        .max_buf_size(limits.header_limit_bytes.max(8192))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(limits.keep_alive))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(limits.header_limit_bytes as u32);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut closing = pin!(closing(door.life()));
    let mut announced = false;
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut close_at: Option<Instant> = None;
    poll_fn(|cx| {
        if !announced && closing.as_mut().poll(cx).is_ready() {
            announced = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(deadline) = close_at.or_else(|| timer.deadline()) else {
                return Poll::Pending;
            };
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if close_at.is_some() {
                return Poll::Ready(());
            }
            timer.expire();
            connection.as_mut().graceful_shutdown();
            close_at = Some(Instant::now() + GOODBYE);
        }
    })
    .await;
}

async fn closing(life: &Lifecycle) {
    life.reached(Phase::Closing).await;
}

/// Tells a connection too many to come back later. `plain`: not over TLS, where it would be garbage.
pub(super) async fn reject_connection(mut stream: TcpStream, plain: bool) {
    if !plain {
        return;
    }
    let goodbye = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // Closed with something unread, the socket would be reset and the answer lost.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}
