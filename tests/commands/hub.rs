//! A model from the Hub equals the model from a directory, side files included; otherwise loading fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use serde_json::json;

use crate::numbers;
use crate::parse;
use crate::support::{Bigbatch, Scratch, bigbatch, text};

const ID: &str = "somebody/some-model";

/// Starts a Hub with one repository, which answers 503 for the file `fails_on`. Returns its address.
fn hub(files: BTreeMap<String, Vec<u8>>, fails_on: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    // The thread ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.expect("a client"), &files, fails_on);
        }
    });
    address
}

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, fails_on: Option<&str>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
    let mut next = || lines.next().expect("a head").expect("UTF-8");
    let asked = next();
    let prefix = format!("/{ID}/resolve/main/");
    let path = asked.split(' ').nth(1).and_then(|path| path.strip_prefix(&prefix));
    let mut range = (0, usize::MAX);
    loop {
        let line = next();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-').expect("a range");
            range = (from.parse().expect("a number"), to.parse().unwrap_or(usize::MAX));
        }
    }
    let body = match path.map(|path| (path, files.get(path))) {
        Some((path, _)) if fails_on == Some(path) => Err("503 Service Unavailable"),
        Some((path, Some(bytes))) => Ok((path, bytes)),
        _ => Err("404 Not Found"),
    };
    let (head, body) = match body {
        Err(status) => (format!("HTTP/1.1 {status}\r\n"), &[][..]),
        Ok((path, bytes)) => {
            let part = &bytes[range.0..bytes.len().min(range.1.saturating_add(1))];
            let (etag, from, all) = (path.replace('/', "-"), range.0, bytes.len());
            let to = from + part.len() - 1;
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\netag: \"{etag}\"\r\nx-repo-commit: abc\r\n\
                 content-range: bytes {from}-{to}/{all}\r\n"
            );
            (head, part)
        }
    };
    let length = body.len();
    let head = format!("{head}content-length: {length}\r\nconnection: close\r\n\r\n");
    // A client may close the connection early.
    stream.write_all(&[head.as_bytes(), body].concat()).ok();
}

fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("it was written").map(|entry| entry.expect("one"));
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        (name, std::fs::read(entry.path()).expect("readable"))
    };
    entries.map(read).collect()
}

fn embed(source: &str) -> Bigbatch {
    bigbatch(["embed", "--json", "--model", source, "some text"])
}

fn embed_of_hub(scratch: &Scratch, address: &str) -> Bigbatch {
    let online = embed(ID).env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", address);
    online.env("HF_HOME", scratch.path("cache"))
}

#[test]
fn side_files_of_the_hub_are_used_as_those_of_a_directory() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let put = |name: &str, json: serde_json::Value| {
        std::fs::write(dir.join(name), json.to_string()).expect("writable");
    };
    let vector = |run: Bigbatch| numbers(&parse(&run.output())[0]["embedding"]);
    let plain = vector(embed(text(&dir)));
    put(
        "config_sentence_transformers.json",
        json!({"prompts": {"query": "a query: "}, "default_prompt_name": "query"}),
    );
    let prompted = vector(embed(text(&dir)));
    assert_ne!(plain, prompted);
    let address = hub(files_of(&dir), None);
    assert_eq!(vector(embed_of_hub(&scratch, &address)), prompted);
    // The second run is offline and reads the cache.
    let cached = embed(ID).env("HF_HOME", scratch.path("cache"));
    assert_eq!(vector(cached), prompted);
}

#[test]
fn a_side_file_that_cannot_be_fetched_is_an_error() {
    let scratch = Scratch::new();
    let files = files_of(&scratch.checkpoint("model", &["--head", "base"]));
    let address = hub(files, Some("1_Pooling/config.json"));
    let done = embed_of_hub(&scratch, &address).run();
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("1_Pooling/config.json") && done.stderr.contains("503"));
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}
