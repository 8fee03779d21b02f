//! `dist`: the archive of a release for one target, with completions, man pages, a systemd unit, an SBOM and a checksum.
//!
//! Linux programs are linked by zig against an old glibc, so that they run on old distributions; the tools come from
//! PyPI. Images are made of the folder that this leaves, by `deploy/docker/build.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{cargo, output, root, run, target_dir};
use crate::sbom;

/// What PyPI has of the linker, pinned.
const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// Files of the repository in the archive, and where they are there.
const FILES: [(&str, &str); 3] = [
    ("LICENSE", "LICENSE"),
    ("README.md", "README.md"),
    ("deploy/systemd/bigbatch.service", "systemd/bigbatch.service"),
];

/// Completions: the shell, and the name that it looks for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "bigbatch"), ("zsh", "_bigbatch"), ("fish", "bigbatch.fish")];

/// Arguments of `dist`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Target to build for; only x86_64-unknown-linux-gnu has been tried
    #[arg(long, default_value = "x86_64-unknown-linux-gnu")]
    target: String,
    /// glibc to link against, on Linux; Rust itself needs 2.17
    #[arg(long, default_value = "2.17")]
    glibc: String,
    /// Program that runs here, to write completions and man pages [default: the one that is built]
    #[arg(long, value_name = "PROGRAM")]
    pages_from: Option<PathBuf>,
}

/// Builds the program and writes `target/dist/NAME`, `NAME.tar.gz` and `NAME.tar.gz.sha256`.
///
/// # Errors
/// A tool cannot be had or fails; the program needs a newer glibc; a file cannot be written.
pub(crate) fn dist(arguments: &Arguments) -> Result<(), String> {
    let Arguments { target, glibc, pages_from } = arguments;
    let program = build(target, glibc)?;
    if target.contains("linux-gnu") {
        require_glibc(&program, glibc)?;
    }
    let name = archive_name(env!("CARGO_PKG_VERSION"), target);
    let folder = target_dir().join("dist").join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .map_err(|error| format!("cannot replace {}: {error}", folder.display()))?;
    }
    let copy = |from: &Path, to: &str| {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap_or(&folder))
            .and_then(|()| fs::copy(from, &to))
            .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
    };
    copy(&program, "bigbatch")?;
    for (from, to) in FILES {
        copy(&root().join(from), to)?;
    }
    write_pages(pages_from.as_ref().unwrap_or(&program), &folder)?;
    let document = sbom::document(target, &[])?;
    write(&folder.join("bigbatch.cdx.json"), &format!("{document:#}\n"))?;
    pack(&name)
}

/// Returns the name of an archive without its ending, which is also the folder in it. `Cargo.toml` tells
/// cargo-binstall the same.
fn archive_name(version: &str, target: &str) -> String {
    format!("bigbatch-{version}-{target}")
}

/// Builds the program and returns its path.
fn build(target: &str, glibc: &str) -> Result<PathBuf, String> {
    let linux = target.contains("linux-gnu");
    let mut build = cargo(if linux { "zigbuild" } else { "build" });
    build.args(["--release", "--package", "bigbatch"]);
    if sbom::has_cuda(target) {
        build.args(["--features", "cuda"]);
    }
    if linux {
        let tools = install_tools()?;
        let mut path = vec![tools.join("bin")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(path).map_err(|error| format!("PATH: {error}"))?;
        build.env("PATH", path).env("CARGO_ZIGBUILD_ZIG_PATH", tools.join("ziglang/zig"));
        build.args(["--target", &format!("{target}.{glibc}")]);
    } else {
        build.args(["--target", target]);
    }
    run(&mut build)?;
    Ok(target_dir().join(target).join("release/bigbatch"))
}

/// Installs cargo-zigbuild and zig below the target folder, once per version, and returns where.
fn install_tools() -> Result<PathBuf, String> {
    let tools = target_dir().join("tools").join(TOOLS.join("-").replace("==", "-"));
    if !tools.exists() {
        let part = tools.with_extension("part");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        run(pip.args(["--upgrade", "--target"]).arg(&part).args(TOOLS))?;
        fs::rename(&part, &tools).map_err(|error| format!("{}: {error}", tools.display()))?;
    }
    Ok(tools)
}

/// Checks that the program runs where this glibc is.
fn require_glibc(program: &Path, glibc: &str) -> Result<(), String> {
    let symbols = output(Command::new("objdump").arg("-T").arg(program))?;
    let needed = newest_glibc(&symbols).ok_or("objdump -T lists no symbol of glibc")?;
    let wanted = version(glibc).ok_or_else(|| format!("--glibc {glibc} is not a version"))?;
    if needed > wanted {
        return Err(format!("the program needs glibc {}.{}, not {glibc}", needed.0, needed.1));
    }
    println!("the program needs glibc {}.{}", needed.0, needed.1);
    Ok(())
}

/// Returns the newest version of glibc that `objdump -T` names.
fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let named = symbols.split("GLIBC_").skip(1);
    named
        .filter_map(|rest| version(rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?))
        .max()
}

/// Parses the first two numbers of a version: `2.3.4` is (2, 3).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Writes the completions and man pages that the program prints.
fn write_pages(program: &Path, folder: &Path) -> Result<(), String> {
    for (shell, file) in COMPLETIONS {
        let script =
            output(Command::new(program).args(["completions", shell])).map_err(|error| {
                format!("{error}; if it is for another machine, pass --pages-from PROGRAM")
            })?;
        write(&folder.join("completions").join(file), &script)?;
    }
    run(Command::new(program).arg("man").arg(folder.join("man/man1")))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::create_dir_all(path.parent().unwrap_or(path))
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Packs `target/dist/NAME`, with the commit's time and no owners, so that the same files have the same checksum.
fn pack(name: &str) -> Result<(), String> {
    let dist = target_dir().join("dist");
    let time = output(Command::new("git").args(["log", "-1", "--format=@%ct"]).current_dir(root()));
    let time = time.unwrap_or_else(|_| "@0".into());
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.current_dir(&dist).args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip -9n"]);
    tar.arg(format!("--mtime={}", time.trim())).args(["-cf", &archive, name]);
    run(&mut tar)?;
    let sum = output(Command::new("sha256sum").arg(&archive).current_dir(&dist))?;
    write(&dist.join(format!("{archive}.sha256")), &sum)?;
    let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    let program = bytes(dist.join(name).join("bigbatch"));
    let packed = bytes(dist.join(&archive));
    println!("{archive}: {packed} bytes; the program in it: {program} bytes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.2.5) read\n0 DF *UND* 0 (GLIBC_2.9) pipe2\n\
                       0 DF *UND* 0 (GLIBC_2.17) clock\n0 DF *UND* 0 (GLIBC_PRIVATE) x\n";
        assert_eq!(newest_glibc(symbols), Some((2, 17)));
        assert_eq!(newest_glibc("nothing"), None);
    }

    #[test]
    fn binstall_asks_for_the_archive_that_is_written() {
        let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let binstall = &manifest["package"]["metadata"]["binstall"];
        let filled = |key: &str| {
            let template = binstall[key].as_str().unwrap();
            let values = [("{ version }", "1.2.3"), ("{ target }", "t"), ("{ bin }", "bigbatch")];
            let known = values.iter().fold(template.to_owned(), |text, (k, v)| text.replace(k, v));
            known.replace("{ binary-ext }", "")
        };
        let name = archive_name("1.2.3", "t");
        assert!(filled("pkg-url").ends_with(&format!("/{name}.tar.gz")), "{}", filled("pkg-url"));
        assert_eq!(filled("bin-dir"), format!("{name}/bigbatch"));
        assert_eq!(binstall["pkg-fmt"].as_str(), Some("tgz"));
    }

    #[test]
    fn what_the_archive_copies_is_there() {
        for (from, _) in FILES {
            assert!(root().join(from).is_file(), "{from}");
        }
    }
}
