//! Slots and their engines: what is shared, what is refused, and that callers share batches.

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use bigbatch_capi::{CallError, Head, classify, classify_all, is_loaded, load, loaded};

#[allow(dead_code)]
mod support;

use support::classifier as model;

fn load_into(slot: &str, directory: &Path) -> Result<(), CallError> {
    load(slot, Head::Sequence, directory.to_str().unwrap(), true)
}

#[test]
fn slots_of_one_directory_share_an_engine_and_keep_their_model() {
    let (one, other) = (model("slots-one", 1), model("slots-other", 2));
    load_into("first", &one).unwrap();
    load_into("second", &one.join(".")).unwrap();
    load_into("third", &other).unwrap();
    let engine = |slot| loaded(slot).unwrap().engine;
    assert!(Arc::ptr_eq(&engine("first"), &engine("second")));
    assert!(!Arc::ptr_eq(&engine("first"), &engine("third")));
    let error = load_into("first", &other).unwrap_err().to_string();
    assert!(error.contains("slots-one") && error.contains("slots-other"), "{error}");
    load_into("first", &one).unwrap();
    // What shares an engine must fit it too.
    let path = one.to_str().unwrap();
    assert!(matches!(load("fourth", Head::Token, path, true), Err(CallError::Request(_))));
    assert!(is_loaded("first") && !is_loaded("fourth"));
}

#[test]
fn callers_share_batches() {
    const CALLERS: usize = 64;
    let directory = model("slots-callers", 3);
    load_into("callers", &directory).unwrap();
    let engine = loaded("callers").unwrap().engine;
    let alone = classify("callers", "Where is my parcel?").unwrap();
    let before = engine.batches();
    let barrier = Barrier::new(CALLERS);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(classify("callers", "Where is my parcel?").unwrap(), alone);
            });
        }
    });
    let batches = engine.batches() - before;
    assert!(batches < CALLERS as u64, "{CALLERS} callers took {batches} batches");
}

#[test]
fn one_text_of_many_fails_alone() {
    load_into("many", &model("slots-many", 4)).unwrap();
    let answers = classify_all("many", &["a", "", "b"]).unwrap();
    let failed: Vec<bool> = answers.iter().map(|answer| answer.is_err()).collect();
    assert_eq!(failed, [false, true, false]);
    assert!(matches!(classify_all("nobody", &["a"]), Err(CallError::NotLoaded { .. })));
}
