//! A headless Chromium, driven over its debugging pipe: one page, its log and its content.
//!
//! The pipe is file descriptors 3 and 4 of the browser; a shell puts our ends of its standard input and
//! output there. Messages are JSON, each ended by a zero byte.

use std::io::{BufRead, BufReader, Write, stderr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Programs that understand Chromium's options.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"];

/// Records what the policy forbade, before any script of the page runs.
const WATCH: &str = "window.violations = []; addEventListener('securitypolicyviolation', \
     (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));";

/// Longer than anything takes on a busy machine; a test that gets here has failed.
const PATIENCE_MS: u32 = 60_000;

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    sent: u64,
    events: Vec<Value>,
    profile: std::path::PathBuf,
}

impl Browser {
    /// Starts the first browser that is installed; prints a message and returns `None` without one.
    pub(crate) fn start(name: &str) -> Option<Browser> {
        let starts = |program: &&&str| {
            Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success())
        };
        let Some(program) = BROWSERS.iter().find(starts) else {
            // Not `eprintln!`, which a passing test does not show.
            writeln!(stderr(), "skipped: no Chromium is installed")
                .expect("standard error is open");
            return None;
        };
        let profile = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&profile);
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let (session, events) = (None, Vec::new());
        let mut browser = Browser { child, to, from, session, sent: 0, events, profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }));
        Some(browser)
    }

    /// One command and its result.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser runs");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("the browser runs");
            assert_eq!(bytes.pop(), Some(0), "the browser has gone during {method}");
            let got: Value = serde_json::from_slice(&bytes).expect("JSON");
            if got["id"] == self.sent {
                assert!(got["error"].is_null(), "{method}: {}", got["error"]);
                return got["result"].clone();
            }
            self.events.push(got);
        }
    }

    /// Opens a page as wide as a window or a phone is.
    pub(crate) fn open(&mut self, url: &str, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", screen);
        self.call("Page.navigate", json!({ "url": url }));
        self.until(&format!("location.href === '{url}' && document.readyState === 'complete'"));
    }

    /// Returns the value of an expression; a promise is awaited.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].clone()
    }

    /// Waits in the page until the expression is true, and returns its value.
    pub(crate) fn until(&mut self, expression: &str) -> Value {
        let waiting = format!(
            "new Promise((resolve) => {{
               const late = performance.now() + {PATIENCE_MS};
               const look = () => {{
                 let found = null;
                 try {{ found = ({expression}); }} catch {{ }}
                 if (found) resolve({{ found }});
                 else if (performance.now() > late) resolve({{ page: document.body.innerText }});
                 else setTimeout(look, 20);
               }};
               look();
             }})"
        );
        let result = self.eval(&waiting);
        assert!(result["page"].is_null(), "never: {expression}\n{}", result["page"]);
        result["found"].clone()
    }

    /// What the page logged as an error or a warning and what its policy forbade, so far. Statuses of 400 and
    /// above are left out: browsers log them even where the page deals with them.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let mut found: Vec<String> = self.events.iter().filter_map(complaint).collect();
        let forbidden = self.eval("window.violations");
        found.extend(forbidden.as_array().into_iter().flatten().map(Value::to_string));
        found
    }

    /// Leaves a picture under the name, where BIGBATCH_SCREENSHOTS names a folder: for people.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("BIGBATCH_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let bytes = shot["data"].as_str().unwrap_or_default();
        let file = std::path::Path::new(&folder).join(format!("{name}.png.base64"));
        std::fs::write(file, bytes).expect("the folder is writable");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" => {
            let loud = params["type"] == "error" || params["type"] == "warning";
            loud.then(|| params["args"].to_string())
        }
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let refused = entry["text"].as_str().is_some_and(|text| {
                text.starts_with("Failed to load resource: the server responded with a status")
            });
            (!refused).then(|| entry.to_string())
        }
        _ => None,
    }
}
