//! Every CUDA kernel is launched by somebody.

use crate::{files, none, root, sources};

/// Names of the `__global__` functions of a CUDA source.
fn kernels(source: &str) -> Vec<String> {
    let name = |rest: &str| {
        let head = rest.split('{').next().unwrap_or_default();
        let bounds = |text: &str| text.trim_start().starts_with("__launch_bounds__");
        let head = head.trim_start().trim_start_matches("void");
        let head =
            if bounds(head) { head.split_once(')').map_or("", |(_, rest)| rest) } else { head };
        head.split('(').next().unwrap_or_default().trim().to_owned()
    };
    source.split("__global__").skip(1).map(name).collect()
}

#[test]
fn kernels_are_launched() {
    let is_cuda = |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "cu");
    let rust = sources();
    // `compile.rs` lists the entries of each file; a launch looks its entry up by name.
    let launches = |file: &&crate::File| !file.path.ends_with("/compile.rs") && !file.is_test();
    let mut idle = Vec::new();
    for path in files().into_iter().filter(is_cuda) {
        let text = std::fs::read_to_string(root().join(&path)).expect("sources are UTF-8");
        for kernel in kernels(&text) {
            let quoted = format!("\"{kernel}\"");
            if !rust.iter().filter(launches).any(|file| file.program().contains(&quoted)) {
                idle.push(format!("{}: {kernel}", path.display()));
            }
        }
    }
    none("nothing launches these kernels", idle);
}
