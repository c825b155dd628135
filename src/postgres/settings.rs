//! What PostgreSQL is told: the text of `glassbox.conf` and where its socket lies.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// What PostgreSQL runs with unless the caller says otherwise. Durable as in production: tests are about that too.
const SETTINGS: &[(&str, &str)] = &[
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %u@%d "),
];

/// `sun_path` holds 108 bytes with the closing zero. Source: unix(7).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Returns the text of `glassbox.conf`. The last line about a setting wins: the caller's over ours, and what we
/// rely on over the caller's.
pub(super) fn settings_file(port: u16, socket_dir: &Path, extra: &[(String, String)]) -> Result<String> {
    let port = port.to_string();
    let socket_dir = socket_dir.to_string_lossy();
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", &socket_dir),
        ("unix_socket_permissions", "0700"),
    ];
    let extra = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.iter().copied().chain(extra).chain(fixed) {
        ensure!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.'),
            "`{name}` is no name of a PostgreSQL setting"
        );
        ensure!(!value.contains(['\n', '\r', '\0']), "the value of {name} has more than one line");
        let value = value.replace('\\', r"\\").replace('\'', "''");
        writeln!(text, "{name} = '{value}'").context("write a setting")?;
    }
    Ok(text)
}

/// Returns where the socket lies: in the data directory when its path fits into the kernel's structure.
pub(super) fn socket_dir(data_dir: &Path) -> PathBuf {
    let beside = data_dir.join("socket");
    let longest = beside.join(".s.PGSQL.65535");
    let text = longest.to_string_lossy();
    // The setting is a list with commas and quotes of its own.
    if text.len() < SOCKET_PATH_BYTES_MAX && !text.contains([',', '"', '\'']) {
        return beside;
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    Path::new("/tmp").join(format!("glassbox-{}", super::hex(&digest[..8])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_data_directory_gets_a_short_socket_path() {
        let short = Path::new("/var/lib/glassbox");
        assert_eq!(socket_dir(short), short.join("socket"));
        for odd in [format!("/{}", "long/".repeat(30)), "/data/a,b".to_owned()] {
            let socket = socket_dir(Path::new(&odd));
            assert!(socket.starts_with("/tmp"), "{socket:?}");
            assert!(socket.join(".s.PGSQL.65535").as_os_str().len() < SOCKET_PATH_BYTES_MAX);
        }
        assert_ne!(socket_dir(Path::new("/a,b")), socket_dir(Path::new("/b,a")));
    }

    #[test]
    fn settings_are_quoted_and_cannot_replace_what_we_rely_on() {
        let extra = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let text = settings_file(21_000, Path::new("/s"), &extra("port", "1")).expect("a valid setting");
        assert!(text.rfind("port = '1'").expect("the caller's") < text.rfind("port = '21000'").expect("ours"));
        let text = settings_file(1, Path::new("/s"), &extra("application_name", r"it's \n")).expect("a valid setting");
        assert!(text.contains(r"application_name = 'it''s \\n'"), "{text}");
        settings_file(1, Path::new("/s"), &extra("a = 'b'\nfsync", "off")).expect_err("a name with a line break");
        settings_file(1, Path::new("/s"), &extra("fsync", "on'\nport = '1")).expect_err("a value with a line break");
    }
}
