//! The pages: what runs here, dashboard, playground, and the API's documentation.
//!
//! They are plain files compiled into the program: no build step, no framework, nothing from another host. They
//! hold no data and so need no key; they read data from the API with the key that the user enters, which stays in
//! the tab's session storage.
//!
//! No HTML is made from strings. Scripts put data into text nodes, and the policy sent with every page forbids
//! everything else: inline scripts and styles, other hosts, frames, and strings that would be parsed as markup
//! (`require-trusted-types-for`). The dashboard's figures are in `data`.

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

/// The content security policy of every page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
type Asset = (&'static str, &'static str, &'static str);

/// Returns a page: its content after the shared head and navigation.
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

const HOME: &str = page!("home");

/// All files but the page at `/`.
const FILES: [Asset; 16] = [
    ("/dashboard", HTML, page!("dashboard")),
    ("/playground", HTML, page!("playground")),
    ("/docs", HTML, page!("docs")),
    ("/assets/answers.js", SCRIPT, include_str!("assets/answers.js")),
    ("/assets/chart.js", SCRIPT, include_str!("assets/chart.js")),
    ("/assets/common.js", SCRIPT, include_str!("assets/common.js")),
    ("/assets/dashboard.js", SCRIPT, include_str!("assets/dashboard.js")),
    ("/assets/docs.js", SCRIPT, include_str!("assets/docs.js")),
    ("/assets/history.js", SCRIPT, include_str!("assets/history.js")),
    ("/assets/home.js", SCRIPT, include_str!("assets/home.js")),
    ("/assets/playground.js", SCRIPT, include_str!("assets/playground.js")),
    ("/assets/snippets.js", SCRIPT, include_str!("assets/snippets.js")),
    ("/assets/tasks.js", SCRIPT, include_str!("assets/tasks.js")),
    ("/assets/window.js", SCRIPT, include_str!("assets/window.js")),
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("/assets/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// The dashboard's figures now and of the last hour. They reveal how the server is used, so they need a key as the API
/// does.
const DATA: [&str; 2] = ["/dashboard/data", "/dashboard/history"];

/// Returns the routes of the pages and their assets, which need no key.
pub(crate) fn files() -> Router<Arc<App>> {
    let page = |router: Router<Arc<App>>, (path, kind, text): Asset| {
        router.route(path, get(move || async move { file(kind, text) }))
    };
    FILES.into_iter().fold(Router::new().route("/", get(home)), page)
}

/// Returns the routes of the dashboard's figures, which need a key.
pub(crate) fn data() -> Router<Arc<App>> {
    Router::new().route(DATA[0], get(data::data)).route(DATA[1], get(data::history))
}

/// Returns whether the path is a page or a part of one.
fn is_page_path(path: &str) -> bool {
    path == "/" || DATA.contains(&path) || FILES.iter().any(|(own, _, _)| *own == path)
}

/// Answers browsers with a page, and programs with JSON.
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
        // Another version of the program may have other content under the same name.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response()
}
