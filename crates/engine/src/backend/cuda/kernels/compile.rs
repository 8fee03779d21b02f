//! Compiles kernel sources to machine code, at run time, for the present card.
//!
//! NVRTC compiles each `kernels/*.cu` (with `common.cu` before it, because it has no headers here) straight
//! to a cubin, so neither a toolkit at build time nor the driver's own compiler at run time is needed. The
//! result is cached ([`super::cache`]). `cargo xtask kernels` runs the same code without a device and prints
//! each kernel's resources, so that a kernel which does not compile, spills or uses local memory cannot land.
//! Loading and launching are in [`super::launch`].
//!
//! `BIGBATCH_KERNELS=sm80|sm89` compiles the sources' path for that older card, to run on the present one.
//! Machine code of an older card does not run on a newer one, so the target stays the present card, without
//! its architecture-specific instructions, and the macro `BIGBATCH_ARCH` (80, 89, 90), by which sources
//! choose their path, names the older card. Shared memory is limited to the older card's. Clock, bandwidth
//! and multiprocessors stay the present card's: this shows that the older path is right, not how fast it is.

use std::ffi::{CStr, CString, c_char};

use cudarc::nvrtc::{result, sys};

use super::cache::{Cache, Key};
use crate::backend::Activation;
use crate::backend::cuda::driver::arch::Arch;
use crate::backend::cuda::driver::libraries::{self, Library, LibraryError};
use crate::dtype::Dtype;

/// The target of the machine code, and the card whose path the sources take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Runs the machine code.
    pub code: Arch,
    /// Selects the sources' path; differs from `code` only under `BIGBATCH_KERNELS`.
    pub path: Arch,
}

impl Target {
    /// Returns the card's own target.
    pub fn native(card: Arch) -> Target {
        Target { code: card, path: card }
    }

    /// Returns the card's own target, or the one that `BIGBATCH_KERNELS` selects.
    ///
    /// # Errors
    /// Rejects any value of the variable but `sm80` and `sm89`, and a card newer than this one.
    pub fn from_environment(card: Arch) -> Result<Target, String> {
        match std::env::var("BIGBATCH_KERNELS") {
            Ok(value) if !value.is_empty() => Target::forced(card, &value),
            _ => Ok(Target::native(card)),
        }
    }

    fn forced(card: Arch, value: &str) -> Result<Target, String> {
        let path = match value {
            "sm80" => Arch { number: 80, specific: false },
            "sm89" => Arch { number: 89, specific: false },
            _ => {
                return Err(format!(
                    "BIGBATCH_KERNELS is '{value}'; set it to sm80 or sm89, or unset it"
                ));
            }
        };
        if path.number > card.number {
            return Err(format!(
                "BIGBATCH_KERNELS is '{value}', and this card is {card}, which is older; unset it"
            ));
        }
        Ok(Target { code: Arch { specific: false, ..card }, path })
    }

    /// Returns the most shared memory of one block on the path's card, in bytes.
    pub fn shared_memory_bytes(self) -> usize {
        self.path.shared_memory_bytes().min(self.code.shared_memory_bytes())
    }
}

/// A kernel source.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The file's stem.
    pub name: &'static str,
    /// The file's text, without `common.cu`.
    pub text: &'static str,
    /// Names of its kernels.
    pub entries: &'static [&'static str],
    /// The architecture whose specific instructions it uses; `None` for a source that runs from sm_80 on.
    pub only: Option<u32>,
    /// Whether it is compiled once for each activation of the model.
    pub per_activation: bool,
}

impl Source {
    /// Returns whether the source is used on this target.
    pub fn applies(&self, target: Target) -> bool {
        self.only.is_none_or(|number| target.code == Arch { number, specific: true })
    }

    /// Returns the activation of each compilation of this source for a model that uses `activations`.
    pub fn variants(&self, activations: &[Activation]) -> Vec<Option<Activation>> {
        if self.per_activation {
            activations.iter().copied().map(Some).collect()
        } else {
            vec![None]
        }
    }

    const fn portable(
        name: &'static str,
        text: &'static str,
        entries: &'static [&'static str],
    ) -> Source {
        Source { name, text, entries, only: None, per_activation: false }
    }
}

const COMMON: &str = include_str!("common.cu");

/// All kernel sources.
pub const SOURCES: &[Source] = &[
    Source::portable(
        "norm",
        include_str!("norm.cu"),
        &["embed_norm", "layer_norm", "layer_norm_f32"],
    ),
    Source::portable("rope", include_str!("rope.cu"), &["rope"]),
    Source::portable(
        "attention",
        include_str!("attention.cu"),
        &["attention_full", "attention_window"],
    ),
    Source {
        name: "attention_sm90",
        text: include_str!("attention_sm90.cu"),
        entries: &["attention_full_sm90"],
        only: Some(90),
        per_activation: false,
    },
    Source {
        name: "activation",
        text: include_str!("activation.cu"),
        entries: &["gated_activation", "activation", "activation_f32"],
        only: None,
        per_activation: true,
    },
    Source::portable("pool", include_str!("pool.cu"), &["pool", "gather_rows"]),
    Source::portable(
        "linear_rows",
        include_str!("linear_rows.cu"),
        &["linear_rows", "linear_rows_f32"],
    ),
    Source::portable("startup", include_str!("startup.cu"), &["fill_random", "count_differences"]),
];

/// Why a kernel source was not compiled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CompileError {
    /// NVRTC is missing.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The source does not compile.
    #[error("{source_name}.cu for {arch}: {log}")]
    Source {
        /// The file's stem.
        source_name: &'static str,
        /// The target.
        arch: Arch,
        /// The compiler's messages.
        log: String,
    },
    /// Another call of NVRTC failed.
    #[error("NVRTC: {call} failed: {reason}")]
    Call {
        /// The function.
        call: &'static str,
        /// NVRTC's message.
        reason: String,
    },
}

/// Machine code of one source.
#[derive(Debug, Clone)]
pub struct Cubin {
    /// An ELF image for the driver.
    pub image: Vec<u8>,
    /// The compiler's messages: from [`Compiler::compile_reported`], registers, spills and shared memory.
    pub log: String,
}

/// The run-time compiler.
#[derive(Debug, Clone, Copy)]
pub struct Compiler {
    version: (i32, i32),
}

impl Compiler {
    /// Opens NVRTC of one of these major versions.
    ///
    /// # Errors
    /// [`CompileError::Library`] if none is found, [`CompileError::Call`] if the loader opened another
    /// version.
    pub fn open(majors: &[u32]) -> Result<Compiler, CompileError> {
        libraries::open(Library::Nvrtc, majors)?;
        let mut version = (0, 0);
        // SAFETY: `open` has found the function; both pointers are to live integers.
        check("nvrtcVersion", unsafe { sys::nvrtcVersion(&mut version.0, &mut version.1) })?;
        if !majors.iter().any(|&major| version.0 == major as i32) {
            return Err(CompileError::Call {
                call: "nvrtcVersion",
                reason: format!(
                    "the loader opened version {}.{}, not one of {majors:?}: put the right folder first in \
                     LD_LIBRARY_PATH",
                    version.0, version.1
                ),
            });
        }
        Ok(Compiler { version })
    }

    /// Returns the major and minor version of NVRTC.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Returns the machine code of one source, from the cache if it is there.
    ///
    /// # Errors
    /// [`CompileError::Source`] with the compiler's log.
    pub fn compile_cached(
        &self,
        source: &Source,
        target: Target,
        dtype: Dtype,
        activation: Option<Activation>,
        cache: &Cache,
    ) -> Result<Vec<u8>, CompileError> {
        let text = full_text(source);
        let options = options(target, dtype, activation, false);
        let version = format!("{}.{}", self.version.0, self.version.1);
        let key = Key::of(&[text.as_bytes(), options.join("\n").as_bytes(), version.as_bytes()]);
        if let Some(image) = cache.get(source.name, key) {
            return Ok(image);
        }
        let cubin = compile(source, &text, &options, target.code)?;
        cache.put(source.name, key, &cubin.image);
        Ok(cubin.image)
    }

    /// Compiles one source with the report of its resources.
    ///
    /// # Errors
    /// [`CompileError::Source`] with the compiler's log.
    pub fn compile_reported(
        &self,
        source: &Source,
        target: Target,
        dtype: Dtype,
        activation: Option<Activation>,
    ) -> Result<Cubin, CompileError> {
        let options = options(target, dtype, activation, true);
        compile(source, &full_text(source), &options, target.code)
    }
}

fn full_text(source: &Source) -> String {
    // `#line` makes messages name the file's own lines.
    format!("{COMMON}\n#line 1 \"{}.cu\"\n{}", source.name, source.text)
}

fn options(
    target: Target,
    dtype: Dtype,
    activation: Option<Activation>,
    report: bool,
) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={}", target.code),
        "--std=c++17".to_string(),
        format!("--define-macro=BIGBATCH_ARCH={}", target.path.number),
    ];
    if dtype == Dtype::F16 {
        options.push("--define-macro=BIGBATCH_F16".to_string());
    }
    if let Some(activation) = activation {
        options.push(format!("--define-macro=ACTIVATION=act_{}", activation.name()));
    }
    if report {
        options.push("--ptxas-options=-v".to_string());
    }
    options
}

/// An NVRTC program, destroyed when dropped.
struct NvrtcProgram(sys::nvrtcProgram);

impl Drop for NvrtcProgram {
    fn drop(&mut self) {
        // SAFETY: created by `create_program` and destroyed only here. A failure leaks some host memory.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn compile(
    source: &Source,
    text: &str,
    options: &[String],
    arch: Arch,
) -> Result<Cubin, CompileError> {
    let nul =
        |_| CompileError::Call { call: "nvrtcCreateProgram", reason: "NUL in the source".into() };
    let text = CString::new(text).map_err(nul)?;
    let name = CString::new(format!("{}.cu", source.name)).map_err(nul)?;
    let program =
        result::create_program(&text, Some(&name)).map(NvrtcProgram).map_err(|error| {
            CompileError::Call { call: "nvrtcCreateProgram", reason: text_of(error.0) }
        })?;
    // SAFETY: the program is alive; the options are free of NUL bytes.
    let compiled = unsafe { result::compile_program(program.0, options) };
    let log = log_of(&program);
    if compiled.is_err() {
        return Err(CompileError::Source { source_name: source.name, arch, log });
    }
    let mut bytes = 0usize;
    // SAFETY: the program is alive and compiled; `bytes` is a live integer.
    check("nvrtcGetCUBINSize", unsafe { sys::nvrtcGetCUBINSize(program.0, &mut bytes) })?;
    let mut image = vec![0u8; bytes];
    // SAFETY: `image` has the size that NVRTC reported.
    let got = unsafe { sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast::<c_char>()) };
    check("nvrtcGetCUBIN", got)?;
    Ok(Cubin { image, log })
}

fn log_of(program: &NvrtcProgram) -> String {
    // SAFETY: the program is alive. NVRTC ends the log with a NUL.
    let raw = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
    let bytes: Vec<u8> = raw.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).trim().to_string()
}

fn check(call: &'static str, status: sys::nvrtcResult) -> Result<(), CompileError> {
    status.result().map_err(|error| CompileError::Call { call, reason: text_of(error.0) })
}

fn text_of(status: sys::nvrtcResult) -> String {
    // SAFETY: NVRTC returns a string that lives as long as the library, for any value.
    unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(status)) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_path_caps_shared_memory_and_drops_specific_instructions() {
        let h100 = Arch::for_card(9, 0);
        assert_eq!(h100.to_string(), "sm_90a");
        let forced = Target::forced(h100, "sm80").unwrap();
        assert_eq!((forced.code.to_string(), forced.path.number), ("sm_90".to_string(), 80));
        assert_eq!(forced.shared_memory_bytes(), 163 << 10);
        assert_eq!(Target::forced(h100, "sm89").unwrap().shared_memory_bytes(), 99 << 10);
        assert_eq!(Target::native(h100).shared_memory_bytes(), 227 << 10);
        assert!(Target::forced(h100, "sm70").is_err());
        assert!(Target::forced(Arch::for_card(8, 0), "sm89").is_err());
    }

    #[test]
    fn specific_sources_are_for_their_card_alone() {
        let hopper = SOURCES.iter().find(|source| source.only == Some(90)).unwrap();
        let h100 = Arch::for_card(9, 0);
        assert!(hopper.applies(Target::native(h100)));
        assert!(!hopper.applies(Target::forced(h100, "sm80").unwrap()));
        assert!(!hopper.applies(Target::native(Arch::for_card(8, 9))));
        assert!(!hopper.applies(Target::native(Arch::for_card(10, 0))));
    }

    #[test]
    fn entries_are_what_the_sources_define() {
        for source in SOURCES {
            let defined = source.text.matches("extern \"C\" __global__").count();
            assert_eq!(defined, source.entries.len(), "{}.cu", source.name);
            for entry in source.entries {
                assert!(
                    source.text.contains(&format!(" {entry}(")),
                    "{entry} in {}.cu",
                    source.name
                );
            }
        }
    }

    #[test]
    fn every_activation_has_a_function() {
        let source = SOURCES.iter().find(|source| source.per_activation).unwrap();
        for activation in Activation::all() {
            let signature = format!("float act_{}(float x)", activation.name());
            assert!(source.text.contains(&signature), "{signature}");
        }
    }

    #[test]
    fn kernels_compile_and_an_error_names_its_line() {
        let compiler = match Compiler::open(libraries::MAJORS) {
            Ok(compiler) => compiler,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        let target = Target::native(Arch { number: 80, specific: false });
        let source = &SOURCES[0];
        let image =
            compiler.compile_cached(source, target, Dtype::Bf16, None, &Cache::open(None)).unwrap();
        assert_eq!(&image[..4], b"\x7fELF");
        let broken = Source::portable("broken", "\nint x = ;\n", &[]);
        let error =
            compiler.compile_reported(&broken, target, Dtype::Bf16, None).unwrap_err().to_string();
        assert!(error.contains("broken.cu(2)"), "{error}");
    }
}
