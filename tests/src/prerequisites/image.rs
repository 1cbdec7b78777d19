//! What a machine needs to build the static program of the image, and to run it as a Pod does.

use std::ffi::OsStr;
use std::path::Path;

use super::{links_a_program, run};

/// The abilities of this kind that a machine has.
#[derive(Clone, Debug)]
pub(super) struct ImageNeeds {
    pub(super) static_c_library: bool,
    pub(super) user_namespaces: bool,
}

impl ImageNeeds {
    pub(super) fn probe(path: &OsStr, target: &Path) -> Self {
        let enter = ["--user", "--map-root-user", "--mount", "unshare", "--user", "--map-user=65532", "true"];
        Self {
            static_c_library: links_a_program(path, target, &["-static"]),
            user_namespaces: run(path, "unshare", &enter).is_some(),
        }
    }

    /// Returns what is missing, each with the commands that install or allow it.
    pub(super) fn missing(&self) -> [Option<String>; 2] {
        [self.missing_static_c_library(), self.missing_user_namespaces()]
    }

    fn missing_static_c_library(&self) -> Option<String> {
        let advice = "
  the static C library, to build the program of the image: `cc -static` does not link an empty program
    Debian, Ubuntu: sudo apt-get install libc6-dev
    Fedora:         sudo dnf install glibc-static";
        (!self.static_c_library).then(|| advice.to_owned())
    }

    fn missing_user_namespaces(&self) -> Option<String> {
        let advice = "
  user namespaces, to run the program of the image: `unshare --user --map-root-user --mount` fails
    Debian, Ubuntu: sudo apt-get install util-linux
                    sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
    elsewhere:      run the tests as root, or allow user namespaces";
        (!self.user_namespaces).then(|| advice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let complete = ImageNeeds { static_c_library: true, user_namespaces: true };
        assert_eq!(complete.missing(), [None, None]);
        let [library, namespaces] = ImageNeeds { static_c_library: false, user_namespaces: false }.missing();
        assert!(library.is_some_and(|text| text.contains("glibc-static")));
        assert!(namespaces.is_some_and(|text| text.contains("kernel.apparmor_restrict_unprivileged_userns=0")));
    }

    #[test]
    fn a_machine_without_programs_has_neither() {
        let folder = tempfile::tempdir().expect("a folder");
        let needs = ImageNeeds::probe(folder.path().as_os_str(), folder.path());
        assert!(!needs.static_c_library && !needs.user_namespaces);
    }
}
