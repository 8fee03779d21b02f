//! One connection: TLS, HTTP/1.1 or HTTP/2 (distinguished by the first bytes), and its end.
//!
//! Its deadlines are in `timer` and `streams`, its place among others in `places`. Its requests go to the
//! [`Gateway`], and from there to the router.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::listener::Socket;
use super::places::Place;
use super::socket::TimedStream;
use super::streams::{AnswerBody, StreamExecutor};
use super::timer::{ActiveRequest, ConnectionTimer};
use super::tls::Tls;
use super::watched::{SocketWatch, WatchedSocket};
use crate::error::HEAD_REASON;
use crate::lifecycle::{Lifecycle, Phase};
use crate::middleware::Refusals;
use crate::observe::{Counters, Cut};
use crate::options::Transport;
use crate::terms::ClientAddress;
use crate::{router, runtime};

/// Maximum time to close a connection after its deadline.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The answer to a connection beyond `--max-connections` and `--reserved-connections`. It suggests a retry after a
/// second, because nothing predicts when another connection ends.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";

/// Maximum concurrent streams per HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// Bytes of request bodies that an HTTP/2 connection may send before they are read, over all streams and per
/// stream. 4096 connections hold at most 1 GiB.
const RECEIVE_WINDOW_BYTES: u32 = 256 << 10;

/// Bytes of an answer that hyper queues per stream of HTTP/2, besides the piece that `streams` hands over.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// The router once the models are loaded; before that it answers every request 503.
#[derive(Clone, Default)]
pub struct Gateway {
    inner: Arc<GatewayInner>,
}

struct GatewayInner {
    life: Arc<Lifecycle>,
    counters: Arc<Counters>,
    routes: OnceLock<Router>,
    refusals: Refusals,
}

impl Default for GatewayInner {
    fn default() -> GatewayInner {
        let refusals = router::REFUSALS;
        GatewayInner {
            life: Arc::default(),
            counters: Arc::default(),
            routes: OnceLock::new(),
            refusals,
        }
    }
}

impl Gateway {
    /// Returns the gateway of the model runtime, with the phase and the counters of this one.
    pub fn of_runtime(&self) -> Gateway {
        let GatewayInner { life, counters, .. } = &*self.inner;
        let (life, counters) = (life.clone(), counters.clone());
        let (routes, refusals) = (OnceLock::new(), runtime::REFUSALS);
        Gateway { inner: Arc::new(GatewayInner { life, counters, routes, refusals }) }
    }

    /// Returns the phase, to be shared with the application.
    pub fn life(&self) -> &Arc<Lifecycle> {
        &self.inner.life
    }

    /// Returns the counters, to be shared with the application.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }

    /// Answers requests by `routes` from now on, and enters [`Phase::Ready`]. Later calls are ignored.
    pub fn open(&self, routes: Router) {
        let _ = self.inner.routes.set(routes);
        self.inner.life.enter(Phase::Ready);
    }

    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + use<> {
        let routes = self.inner.routes.get().cloned();
        let refuse = self.inner.refusals.while_loading;
        async move {
            let Some(routes) = routes else { return refuse(request.uri().path()) };
            match routes.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

/// Serves an accepted connection until it ends.
pub(super) async fn serve_connection(
    socket: Socket,
    place: Place,
    tls: Option<Arc<Tls>>,
    limits: Arc<Transport>,
    gateway: Gateway,
) {
    let (stream, watch) = WatchedSocket::new(socket);
    let Some(tls) = tls else { return serve_http(stream, watch, &place, &limits, gateway).await };
    let handshake = tls.acceptor().accept(stream);
    let handshake = tokio::time::timeout(place.timer.handshake_limit(), handshake);
    tokio::select! {
        done = handshake => match done {
            Ok(Ok(stream)) => serve_http(stream, watch, &place, &limits, gateway).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took longer than --header-timeout"),
        },
        () = place.timer.evicted() => {}
    }
}

async fn serve_http<S>(
    stream: S,
    watch: SocketWatch,
    place: &Place,
    limits: &Transport,
    gateway: Gateway,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (timer, reserved) = (place.timer.clone(), place.reserved);
    let io = TokioIo::new(TimedStream { stream, timer: timer.clone() });
    let (request_timer, request_gateway) = (timer.clone(), gateway.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ClientAddress(request_timer.client()));
        let active = request_timer.begin_request();
        let (timer, gateway) = (request_timer.clone(), request_gateway.clone());
        answer(gateway, timer, reserved, active, request.map(Body::new))
    });
    let builder = builder(limits, &timer);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut closing = pin!(closing(gateway.life()));
    let mut announced = false;
    let mut evicted = pin!(timer.evicted());
    let mut reset = pin!(wait_for_reset(watch, &timer));
    let mut leaving = false;
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut close_at: Option<Instant> = None;
    let ended = poll_fn(|cx| {
        if !announced && closing.as_mut().poll(cx).is_ready() {
            announced = true;
            connection.as_mut().graceful_shutdown();
        }
        if !leaving && evicted.as_mut().poll(cx).is_ready() {
            leaving = true;
            connection.as_mut().graceful_shutdown();
            // A request that has arrived meanwhile is answered.
            if timer.standing().is_some() {
                timer.expire();
                close_at = Some(Instant::now() + CLOSE_TIME);
            }
        }
        if reset.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
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
            if close_at.is_some() || !timer.expire() {
                return Poll::Ready(Ok(()));
            }
            connection.as_mut().graceful_shutdown();
            close_at = Some(Instant::now() + CLOSE_TIME);
        }
    })
    .await;
    if let Err(error) = ended {
        count_bad_head(&timer, &*error);
    }
}

/// Waits until the connection is reset, and reports to the timer when the client closes its sending side.
async fn wait_for_reset(watch: SocketWatch, timer: &ConnectionTimer) {
    if !watch.closed().await {
        timer.record_half_close();
        watch.reset().await;
    }
}

fn builder(limits: &Transport, timer: &Arc<ConnectionTimer>) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor(timer.clone()));
    builder
        .http1()
        // A client that has gone is noticed by `wait_for_reset` and the timer.
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(limits.header_limit_bytes.max(8192))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(limits.keep_alive))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_connection_window_size(RECEIVE_WINDOW_BYTES)
        .initial_stream_window_size(RECEIVE_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(limits.header_limit_bytes as u32);
    builder
}

/// Answers a request, which ends with the last byte of its answer.
async fn answer(
    gateway: Gateway,
    timer: Arc<ConnectionTimer>,
    reserved: Option<Cut>,
    active: ActiveRequest,
    request: Request<Body>,
) -> Result<Response<AnswerBody>, Infallible> {
    let answer = match reserved {
        Some(cut) => answer_reserved(&gateway, &timer, cut, request).await,
        None => gateway.answer(request).await,
    };
    Ok(answer.map(|body| AnswerBody::new(body, active)))
}

/// Answers a request on a reserved connection: open routes as usual, all others 503. The connection ends with
/// the answer.
async fn answer_reserved(
    gateway: &Gateway,
    timer: &ConnectionTimer,
    cut: Cut,
    request: Request<Body>,
) -> Response<Body> {
    let http_1 = request.version() < Version::HTTP_2;
    let refuse = gateway.inner.refusals.while_full;
    let mut answer = match refuse(request.uri().path(), cut) {
        Some(refusal) => {
            timer.record_cut(cut);
            timer.record_unrouted(refusal.status().as_u16(), "unavailable");
            refusal
        }
        None => gateway.answer(request).await,
    };
    if http_1 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Counts a request that hyper refused by itself, because its head is malformed or too large.
fn count_bad_head(timer: &ConnectionTimer, error: &(dyn Error + 'static)) {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_parse_too_large() => timer.record_unrouted(431, HEAD_REASON),
        Some(error) if error.is_parse() => timer.record_unrouted(400, HEAD_REASON),
        _ => {}
    }
}

async fn closing(life: &Lifecycle) {
    life.wait_for(Phase::Closing).await;
}

/// Answers 503 and closes. With a turn it reads what the client sends meanwhile: a socket closed with unread bytes is
/// reset, and the answer may be lost.
pub(super) fn reject_connection(socket: Socket, turn: Option<OwnedSemaphorePermit>) {
    let Some(turn) = turn else { return socket.write_last(FULL) };
    tokio::spawn(async move {
        let (mut stream, _) = WatchedSocket::new(socket);
        let close = async {
            AsyncWriteExt::write_all(&mut stream, FULL).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        };
        let _ = tokio::time::timeout(CLOSE_TIME, close).await;
        drop(turn);
    });
}
