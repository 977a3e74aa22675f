//! What the Python that compiles for a GPU needs to find: CUDA's headers and the driver's library, under the names that a C++
//! compiler and its linker look for.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// CUDA's folder in the Python packages of its libraries, beside torch's, and in the folder of the runtimes.
const PACKAGES_HOME: &str = "nvidia/cu13";
/// A header that every CUDA has.
const HEADER: &str = "include/cuda_runtime_api.h";

/// Where to look.
pub(super) struct Search<'a> {
    /// `CUDA_HOME` or `CUDA_PATH`, which are taken as they are.
    pub(super) named: Option<OsString>,
    /// The folder that the Python's package torch is in.
    pub(super) site_packages: Option<PathBuf>,
    /// The folder of the runtimes.
    pub(super) runtime: &'a Path,
    /// Where CUDA is installed by itself.
    pub(super) installed: &'a Path,
    /// The driver's library, whatever its name.
    pub(super) driver: Option<PathBuf>,
    /// A folder for links to it.
    pub(super) links: PathBuf,
}

impl Search<'_> {
    /// Variables for the Python, in addition to those that it has.
    ///
    /// # Errors
    /// Fails where there is no CUDA, no driver, or no link can be made.
    pub(super) fn environment(&self) -> Result<Vec<(&'static str, OsString)>> {
        let home = self.home()?;
        let Some(driver) = &self.driver else {
            bail!("no libcuda.so.1 is loaded: a model can't be compiled for a GPU without its driver");
        };
        fs::create_dir_all(&self.links).with_context(|| self.links.display().to_string())?;
        // The linker looks for the one, Triton for the other.
        for name in ["libcuda.so", "libcuda.so.1"] {
            link(driver, &self.links.join(name))
                .with_context(|| self.links.join(name).display().to_string())?;
        }
        // Headers that packages of their own bring (crt/, nv/) may be in one of these folders alone.
        let homes = self.homes().chain([self.installed.to_owned()]);
        let includes = homes.map(|home| home.join("include")).filter(|folder| folder.is_dir());
        Ok(vec![
            ("CUDA_HOME", home.into()),
            ("CPLUS_INCLUDE_PATH", joined(includes, "CPLUS_INCLUDE_PATH")?),
            ("LIBRARY_PATH", joined([self.links.clone()].into_iter(), "LIBRARY_PATH")?),
            ("TRITON_LIBCUDA_PATH", self.links.clone().into()),
        ])
    }

    fn home(&self) -> Result<PathBuf> {
        if let Some(named) = &self.named {
            return Ok(named.into());
        }
        let found = self.homes().chain([self.installed.to_owned()]).find(|home| home.join(HEADER).exists());
        found.with_context(|| {
            let looked: Vec<_> = self.homes().map(|home| home.display().to_string()).collect();
            format!(
                "no CUDA headers ({HEADER}) in {} or {}: run `make peers`, or set CUDA_HOME",
                looked.join(", "),
                self.installed.display()
            )
        })
    }

    /// Those of packages.
    fn homes(&self) -> impl Iterator<Item = PathBuf> {
        let parents = self.site_packages.as_deref().into_iter().chain([self.runtime]);
        parents.map(|parent| parent.join(PACKAGES_HOME))
    }
}

/// Folders in front of those that a variable of this process names.
fn joined(folders: impl Iterator<Item = PathBuf>, variable: &str) -> Result<OsString> {
    let before = env::var_os(variable).unwrap_or_default();
    // An empty name would be the current folder.
    let before = env::split_paths(&before).filter(|folder| folder != OsStr::new(""));
    Ok(env::join_paths(folders.chain(before))?)
}

/// Makes or replaces a link; another worker may do the same at the same time.
fn link(target: &Path, link: &Path) -> io::Result<()> {
    let new = link.with_added_extension(std::process::id().to_string());
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &new)?;
    fs::rename(&new, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// A search in `dir`, where a driver is.
    fn search(dir: &Path) -> Search<'_> {
        let driver = dir.join("driver/libcuda.so.580.65.06");
        touch(&driver);
        Search {
            named: None,
            site_packages: Some(dir.join("site-packages")),
            runtime: dir,
            installed: Path::new("/nowhere/cuda"),
            driver: Some(driver),
            links: dir.join("aoti/driver"),
        }
    }

    fn get(environment: &[(&str, OsString)], name: &str) -> PathBuf {
        environment.iter().find(|(found, _)| *found == name).unwrap().1.clone().into()
    }

    #[test]
    fn headers_come_from_beside_torch_and_the_driver_has_the_name_for_the_linker() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let home = dir.join("site-packages/nvidia/cu13");
        touch(&home.join(HEADER));
        // What another package brings, unpacked elsewhere.
        touch(&dir.join("nvidia/cu13/include/nv/target"));
        for _ in 0..2 {
            let environment = search(dir).environment().unwrap();
            assert_eq!(get(&environment, "CUDA_HOME"), home);
            let includes = get(&environment, "CPLUS_INCLUDE_PATH").into_os_string();
            let expected = [home.join("include"), dir.join("nvidia/cu13/include")];
            assert_eq!(env::split_paths(&includes).take(2).collect::<Vec<_>>(), expected);
            let folder = env::split_paths(&get(&environment, "LIBRARY_PATH")).next().unwrap();
            assert_eq!(folder, dir.join("aoti/driver"));
            assert_eq!(get(&environment, "TRITON_LIBCUDA_PATH"), folder);
            for name in ["libcuda.so", "libcuda.so.1"] {
                assert_eq!(
                    fs::read_link(folder.join(name)).unwrap(),
                    dir.join("driver/libcuda.so.580.65.06")
                );
            }
            assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
        }
    }

    #[test]
    fn what_the_user_names_comes_first_and_an_installed_cuda_last() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let installed = dir.join("usr/local/cuda");
        touch(&installed.join(HEADER));
        let search = || Search { installed: &installed, ..search(dir) };
        assert_eq!(get(&search().environment().unwrap(), "CUDA_HOME"), installed);
        touch(&dir.join("nvidia/cu13").join(HEADER));
        assert_eq!(get(&search().environment().unwrap(), "CUDA_HOME"), dir.join("nvidia/cu13"));
        // It may have the headers that the packages leave out.
        let includes = get(&search().environment().unwrap(), "CPLUS_INCLUDE_PATH").into_os_string();
        let expected = [dir.join("nvidia/cu13/include"), installed.join("include")];
        assert_eq!(env::split_paths(&includes).take(2).collect::<Vec<_>>(), expected);
        let named = Search { named: Some("/opt/cuda".into()), ..search() };
        assert_eq!(get(&named.environment().unwrap(), "CUDA_HOME"), Path::new("/opt/cuda"));
    }

    #[test]
    fn what_is_missing_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let error = search(dir).environment().unwrap_err().to_string();
        assert!(error.starts_with("no CUDA headers (include/cuda_runtime_api.h) in "), "{error}");
        assert!(error.ends_with(" or /nowhere/cuda: run `make peers`, or set CUDA_HOME"), "{error}");
        let without = Search { named: Some("/opt/cuda".into()), driver: None, ..search(dir) };
        let error = without.environment().unwrap_err().to_string();
        assert!(error.starts_with("no libcuda.so.1 is loaded: "), "{error}");
    }
}
