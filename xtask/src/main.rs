//! Chores of this repository.
//!
//! `cargo xtask kernels` compiles every CUDA kernel without a device and reports what each uses. `rows` runs
//! batches on a device for `python/goldens/gpu_parity.py`. These two need the engine, and so the feature `cuda`. `dist`
//! writes the archive of a release, `sbom` lists the software in it. `gpu-suite.sh`, beside this crate, carries the
//! program to a machine with a GPU, where it runs without cargo.

mod command;
mod dist;
#[cfg(feature = "cuda")]
mod kernels;
#[cfg(feature = "cuda")]
mod rows;
mod sbom;

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
    /// Build a release for one target and pack it, with completions, man pages and a checksum
    Dist(dist::Arguments),
    /// Print the software in a release as CycloneDX
    Sbom(sbom::Arguments),
    /// Compile every CUDA kernel through NVRTC, without a device; print registers, spills, shared memory
    #[cfg(feature = "cuda")]
    Kernels {
        /// Architectures, such as sm_80,sm_89,sm_90a
        #[arg(long, value_delimiter = ',', default_value = "sm_80,sm_89,sm_90a")]
        arch: Vec<String>,
    },
    /// Run packed batches on a device and write the rows that it returns
    #[cfg(feature = "cuda")]
    Rows(rows::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Dist(arguments) => dist::dist(&arguments),
        Chore::Sbom(arguments) => sbom::print(&arguments),
        #[cfg(feature = "cuda")]
        Chore::Kernels { arch } => kernels::report(&arch),
        #[cfg(feature = "cuda")]
        Chore::Rows(arguments) => rows::run(&arguments).map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
