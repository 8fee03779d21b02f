//! `report.html` in a real browser: it logs no error, fetches nothing, and does not scroll sideways on a
//! phone. Skipped, with a message, if no Chromium is installed.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use bigbatch_validate::report::html;
use serde_json::Value;

use crate::reports::{folder, report};

/// Programs that understand Chromium's options.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"];

/// Shows the page in a frame as wide as a phone and writes down what it finds there. The frame is what
/// makes the width exact: a browser's window may have a least one.
const PROBE: &str = r#"<!doctype html><meta charset="utf-8">
<iframe id="frame" src="page.html" style="width:400px;height:2000px;border:0"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("frame").addEventListener("load", function () {
  const page = this.contentDocument, root = page.documentElement;
  const texts = (of) => Array.from(page.querySelectorAll(of)).map((one) => one.textContent);
  const flat = (svg) => { const box = svg.getBoundingClientRect(); return box.width < 100 || box.height < 20; };
  document.getElementById("found").textContent = JSON.stringify({
    sideways: root.scrollWidth - root.clientWidth,
    fetched: this.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
    parts: texts("h2"),
    headings: texts("h3"),
    charts: page.querySelectorAll("svg").length,
    flat_charts: Array.from(page.querySelectorAll("svg")).filter(flat).length,
  });
});
</script>
"#;

/// The measurements of a page, and the browser's log of it.
struct PageReport {
    found: Value,
    console: Vec<String>,
}

/// Returns the first browser that starts.
fn browser() -> Option<&'static str> {
    let starts = |name: &&&str| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    BROWSERS.iter().find(starts).copied()
}

fn load_page(browser: &str, page: &str, into: &Path) -> PageReport {
    std::fs::create_dir_all(into).expect("writable");
    std::fs::write(into.join("page.html"), page).expect("writable");
    std::fs::write(into.join("probe.html"), PROBE).expect("writable");
    let probe = into.join("probe.html").display().to_string();
    let profile = format!("--user-data-dir={}", into.join("profile").display());
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        // A machine's shared memory may be small, as in a container.
        .args(["--disable-dev-shm-usage", "--allow-file-access-from-files"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(profile)
        .arg(format!("file://{probe}"))
        .output()
        .expect("it started before");
    let dom = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    let found = dom
        .split_once("<pre id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(found, _)| found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        .unwrap_or_else(|| panic!("the page was not shown: {dom}{log}"));
    PageReport {
        found: serde_json::from_str(&found).unwrap_or_else(|_| panic!("no finding: {dom}{log}")),
        console: log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
    }
}

fn scratch(name: &str) -> PathBuf {
    // A browser wants a path from the root.
    std::path::absolute(folder(name)).expect("a working directory")
}

#[test]
fn the_page_is_sound_in_a_browser() {
    let Some(browser) = browser() else {
        // Not `eprintln!`, which a passing test does not show.
        writeln!(stderr(), "skipped: no Chromium is installed").expect("standard error is open");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let results = runtime.block_on(report("browser", "a model")).results;
    let page = html::render(&results);
    let seen = load_page(browser, &page, &scratch("browser/sound"));
    assert_eq!(seen.console, [""; 0], "the page logs nothing");
    let found = &seen.found;
    assert_eq!(found["fetched"], serde_json::json!([]));
    assert_eq!(found["sideways"], 0, "no sideways scrolling at 400 pixels");
    let parts: Vec<&str> =
        found["parts"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(parts, ["Test Results", "Performance Analysis", "Recommendations", "Method"]);
    assert_eq!(found["charts"], page.matches("<svg").count());
    assert_eq!(found["flat_charts"], 0, "every chart is as large as a person can read");

    // The check itself works: a broken page is reported.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let planted = format!(
        "<div style=\"width:900px\">x</div><img src=\"http://{closed}/absent.png\">\
         <script>absent()</script></main>"
    );
    let broken = page.replace("</main>", &planted);
    let seen = load_page(browser, &broken, &scratch("browser/broken"));
    assert!(
        seen.console.iter().any(|line| line.contains("absent is not defined")),
        "{:?}",
        seen.console
    );
    assert!(seen.found["sideways"].as_i64() > Some(300), "{}", seen.found);
    let fetched = seen.found["fetched"][0].as_str();
    assert!(fetched.is_some_and(|name| name.ends_with("absent.png")), "{}", seen.found);
}
