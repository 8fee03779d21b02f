//! `xtask kernels`: compiles every kernel for every architecture and element type.
//!
//! It fails on what must not land: a source that does not compile, a compiler warning, or local memory, of
//! which the engine's context reserves none.

use bigbatch_engine::Dtype;
use bigbatch_engine::backend::Activation;
use bigbatch_engine::backend::cuda::driver::arch::Arch;
use bigbatch_engine::backend::cuda::driver::libraries;
use bigbatch_engine::backend::cuda::kernels::compile::{Compiler, SOURCES, Source, Target};
use bigbatch_engine::backend::cuda::kernels::resources::{Resources, warnings};

const DTYPES: [Dtype; 2] = [Dtype::Bf16, Dtype::F16];

/// Prints one line per kernel.
///
/// # Errors
/// All findings, one per line.
pub(crate) fn report(architectures: &[String]) -> Result<(), String> {
    let targets = architectures
        .iter()
        .map(|text| Arch::parse(text).map(Target::native))
        .collect::<Result<Vec<Target>, String>>()?;
    let compiler = Compiler::open(libraries::MAJORS).map_err(|error| error.to_string())?;
    let (major, minor) = compiler.version();
    println!("NVRTC {major}.{minor}");
    println!(
        "{:<8} {:<5} {:<34} {:>9} {:>7} {:>13} {:>13}",
        "arch", "type", "kernel", "registers", "stack", "spills st/ld", "static shared"
    );
    let activations: Vec<Activation> = Activation::all().collect();
    let mut findings = Vec::new();
    let mut compiled = 0;
    for target in targets {
        for source in SOURCES.iter().filter(|source| source.applies(target)) {
            let variants = source.variants(&activations).into_iter();
            for (activation, dtype) in
                variants.flat_map(|activation| DTYPES.map(|dtype| (activation, dtype)))
            {
                compiled += 1;
                let of = activation.map_or("", Activation::name);
                let at = format!("{}.cu {of}, {}, {dtype}", source.name, target.code);
                match compile(&compiler, source, target, dtype, activation) {
                    Ok(problems) => {
                        findings
                            .extend(problems.into_iter().map(|problem| format!("{at}: {problem}")));
                    }
                    Err(error) => findings.push(format!("{at}: {error}")),
                }
            }
        }
    }
    if findings.is_empty() && compiled > 0 { Ok(()) } else { Err(findings.join("\nxtask: ")) }
}

fn compile(
    compiler: &Compiler,
    source: &Source,
    target: Target,
    dtype: Dtype,
    activation: Option<Activation>,
) -> Result<Vec<String>, String> {
    let cubin = compiler
        .compile_reported(source, target, dtype, activation)
        .map_err(|error| error.to_string())?;
    let kernels = Resources::parse(&cubin.log)?;
    let mut problems: Vec<String> =
        warnings(&cubin.log).into_iter().map(|line| line.trim().to_string()).collect();
    for kernel in &kernels {
        println!(
            "{:<8} {:<5} {:<34} {:>9} {:>7} {:>13} {:>13}",
            target.code.to_string(),
            dtype.to_string(),
            activation.map_or(kernel.kernel.clone(), |of| format!(
                "{} {}",
                kernel.kernel,
                of.name()
            )),
            kernel.registers,
            kernel.stack_bytes,
            format!("{}/{}", kernel.spill_store_bytes, kernel.spill_load_bytes),
            kernel.shared_bytes
        );
        if kernel.uses_local_memory() {
            problems.push(format!("{} uses local memory", kernel.kernel));
        }
    }
    for entry in source.entries {
        if !kernels.iter().any(|kernel| kernel.kernel == *entry) {
            problems.push(format!("{entry} is not in the compiler's report"));
        }
    }
    Ok(problems)
}
