//! Chores of this repository that need more than a shell line.
//!
//! `cargo xtask kernels` compiles every CUDA kernel without a device, as the program itself would, and says
//! what each costs.

#[cfg(feature = "kernels")]
mod kernels;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Compile every CUDA kernel through NVRTC, without a device; print registers, spills, shared memory
    Kernels {
        /// Architectures, such as sm_80,sm_89,sm_90a
        #[arg(long, value_delimiter = ',', default_value = "sm_80,sm_89,sm_90a")]
        arch: Vec<String>,
    },
}

fn main() -> ExitCode {
    let Chore::Kernels { arch } = Arguments::parse().chore;
    match kernels(&arch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "kernels")]
fn kernels(arch: &[String]) -> Result<(), String> {
    kernels::report(arch)
}

#[cfg(not(feature = "kernels"))]
fn kernels(_: &[String]) -> Result<(), String> {
    Err("built without the feature `kernels`; run it as `cargo xtask kernels`".into())
}
