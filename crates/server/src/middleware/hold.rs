//! Charges the answers that no request has charged: pages, `/metrics`, refusals. A client may leave thousands of them
//! unread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use super::body::REQUEST_BYTES;
use crate::app::App;
use crate::memory::Charge;

/// In the extensions of an answer whose body holds a charge of its own.
#[derive(Clone)]
pub(crate) struct Charged;

/// Charges an answer until it is sent. Without memory for it there is a 503 without a body, or the status of the refusal
/// that it was.
pub(super) async fn hold_answer(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<Charged>().is_some() {
        return response;
    }
    let success = response.status().is_success();
    let charge = if success { app.memory.spare_charge() } else { app.memory.charge() };
    let bytes = response.body().size_hint().lower() as usize;
    match charge.set(REQUEST_BYTES + bytes) {
        Ok(()) => response.map(|body| Body::new(HeldBody { body, _charge: charge })),
        Err(_) if success => {
            let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
            (StatusCode::SERVICE_UNAVAILABLE, retry).into_response()
        }
        Err(_) => response.map(|_| Body::empty()),
    }
}

/// A body and the charge for it.
struct HeldBody {
    body: Body,
    _charge: Arc<Charge>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
