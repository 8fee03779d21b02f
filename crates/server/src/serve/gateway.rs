//! What connections hand their requests to, from before there are models until the end.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower::ServiceExt;

use crate::lifecycle::{Lifecycle, Phase};
use crate::router::refuse_while_loading;

/// What connections ask: the routes once there are models, and before that a word to come back.
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
    /// The phase, to be shared with the application.
    pub fn life(&self) -> &Arc<Lifecycle> {
        &self.inner.life
    }

    /// Lets requests in.
    pub fn open(&self, routes: Router) {
        let _ = self.inner.routes.set(routes);
        self.inner.life.enter(Phase::Ready);
    }

    pub(super) fn answer(&self, request: Request) -> impl Future<Output = Response> + use<> {
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
