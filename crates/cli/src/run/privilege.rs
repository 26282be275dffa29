//! Would the system start a program in secure-execution mode?
//!
//! In that mode (ld.so(8)) the loader ignores LD_PRELOAD for a library like
//! ours, and says nothing. The kernel decides it in `execve`: where the new
//! effective user or group is not the real one, or where a user other than
//! root gains capabilities from the file (capabilities(7)).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use capctl::caps::FileCaps;
use nix::sys::prctl;
use nix::sys::statvfs::FsFlags;
use nix::unistd::{getegid, geteuid, getgid, getuid};

use super::lookup::mounted;
use crate::error::Fault;

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o0010;
const ROOT: u32 = 0;

/// Whose process this is.
struct Ids {
    uid: u32,
    effective_uid: u32,
    gid: u32,
    effective_gid: u32,
}

/// What a file gives to the process that executes it.
#[derive(Clone, Copy, Default)]
struct Privileges {
    uid: Option<u32>,
    gid: Option<u32>,
    capabilities: bool,
}

/// Refuses a program that the loader would start without its LD_PRELOAD.
pub fn check(file: &Path, metadata: &Metadata) -> Result<(), Fault> {
    let ids = Ids {
        uid: getuid().as_raw(),
        effective_uid: geteuid().as_raw(),
        gid: getgid().as_raw(),
        effective_gid: getegid().as_raw(),
    };
    match secure_because(&ids, privileges(file, metadata)) {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

fn privileges(file: &Path, metadata: &Metadata) -> Privileges {
    if mounted(file, FsFlags::ST_NOSUID) {
        return Privileges::default();
    }
    let capabilities = matches!(
        FileCaps::get_for_file(file),
        Ok(Some(caps)) if caps.effective || !caps.permitted.is_empty()
    );
    // The bits are ignored, and the capabilities are not, where the process
    // has renounced new privileges.
    if prctl::get_no_new_privs().unwrap_or(false) {
        return Privileges {
            capabilities,
            ..Privileges::default()
        };
    }
    let mode = metadata.mode();
    // Without the group's execute bit, set-group-ID meant mandatory locking.
    let group = SET_GROUP_ID | GROUP_EXECUTE;
    Privileges {
        uid: (mode & SET_USER_ID != 0).then_some(metadata.uid()),
        gid: (mode & group == group).then_some(metadata.gid()),
        capabilities,
    }
}

fn secure_because(ids: &Ids, file: Privileges) -> Option<Fault> {
    if file.uid.unwrap_or(ids.effective_uid) != ids.uid {
        return Some(
            file.uid
                .map_or(Fault::MixedIds, |uid| Fault::SetUser { uid }),
        );
    }
    if file.gid.unwrap_or(ids.effective_gid) != ids.gid {
        return Some(
            file.gid
                .map_or(Fault::MixedIds, |gid| Fault::SetGroup { gid }),
        );
    }
    (file.capabilities && ids.uid != ROOT).then_some(Fault::Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Privileges = Privileges {
        uid: None,
        gid: None,
        capabilities: false,
    };

    fn user(uid: u32) -> Ids {
        Ids {
            uid,
            effective_uid: uid,
            gid: 100,
            effective_gid: 100,
        }
    }

    #[test]
    fn a_plain_program_is_not_secure() {
        assert_eq!(secure_because(&user(0), PLAIN), None);
        assert_eq!(secure_because(&user(1000), PLAIN), None);
    }

    #[test]
    fn set_user_id_is_secure_unless_we_are_that_user() {
        let root = Privileges {
            uid: Some(0),
            ..PLAIN
        };
        assert_eq!(secure_because(&user(0), root), None);
        assert_eq!(
            secure_because(&user(1000), root),
            Some(Fault::SetUser { uid: 0 })
        );
        let other = Privileges {
            uid: Some(33),
            ..PLAIN
        };
        assert_eq!(
            secure_because(&user(0), other),
            Some(Fault::SetUser { uid: 33 })
        );
    }

    #[test]
    fn set_group_id_is_secure_unless_that_is_our_group() {
        let gid = |gid| Privileges {
            gid: Some(gid),
            ..PLAIN
        };
        assert_eq!(secure_because(&user(0), gid(100)), None);
        assert_eq!(
            secure_because(&user(0), gid(5)),
            Some(Fault::SetGroup { gid: 5 })
        );
    }

    #[test]
    fn file_capabilities_are_secure_unless_we_are_root() {
        let capable = Privileges {
            capabilities: true,
            ..PLAIN
        };
        assert_eq!(secure_because(&user(0), capable), None);
        assert_eq!(
            secure_because(&user(1000), capable),
            Some(Fault::Capabilities)
        );
    }

    #[test]
    fn any_program_is_secure_while_our_ids_differ() {
        let mixed = Ids {
            effective_uid: 0,
            ..user(1000)
        };
        assert_eq!(secure_because(&mixed, PLAIN), Some(Fault::MixedIds));
        let back = Privileges {
            uid: Some(1000),
            ..PLAIN
        };
        assert_eq!(secure_because(&mixed, back), None);
    }
}
