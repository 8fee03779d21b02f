//! The content of the pages.

use bigbatch_server::Keys;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::server::{HOSTILE, Server};

const PAGES: [&str; 4] = ["/", "/dashboard", "/playground", "/docs"];

/// True in a page where no string became markup.
const UNHARMED: &str = "window.hacked === undefined && document.querySelector('main img') === null \
     && document.querySelectorAll('script').length === 1";

/// Returns an expression that is true once the text of an element contains `text`.
pub(crate) fn shows(selector: &str, text: &str) -> String {
    format!("document.querySelector({}).textContent.includes({})", json!(selector), json!(text))
}

/// Null unless the page shows a value that was not formatted.
const UNWORDED: &str = "document.querySelector('main').innerText.match(/.*(\\[object [A-Z]|undefined|NaN|Infinity).*/)";

/// Asserts that a page logs nothing, shows only formatted values, and is no wider than the window.
pub(crate) fn sound(browser: &mut Browser) {
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.eval(UNHARMED), true);
    assert_eq!(browser.eval(UNWORDED), Value::Null);
    let sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.eval(sideways), 0, "no sideways scrolling");
}

#[test]
fn every_page_has_a_policy_and_needs_no_more() {
    let server = Server::start();
    for path in ["/", "/dashboard", "/playground", "/docs", "/assets/common.js", "/assets/icon.svg"]
    {
        let (head, body) = server.get(path, "text/html");
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        for wanted in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.contains(wanted), "{path} lacks {wanted}: {head}");
        }
        // What the policy would forbid, and what would need the network.
        for absent in ["innerHTML", "style=", "onclick", "https://", "<style"] {
            assert!(!body.contains(absent), "{path} has {absent}");
        }
    }
    let (_, body) = server.get("/", "*/*");
    let found: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&found["name"], &found["docs"]), (&json!("bigbatch"), &json!("/docs")));
}

#[test]
fn the_dashboard_shows_load_models_memory_and_refusals() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("dashboard") else { return };
    let embed = json!({ "inputs": ["one text", "another"], "model": format!("masked-{HOSTILE}") });
    let (head, _) = server.post("/embed", &embed.to_string());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (head, _) =
        server.post("/embed", r#"{"inputs": [], "model": "<script>hacked=1</script>"}"#);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");

    browser.open(&server.url("/dashboard"), 1280, false);
    browser.until(&shows("#models", &format!("masked-{HOSTILE}")));
    browser.until(&shows("#models", &format!("source-{HOSTILE}")));
    browser.until(&shows("#memory", HOSTILE));
    browser.until(&shows("#recent", "404"));
    browser.until(&shows("#routes", "/embed"));
    let answered = "document.querySelector('#models tr').children[6].textContent";
    assert_eq!(browser.eval(answered), "2");
    assert_ne!(browser.eval("document.querySelector('#p50').textContent"), "–");
    // What the client sent is no part of the message that others read.
    browser.until(&shows("#reasons", "no model is called '…'; this server has masked-"));
    browser.until(&shows("#reasons", "unknown_model"));
    assert_eq!(
        browser.eval("document.querySelector('#reasons').textContent.includes('hacked=1<')"),
        false
    );
    browser.until(&shows("#memory", "in use now"));
    browser.until(&shows("#memory", "resident"));
    // The first point of the history comes after one step.
    browser.until("document.querySelector('#charts path').getAttribute('d') !== ''");
    read_a_moment_out(&mut browser);
    server.post("/embed", &embed.to_string());
    browser.until("document.querySelector('#models tr').children[6].textContent === '4'");
    browser.picture("dashboard-light");
    sound(&mut browser);

    browser.open(&server.url("/dashboard"), 400, true);
    browser.until(&shows("#models", HOSTILE));
    browser.picture("dashboard-dark-narrow");
    sound(&mut browser);
}

/// Reads the newest point of the first chart by the keyboard, and one by the pointer.
fn read_a_moment_out(browser: &mut Browser) {
    let chart = "document.querySelector('#charts svg')";
    let readout = "document.querySelector('#charts output').textContent";
    assert_eq!(browser.eval(readout), "");
    let key = |key: &str| {
        format!(
            "{chart}.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }}))"
        )
    };
    browser.eval(&format!("{chart}.focus(), {}", key("End")));
    let read = browser.eval(readout);
    assert!(read.as_str().is_some_and(|text| text.contains(": tokens / s ")), "{read}");
    assert_eq!(browser.eval(&format!("{chart}.getAttribute('aria-valuetext')")), read);
    browser.eval(&key("Escape"));
    assert_eq!(browser.eval(readout), "");
    browser.eval(&format!(
        "{{ const box = {chart}.getBoundingClientRect(); \
           const at = {{ clientX: box.right - 10, clientY: box.top + 20, bubbles: true }}; \
           {chart}.dispatchEvent(new PointerEvent('pointermove', at)); }}"
    ));
    let read = browser.eval(readout);
    assert!(read.as_str().is_some_and(|text| text.contains("tokens / s")), "{read}");
}

/// Whoever opens the dashboard later sees what happened before, and gets only what is missing.
#[test]
fn the_server_keeps_a_history() {
    let server = Server::start();
    let embed = json!({ "inputs": ["one text"], "model": format!("masked-{HOSTILE}") });
    let history = |after: u64| -> Value {
        let (_, body) = server.get(&format!("/dashboard/history?after={after}"), "*/*");
        serde_json::from_str(&body).expect("JSON")
    };
    let busy = |found: &Value| {
        let tokens = found["models"][0]["tokens_per_second"].as_array().expect("a column");
        tokens.iter().any(|rate| rate.as_f64() > Some(0.0))
    };
    let late = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut found = history(0);
    while !busy(&found) {
        assert!(std::time::Instant::now() < late, "no point with tokens: {found}");
        let (head, _) = server.post("/embed", &embed.to_string());
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        std::thread::sleep(std::time::Duration::from_millis(200));
        found = history(0);
    }
    let taken = found["taken"].as_u64().expect("a count");
    assert_eq!((&found["step_s"], &found["capacity"]), (&json!(5), &json!(720)));
    assert_eq!(found["models"][0]["name"], format!("masked-{HOSTILE}"));
    for column in ["p95", "resident_bytes", "refused_per_second", "inputs_in_flight"] {
        let values = found["server"][column].as_array().expect("a column");
        assert_eq!(values.len() as u64, taken, "{column}");
    }
    assert_eq!(history(u64::MAX)["server"]["p95"], json!([]), "the reader has more than there is");
    let (head, _) = server.get("/dashboard/history?after=x", "*/*");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn the_first_page_says_what_runs_here() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("home") else { return };
    browser.open(&server.url("/"), 1280, false);
    browser.until(&shows("#models", &format!("masked-{HOSTILE}")));
    assert_eq!(browser.eval("document.querySelectorAll('#models tr').length"), 4);
    browser.until(&shows("#curl", "/embed' -H 'content-type: application/json'"));
    for link in ["/playground", "/docs", "/dashboard", "/openapi.json"] {
        let found =
            browser.eval(&format!("document.querySelector('main a[href=\"{link}\"]') !== null"));
        assert_eq!(found, true, "{link}");
    }
    browser.picture("home");
    sound(&mut browser);
    browser.open(&server.url("/"), 400, true);
    browser.until(&shows("#models", HOSTILE));
    browser.picture("home-dark-narrow");
    sound(&mut browser);
}

#[test]
fn the_playground_draws_each_kind_of_answer() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("playground") else { return };
    browser.open(&server.url("/playground"), 1280, false);
    browser.until("document.querySelectorAll('#model option').length === 4");
    assert_eq!(browser.eval("document.querySelector('#model').value"), format!("masked-{HOSTILE}"));

    run(&mut browser, 0, "similarity", &format!("one\n{HOSTILE}\nthree"));
    browser.until(&shows("#result tbody", HOSTILE));
    assert_eq!(browser.eval("document.querySelectorAll('#result tbody td').length"), 9);
    assert_eq!(browser.eval("document.querySelector('#result td').textContent"), "1.0000");
    browser.until(&shows("#timings", "tokens"));
    browser.until(&shows("#timings", "on the device"));
    browser.until("document.querySelectorAll('#tokens span').length > 9");
    browser.picture("playground-similarity");
    sound(&mut browser);

    run(&mut browser, 0, "masks", &format!("The [MASK] {HOSTILE} sat [MASK]."));
    assert_eq!(browser.eval("document.querySelectorAll('#result h3').length"), 2);
    assert_eq!(browser.eval("document.querySelectorAll('#result .label-row').length"), 16);
    sound(&mut browser);

    run(&mut browser, 1, "labels", HOSTILE);
    browser.until(&shows("#result", &format!("LABEL-{HOSTILE}")));
    assert_eq!(browser.eval("document.querySelectorAll('#result .label-row').length"), 3);
    browser.until(&shows("#raw-request", "<img src=x"));
    browser.picture("playground-labels");
    sound(&mut browser);

    let text = format!("Ada \u{1f600} lives in Zürich, {HOSTILE}, and works for a firm in Oslo.");
    run(&mut browser, 2, "entities", &text);
    browser.until(&shows("#result mark small", HOSTILE));
    let own = "[...document.querySelectorAll('#result .text')].map((shown) => { \
         const text = shown.cloneNode(true); \
         text.querySelectorAll('small').forEach((label) => label.remove()); \
         return text.textContent; })";
    assert_eq!(browser.eval(own), json!([text]), "the text is whole, whatever is marked in it");
    browser.picture("playground-entities");
    sound(&mut browser);

    run(&mut browser, 3, "ranking", &format!("Wool keeps feet warm.\n{HOSTILE}"));
    browser.until(&shows("#result", HOSTILE));
    assert_eq!(browser.eval("document.querySelectorAll('#result .label-row').length"), 2);
    sound(&mut browser);

    browser.open(&server.url("/playground"), 400, true);
    browser.until("document.querySelectorAll('#model option').length === 4");
    run(&mut browser, 2, "entities", &text);
    browser.picture("playground-dark-narrow");
    sound(&mut browser);
}

#[test]
fn the_playground_shows_refusals() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("refusal") else { return };
    browser.open(&server.url("/playground"), 1280, false);
    browser.until("document.querySelectorAll('#model option').length === 4");
    send(&mut browser, 1, "labels", &format!("{HOSTILE} ").repeat(500));
    browser.until(&shows("#failure", "must have less than"));
    assert_eq!(browser.eval("document.getElementById('answer').hidden"), true);
    sound(&mut browser);
}

/// Sends a text and waits for its answer.
fn run(browser: &mut Browser, model: usize, task: &str, text: &str) {
    send(browser, model, task, text);
    assert_eq!(browser.eval("document.getElementById('failure').textContent"), "");
}

/// Chooses a model and a task, and sends a text.
fn send(browser: &mut Browser, model: usize, task: &str, text: &str) {
    browser.eval(&format!(
        "{{
          const set = (id, value) => {{
            const field = document.getElementById(id);
            if (typeof value === 'number') field.selectedIndex = value; else field.value = value;
            field.dispatchEvent(new Event('change'));
          }};
          set('model', {model}); set('task', {task}); set('text', {text});
          document.getElementById('answer').hidden = true;
          document.getElementById('run').click();
        }}",
        task = json!(task),
        text = json!(text)
    ));
    browser.until(
        "!document.getElementById('answer').hidden || !document.getElementById('failure').hidden",
    );
}

#[test]
fn the_docs_show_every_endpoint_and_call_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("docs") else { return };
    let (_, body) = server.get("/openapi.json", "*/*");
    let document: Value = serde_json::from_str(&body).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let own = paths.iter().filter(|(path, _)| !path.starts_with("/models/{name}"));
    let keys = own.filter_map(|(_, item)| item.as_object()).flat_map(|item| item.keys());
    // One more for all endpoints below /models/NAME.
    let methods = 1 + keys.filter(|key| ["get", "post"].contains(&key.as_str())).count();
    browser.open(&server.url("/docs"), 1280, false);
    browser.until("document.querySelector('details') !== null");
    assert_eq!(browser.eval("document.querySelectorAll('details').length"), methods);

    let embed = "[...document.querySelectorAll('details')].find((one) => \
         one.querySelector('summary').textContent.startsWith('POST/embed '))";
    browser.eval(&format!("{embed}.open = true"));
    browser.until(&format!("{embed}.querySelector('textarea')"));
    let shape = browser.eval(&format!("{embed}.querySelector('ul').textContent"));
    let shape = shape.as_str().expect("text");
    for field in ["inputs string | [integer | string | [integer]], required", "normalize boolean"] {
        assert!(shape.contains(field), "{shape}");
    }
    browser.eval(&format!("{embed}.querySelector('button').click()"));
    browser.until(&format!("{embed}.querySelector('pre').textContent.startsWith('200')"));
    browser.picture("docs");
    sound(&mut browser);

    browser.eval(
        "{ const field = document.getElementById('filter'); field.value = 'health'; \
           field.dispatchEvent(new Event('input')); }",
    );
    let shown = "[...document.querySelectorAll('details')].filter((one) => !one.hidden)";
    let left = browser.eval(&format!("{shown}.every((one) => one.textContent.includes('health'))"));
    assert_eq!(left, true);
    assert_ne!(browser.eval(&format!("{shown}.length")), 0);
    browser.open(&server.url("/docs"), 400, true);
    browser.until("document.querySelector('details') !== null");
    browser.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    browser
        .until("[...document.querySelectorAll('details')].every((one) => one.querySelector('h3'))");
    browser.picture("docs-dark-narrow");
    sound(&mut browser);
}

/// Presses Send in every form as it is prefilled, with every example, and below /models/NAME for every model.
#[test]
fn every_operation_answers_200_as_prefilled() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("prefilled") else { return };
    browser.open(&server.url("/docs"), 1280, false);
    browser.until("document.querySelector('#by-path') !== null");
    let answers = browser.eval(PRESS_ALL);
    let answers = answers.as_array().expect("a list");
    let refused: Vec<&Value> = answers
        .iter()
        .filter(|answer| !answer["answer"].as_str().is_some_and(|text| text.starts_with("200\n")))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(answers.len() > 80, "{} were pressed", answers.len());
    let of_a_model =
        |answer: &&Value| answer["path"].as_str().is_some_and(|path| path.starts_with("/models/"));
    assert!(answers.iter().filter(of_a_model).count() > 30, "of each model");
    sound(&mut browser);
}

/// Opens all operations of the docs and presses Send in each; returns the paths and the answers.
const PRESS_ALL: &str = "(async () => {
  const answers = [];
  const until = async (found) => {
    const late = performance.now() + 60000;
    while (!found() && performance.now() < late) await new Promise((done) => setTimeout(done, 10));
    return found();
  };
  const press = async (form) => {
    const shown = form.querySelector('pre');
    shown.textContent = '';
    form.querySelector('button').click();
    await until(() => shown.textContent);
    answers.push({ path: form.querySelector('input').value, answer: shown.textContent.slice(0, 200) });
  };
  const each = async (select, act) => {
    for (let index = 0; index < select.options.length; index += 1) {
      select.selectedIndex = index;
      select.dispatchEvent(new Event('change'));
      await act();
    }
  };
  for (const box of document.querySelectorAll('details:not(#by-path)')) {
    box.open = true;
    const form = await until(() => box.querySelector('form'));
    const examples = form.querySelector('select');
    await (examples ? each(examples, () => press(form)) : press(form));
  }
  const group = document.querySelector('#by-path');
  const [model, endpoint] = group.querySelectorAll('select');
  await each(model, () => each(endpoint, () => press(group.querySelector('form'))));
  return answers;
})()";

#[test]
fn the_harness_notices_violations_and_errors() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("eyes") else { return };
    for path in PAGES {
        browser.open(&server.url(path), 1280, false);
        let refused = browser.eval(
            "(() => { try { document.querySelector('main').innerHTML = '<img>'; return ''; } \
             catch (error) { return error.message; } })()",
        );
        assert!(refused.as_str().is_some_and(|said| said.contains("TrustedHTML")), "{refused}");
    }
    browser.eval(
        "{ const image = document.createElement('img'); image.src = 'http://127.0.0.1:9/x.png'; \
           document.querySelector('main').append(image); }",
    );
    browser.until("window.violations.some((one) => one.startsWith('img-src'))");
    browser.eval("setTimeout(() => absent(), 0), 0");
    browser.until("true");
    let complaints = browser.complaints().join("\n");
    assert!(complaints.contains("img-src"), "{complaints}");
    assert!(complaints.contains("absent is not defined"), "{complaints}");
    assert_eq!(browser.eval(UNHARMED), false);
}

#[test]
fn a_key_is_requested_and_kept_in_the_tab() {
    const KEY: &str = "open sesame";
    let server = Server::with_keys(Keys::load(Some(KEY), None).expect("a key"));
    let (head, _) = server.get("/dashboard/data", "*/*");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (head, _) = server.get("/dashboard/history", "*/*");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let Some(mut browser) = Browser::start("key") else { return };
    browser.open(&server.url("/dashboard"), 1280, false);
    browser.until(&shows("#failure", "needs an API key"));
    assert_eq!(browser.eval("document.activeElement.id"), "key");
    browser.eval(&format!(
        "{{ document.getElementById('key').value = {}; \
            document.querySelector('#key-form button').click(); }}",
        json!(KEY)
    ));
    browser.until(&shows("#models", "labels"));
    assert_eq!(browser.eval("document.getElementById('failure').hidden"), true);
    let kept = "[Object.values({ ...sessionStorage }), localStorage.length, document.cookie]";
    assert_eq!(browser.eval(kept), json!([[KEY], 0, ""]));
    assert_eq!(browser.eval("location.href"), server.url("/dashboard"));
    sound(&mut browser);
    // Another page in the same tab has the key already.
    browser.open(&server.url("/playground"), 1280, false);
    browser.until("document.querySelectorAll('#model option').length === 4");
    run(&mut browser, 1, "labels", "a text");
    // Programs read the key from the environment: it is in no snippet.
    browser.until(&shows("#snippets", "$BIGBATCH_API_KEY"));
    assert_eq!(browser.eval(&shows("main", KEY)), false);
    sound(&mut browser);
}

/// Offsets count characters, not UTF-16 units; of two overlapping entities the first is drawn.
#[test]
fn entities_are_marked_at_the_offsets_of_the_server() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("entities") else { return };
    browser.open(&server.url("/playground"), 1280, false);
    browser.until("document.querySelectorAll('#model option').length === 4");
    let text = format!("A \u{1f600}\u{1f600} in Zürich {HOSTILE}");
    let place = text.chars().position(|c| c == 'Z').expect("it is there");
    let entity = |label: &str, start: usize, end: usize| json!({ "label": label, "start": start, "end": end, "score": 0.5, "text": "" });
    let hostile = place + 7;
    let entities = json!([
        entity(HOSTILE, hostile, hostile + 4),
        entity("PLACE", place, place + 6),
        entity("PART", place + 2, place + 6),
    ]);
    let found = browser.eval(&format!(
        "import('/assets/answers.js').then(({{ bars, highlighted }}) => {{
           const main = document.querySelector('main');
           const text = highlighted({}, {entities});
           main.replaceChildren(text, ...bars([{{ label: {}, score: 0.25 }}]));
           return {{
             marks: [...text.querySelectorAll('mark')].map((mark) => mark.firstChild.data),
             labels: [...text.querySelectorAll('small')].map((label) => label.textContent),
             bar: main.querySelector('.bar > span').style.width,
             label: main.querySelector('.label-row > span').textContent,
           }};
         }})",
        json!(text),
        json!(HOSTILE)
    ));
    assert_eq!(
        found,
        json!({
            "marks": ["Zürich", "<img"], "labels": ["PLACE", HOSTILE],
            "bar": "25%", "label": HOSTILE,
        })
    );
    sound(&mut browser);
}

/// The arithmetic of the page over the server's histograms.
#[test]
fn percentiles_are_of_the_window() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("window") else { return };
    browser.open(&server.url("/dashboard"), 1280, false);
    let found = browser.eval(
        "import('/assets/window.js').then(({ Window, difference, mean, merge, quantile }) => {
           const one = (n) => ({ count: n, sum: n * 2, buckets: [[0, 1, n]] });
           const two = { count: 10, sum: 60, buckets: [[0, 1, 5], [4, 8, 5]] };
           const answer = (uptime_s, tokens, seconds, started_unix_s = 1) =>
             ({ started_unix_s, uptime_s, routes: [],
               models: [{ name: 'm', stages: { tokens, seconds }, lengths: [{ tokens_max: 9, seconds }] }] });
           const changed = difference(answer(12, 50, two), answer(10, 20, one(5)));
           const seen = new Window(60);
           for (const at of [10, 12, 14, 100, 102]) seen.add(answer(at, at * 3, one(at)));
           const past = seen.within(60);
           seen.add(answer(999, 1, one(1), 2));
           return {
             seconds: changed.seconds,
             tokens: changed.models[0].stages.tokens,
             buckets: changed.models[0].stages.seconds.buckets,
             lengths: changed.models[0].lengths,
             p50: quantile(two, 0.5), p55: quantile(two, 0.55), p100: quantile(two, 1),
             none: quantile({ count: 0, sum: 0, buckets: [] }, 0.5),
             mean: mean(merge([two, one(10)])),
             past: [past.seconds, past.models[0].stages.tokens],
             restarted: seen.answers.length,
           };
         })",
    );
    assert_eq!(
        found,
        json!({
            "seconds": 2, "tokens": 30, "buckets": [[4, 8, 5]],
            "lengths": [{"tokens_max": 9, "seconds": {"count": 5, "sum": 50, "buckets": [[4, 8, 5]]}}],
            "p50": 1, "p55": 4.8, "p100": 8, "none": null, "mean": 4,
            "past": [2, 6], "restarted": 1,
        })
    );
}
