//! The arguments with which bubblewrap makes the namespaces of a call.
//!
//! The file system is an empty one into which the system's programs and libraries are mounted, readable; the folders that can
//! be written are in memory, of bounded size, and gone with the call.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::inner;
use super::plan::Plan;

/// Where the call works, inside.
pub(super) const HOME: &str = "/cage/work";
/// Where this program lies, inside.
const HELPER: &str = "/cage/helper";

/// All arguments up to the program that is started, which is `helper` as the cage has it.
pub(super) fn arguments(plan: &Plan, user: Option<u32>, helper: &Path) -> Vec<OsString> {
    let mut words = Words::default();
    words.all(&["--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]);
    words.all(&["--unshare-cgroup-try", "--hostname", "cage", "--clearenv", "--cap-drop", "ALL"]);
    if user.is_some() {
        // What the inner form needs to become that user; it keeps none of it.
        words.all(&["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]);
        words.all(&["--cap-add", "CAP_SETPCAP"]);
    } else {
        words.all(&["--unshare-user", "--uid", "65534", "--gid", "65534"]);
    }
    if !plan.network {
        words.all(&["--unshare-net"]);
    }
    for path in inner::system(plan.network) {
        words.system(&path);
    }
    // Before what is readable, some of which may lie below it.
    words.memory("/tmp", plan.limits.disk_bytes / 4);
    for path in plan.readable.iter().filter(|path| !plan.hidden.starts_with(path)) {
        words.readable(path, path);
    }
    words.around_hidden(plan);
    words.readable(helper, Path::new(HELPER));
    words.all(&["--proc", "/proc", "--dev", "/dev"]);
    words.memory("/dev/shm", plan.limits.disk_bytes / 4);
    words.memory("/cage/tmp", plan.limits.disk_bytes / 4);
    words.memory(HOME, plan.limits.disk_bytes);
    // The administrator's number alone, without any right, is enough to set the kernel through `/proc/sys`.
    words.all(&["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]);
    words.all(&["--chdir", HOME, "--"]);
    words.all(&[HELPER]);
    words.list
}

#[derive(Default)]
struct Words {
    list: Vec<OsString>,
    /// Folders that are there already.
    made: Vec<PathBuf>,
}

impl Words {
    fn all(&mut self, words: &[&str]) {
        self.list.extend(words.iter().map(OsString::from));
    }

    fn readable(&mut self, from: &Path, to: &Path) {
        self.folders_above(to);
        self.list.extend(["--ro-bind".into(), from.into(), to.into()]);
    }

    /// The folders in which a mount lies, open to every user: bubblewrap makes them for its own user only.
    fn folders_above(&mut self, path: &Path) {
        let above: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_path_buf).collect();
        for folder in above.into_iter().rev().filter(|folder| folder.parent().is_some()) {
            if !self.made.contains(&folder) {
                self.all(&["--perms", "0755", "--dir"]);
                self.list.push(folder.clone().into());
                self.made.push(folder);
            }
        }
    }

    /// `/lib` and its like are links into `/usr` on most systems, and have to be links inside, too.
    fn system(&mut self, path: &Path) {
        match std::fs::read_link(path) {
            Ok(to) if !path.starts_with("/etc") => {
                self.list.extend(["--symlink".into(), to.into(), path.into()]);
            }
            Ok(_) | Err(_) => self.readable(path, path),
        }
    }

    fn memory(&mut self, path: &str, bytes: u64) {
        self.folders_above(Path::new(path));
        self.all(&["--perms", "1777", "--size", &bytes.max(1 << 16).to_string(), "--tmpfs", path]);
    }

    /// A readable folder in which the data directory lies is mounted with an empty folder over that directory; what is
    /// readable within the directory (environments of requirements) comes back on top.
    fn around_hidden(&mut self, plan: &Plan) {
        let around: Vec<&PathBuf> =
            plan.readable.iter().filter(|path| plan.hidden.starts_with(path)).collect();
        if around.is_empty() {
            return;
        }
        for path in around {
            self.readable(path, path);
        }
        self.list.extend(["--tmpfs".into(), plan.hidden.clone().into()]);
        for path in plan.readable.iter().filter(|path| path.starts_with(&plan.hidden)) {
            self.readable(path, path);
        }
    }
}
