//! The scripts of the pages, module by module: what they compute, whatever a page shows of it.

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;
use crate::views::sound;

/// Equal texts have the darkest shade, although rounding takes their similarity above 1.
#[test]
fn similarities_above_one_are_shaded() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("shades") else { return };
    browser.open(&server.url("/playground"), 1280, false);
    browser.until("document.querySelectorAll('#model option').length === 4");
    let shades = browser.eval(
        "import('/assets/answers.js').then(({ similarities }) => {
           const table = similarities(['one', 'two'], [[1.0001, 0], [0, -1]]);
           document.querySelector('main').replaceChildren(table);
           const shade = (cell) => getComputedStyle(cell).backgroundColor;
           const [same, apart] = table.querySelectorAll('td');
           return [shade(same) === shade(apart), same.style.backgroundColor.includes('100%')];
         })",
    );
    assert_eq!(shades, json!([false, true]));
    sound(&mut browser);
}

/// A history grows by what is missing, forgets what is older than it keeps, and begins anew with the server.
#[test]
fn a_history_is_of_one_process() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("history") else { return };
    browser.open(&server.url("/dashboard"), 1280, false);
    let found = browser.eval(
        "import('/assets/history.js').then(({ History }) => {
           const answer = (taken, values, started_unix_s = 1) => ({
             started_unix_s, step_s: 5, capacity: 3, taken, at_unix_ms: taken * 5000,
             server: { p95: values }, models: [{ name: 'm', p95: values }],
           });
           const history = new History();
           const first = history.add(answer(2, [1, null]));
           const asked = history.path;
           history.add(answer(4, [3, 4]));
           const kept = [history.server.p95, history.models[0].p95, history.at];
           const restarted = history.add(answer(9, [], 2));
           return { first, asked, kept, restarted, path: history.path, left: history.server };
         })",
    );
    let path = "/dashboard/history?after=";
    assert_eq!(
        found,
        json!({
            "first": true, "asked": format!("{path}2"),
            "kept": [[null, 3, 4], [null, 3, 4], 20_000],
            "restarted": false, "path": format!("{path}0"), "left": {},
        })
    );
}

/// Quotes and braces of a text stay what they are in a shell, in Python and in JavaScript.
#[test]
fn snippets_send_the_text_that_was_sent() {
    let server = Server::start();
    let Some(mut browser) = Browser::start("snippets") else { return };
    browser.open(&server.url("/playground"), 1280, false);
    let found = browser.eval(
        "import('/assets/snippets.js').then(({ snippets }) => {
           const body = { inputs: ['it\\'s \\\"x\\\" ${1}'], truncate: false, query: null };
           const [[, curl], [, python], [, script]] = snippets('/embed', body, true);
           return { curl, python, script };
         })",
    );
    let text = |name: &str| found[name].as_str().expect("a text").to_owned();
    let url = server.url("/embed");
    let curl = text("curl");
    assert!(
        curl.starts_with(&format!("curl -s '{url}' -H 'content-type: application/json'")),
        "{curl}"
    );
    assert!(curl.contains("Bearer $BIGBATCH_API_KEY"), "{curl}");
    let quoted = r#"-d '{"inputs":["it'\''s \"x\" ${1}"],"truncate":false,"query":null}'"#;
    assert!(curl.ends_with(quoted), "{curl}");
    let python = text("python");
    for part in [r#""it's \"x\" ${1}","#, "\"truncate\": False,", "\"query\": None,", "os.environ"]
    {
        assert!(python.contains(part), "{part}: {python}");
    }
    let script = text("script");
    assert!(script.contains(r#""it's \"x\" ${1}""#) && script.contains("process.env"), "{script}");
}
