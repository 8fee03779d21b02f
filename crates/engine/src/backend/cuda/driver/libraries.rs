//! Finding and opening the driver, NVRTC and cuBLASLt at run time.
//!
//! Nothing is linked, so the program runs on a machine that has none of them and reports what is missing. A
//! library is searched in the folders that it is usually installed to, those of Python wheels included, and
//! opened by absolute path with its symbols global; cudarc then finds it loaded under its own name.
//! `libnvrtc-builtins` is opened first: NVRTC opens it by name only, and a wheel's folder is on no loader
//! path.
//!
//! The working directory is never searched. The loader itself would search it where `LD_LIBRARY_PATH` has an
//! empty or relative entry, so such an entry is rejected if one of these libraries lies there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cudarc::{cublaslt, driver, nvrtc};
use libloading::os::unix::{Library as Handle, RTLD_GLOBAL, RTLD_NOW};

use super::symbols;

/// A library that the backend opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// `libcuda`, installed with the kernel driver.
    Driver,
    /// The run-time compiler.
    Nvrtc,
    /// Matrix products.
    CublasLt,
}

/// Why a library cannot be used, in one line with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// It is in none of the folders searched.
    #[error("{file} was not found in {searched}; {remedy}")]
    Missing {
        /// File name, with the accepted versions.
        file: String,
        /// The folders, shortened.
        searched: String,
        /// What to install or set.
        remedy: &'static str,
    },
    /// It was found and does not load.
    #[error("{path} does not load: {reason}", path = path.display())]
    Broken {
        /// The file tried last.
        path: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// It lacks a function that every supported version has.
    #[error("{file} has no function {symbol}; CUDA 12.0 or newer is needed")]
    Symbol {
        /// File name.
        file: &'static str,
        /// The first function missing.
        symbol: &'static str,
    },
    /// The loader would take it from the working directory.
    #[error(
        "LD_LIBRARY_PATH has the entry '{entry}', which is not absolute, and {file} lies there; libraries \
         are not loaded from the working directory: remove the entry or the file"
    )]
    WorkingDirectory {
        /// The entry as it stands in the variable.
        entry: String,
        /// The file that lies there.
        file: String,
    },
}

/// Major versions of NVRTC and cuBLASLt, in the order they are tried.
pub const MAJORS: &[u32] = &[13, 12];

impl Library {
    fn stem(self) -> &'static str {
        match self {
            Library::Driver => "cuda",
            Library::Nvrtc => "nvrtc",
            Library::CublasLt => "cublasLt",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Library::Driver => "libcuda.so",
            Library::Nvrtc => "libnvrtc.so",
            Library::CublasLt => "libcublasLt.so",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Library::Driver => "install the NVIDIA driver, or use --device cpu",
            Library::Nvrtc => {
                "install the CUDA toolkit or `pip install nvidia-cuda-nvrtc`, or name its folder in \
                 LD_LIBRARY_PATH"
            }
            Library::CublasLt => {
                "install the CUDA toolkit or `pip install nvidia-cublas`, or name its folder in \
                 LD_LIBRARY_PATH"
            }
        }
    }

    /// Accepted file names, best first.
    fn file_names(self, majors: &[u32]) -> Vec<String> {
        match self {
            Library::Driver => vec!["libcuda.so.1".to_string()],
            _ => majors.iter().map(|major| format!("lib{}.so.{major}", self.stem())).collect(),
        }
    }

    /// Folders of a Python wheel below `site-packages`.
    fn wheel_folders(self) -> &'static [&'static str] {
        match self {
            Library::Driver => &[],
            Library::Nvrtc => &["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"],
            Library::CublasLt => &["nvidia/cu13/lib", "nvidia/cublas/lib"],
        }
    }

    fn symbols(self) -> &'static [&'static str] {
        match self {
            Library::Driver => symbols::DRIVER,
            Library::Nvrtc => symbols::NVRTC,
            Library::CublasLt => symbols::CUBLASLT,
        }
    }

    fn has_symbol(self, name: &str) -> bool {
        // SAFETY: `culib` loads at most a library that `open` has just found to be loadable, and the
        // symbols are looked up, not called.
        unsafe {
            let library = match self {
                Library::Driver => driver::sys::culib(),
                Library::Nvrtc => nvrtc::sys::culib(),
                Library::CublasLt => cublaslt::sys::culib(),
            };
            library.get::<unsafe extern "C" fn()>(name.as_bytes()).is_ok()
        }
    }

    fn is_present(self) -> bool {
        // SAFETY: the same names that cudarc loads later on; the first call decides nothing else.
        unsafe {
            match self {
                Library::Driver => driver::sys::is_culib_present(),
                Library::Nvrtc => nvrtc::sys::is_culib_present(),
                Library::CublasLt => cublaslt::sys::is_culib_present(),
            }
        }
    }
}

/// Opens a library until the process ends and returns its path. The first result is remembered, whether
/// success or failure.
///
/// `majors` are the accepted versions, best first; the driver has only one.
///
/// # Errors
/// [`LibraryError`] with the file names, the folders searched, and the remedy.
pub fn open(library: Library, majors: &[u32]) -> Result<PathBuf, LibraryError> {
    static OPENED: [OnceLock<Result<PathBuf, LibraryError>>; 3] =
        [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    OPENED[library as usize].get_or_init(|| open_once(library, majors)).clone()
}

fn open_once(library: Library, majors: &[u32]) -> Result<PathBuf, LibraryError> {
    // dlopen's search and the process's set of global symbols are shared by all threads.
    static LOADING: Mutex<()> = Mutex::new(());
    let _guard = LOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());

    reject_working_directory(library)?;
    let folders = Folders::from_environment().of(library);
    let mut broken = None;
    for name in library.file_names(majors) {
        for folder in &folders {
            let path = folder.join(&name);
            if !path.is_file() {
                continue;
            }
            match open_at(library, &path) {
                Ok(()) => return check(library).map(|()| path),
                Err(error) => broken = Some(error),
            }
        }
    }
    // The loader's own cache and the folders it was configured with.
    if library.is_present() {
        return check(library).map(|()| PathBuf::from(format!("lib{}.so", library.stem())));
    }
    Err(broken.unwrap_or_else(|| LibraryError::Missing {
        file: library.file_names(majors).join(" or "),
        searched: summary(&folders),
        remedy: library.remedy(),
    }))
}

fn open_at(library: Library, path: &Path) -> Result<(), LibraryError> {
    if library == Library::Nvrtc {
        for builtins in builtins_beside(path) {
            load(&builtins)?;
        }
    }
    load(path)
}

fn load(path: &Path) -> Result<(), LibraryError> {
    // SAFETY: an NVIDIA library of a known name at an absolute path outside the working directory; its
    // initialisers are what every CUDA program runs.
    let handle = unsafe { Handle::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    match handle {
        Ok(handle) => {
            // Kept for the life of the process: its symbols are used through cudarc's own handle.
            std::mem::forget(handle);
            Ok(())
        }
        Err(error) => {
            // The loader's message is the error's source.
            let message = std::error::Error::source(&error).map(|source| source.to_string());
            let reason = message.unwrap_or_else(|| error.to_string());
            Err(LibraryError::Broken { path: path.to_owned(), reason })
        }
    }
}

/// `libnvrtc-builtins.so.13.0` and the like, newest first.
fn builtins_beside(nvrtc: &Path) -> Vec<PathBuf> {
    let major = nvrtc.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!("libnvrtc-builtins.so.{major}.");
    let mut found = nvrtc.parent().map(|folder| entries(folder, &prefix)).unwrap_or_default();
    // `.so.13.0` and `.so.13.0.88` in a toolkit are one file.
    found.dedup_by_key(|path| path.canonicalize().ok());
    found
}

/// Looks up every function that is called, so that a missing one is an error here and not a panic in a batch.
fn check(library: Library) -> Result<(), LibraryError> {
    match library.symbols().iter().find(|symbol| !library.has_symbol(symbol)) {
        Some(symbol) => Err(LibraryError::Symbol { file: library.file(), symbol }),
        None => Ok(()),
    }
}

/// Returns the folders that may hold the driver's libraries, best first.
pub(in crate::backend::cuda) fn driver_folders() -> Vec<PathBuf> {
    Folders::from_environment().of(Library::Driver)
}

/// Folders to search, from this process's environment.
struct Folders {
    library_path: Vec<PathBuf>,
    toolkits: Vec<PathBuf>,
    site_packages: Vec<PathBuf>,
}

impl Folders {
    fn from_environment() -> Self {
        let mut toolkits = paths_of("CUDA_HOME");
        toolkits.extend(paths_of("CUDA_PATH"));
        toolkits.push(PathBuf::from("/usr/local/cuda"));
        toolkits.extend(entries(Path::new("/usr/local"), "cuda-"));
        Folders {
            library_path: paths_of("LD_LIBRARY_PATH"),
            toolkits,
            site_packages: site_packages(),
        }
    }

    fn of(&self, library: Library) -> Vec<PathBuf> {
        let arch = std::env::consts::ARCH;
        let mut folders = self.library_path.clone();
        if library != Library::Driver {
            for toolkit in &self.toolkits {
                folders.push(toolkit.join("lib64"));
                folders.push(toolkit.join(format!("targets/{arch}-linux/lib")));
            }
            for site in &self.site_packages {
                folders.extend(library.wheel_folders().iter().map(|wheel| site.join(wheel)));
            }
        }
        folders.extend(
            [
                "/usr/local/nvidia/lib64".to_string(),
                "/usr/local/nvidia/lib".to_string(),
                format!("/usr/lib/{arch}-linux-gnu"),
                "/usr/lib64".to_string(),
                "/usr/lib".to_string(),
                "/usr/lib/wsl/lib".to_string(),
                "/run/opengl-driver/lib".to_string(),
            ]
            .map(PathBuf::from),
        );
        let mut seen = HashSet::new();
        folders.retain(|folder| {
            folder.is_absolute() && folder.is_dir() && seen.insert(folder.clone())
        });
        folders
    }
}

/// Returns the absolute entries of a path variable.
fn paths_of(variable: &str) -> Vec<PathBuf> {
    let Some(value) = std::env::var_os(variable) else { return Vec::new() };
    std::env::split_paths(&value).filter(|path| path.is_absolute()).collect()
}

/// Returns `site-packages` of the virtual environment, of each Python on PATH, and of this user.
fn site_packages() -> Vec<PathBuf> {
    let mut prefixes = paths_of("VIRTUAL_ENV");
    for folder in paths_of("PATH") {
        if folder.join("python3").exists()
            && let Some(prefix) = folder.parent()
        {
            prefixes.push(prefix.to_owned());
        }
    }
    prefixes.extend(paths_of("HOME").into_iter().map(|home| home.join(".local")));
    let mut found = Vec::new();
    for prefix in prefixes {
        for python in entries(&prefix.join("lib"), "python3") {
            found.push(python.join("site-packages"));
            found.push(python.join("dist-packages"));
        }
    }
    found
}

/// Returns a folder's entries whose names start with `prefix`, the highest version first.
fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = listing
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort_by_cached_key(|path| std::cmp::Reverse(version_of(path)));
    found
}

/// Returns the numbers in a file's name, for ordering `cuda-12.4` before `cuda-13.0`.
fn version_of(path: &Path) -> Vec<u64> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn reject_working_directory(library: Library) -> Result<(), LibraryError> {
    let Some(value) = std::env::var_os("LD_LIBRARY_PATH") else { return Ok(()) };
    match find_by_relative_entry(&value, library) {
        Some((entry, file)) => Err(LibraryError::WorkingDirectory { entry, file }),
        None => Ok(()),
    }
}

/// Returns the first relative entry of a path variable through which the loader would find `library`, and the
/// file. An empty variable has no entries.
fn find_by_relative_entry(value: &std::ffi::OsStr, library: Library) -> Option<(String, String)> {
    if value.is_empty() {
        return None;
    }
    let names = cudarc::get_lib_name_candidates(library.stem());
    for entry in std::env::split_paths(value).filter(|entry| !entry.is_absolute()) {
        let folder = if entry.as_os_str().is_empty() { Path::new(".") } else { entry.as_path() };
        if let Some(name) = names.iter().find(|name| folder.join(name).exists()) {
            return Some((entry.display().to_string(), name.clone()));
        }
    }
    None
}

fn summary(folders: &[PathBuf]) -> String {
    const SHOWN: usize = 6;
    let mut text: Vec<String> =
        folders.iter().take(SHOWN).map(|folder| folder.display().to_string()).collect();
    if folders.len() > SHOWN {
        text.push(format!("{} more folders", folders.len() - SHOWN));
    }
    text.push("the loader's path".to_string());
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn newest_toolkit_comes_first() {
        let mut names = ["cuda-9.2", "cuda-12.4", "cuda-13.0", "cuda-12.10"].map(PathBuf::from);
        names.sort_by_cached_key(|path| std::cmp::Reverse(version_of(path)));
        assert_eq!(names, ["cuda-13.0", "cuda-12.10", "cuda-12.4", "cuda-9.2"].map(PathBuf::from));
    }

    #[test]
    fn a_relative_library_path_matters_only_where_the_library_lies() {
        // The tests run in the crate's folder, which holds none of these libraries but does hold `src`.
        assert_eq!(find_by_relative_entry(OsStr::new(""), Library::Nvrtc), None);
        assert_eq!(find_by_relative_entry(OsStr::new(":/usr/lib"), Library::Nvrtc), None);
        let folder =
            std::env::temp_dir().join(format!("bigbatch-libraries-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libnvrtc.so.13"), b"").unwrap();
        let absolute = std::env::join_paths([&folder]).unwrap();
        assert_eq!(
            find_by_relative_entry(&absolute, Library::Nvrtc),
            None,
            "absolute entries are the user's choice"
        );
        let up = "../".repeat(std::env::current_dir().unwrap().components().count());
        let relative = format!("/usr/lib:{up}{}", folder.strip_prefix("/").unwrap().display());
        let hit = find_by_relative_entry(OsStr::new(&relative), Library::Nvrtc)
            .expect("found through ../");
        assert_eq!(hit.1, "libnvrtc.so.13");
        assert_eq!(find_by_relative_entry(OsStr::new(&relative), Library::CublasLt), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_missing_library_is_one_line_with_a_remedy() {
        let error = LibraryError::Missing {
            file: Library::CublasLt.file_names(MAJORS).join(" or "),
            searched: summary(&[PathBuf::from("/a")]),
            remedy: Library::CublasLt.remedy(),
        };
        assert_eq!(
            error.to_string(),
            "libcublasLt.so.13 or libcublasLt.so.12 was not found in /a, the loader's path; install the \
             CUDA toolkit or `pip install nvidia-cublas`, or name its folder in LD_LIBRARY_PATH"
        );
    }
}
