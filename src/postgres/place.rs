//! The default directories.

use std::ffi::OsString;
use std::path::PathBuf;

/// The rules for one default directory.
pub(super) struct Place {
    variable: &'static str,
    for_root: &'static str,
    xdg_variable: &'static str,
    below_home: &'static str,
}

pub(super) const CACHE: Place = Place {
    variable: "GLASSBOX_CACHE_DIR",
    for_root: "/var/cache/glassbox",
    xdg_variable: "XDG_CACHE_HOME",
    below_home: ".cache",
};

pub(super) const DATA: Place = Place {
    variable: "GLASSBOX_DATA_DIR",
    for_root: "/var/lib/glassbox",
    xdg_variable: "XDG_DATA_HOME",
    below_home: ".local/share",
};

impl Place {
    pub(super) fn default_dir(
        &self,
        is_root: bool,
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> PathBuf {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(dir) = set(self.variable) {
            return dir;
        }
        if is_root {
            return self.for_root.into();
        }
        // Relative XDG paths are to be ignored. Source: XDG Base Directory Specification.
        set(self.xdg_variable)
            .filter(|dir| dir.is_absolute())
            .or_else(|| home.map(|home| home.join(self.below_home)))
            .unwrap_or_else(std::env::temp_dir)
            .join("glassbox")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_default_directories_follow_variable_then_account() {
        let check = |is_root: bool, variables: &[(&str, &str)], expected: &str| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name)?;
                Some(OsString::from(found.1))
            };
            let dir = DATA.default_dir(is_root, variable, Some("/people/ada".into()));
            assert_eq!(dir, Path::new(expected), "{variables:?}");
        };
        check(true, &[], "/var/lib/glassbox");
        check(true, &[("XDG_DATA_HOME", "/x")], "/var/lib/glassbox");
        check(true, &[("GLASSBOX_DATA_DIR", "/d")], "/d");
        check(false, &[], "/people/ada/.local/share/glassbox");
        check(false, &[("XDG_DATA_HOME", "/x")], "/x/glassbox");
        check(false, &[("XDG_DATA_HOME", "relative")], "/people/ada/.local/share/glassbox");
        check(false, &[("GLASSBOX_DATA_DIR", ""), ("XDG_DATA_HOME", "/x")], "/x/glassbox");
    }
}
