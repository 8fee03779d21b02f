//! One row of the route table.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use super::call::{self, Call, MODEL_PARAMETER};
use crate::app::App;
use crate::error::Refusal;
use crate::wire::Dialect;
use crate::wire::request::ModelRequest;

/// A path, and what answers it.
pub(crate) struct Route {
    /// `get` or `post`, as OpenAPI spells it.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Whose clients it answers; refusals are rendered accordingly.
    pub(crate) dialect: Dialect,
    /// The path that the OpenAPI document describes in its place.
    pub(crate) alias_of: Option<&'static str>,
    /// Whether it also exists below `/models/NAME`.
    pub(crate) per_model: bool,
    /// Whether it needs no API key and is answered while the server closes.
    pub(crate) open: bool,
    pub(crate) handler: MethodRouter<Arc<App>>,
}

impl Route {
    /// A POST that one model answers, also below `/models/NAME`.
    pub(crate) fn model<T, F, Fut>(dialect: Dialect, path: &'static str, handler: F) -> Route
    where
        T: ModelRequest,
        F: Fn(Call, T) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Refusal>> + Send,
    {
        Route { per_model: true, ..Route::models(dialect, path, handler) }
    }

    /// A POST that several models answer.
    pub(crate) fn models<T, F, Fut>(dialect: Dialect, path: &'static str, handler: F) -> Route
    where
        T: ModelRequest,
        F: Fn(Call, T) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Refusal>> + Send,
    {
        let answer = move |State(app): State<Arc<App>>, request: Request| {
            call::answer(app, request, dialect, handler)
        };
        Route::new("post", dialect, path, post(answer))
    }

    /// A GET about the server or its models.
    pub(crate) fn get<H, T>(dialect: Dialect, path: &'static str, handler: H) -> Route
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        Route::new("get", dialect, path, get(handler))
    }

    /// Marks a second path of an endpoint that is documented at `path`.
    pub(crate) fn alias_of(self, path: &'static str) -> Route {
        Route { alias_of: Some(path), ..self }
    }

    /// Lets everyone in, without a key: supervisors, load balancers and metrics collectors have none.
    pub(crate) fn open(self) -> Route {
        Route { open: true, ..self }
    }

    /// Returns the path below `/models/NAME`, if there is one.
    pub(crate) fn model_path(&self) -> Option<String> {
        let path = self.path.trim_end_matches('/');
        self.per_model.then(|| format!("/models/{{{MODEL_PARAMETER}}}{path}"))
    }

    fn new(
        method: &'static str,
        dialect: Dialect,
        path: &'static str,
        handler: MethodRouter<Arc<App>>,
    ) -> Route {
        Route { method, path, dialect, alias_of: None, per_model: false, open: false, handler }
    }
}
