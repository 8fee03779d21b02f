//! What the tests of both libraries share: small random models on disk, C programs linked against a library, and the
//! answers of the engine written as `answers.h` writes those of the library.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bigbatch_engine::{
    Answer, Checkpoint, Dtype, Engine, EngineOptions, Init, InitHead, Input, LoadOptions, Model,
    Preset, Request, Response, Task, Truncate,
};

/// The longest input of the models in the C programs, in tokens.
pub(crate) const MAX_BATCH_TOKENS: &str = "1024";

/// Texts that the served functions are called with: a short one, one with characters of 1 to 4 bytes, and one of more
/// than 512 tokens.
pub(crate) fn texts() -> [String; 3] {
    let wide = "\u{e9}\u{1f600} Ann lives in \u{4e2d} Z\u{fc}rich, mails bo@example.org and calls 555 0100.";
    ["Where is my parcel?".into(), wide.into(), "so it goes on and on, ".repeat(90)]
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Writes a model with random weights, and returns its directory.
pub(crate) fn model(name: &str, head: InitHead, seed: u64) -> PathBuf {
    let directory = folder().join(name);
    let preset = Preset::named("random").unwrap();
    let init = Init { preset, head, seed, dtype: Dtype::F32 };
    let (tokenizer, tokenizer_config) = bigbatch_models::tokenizer_files();
    init.write(&directory, tokenizer, tokenizer_config, true).unwrap();
    directory
}

pub(crate) fn classifier(name: &str, seed: u64) -> PathBuf {
    let labels = ["billing", "law", "\u{6cd5}", "other"].map(str::to_owned);
    model(name, InitHead::Sequence(labels.into()), seed)
}

pub(crate) fn token_classifier(name: &str) -> PathBuf {
    let labels = ["O", "B-NAME", "I-NAME", "B-MAIL", "I-MAIL"].map(str::to_owned);
    model(name, InitHead::Token(labels.into()), 3)
}

pub(crate) fn engine(directory: &Path) -> Engine {
    let model = Model::load(&Checkpoint::directory(directory), LoadOptions::default()).unwrap();
    let mut options = EngineOptions::default();
    options.device.memory_budget_bytes = 256 << 20;
    Engine::start(model, &options).unwrap()
}

/// Asks the engine, which the library must agree with.
pub(crate) fn ask(engine: &Engine, task: Task, text: &str) -> Response {
    let request = Request::new(Input::Text(text.into()), task, Truncate::No);
    engine.submit(request).unwrap().wait().unwrap()
}

pub(crate) fn bits(values: &[f32]) -> String {
    values.iter().fold(String::new(), |mut out, value| {
        write!(out, " {:08x}", value.to_bits()).unwrap();
        out
    })
}

/// A class with its probability, and the probabilities of all.
pub(crate) fn class(engine: &Engine, text: &str) -> (usize, String, f32, Vec<f32>) {
    let response = ask(engine, Task::Classify { raw_scores: false }, text);
    let Answer::Labels(mut labels) = response.answer else { panic!("not labels") };
    let best = labels[0].clone();
    labels.sort_by_key(|label| label.id);
    (best.id, best.label, best.score, labels.iter().map(|label| label.score).collect())
}

/// The number of entities, and each with its range in bytes.
pub(crate) fn entities(engine: &Engine, text: &str) -> String {
    let Answer::Tags { entities, .. } = ask(engine, Task::Tag, text).answer else {
        panic!("not tags")
    };
    assert!(!entities.is_empty(), "the model finds nothing in '{text}', which tests nothing");
    let mut out = entities.len().to_string();
    for entity in entities {
        let byte =
            |character| text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte);
        let (start, end) = (byte(entity.span.start), byte(entity.span.end));
        let (label, score) = (entity.label, bits(&[entity.score]));
        write!(out, " {label} {start} {end} '{}'{score}", &text[start..end]).unwrap();
    }
    out
}

/// The vector of a text, and its tokens.
pub(crate) fn vector(engine: &Engine, text: &str, dimensions: Option<usize>) -> (Vec<f32>, usize) {
    let task = Task::Embed { pooling: None, normalize: true, dimensions, layer: None };
    let response = ask(engine, task, text);
    let Answer::Embedding(vector) = response.answer else { panic!("not a vector") };
    (vector, response.tokens)
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

/// The library that cargo built beside this test.
pub(crate) fn library(file: &str) -> PathBuf {
    let library = std::env::current_exe().unwrap().with_file_name(file);
    assert!(library.exists(), "{} was not built with this test", library.display());
    library
}

/// Compiles a C program against a library.
pub(crate) fn compile(
    name: &str,
    source: &Path,
    library: &Path,
    flags: &[&str],
) -> Result<PathBuf, String> {
    let program = folder().join(name);
    let search_path = library.parent().unwrap().display();
    // The linker of Rust itself: where this test was built, there is one.
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"])
        .args(["-g", "-O1", "-pthread"])
        .args(flags)
        .arg(source)
        .arg(library)
        .arg(format!("-Wl,-rpath,{search_path}"))
        .arg("-o")
        .arg(&program)
        .output()
        .map_err(|error| format!("cc cannot be run: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(program) } else { Err(errors.into_owned()) }
}

/// Compiles with AddressSanitizer, which finds what is freed twice or never; without where it is not installed.
pub(crate) fn compile_checked(name: &str, source: &Path, library: &Path) -> PathBuf {
    let checked = compile(name, source, library, &["-fsanitize=address"]);
    checked.unwrap_or_else(|reason| {
        println!("skipped: memory is not checked, -fsanitize=address does not work: {reason}");
        compile(name, source, library, &[]).unwrap()
    })
}

pub(crate) fn run(program: &Path, args: &[&str], more: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("BIGBATCH_MEMORY_BUDGET", "256MiB");
    command.env("BIGBATCH_MAX_BATCH_TOKENS", MAX_BATCH_TOKENS).envs(more.iter().copied());
    command.output().unwrap()
}

pub(crate) fn assert_success(output: &Output) {
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{errors}", output.status);
}

/// Asserts that a library exports every name of a list: a program that names them all can be linked.
pub(crate) fn assert_exported(names: &str, library: &Path) {
    let names: Vec<&str> = names.lines().collect();
    let mut source = String::from("typedef void function(void);\n");
    for name in &names {
        writeln!(source, "extern function {name};").unwrap();
    }
    writeln!(
        source,
        "function *all[] = {{{}}};\nint main(void) {{ return !all[0]; }}",
        names.join(", ")
    )
    .unwrap();
    let stem = library.file_stem().unwrap().to_str().unwrap();
    let path = folder().join(format!("{stem}-symbols.c"));
    std::fs::write(&path, source).unwrap();
    let program = compile(&format!("{stem}-symbols"), &path, library, &["-fno-builtin"]).unwrap();
    assert_success(&run(&program, &[], &[]));
}

/// Asserts that what a program leaks is found here, so that its success says something.
pub(crate) fn assert_leaks_are_found(program: &Path, args: &[&str]) {
    let output = run(program, args, &[("LEAK", "1")]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("LeakSanitizer has encountered a fatal error") {
        println!(
            "skipped: leaks are not found here, LeakSanitizer cannot trace this process: {errors}"
        );
        return;
    }
    assert!(!output.status.success() && errors.contains("detected memory leaks"), "{errors}");
}
