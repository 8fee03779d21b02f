//! Pages for people: the live page, the playground, the viewer of the API's description.
//!
//! Plain files that are part of the program: no build step, no framework, nothing from another host. They are
//! the same for everyone and hold no data, so they need no key; what they show they ask for with the key that
//! their user typed, which stays in the tab's session storage.
//!
//! Nothing here makes HTML from a string. The scripts put what they are told into text nodes, and the policy
//! that goes with every page forbids the browser anything else: no inline script or style, no other host, no
//! frames, and no string where markup would be parsed (`require-trusted-types-for`).

mod data;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::app::App;

/// What a page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
type File = (&'static str, &'static str, &'static str);

/// A page: its content after the head and the navigation that all of them have.
macro_rules! page {
    ($name:literal) => {
        concat!(
            include_str!("assets/head.html"),
            "<title>bigbatch: ",
            $name,
            "</title>\n<script type=\"module\" src=\"/assets/",
            $name,
            ".js\"></script>\n",
            include_str!("assets/top.html"),
            include_str!(concat!("assets/", $name, ".html")),
        )
    };
}

const HOME: &str = include_str!("assets/home.html");

/// Everything but the page at `/`.
const FILES: [File; 12] = [
    ("/dashboard", HTML, page!("dashboard")),
    ("/playground", HTML, page!("playground")),
    ("/docs", HTML, page!("docs")),
    ("/assets/answers.js", SCRIPT, include_str!("assets/answers.js")),
    ("/assets/chart.js", SCRIPT, include_str!("assets/chart.js")),
    ("/assets/common.js", SCRIPT, include_str!("assets/common.js")),
    ("/assets/dashboard.js", SCRIPT, include_str!("assets/dashboard.js")),
    ("/assets/docs.js", SCRIPT, include_str!("assets/docs.js")),
    ("/assets/playground.js", SCRIPT, include_str!("assets/playground.js")),
    ("/assets/window.js", SCRIPT, include_str!("assets/window.js")),
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/assets/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Where the live page's figures are. It tells about the server's use, so it needs a key as the API does.
const DATA: &str = "/dashboard/data";

/// The pages and what they are made of, for everyone.
pub(crate) fn files() -> Router<Arc<App>> {
    let page = |router: Router<Arc<App>>, (path, kind, text): File| {
        router.route(path, get(move || async move { file(kind, text) }))
    };
    FILES.into_iter().fold(Router::new().route("/", get(home)), page)
}

/// The live page's figures.
pub(crate) fn data() -> Router<Arc<App>> {
    Router::new().route(DATA, get(data::data))
}

/// Whether a page is here, or a part of one.
fn is_of_pages(path: &str) -> bool {
    path == "/" || path == DATA || FILES.iter().any(|(own, _, _)| *own == path)
}

/// A page for browsers, a line of JSON for programs.
async fn home(headers: HeaderMap) -> Response {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        return file(HTML, HOME);
    }
    axum::Json(json!({
        "name": "bigbatch",
        "version": env!("CARGO_PKG_VERSION"),
        "docs": "/docs",
        "openapi": "/openapi.json",
        "playground": "/playground",
        "dashboard": "/dashboard",
    }))
    .into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version of the program has other files under the same names.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response()
}
