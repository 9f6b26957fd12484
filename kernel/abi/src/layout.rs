//! Structures of files and terminals as user programs see them, byte for byte.
//!
//! Law: a layout is written with literal offsets from the x86-64 Linux headers named at each item
//! (`include/uapi/...`, `arch/x86/include/uapi/...`), little endian, padding and reserved bytes zero.
//! What is not here: anything that travels between nodes.

extern crate alloc;

use alloc::vec::Vec;

/// `open` flags (`asm-generic/fcntl.h`).
pub const O_ACCMODE: u32 = 0o3;
/// Open for reading only.
pub const O_RDONLY: u32 = 0;
/// Open for writing only.
pub const O_WRONLY: u32 = 1;
/// Open for both.
pub const O_RDWR: u32 = 2;
/// Create the file if it is missing.
pub const O_CREAT: u32 = 0o100;
/// With `O_CREAT`: fail if it exists.
pub const O_EXCL: u32 = 0o200;
/// A terminal that is opened does not become the controlling one.
pub const O_NOCTTY: u32 = 0o400;
/// Set of every file here.
pub const O_LARGEFILE: u32 = 0o100_000;
/// The owner hears by a signal of what can be done now.
pub const O_ASYNC: u32 = 0o20_000;
/// Reading does not change the time of the last read.
pub const O_NOATIME: u32 = 0o1_000_000;
/// Cut a regular file to length 0.
pub const O_TRUNC: u32 = 0o1000;
/// Every write goes to the end.
pub const O_APPEND: u32 = 0o2000;
/// Never wait.
pub const O_NONBLOCK: u32 = 0o4000;
/// A write to a pipe is a packet.
pub const O_DIRECT: u32 = 0o40_000;
/// Fail if it is not a directory.
pub const O_DIRECTORY: u32 = 0o200_000;
/// Fail if the last component is a symbolic link.
pub const O_NOFOLLOW: u32 = 0o400_000;
/// Close on `execve`.
pub const O_CLOEXEC: u32 = 0o2_000_000;
/// A handle for `fstat` and `*at` calls only.
pub const O_PATH: u32 = 0o10_000_000;
/// The bit of `O_TMPFILE` beside `O_DIRECTORY`.
pub const O_TMPFILE_BIT: u32 = 0o20_000_000;

/// Flags of send(2) and recv(2) and their kin (`linux/socket.h`): out-of-band data.
pub const MSG_OOB: u32 = 1;
/// More is to come, with which these bytes can go.
pub const MSG_MORE: u32 = 0x8000;
/// What is received stays.
pub const MSG_PEEK: u32 = 2;
/// Control messages were lost.
pub const MSG_CTRUNC: u32 = 8;
/// A message was longer than the buffer, or its whole length is asked for.
pub const MSG_TRUNC: u32 = 0x20;
/// Never wait.
pub const MSG_DONTWAIT: u32 = 0x40;
/// Wait until the buffer is full.
pub const MSG_WAITALL: u32 = 0x100;
/// The queue of errors.
pub const MSG_ERRQUEUE: u32 = 0x2000;
/// No SIGPIPE.
pub const MSG_NOSIGNAL: u32 = 0x4000;
/// recvmmsg(2) waits for its first message only.
pub const MSG_WAITFORONE: u32 = 0x1_0000;
/// Descriptors that come are closed by execve(2).
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

/// The mask of the file type in a mode (`linux/stat.h`).
pub const S_IFMT: u32 = 0o170_000;
/// A named or unnamed pipe.
pub const S_IFIFO: u32 = 0o010_000;
/// A character device.
pub const S_IFCHR: u32 = 0o020_000;
/// A block device.
pub const S_IFBLK: u32 = 0o060_000;
/// A socket.
pub const S_IFSOCK: u32 = 0o140_000;
/// A directory.
pub const S_IFDIR: u32 = 0o040_000;
/// A regular file.
pub const S_IFREG: u32 = 0o100_000;
/// A symbolic link.
pub const S_IFLNK: u32 = 0o120_000;

/// "Relative to the current directory" (`linux/fcntl.h`).
pub const AT_FDCWD: i32 = -100;
/// Do not follow a link in the last component.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `unlinkat` removes a directory. The same bit means `AT_EACCESS` to `faccessat2`.
pub const AT_REMOVEDIR: u32 = 0x200;
/// `linkat` follows a link in the last component.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Accepted by `fstatat`; nothing is mounted automatically here.
pub const AT_NO_AUTOMOUNT: u32 = 0x800;
/// An empty path names the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;

/// There is something to read (`asm-generic/poll.h`).
pub const POLLIN: i16 = 0x1;
/// A signal has come over a stream; of a lease, that it is to be given back.
pub const POLLMSG: i16 = 0x400;
/// Writing would not wait.
pub const POLLOUT: i16 = 0x4;
/// Writing fails: nobody can read.
pub const POLLERR: i16 = 0x8;
/// The other side is gone.
pub const POLLHUP: i16 = 0x10;
/// Not an open descriptor.
pub const POLLNVAL: i16 = 0x20;
/// Normal data may be read; here the same as `POLLIN`.
pub const POLLRDNORM: i16 = 0x40;
/// Normal data may be written; here the same as `POLLOUT`.
pub const POLLWRNORM: i16 = 0x100;

/// A point or span of time, `struct timespec` (`linux/time_types.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timespec {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds, below 1 000 000 000 unless it came from a user.
    pub nanoseconds: i64,
}

impl Timespec {
    /// A time since 1970.
    pub fn from_ns(ns: u64) -> Timespec {
        Timespec {
            seconds: (ns / 1_000_000_000) as i64,
            nanoseconds: (ns % 1_000_000_000) as i64,
        }
    }

    /// Reads 16 bytes; `None` if there are fewer. The values are not checked.
    pub fn from_bytes(bytes: &[u8]) -> Option<Timespec> {
        Some(Timespec {
            seconds: i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?),
            nanoseconds: i64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
        })
    }

    /// The 16 bytes a user sees.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        put(&mut bytes, 0, &self.seconds.to_le_bytes());
        put(&mut bytes, 8, &self.nanoseconds.to_le_bytes());
        bytes
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// A device number as `st_dev` and `st_rdev` carry it (`linux/kdev_t.h`, `new_encode_dev`).
pub const fn device_number(major: u32, minor: u32) -> u64 {
    (minor & 0xff) as u64 | ((major as u64) << 8) | (((minor & !0xff) as u64) << 12)
}

/// What `stat` and its relatives tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The file system, as [`device_number`] makes it.
    pub device: u64,
    /// Unique in the file system.
    pub inode: u64,
    /// Names of the file.
    pub links: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group of the owner.
    pub gid: u32,
    /// For a device file, which one.
    pub special: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes held.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timespec,
    /// Last write.
    pub modified: Timespec,
    /// Last change of the inode.
    pub changed: Timespec,
    /// When it was made, if that is known.
    pub born: Option<Timespec>,
    /// Which mount it is in, by the numbers of `/proc/PID/mountinfo`.
    pub mount: u64,
    /// It is the root of that.
    pub is_mount: bool,
}

/// Size of `struct stat`.
pub const STAT_SIZE: usize = 144;
/// Size of `struct statx`.
pub const STATX_SIZE: usize = 256;
/// Size of `struct statfs`.
pub const STATFS_SIZE: usize = 120;
/// `STATX_BASIC_STATS`.
const STATX_BASIC: u32 = 0x7ff;
/// `STATX_BTIME`, `STATX_MNT_ID`.
const STATX_BORN: u32 = 0x800;
const STATX_MOUNT: u32 = 0x1000;
/// Attributes of a file: `STATX_ATTR_MOUNT_ROOT`; and all that are told, as of a file system without others
/// (`STATX_ATTR_AUTOMOUNT` and `_DAX` besides, which no file has).
const ATTRIBUTE_MOUNT_ROOT: u64 = 0x2000;
const ATTRIBUTES: u64 = 0x20_3000;

impl Stat {
    /// `struct stat` (`arch/x86/include/uapi/asm/stat.h`, the 64-bit half).
    pub fn to_bytes(&self) -> [u8; STAT_SIZE] {
        let mut bytes = [0; STAT_SIZE];
        put(&mut bytes, 0, &self.device.to_le_bytes());
        put(&mut bytes, 8, &self.inode.to_le_bytes());
        put(&mut bytes, 16, &self.links.to_le_bytes());
        put(&mut bytes, 24, &self.mode.to_le_bytes());
        put(&mut bytes, 28, &self.uid.to_le_bytes());
        put(&mut bytes, 32, &self.gid.to_le_bytes());
        put(&mut bytes, 40, &self.special.to_le_bytes());
        put(&mut bytes, 48, &self.size.to_le_bytes());
        put(&mut bytes, 56, &4096u64.to_le_bytes());
        put(&mut bytes, 64, &self.blocks.to_le_bytes());
        put(&mut bytes, 72, &self.accessed.to_bytes());
        put(&mut bytes, 88, &self.modified.to_bytes());
        put(&mut bytes, 104, &self.changed.to_bytes());
        bytes
    }

    /// `struct statx` (`linux/stat.h`) with the basic fields, the time of birth and the mount.
    pub fn to_statx_bytes(&self) -> [u8; STATX_SIZE] {
        let mut bytes = [0; STATX_SIZE];
        let born = self.born.map_or(0, |_| STATX_BORN);
        let known = STATX_BASIC | STATX_MOUNT | born;
        put(&mut bytes, 0, &known.to_le_bytes());
        put(&mut bytes, 4, &4096u32.to_le_bytes());
        let attributes = if self.is_mount {
            ATTRIBUTE_MOUNT_ROOT
        } else {
            0
        };
        put(&mut bytes, 8, &attributes.to_le_bytes());
        put(&mut bytes, 56, &ATTRIBUTES.to_le_bytes());
        put(&mut bytes, 16, &(self.links as u32).to_le_bytes());
        put(&mut bytes, 20, &self.uid.to_le_bytes());
        put(&mut bytes, 24, &self.gid.to_le_bytes());
        put(&mut bytes, 28, &(self.mode as u16).to_le_bytes());
        put(&mut bytes, 32, &self.inode.to_le_bytes());
        put(&mut bytes, 40, &self.size.to_le_bytes());
        put(&mut bytes, 48, &self.blocks.to_le_bytes());
        for (at, time) in [
            (64, self.accessed),
            (80, self.born.unwrap_or_default()),
            (96, self.changed),
            (112, self.modified),
        ] {
            put(&mut bytes, at, &time.seconds.to_le_bytes());
            put(&mut bytes, at + 8, &(time.nanoseconds as u32).to_le_bytes());
        }
        put(&mut bytes, 144, &self.mount.to_le_bytes());
        for (at, number) in [(128, self.special), (136, self.device)] {
            let major = (number >> 8) as u32 & 0xfff;
            let minor = (number & 0xff) as u32 | ((number >> 12) as u32 & 0xffff_ff00);
            put(&mut bytes, at, &major.to_le_bytes());
            put(&mut bytes, at + 4, &minor.to_le_bytes());
        }
        bytes
    }
}

/// The flags are told (`linux/statfs.h`).
const ST_VALID: u64 = 0x20;

/// What `statfs` tells; the block size is 4096 bytes and names are up to 255 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statfs {
    /// The magic number of the kind (`linux/magic.h`).
    pub kind: u64,
    /// Blocks there are.
    pub blocks: u64,
    /// Blocks not in use.
    pub free: u64,
    /// Inodes there may be.
    pub inodes: u64,
    /// Inodes not in use.
    pub free_inodes: u64,
    /// How it is mounted: `ST_*` (`linux/statfs.h`).
    pub mount: u64,
}

impl Statfs {
    /// `struct statfs` (`asm-generic/statfs.h` with 64-bit words).
    pub fn to_bytes(&self) -> [u8; STATFS_SIZE] {
        let mut bytes = [0; STATFS_SIZE];
        let words = [
            (0, self.kind),
            (8, 4096),
            (16, self.blocks),
            (24, self.free),
            (32, self.free),
            (40, self.inodes),
            (48, self.free_inodes),
            (64, 255),
            (72, 4096),
            (80, ST_VALID | self.mount),
        ];
        for (at, word) in words {
            put(&mut bytes, at, &word.to_le_bytes());
        }
        bytes
    }
}

/// Appends one `struct linux_dirent64` (`linux/dirent.h`) if it fits into `capacity` bytes in all.
/// `cookie` is where reading goes on behind this entry; `mode` gives the type. Says whether it fitted.
pub fn put_dirent64(
    into: &mut Vec<u8>,
    capacity: usize,
    inode: u64,
    cookie: u64,
    mode: u32,
    name: &[u8],
) -> bool {
    put_entry(into, capacity, [inode, cookie], [&[kind(mode)], name, &[]])
}

/// As [`put_dirent64`] for `struct linux_dirent` of the older getdents(2), whose kind of file is in its
/// last byte.
pub fn put_dirent(
    into: &mut Vec<u8>,
    capacity: usize,
    inode: u64,
    cookie: u64,
    mode: u32,
    name: &[u8],
) -> bool {
    put_entry(into, capacity, [inode, cookie], [&[], name, &[kind(mode)]])
}

/// `DT_*` of a mode.
fn kind(mode: u32) -> u8 {
    ((mode & S_IFMT) >> 12) as u8
}

/// An entry of a directory: its words, its length, what stands before the name, the name and its NUL, zeros, and
/// what ends it.
fn put_entry(
    into: &mut Vec<u8>,
    capacity: usize,
    words: [u64; 2],
    [before, name, end]: [&[u8]; 3],
) -> bool {
    let length = (18 + before.len() + name.len() + 1 + end.len()).next_multiple_of(8);
    if into.len() + length > capacity {
        return false;
    }
    let start = into.len();
    into.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    into.extend_from_slice(&(length as u16).to_le_bytes());
    into.extend_from_slice(before);
    into.extend_from_slice(name);
    into.resize(start + length - end.len(), 0);
    into.extend_from_slice(end);
    true
}

/// `struct pollfd` (`asm-generic/poll.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollFd {
    /// Descriptor; negative ones are skipped.
    pub fd: i32,
    /// What is asked for.
    pub events: i16,
    /// What is the case.
    pub revents: i16,
}

/// Size of `struct pollfd`.
pub const POLLFD_SIZE: usize = 8;

impl PollFd {
    /// Reads the 8 bytes of one entry.
    pub fn from_bytes(bytes: &[u8; POLLFD_SIZE]) -> PollFd {
        PollFd {
            fd: i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            events: i16::from_le_bytes([bytes[4], bytes[5]]),
            revents: i16::from_le_bytes([bytes[6], bytes[7]]),
        }
    }

    /// The 8 bytes of one entry.
    pub fn to_bytes(self) -> [u8; POLLFD_SIZE] {
        let mut bytes = [0; POLLFD_SIZE];
        put(&mut bytes, 0, &self.fd.to_le_bytes());
        put(&mut bytes, 4, &self.events.to_le_bytes());
        put(&mut bytes, 6, &self.revents.to_le_bytes());
        bytes
    }
}

/// The kernel's `struct termios` (`asm-generic/termbits.h`): 36 bytes, 19 control characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// Input modes.
    pub input: u32,
    /// Output modes.
    pub output: u32,
    /// Control modes.
    pub control: u32,
    /// Local modes.
    pub local: u32,
    /// Line discipline; only 0 exists.
    pub line: u8,
    /// Control characters, by the `V...` indices.
    pub characters: [u8; 19],
}

/// Size of the kernel's `struct termios`.
pub const TERMIOS_SIZE: usize = 36;

impl Termios {
    /// Reads the 36 bytes.
    pub fn from_bytes(bytes: &[u8; TERMIOS_SIZE]) -> Termios {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut characters = [0; 19];
        characters.copy_from_slice(&bytes[17..36]);
        Termios {
            input: word(0),
            output: word(4),
            control: word(8),
            local: word(12),
            line: bytes[16],
            characters,
        }
    }

    /// The 36 bytes.
    pub fn to_bytes(&self) -> [u8; TERMIOS_SIZE] {
        let mut bytes = [0; TERMIOS_SIZE];
        put(&mut bytes, 0, &self.input.to_le_bytes());
        put(&mut bytes, 4, &self.output.to_le_bytes());
        put(&mut bytes, 8, &self.control.to_le_bytes());
        put(&mut bytes, 12, &self.local.to_le_bytes());
        bytes[16] = self.line;
        put(&mut bytes, 17, &self.characters);
        bytes
    }
}
