//! A model from the Hub equals the model from a directory, side files included; otherwise loading fails. What was
//! opened once opens without the Hub.

mod fake;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::json;

use self::fake::{FakeHub, ID, files_of};
use crate::numbers;
use crate::parse;
use crate::support::{Bigbatch, RunOutput, Scratch, bigbatch, text};

/// A port on which nothing listens.
const NO_HUB: &str = "http://127.0.0.1:9";

fn embed(source: &str) -> Bigbatch {
    bigbatch(["embed", "--json", "--model", source, "some text"])
}

fn online(run: Bigbatch, scratch: &Scratch, address: &str) -> Bigbatch {
    run.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", address).env("HF_HOME", scratch.path("cache"))
}

fn embed_of_hub(scratch: &Scratch, address: &str) -> Bigbatch {
    online(embed(ID), scratch, address)
}

fn embed_offline(scratch: &Scratch) -> Bigbatch {
    embed(ID).env("HF_HOME", scratch.path("cache"))
}

fn vector(run: Bigbatch) -> Vec<f64> {
    numbers(&parse(&run.output())[0]["embedding"])
}

/// Asserts that a run fails with one line that has each of `parts`.
#[track_caller]
fn assert_refused(run: Bigbatch, parts: &[&str]) {
    let RunOutput { code, stderr, .. } = run.run();
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "'{part}' is not in: {stderr}");
    }
}

fn put(dir: &Path, name: &str, json: serde_json::Value) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("within dir")).expect("writable");
    fs::write(path, json.to_string()).expect("writable");
}

/// A model whose vectors need each of the files of sentence-transformers: cls pooling and a default prompt.
fn prompted_model(scratch: &Scratch) -> PathBuf {
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let module = |path: &str, kind: &str| json!({"idx": 0, "name": path, "path": path, "type": format!("sentence_transformers.models.{kind}")});
    let modules = [module("", "Transformer"), module("1_Pooling", "Pooling")];
    put(&dir, "modules.json", modules.into());
    put(&dir, "1_Pooling/config.json", json!({"pooling_mode_cls_token": true}));
    let prompts = json!({"prompts": {"query": "a query: "}, "default_prompt_name": "query"});
    put(&dir, "config_sentence_transformers.json", prompts);
    dir
}

fn repository(scratch: &Scratch) -> PathBuf {
    scratch.path("cache/hub").join(format!("models--{}", ID.replace('/', "--")))
}

#[test]
fn a_model_that_was_opened_once_opens_without_the_hub() {
    let scratch = Scratch::new();
    let dir = prompted_model(&scratch);
    let expected = vector(embed(text(&dir)));
    let hub = FakeHub::start(&dir);
    assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected);
    assert_eq!(vector(embed_offline(&scratch)), expected);
    let down = embed_of_hub(&scratch, NO_HUB).run();
    assert_eq!(numbers(&parse(&down.stdout)[0]["embedding"]), expected);
    let warning = &down.stderr;
    assert!(warning.contains("WARN") && warning.contains("using commit c1"), "{warning}");
    // The last is a proxy's: the Hub's own names the commit.
    let failures =
        [("503 Service Unavailable", ""), ("401 Unauthorized", "GatedRepo"), ("404 Not Found", "")];
    for (status, code) in failures {
        hub.change(|state| state.fails = Some(("", status, code)));
        assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected, "{status}");
    }
}

#[test]
fn absent_files_are_marked_as_huggingface_hub_does() {
    let scratch = Scratch::new();
    let hub = FakeHub::start(&scratch.checkpoint("model", &["--head", "base"]));
    let expected = vector(embed_of_hub(&scratch, &hub.address));
    assert!(hub.take_log().len() > 5);
    let marks = files_of(&repository(&scratch).join(".no_exist/c1"));
    for file in ["modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"] {
        assert_eq!(marks.get(file), Some(&Vec::new()), "{file}");
    }
    // The next start asks for the branch's commit and for nothing else.
    assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected);
    assert_eq!(hub.take_log(), [("main/config.json".into(), 0)]);
    let refs = fs::read_to_string(repository(&scratch).join("refs/main"));
    assert_eq!(refs.expect("written"), "c1");
    let blob = fs::read_link(repository(&scratch).join("snapshots/c1/config.json"));
    assert!(blob.expect("a link").starts_with("../../blobs"));
}

#[test]
fn a_file_that_the_cache_knows_nothing_of_is_not_taken_for_absent() {
    let scratch = Scratch::new();
    let dir = prompted_model(&scratch);
    let hub = FakeHub::start(&dir);
    let expected = vector(embed_of_hub(&scratch, &hub.address));
    let snapshot = repository(&scratch).join("snapshots/c1");
    let missing = ["config_sentence_transformers.json", "1_Pooling/config.json", "modules.json"];
    for file in missing {
        let (path, away) = (snapshot.join(file), scratch.path("away"));
        fs::rename(&path, &away).expect("it was fetched");
        assert_refused(
            embed_offline(&scratch),
            &[file, "HF_HUB_OFFLINE", &format!("hf download {ID}")],
        );
        let down = embed_of_hub(&scratch, NO_HUB).run();
        assert_eq!(down.code, Some(2), "{}", down.stderr);
        assert!(down.stderr.contains(file), "{}", down.stderr);
        fs::rename(&away, &path).expect("it was there");
    }
    assert_eq!(vector(embed_offline(&scratch)), expected);
}

#[test]
fn a_snapshot_of_the_whole_repository_needs_no_marks() {
    let scratch = Scratch::new();
    let hub = FakeHub::start(&scratch.checkpoint("model", &["--head", "base"]));
    let expected = vector(embed_of_hub(&scratch, &hub.address));
    fs::remove_dir_all(repository(&scratch).join(".no_exist")).expect("it was written");
    assert_refused(embed_offline(&scratch), &["is not in the cache"]);
    // `hf download` fetches this file too.
    let attributes = repository(&scratch).join("snapshots/c1/.gitattributes");
    fs::write(&attributes, "").expect("writable");
    assert_eq!(vector(embed_offline(&scratch)), expected);
    fs::remove_file(&attributes).expect("it is there");
    // Newer versions also keep the list of the commit's files.
    let listed = |files: &[&str]| {
        let files: serde_json::Map<_, _> =
            files.iter().map(|file| (file.to_string(), json!({"size": 1}))).collect();
        put(&repository(&scratch), "trees/c1.json", json!({"format_version": 1, "files": files}));
    };
    listed(&["config.json"]);
    assert_eq!(vector(embed_offline(&scratch)), expected);
    listed(&["config.json", "modules.json"]);
    assert_refused(embed_offline(&scratch), &["modules.json"]);
}

#[test]
fn a_classifier_needs_no_files_of_sentence_transformers() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "classify", "--labels", "a,b"]);
    let hub = FakeHub::start(&dir);
    let classify = || bigbatch(["classify", "--json", "--model", ID, "some text"]);
    let expected = online(classify(), &scratch, &hub.address).output();
    fs::remove_dir_all(repository(&scratch).join(".no_exist")).expect("it was written");
    assert_eq!(classify().env("HF_HOME", scratch.path("cache")).output(), expected);
}

#[test]
fn a_file_that_cannot_be_fetched_is_an_error() {
    let scratch = Scratch::new();
    let hub = FakeHub::start(&prompted_model(&scratch));
    // A bare 404 is a proxy's and no word about the repository; it must not be remembered either.
    for (status, number) in [("503 Service Unavailable", "503"), ("404 Not Found", "404")] {
        hub.change(|state| state.fails = Some(("1_Pooling/config.json", status, "")));
        assert_refused(embed_of_hub(&scratch, &hub.address), &["1_Pooling/config.json", number]);
    }
    assert!(!repository(&scratch).join(".no_exist/c1/1_Pooling/config.json").exists());
}

#[test]
fn revisions_are_branches_tags_and_commits() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let other = scratch.checkpoint("other", &["--head", "base", "--seed", "7"]);
    let hub = FakeHub::start(&dir);
    hub.push("pr/1", "c2", files_of(&other));
    let of = |args: &[&str]| {
        let run = bigbatch([&["embed", "--json"], args, &["some text"]].concat());
        online(run, &scratch, &hub.address)
    };
    let (one, two) = (vector(embed(text(&dir))), vector(embed(text(&other))));
    let at = |revision: &str| format!("{ID}@{revision}");
    assert_eq!(vector(of(&["--model", &at("pr/1")])), two);
    assert_eq!(vector(of(&["--model", &at("c2")])), two);
    assert_eq!(vector(of(&["--model", ID, "--revision", "pr/1"])), two);
    assert_eq!(vector(of(&["--model", ID])), one);
    // A commit that is cached needs no request, and a branch is cached by its name.
    hub.take_log();
    assert_eq!(vector(of(&["--model", &at("c2")])), two);
    assert_eq!(hub.take_log(), []);
    assert_eq!(vector(embed(&at("pr/1")).env("HF_HOME", scratch.path("cache"))), two);
    // A new commit of the branch is found.
    hub.push("main", "c2", files_of(&other));
    assert_eq!(vector(of(&["--model", ID])), two);

    assert_refused(of(&["--model", &at("v9")]), &["no revision 'v9'", &format!("{ID}/tree/main")]);
    assert_refused(of(&["--model", &at("a"), "--revision", "b"]), &["--revision names b"]);
    assert_refused(of(&["--model", &at("../../x")]), &["branch, tag or commit"]);
    assert_refused(of(&["--revision", "b"]), &["embedded", "remove --revision"]);
    let directory = text(&dir);
    assert_refused(of(&["--model", directory, "--revision", "b"]), &["is a directory"]);
    assert_refused(of(&["--model", &format!("{directory}@b")]), &["is a directory", "@b"]);
    let with_at = scratch.path("model@b");
    fs::rename(&dir, &with_at).expect("it is there");
    assert_eq!(vector(embed(text(&with_at))), one);
}

#[test]
fn refusals_of_the_hub_say_what_to_do() {
    let scratch = Scratch::new();
    let hub = FakeHub::start(&scratch.checkpoint("model", &["--head", "base"]));
    let run = || embed_of_hub(&scratch, &hub.address);
    let page = format!("{}/{ID}", hub.address);
    hub.change(|state| state.token = Some("secret"));
    assert_refused(run(), &["gated", "401", "HF_TOKEN", &page]);
    assert_refused(run().env("HF_TOKEN", "old"), &["gated", "token in HF_TOKEN", &page]);
    let named = online(embed("somebody/no-model"), &scratch, &hub.address);
    assert_refused(named, &["no public model of this name", "HF_TOKEN", "no such directory"]);
    hub.change(|state| state.fails = Some(("", "403 Forbidden", "")));
    let forbidden = run().env("HUGGING_FACE_HUB_TOKEN", "secret");
    assert_refused(forbidden, &["HUGGING_FACE_HUB_TOKEN", "403", "HF_TOKEN", &page]);
    hub.change(|state| state.fails = None);
    run().env("HF_TOKEN", "secret").output();
}

#[test]
fn a_name_without_an_owner_gets_a_hint() {
    assert_refused(embed("bert-base-uncased"), &["needs its owner", "search=bert-base-uncased"]);
    assert_refused(embed("jailbreak"), &["did you mean embedded:jailbreak?"]);
    assert_refused(embed("./no-such-model"), &["there is no such directory"]);
}

#[test]
fn a_repository_without_safetensors_says_which_weights_it_has() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    fs::rename(dir.join("model.safetensors"), dir.join("pytorch_model.bin")).expect("there");
    let hub = FakeHub::start(&dir);
    assert_refused(embed_of_hub(&scratch, &hub.address), &["pytorch_model.bin"]);
    assert_refused(embed(text(&dir)), &["pytorch_model.bin"]);
}

#[test]
fn a_broken_download_is_resumed() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let expected = vector(embed(text(&dir)));
    let hub = FakeHub::start(&dir);
    const FILE: &str = "model.safetensors";
    // Within one run.
    hub.change(|state| state.breaks = Some((FILE, 1000)));
    assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected);
    assert!(hub.take_log().contains(&(format!("main/{FILE}"), 1000)));
    // By the next run, which finds the part where huggingface_hub would.
    let link = repository(&scratch).join("snapshots/c1").join(FILE);
    let blob = fs::canonicalize(&link).expect("a link to a blob");
    let bytes = fs::read(&blob).expect("fetched");
    fs::remove_file(&blob).expect("there");
    let part = PathBuf::from(format!("{}.incomplete", blob.display()));
    fs::write(&part, &bytes[..5000]).expect("writable");
    assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected);
    assert!(hub.take_log().contains(&(format!("main/{FILE}"), 5000)));
    assert!(!part.exists() && fs::read(&blob).expect("there") == bytes);
    // A part with all bytes, and one with too many.
    for length in [bytes.len(), bytes.len() + 1] {
        let mut stale = bytes.clone();
        stale.resize(length, 0);
        fs::rename(&blob, &part).expect("there");
        fs::write(&part, stale).expect("writable");
        assert_eq!(vector(embed_of_hub(&scratch, &hub.address)), expected, "{length} bytes");
    }
}

#[test]
fn large_files_are_read_from_another_host_without_the_token() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let expected = vector(embed(text(&dir)));
    let hub = FakeHub::start(&dir);
    // The same listener under another name is another host.
    let cdn = hub.address.replace("127.0.0.1", "localhost");
    hub.change(|state| {
        state.branches.insert("cdn".into(), cdn);
        (state.redirects, state.token) = (true, Some("secret"));
        state.breaks = Some(("model.safetensors", 1000));
    });
    let run = embed_of_hub(&scratch, &hub.address).env("HF_TOKEN", "secret");
    assert_eq!(vector(run), expected);
}

#[test]
fn two_processes_download_into_one_cache() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "base"]);
    let expected = vector(embed(text(&dir)));
    let hub = FakeHub::start(&dir);
    thread::scope(|scope| {
        let run = || vector(embed_of_hub(&scratch, &hub.address));
        let runs = [scope.spawn(run), scope.spawn(run), scope.spawn(run)];
        for run in runs {
            assert_eq!(run.join().expect("no panic"), expected);
        }
    });
    let names = files_of(&repository(&scratch).join("blobs"));
    assert!(names.keys().all(|name| !name.ends_with(".incomplete")), "{:?}", names.keys());
}

#[test]
fn the_cache_is_where_the_option_or_the_environment_says() {
    let scratch = Scratch::new();
    let hub = FakeHub::start(&scratch.checkpoint("model", &["--head", "base"]));
    let made = |name: &str| scratch.path(name).join("models--somebody--some-model/refs/main");
    let run = || embed_of_hub(&scratch, &hub.address);
    run().env("HUGGINGFACE_HUB_CACHE", scratch.path("legacy")).output();
    assert!(made("legacy").is_file() && !made("cache/hub").exists());
    let both = run().env("HUGGINGFACE_HUB_CACHE", scratch.path("legacy"));
    both.env("HF_HUB_CACHE", scratch.path("new")).output();
    assert!(made("new").is_file());
    let option = scratch.path("option");
    let args = ["embed", "--model", ID, "--huggingface-hub-cache", text(&option), "some text"];
    online(bigbatch(args), &scratch, &hub.address).env("HF_HUB_CACHE", scratch.path("no")).output();
    assert!(made("option").is_file() && !made("no").exists());
}
