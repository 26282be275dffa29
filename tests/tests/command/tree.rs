//! A directory of a test's own, for programs and libraries that it puts there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use thmalloc_tests::install;

/// How long any command of these tests may take: a guard against hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A directory that goes when the test ends.
pub struct Tree(PathBuf);

impl Tree {
    /// A new one; anybody may read it.
    pub fn new(name: &str) -> Tree {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number has to be another one each time.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("thmalloc-{name}-{}-{number}", std::process::id());
        let temporary = std::env::temp_dir();
        let root = temporary.canonicalize().expect("exists").join(name);
        fs::create_dir(&root).expect("a directory of our own");
        fs::set_permissions(&root, Permissions::from_mode(0o755)).expect("chmod");
        Tree(root)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// A path in it, with the directories on the way made.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("the root at least")).expect("mkdir");
        path
    }

    /// Copies `file` to `name`.
    pub fn install(&self, file: &Path, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        install(file, &path, mode);
        path
    }

    /// Writes a file, one that can be executed at once where `mode` says so.
    pub fn write(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let draft = self.path("draft");
        fs::write(&draft, bytes).expect("write");
        self.install(&draft, name, mode)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
