//! One connection: TLS, HTTP/1.1 or HTTP/2 (distinguished by the first bytes), and its end.
//!
//! Its deadlines are in `timer`. Its requests go to the [`Gateway`], and from there to the router.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
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
use tower::ServiceExt;

use super::timer::{ConnectionTimer, TimedStream};
use super::tls::Tls;
use crate::lifecycle::{Lifecycle, Phase};
use crate::options::Transport;
use crate::router::refuse_while_loading;

/// Maximum time to close a connection after its deadline.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The answer to a connection beyond `--max-connections`. It suggests a retry after a second, because nothing
/// predicts when another connection ends.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";

/// Maximum concurrent streams per HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// The router once the models are loaded; before that it answers every request 503.
#[derive(Clone, Default)]
pub struct Gateway {
    inner: Arc<GatewayInner>,
}

#[derive(Default)]
struct GatewayInner {
    life: Arc<Lifecycle>,
    routes: OnceLock<Router>,
}

impl Gateway {
    /// Returns the phase, to be shared with the application.
    pub fn life(&self) -> &Arc<Lifecycle> {
        &self.inner.life
    }

    /// Answers requests by `routes` from now on, and enters [`Phase::Ready`]. Later calls are ignored.
    pub fn open(&self, routes: Router) {
        let _ = self.inner.routes.set(routes);
        self.inner.life.enter(Phase::Ready);
    }

    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + use<> {
        let routes = self.inner.routes.get().cloned();
        async move {
            let Some(routes) = routes else { return refuse_while_loading(request.uri().path()) };
            match routes.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

/// Serves an accepted connection until it ends.
pub(super) async fn serve_connection(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    limits: Arc<Transport>,
    gateway: Gateway,
) {
    let Some(tls) = tls else { return serve_http(stream, &limits, gateway).await };
    let handshake = tls.acceptor().accept(stream);
    match tokio::time::timeout(limits.header_timeout, handshake).await {
        Ok(Ok(stream)) => serve_http(stream, &limits, gateway).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took longer than --header-timeout"),
    }
}

async fn serve_http<S>(stream: S, limits: &Transport, gateway: Gateway)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timer = ConnectionTimer::new(limits);
    let io = TokioIo::new(TimedStream { stream, timer: timer.clone() });
    let (request_timer, request_gateway) = (timer.clone(), gateway.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (active, answer) =
            (request_timer.begin_request(), request_gateway.answer(request.map(Body::new)));
        async move {
            // The request ends when the last frame of its answer has been handed to the socket.
            let hold = move |body: Body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &active;
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
    let mut closing = pin!(closing(gateway.life()));
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
            close_at = Some(Instant::now() + CLOSE_TIME);
        }
    })
    .await;
}

async fn closing(life: &Lifecycle) {
    life.wait_for(Phase::Closing).await;
}

/// Answers 503 and closes. Over TLS (`plain` is false) it only closes: the answer would not be readable.
pub(super) async fn reject_connection(mut stream: TcpStream, plain: bool) {
    if !plain {
        return;
    }
    let close = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // A socket closed with unread bytes is reset, and the answer lost.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(CLOSE_TIME, close).await;
}
