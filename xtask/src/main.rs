//! Chores of this repository that need the engine's code.
//!
//! `cargo xtask kernels` compiles every CUDA kernel without a device and reports what each uses. `rows` runs
//! batches on a device for `python/goldens/gpu_parity.py`. `gpu-suite.sh`, beside this crate, carries the
//! program to a machine with a GPU, where it runs without cargo.

mod kernels;
mod rows;

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
    /// Run packed batches on a device and write the rows that it returns
    Rows(rows::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Kernels { arch } => kernels::report(&arch),
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
