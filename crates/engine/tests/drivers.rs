//! The errors of drivers that cannot be used. Each driver is a library made for the test, which every case opens
//! in a process of its own, because a process opens its driver once.
#![cfg(all(feature = "cuda", target_os = "linux"))]

use std::path::{Path, PathBuf};
use std::process::Command;

use bigbatch_engine::backend::cuda::driver::device;

#[allow(dead_code)]
#[path = "../src/backend/cuda/driver/symbols.rs"]
mod symbols;

/// Set for the process that opens the driver.
const INSIDE: &str = "BIGBATCH_TEST_DRIVER";

/// Builds a `libcuda.so.1` that reports this version, and answers `cuInit` with this status.
fn driver(name: &str, version: u32, init: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let functions = symbols::DRIVER.iter().map(|name| match *name {
        "cuDriverGetVersion" => format!("int {name}(int *v) {{ *v = {version}; return 0; }}\n"),
        "cuInit" => format!("int {name}(unsigned flags) {{ return {init}; }}\n"),
        "cuGetErrorName" | "cuGetErrorString" => {
            format!("int {name}(int e, const char **s) {{ *s = \"made up\"; return 0; }}\n")
        }
        _ => format!("int {name}(void) {{ return 999; }}\n"),
    });
    let source = folder.join("driver.c");
    std::fs::write(&source, functions.collect::<String>()).unwrap();
    let library = folder.join("libcuda.so.1");
    // The linker of Rust itself: where this test was built, there is one.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    folder
}

/// Returns the error of a process that finds its driver in this folder.
fn error_with(folder: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("driver error: ")).unwrap().1;
    line.to_owned()
}

/// Runs in a process of its own; alone it has nothing to do.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_some() {
        let error = device::list().unwrap_err().to_string();
        assert!(!error.contains('\n'));
        println!("driver error: {error}");
    }
}

#[test]
fn an_unusable_driver_is_reported_in_one_line_with_the_remedy() {
    for (name, version, status, wanted) in [
        (
            "old",
            11_040,
            0,
            "supports CUDA 11.4; bigbatch needs 12.0 or newer: install driver 525 or newer",
        ),
        ("no-device", 13_000, 100, "no NVIDIA device is visible: see `nvidia-smi`"),
        ("stub", 13_000, 34, "remove the stubs folder from LD_LIBRARY_PATH"),
        ("mismatch", 13_000, 803, "restart after an update"),
        ("broken", 13_000, 999, "the driver did not start; see `nvidia-smi`"),
    ] {
        let error = error_with(&driver(name, version, status));
        assert!(error.contains(wanted), "{name}: {error}");
    }
}
