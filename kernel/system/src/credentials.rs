//! Who a thread is for permissions: users, groups and capabilities.
//!
//! Law: as in Linux they are the thread's own: what one becomes the others of its process do not (a
//! library makes them by asking each). For others the process is who its first thread is. The rules are those of credentials(7) and capabilities(7) for a kernel whose files carry no
//! capabilities: who becomes user 0 gets them, who stops being user 0 loses them, and execve(2) gives
//! them to user 0 only. This is all computation; who may call what is asked with [`Ids::has`].

use crate::files::Who;
use abi::Errno;
use alloc::vec::Vec;

/// May change owners of files.
pub const CHOWN: u32 = 0;
/// Ignores permission bits of files.
pub const DAC_OVERRIDE: u32 = 1;
/// Reads files and searches directories whatever their bits.
pub const DAC_READ_SEARCH: u32 = 2;
/// Does with any file what only its owner may.
pub const FOWNER: u32 = 3;
/// Keeps set-id bits.
pub const FSETID: u32 = 4;
/// Sends signals to anybody.
pub const KILL: u32 = 5;
/// Becomes any group.
pub const SETGID: u32 = 6;
/// Becomes any user.
pub const SETUID: u32 = 7;
/// Gives capabilities away.
pub const SETPCAP: u32 = 8;
/// Has ports that are those of the system's services.
pub const NET_BIND_SERVICE: u32 = 10;
/// Changes the network.
pub const NET_ADMIN: u32 = 12;
/// Sends what it likes.
pub const NET_RAW: u32 = 13;
/// Locks as much memory as it likes.
pub const IPC_LOCK: u32 = 14;
/// Uses the IPC of others.
pub const IPC_OWNER: u32 = 15;
/// chroot(2).
pub const SYS_CHROOT: u32 = 18;
/// Looks into other processes.
pub const SYS_PTRACE: u32 = 19;
/// Administers.
pub const SYS_ADMIN: u32 = 21;
/// Starts the machine anew.
pub const SYS_BOOT: u32 = 22;
/// Puts itself and others before the rest.
pub const SYS_NICE: u32 = 23;
/// Exceeds limits.
pub const SYS_RESOURCE: u32 = 24;
/// Adjusts clocks.
pub const SYS_TIME: u32 = 25;
/// Hangs terminals up and takes them.
pub const SYS_TTY_CONFIG: u32 = 26;
/// Makes device files.
pub const MKNOD: u32 = 27;
/// Takes leases of files of others.
pub const LEASE: u32 = 28;
/// The kernel's log.
pub const SYSLOG: u32 = 34;
/// Says once more who has logged in.
pub const AUDIT_CONTROL: u32 = 30;
/// The last one there is (`CAP_LAST_CAP` of Linux 6.1).
pub const LAST: u64 = 40;
/// Each capability is a bit.
pub const ALL: u64 = (1 << (LAST + 1)) - 1;

/// Those that come and go with user 0 as the user of files (`CAP_FS_SET`): with MAC_OVERRIDE and
/// LINUX_IMMUTABLE.
const OF_FILES: u64 = 1 << CHOWN
    | 1 << DAC_OVERRIDE
    | 1 << DAC_READ_SEARCH
    | 1 << FOWNER
    | 1 << FSETID
    | 1 << 9
    | 1 << MKNOD
    | 1 << 32;

/// A securebit: to execve(2) user 0 is anybody.
const NO_ROOT: u32 = 1;
/// Capabilities do not change with the users.
const NO_SETUID_FIXUP: u32 = 1 << 2;
/// They stay when user 0 becomes another (`PR_SET_KEEPCAPS`), until execve(2).
pub(crate) const KEEP_CAPABILITIES: u32 = 1 << 4;
/// None becomes ambient.
pub(crate) const NO_AMBIENT_RAISE: u32 = 1 << 6;
/// For good is what the bit above says so of.
const SECURE_LOCKS: u32 = 0xaa;
const SECURE_ALL: u32 = 0xff;

/// All of what a thread is and may come to be, as home keeps it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Credentials {
    /// Who it is. Its body has a copy.
    pub ids: Ids,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities that execve(2) may still give, by bit.
    pub bounding: u64,
    /// What is not done for user 0: the securebits.
    pub secure: u32,
    /// Execve(2) makes nobody another (`PR_SET_NO_NEW_PRIVS`).
    pub gains_nothing: bool,
}

impl Default for Credentials {
    /// User 0.
    fn default() -> Credentials {
        Credentials {
            ids: Ids::default(),
            groups: Vec::new(),
            bounding: ALL,
            secure: 0,
            gains_nothing: false,
        }
    }
}

impl Credentials {
    /// By which ids it uses files.
    pub(crate) fn who(&self) -> Who {
        Who {
            uid: self.ids.fsuid,
            gid: self.ids.fsgid,
            real_uid: self.ids.uid,
            real_gid: self.ids.gid,
            capabilities: self.ids.effective,
            permitted: self.ids.permitted,
            groups: self.groups.clone(),
        }
    }

    /// Sets the securebits.
    ///
    /// # Errors
    /// EPERM for those that there are not, and for those that are locked.
    pub(crate) fn set_secure(&mut self, wanted: u32) -> Result<(), Errno> {
        let locks = self.secure & SECURE_LOCKS;
        let locked = locks | locks >> 1;
        if (self.secure ^ wanted) & locked != 0 || wanted & !SECURE_ALL != 0 {
            return Err(Errno::EPERM);
        }
        self.secure = wanted;
        Ok(())
    }

    /// Becomes these users.
    pub(crate) fn set_users(&mut self, users: [u32; 3]) {
        self.ids.set_users(users, self.secure);
    }

    /// setfsuid(2) and setfsgid(2), as far as it may.
    pub(crate) fn set_file_ids(&mut self, user: u32, group: u32) {
        self.ids.set_file_user(user, self.secure);
        self.ids.set_file_group(group);
    }

    /// Who it is as a program with these rights.
    pub(crate) fn after_exec(&self, program: ProgramRights) -> Ids {
        let program = match self.gains_nothing {
            true => ProgramRights::default(),
            false => program,
        };
        self.ids.after_exec(program, self.bounding, self.secure)
    }
}

/// Its users, groups and capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ids {
    /// Real, effective and saved user, and the user by whose rights files are used.
    pub uid: u32,
    /// See `uid`.
    pub euid: u32,
    /// See `uid`.
    pub suid: u32,
    /// See `uid`.
    pub fsuid: u32,
    /// Real, effective and saved group, and that of files.
    pub gid: u32,
    /// See `gid`.
    pub egid: u32,
    /// See `gid`.
    pub sgid: u32,
    /// See `gid`.
    pub fsgid: u32,
    /// Capabilities that count now.
    pub effective: u64,
    /// Those that it may make count.
    pub permitted: u64,
    /// Those that it passes on, if the program has them too.
    pub inheritable: u64,
    /// Those that it passes on to any program.
    pub ambient: u64,
}

impl Default for Ids {
    /// User 0.
    fn default() -> Ids {
        Ids {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            effective: ALL,
            permitted: ALL,
            inheritable: 0,
            ambient: 0,
        }
    }
}

/// Owner and set-id bits of a program that is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramRights {
    /// `S_ISUID`: it runs as this user.
    pub uid: Option<u32>,
    /// `S_ISGID`, of a file that its group may execute: it runs as this group.
    pub gid: Option<u32>,
}

/// How many words [`Ids::to_words`] has.
pub const WORDS: usize = 8;

impl Ids {
    /// Whether a capability counts.
    pub fn has(&self, capability: u32) -> bool {
        self.effective >> capability & 1 != 0
    }

    /// Real, effective and saved user.
    pub fn users(&self) -> [u32; 3] {
        [self.uid, self.euid, self.suid]
    }

    /// Real, effective and saved group.
    pub fn groups(&self) -> [u32; 3] {
        [self.gid, self.egid, self.sgid]
    }

    /// Changes the users, and the capabilities with them as the securebits let.
    pub fn set_users(&mut self, [uid, euid, suid]: [u32; 3], secure: u32) {
        let was_root = self.users().contains(&0);
        let effective_before = self.euid;
        (self.uid, self.euid, self.suid, self.fsuid) = (uid, euid, suid, euid);
        if secure & NO_SETUID_FIXUP != 0 {
            return;
        }
        if was_root && !self.users().contains(&0) {
            self.ambient = 0;
            if secure & KEEP_CAPABILITIES == 0 {
                (self.effective, self.permitted) = (0, 0);
            }
        }
        if effective_before == 0 && euid != 0 {
            self.effective = 0;
        }
        if effective_before != 0 && euid == 0 {
            self.effective = self.permitted;
        }
    }

    /// Changes the groups.
    pub fn set_groups(&mut self, [gid, egid, sgid]: [u32; 3]) {
        (self.gid, self.egid, self.sgid, self.fsgid) = (gid, egid, sgid, egid);
    }

    /// setfsuid(2), if it may.
    pub fn set_file_user(&mut self, user: u32, secure: u32) {
        if !self.has(SETUID) && !self.users().contains(&user) && user != self.fsuid {
            return;
        }
        let before = core::mem::replace(&mut self.fsuid, user);
        if secure & NO_SETUID_FIXUP != 0 {
            return;
        }
        if before == 0 && user != 0 {
            self.effective &= !OF_FILES;
        }
        if before != 0 && user == 0 {
            self.effective |= OF_FILES & self.permitted;
        }
    }

    /// setfsgid(2), if it may.
    pub fn set_file_group(&mut self, group: u32) {
        if self.has(SETGID) || self.groups().contains(&group) || group == self.fsgid {
            self.fsgid = group;
        }
    }

    /// Who it is as another program; `bounding` is what execve(2) may give, as the securebits let.
    #[must_use]
    pub fn after_exec(&self, program: ProgramRights, bounding: u64, secure: u32) -> Ids {
        let is_root = |user: u32| user == 0 && secure & NO_ROOT == 0;
        let mut new = *self;
        new.euid = program.uid.unwrap_or(self.euid);
        new.egid = program.gid.unwrap_or(self.egid);
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        if (new.euid, new.egid) != (self.euid, self.egid) {
            new.ambient = 0;
        }
        let given = match is_root(new.uid) || is_root(new.euid) {
            true => bounding | self.inheritable,
            false => 0,
        };
        new.permitted = given | new.ambient;
        new.effective = match is_root(new.euid) {
            true => new.permitted,
            false => new.ambient,
        };
        new
    }

    /// Whether others may not look into it after it has become `self` from `old` (prctl(2),
    /// `PR_SET_DUMPABLE`), and its parent's death is no signal to it any more.
    pub fn hides_from(&self, old: &Ids) -> bool {
        let seen = |ids: &Ids| [ids.euid, ids.egid, ids.fsuid, ids.fsgid];
        seen(self) != seen(old) || self.permitted & !old.permitted != 0
    }

    /// For messages.
    pub fn to_words(&self) -> [u64; WORDS] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        [
            pair(self.uid, self.euid),
            pair(self.suid, self.fsuid),
            pair(self.gid, self.egid),
            pair(self.sgid, self.fsgid),
            self.effective,
            self.permitted,
            self.inheritable,
            self.ambient,
        ]
    }

    /// The inverse of [`Ids::to_words`]; capabilities that there are not are left out.
    pub fn from_words(words: [u64; WORDS]) -> Ids {
        let half = |at: usize| (words[at / 2] >> (at % 2 * 32)) as u32;
        Ids {
            uid: half(0),
            euid: half(1),
            suid: half(2),
            fsuid: half(3),
            gid: half(4),
            egid: half(5),
            sgid: half(6),
            fsgid: half(7),
            effective: words[4] & ALL,
            permitted: words[5] & ALL,
            inheritable: words[6] & ALL,
            ambient: words[7] & ALL,
        }
    }

    /// Words as bytes, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.to_words();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The inverse of [`Ids::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Ids> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: [[u8; 8]; WORDS] = words.try_into().ok().filter(|_| rest.is_empty())?;
        Some(Ids::from_words(words.map(u64::from_le_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Ids {
        let mut ids = Ids::default();
        ids.set_groups([id; 3]);
        ids.set_users([id; 3], 0);
        ids
    }

    #[test]
    fn capabilities_go_with_the_last_id_of_root_and_may_be_kept() {
        let mut ids = Ids::default();
        ids.set_users([0, 5, 0], 0);
        assert_eq!((ids.effective, ids.permitted, ids.fsuid), (0, ALL, 5));
        ids.set_users([0, 0, 0], 0);
        assert_eq!(ids.effective, ALL);
        ids.set_users([5, 5, 5], KEEP_CAPABILITIES);
        assert_eq!((ids.effective, ids.permitted), (0, ALL));
        assert_eq!(user(5).permitted, 0);
    }

    #[test]
    fn a_program_of_another_makes_who_runs_it_the_other_but_for_the_real_ids() {
        let program = ProgramRights {
            uid: Some(0),
            gid: Some(7),
        };
        let ids = user(5).after_exec(program, ALL, 0);
        assert_eq!((ids.users(), ids.groups()), ([5, 0, 0], [5, 7, 7]));
        assert_eq!(ids.effective, ALL);
        assert!(ids.hides_from(&user(5)));
        let plain = user(5).after_exec(ProgramRights::default(), ALL, 0);
        assert_eq!(plain, user(5));
        let real_root = Ids {
            euid: 5,
            ..Ids::default()
        };
        let ids = real_root.after_exec(ProgramRights::default(), 6, 0);
        assert_eq!((ids.permitted, ids.effective, ids.suid), (6, 0, 5));
    }

    #[test]
    fn the_user_of_files_takes_the_capabilities_of_files_along() {
        let mut ids = Ids::default();
        ids.set_file_user(5, 0);
        assert!(!ids.has(DAC_OVERRIDE) && ids.has(KILL));
        ids.set_file_user(0, 0);
        assert_eq!(ids.effective, ALL);
        let mut ids = user(5);
        ids.set_file_user(6, 0);
        assert_eq!(ids.fsuid, 5);
    }

    #[test]
    fn securebits_are_locked_for_good_and_leave_user_0_nothing() {
        let mut own = Credentials::default();
        assert_eq!(own.set_secure(0x100), Err(Errno::EPERM));
        assert_eq!(own.set_secure(NO_ROOT | NO_ROOT << 1), Ok(()));
        for wanted in [0, NO_ROOT, NO_ROOT << 1] {
            assert_eq!(own.set_secure(wanted), Err(Errno::EPERM));
        }
        assert_eq!(own.set_secure(3 | NO_SETUID_FIXUP), Ok(()));
        let after = own.after_exec(ProgramRights::default());
        assert_eq!((after.euid, after.permitted, after.effective), (0, 0, 0));
        own.set_users([5; 3]);
        assert_eq!((own.ids.fsuid, own.ids.effective), (5, ALL));
        own.set_file_ids(6, 7);
        assert_eq!((own.ids.fsuid, own.ids.fsgid), (6, 7));
        assert!(own.ids.has(DAC_OVERRIDE));
    }

    #[test]
    fn words_and_back() {
        let ids = user(5).after_exec(
            ProgramRights {
                uid: Some(9),
                gid: None,
            },
            ALL,
            0,
        );
        assert_eq!(Ids::from_bytes(&ids.to_bytes()), Some(ids));
        assert_eq!(Ids::from_bytes(&[0; 8]), None);
    }
}
