//! Who runs PostgreSQL: ourselves, or an unprivileged account when we are root, because it refuses to run as root.
//! And what that account, and nobody else, may read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tokio::process::Command;
use tokio::time::timeout;

/// An account of the machine that is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    uid: u32,
    gid: u32,
}

/// Returns the account that must run PostgreSQL on `cluster`, or `None` when that is our own.
pub(super) fn server_account(cluster: &Path) -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    // A cluster that someone else made keeps its owner.
    if let Ok(metadata) = fs::metadata(cluster)
        && metadata.uid() != 0
    {
        return Ok(Some(Account { name: format!("uid {}", metadata.uid()), uid: metadata.uid(), gid: metadata.gid() }));
    }
    let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    unprivileged_account(&passwd)
        .map(Some)
        .ok_or_else(|| anyhow!("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` here"))
}

fn unprivileged_account(passwd: &str) -> Option<Account> {
    ["postgres", "nobody"].into_iter().find_map(|name| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
        })
    })
}

/// Gives `path` to the account.
pub(super) fn give(path: &Path, account: Option<&Account>) -> Result<()> {
    let Some(account) = account else {
        return Ok(());
    };
    chown(path, Some(account.uid), Some(account.gid))
        .with_context(|| format!("give {} to {}", path.display(), account.name))
}

/// Creates `path` and its missing parents; what it creates can be entered by everyone, whatever the umask is.
pub(super) fn create_dirs(path: &Path) -> Result<()> {
    for dir in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            continue;
        }
        match DirBuilder::new().mode(0o755).create(dir) {
            Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("set the mode of {}", dir.display()))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("create {}", dir.display())),
        }
    }
    Ok(())
}

/// Writes a file that only its owner reads, in one step.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let writing = path.with_added_extension("writing");
    // A leftover could have another owner or mode.
    if let Err(error) = fs::remove_file(&writing)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("remove {}", writing.display()));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&writing)
        .with_context(|| format!("create {}", writing.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}", writing.display()))?;
    fs::rename(&writing, path).with_context(|| format!("write {}", path.display()))
}

/// Creates a directory that only its owner enters.
pub(super) fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(path).with_context(|| format!("create {}", path.display()))
}

/// Errors: the account may not enter a directory on the way to `path`; `setting` names the way out.
pub(super) fn ensure_reachable(path: &Path, account: Option<&Account>, setting: &str) -> Result<()> {
    let Some(account) = account else {
        return Ok(());
    };
    for dir in path.ancestors() {
        let metadata = fs::metadata(dir).with_context(|| format!("look at {}", dir.display()))?;
        let may_enter = if metadata.uid() == account.uid {
            0o100
        } else if metadata.gid() == account.gid {
            0o010
        } else {
            0o001
        };
        if metadata.mode() & may_enter == 0 {
            bail!(
                "PostgreSQL runs as {}, who may not enter {}: choose another place with {setting}",
                account.name,
                dir.display()
            );
        }
    }
    Ok(())
}

/// Prepares a program to run as the account, deaf to our terminal and to the caller's PG* variables.
pub(super) fn program(path: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(path);
    // A directory that every account may enter: the caller's own may be closed to it.
    command
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs a program that [`program`] prepared to its end, and kills all of its process group after the deadline.
pub(super) async fn finish(mut command: Command, deadline: Duration) -> Result<Output> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("run {name}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    match timeout(deadline, child.wait_with_output()).await {
        Ok(output) => output.with_context(|| format!("wait for {name}")),
        Err(_) => {
            if let Some(group) = group {
                // It may have ended at this very moment; either way it no longer runs.
                let _ = kill_process_group(group, Signal::KILL);
            }
            bail!("{name} did not end within {deadline:?}")
        }
    }
}

/// Returns what a failed program said, as one line.
pub(super) fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { output.status.to_string() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &str =
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn the_postgres_account_is_preferred_to_nobody_and_root_is_never_taken() {
        let both = format!("{NOBODY}postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n");
        let found = |passwd: &str| unprivileged_account(passwd).map(|account| (account.name, account.uid, account.gid));
        assert_eq!(found(&both), Some(("postgres".to_owned(), 101, 104)));
        assert_eq!(found(NOBODY), Some(("nobody".to_owned(), 65534, 65534)));
        assert_eq!(found("postgres:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(found("postgresql:x:7:7::/:/bin/sh\nbroken\n"), None);
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_at_the_deadline() {
        let mut command = program(Path::new("/bin/sh"), None);
        command.args(["-c", "sleep 60"]);
        let error = finish(command, Duration::from_millis(50)).await.expect_err("it sleeps longer");
        assert!(error.to_string().contains("did not end within"), "{error}");
    }
}
