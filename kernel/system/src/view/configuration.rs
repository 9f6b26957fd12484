//! `/proc/config.gz`: what of Linux's configuration holds here, for programs that look before they try.
//!
//! Law: an option that stands for a system call is set exactly if the call is there. An option that is not
//! named says nothing. It is packed as gzip without compression (RFC 1951, RFC 1952).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Options, and a call that comes with each.
const CALLS: [(&str, &str); 37] = [
    ("ADVISE_SYSCALLS", "fadvise64"),
    ("AIO", "io_submit"),
    ("BPF_SYSCALL", "bpf"),
    ("BSD_PROCESS_ACCT", "acct"),
    ("CROSS_MEMORY_ATTACH", "process_vm_readv"),
    ("EPOLL", "epoll_wait"),
    ("EVENTFD", "eventfd2"),
    ("FANOTIFY", "fanotify_init"),
    ("FHANDLE", "name_to_handle_at"),
    ("FILE_LOCKING", "flock"),
    ("FUTEX", "futex"),
    ("INOTIFY_USER", "inotify_init1"),
    ("IO_URING", "io_uring_setup"),
    ("KCMP", "kcmp"),
    ("KEXEC", "kexec_load"),
    ("KEYS", "add_key"),
    ("MEMBARRIER", "membarrier"),
    ("MEMFD_CREATE", "memfd_create"),
    ("MODIFY_LDT_SYSCALL", "modify_ldt"),
    ("MODULES", "init_module"),
    ("NET", "socket"),
    ("NUMA", "mbind"),
    ("PERF_EVENTS", "perf_event_open"),
    ("POSIX_MQUEUE", "mq_open"),
    ("POSIX_TIMERS", "timer_create"),
    ("QUOTACTL", "quotactl"),
    ("SECCOMP", "seccomp"),
    ("SECCOMP_FILTER", "seccomp"),
    ("SECRETMEM", "memfd_secret"),
    ("SECURITY_LANDLOCK", "landlock_create_ruleset"),
    ("SIGNALFD", "signalfd4"),
    ("SWAP", "swapon"),
    ("SYSFS_SYSCALL", "sysfs"),
    ("SYSVIPC", "shmget"),
    ("TIMERFD", "timerfd_create"),
    ("USELIB", "uselib"),
    ("USERFAULTFD", "userfaultfd"),
];

/// Options without a call of their own that hold.
const SET: [&str; 25] = [
    "64BIT",
    "BINFMT_ELF",
    "BINFMT_SCRIPT",
    "BLK_DEV_INITRD",
    "DNOTIFY",
    "FSNOTIFY",
    "FUTEX_PI",
    "HIGH_RES_TIMERS",
    "IKCONFIG",
    "IKCONFIG_PROC",
    "INET",
    "IPV6",
    "MMU",
    "MULTIUSER",
    "PROC_FS",
    "PROC_SYSCTL",
    "SHMEM",
    "SMP",
    "TMPFS",
    "TMPFS_XATTR",
    "TTY",
    "UNIX",
    "UNIX98_PTYS",
    "X86",
    "X86_64",
];

/// And those that do not.
const UNSET: [&str; 16] = [
    "CGROUPS",
    "HUGETLBFS",
    "HUGETLB_PAGE",
    "IA32_EMULATION",
    "IPC_NS",
    "KALLSYMS",
    "KSM",
    "NAMESPACES",
    "NET_NS",
    "PID_NS",
    "RSEQ",
    "TIME_NS",
    "TRANSPARENT_HUGEPAGE",
    "USER_NS",
    "UTS_NS",
    "X86_X32_ABI",
];

/// Whether the call of that name is there.
fn is_there(name: &str) -> bool {
    let numbers = abi::all_names().iter();
    let mut numbers = numbers.filter(|(_, call)| *call == name);
    numbers.any(|(number, _)| abi::table::call(u64::from(*number)).is_some())
}

/// A line for each option.
pub(super) fn text() -> String {
    let by_call = CALLS.iter().map(|(name, call)| (*name, is_there(call)));
    let set = SET.iter().map(|name| (*name, true));
    let unset = UNSET.iter().map(|name| (*name, false));
    let mut text = String::from("# What of the configuration of Linux holds in Dunlin.\n");
    for (name, holds) in by_call.chain(set).chain(unset) {
        text += &match holds {
            true => format!("CONFIG_{name}=y\n"),
            false => format!("# CONFIG_{name} is not set\n"),
        };
    }
    text
}

/// CRC-32 of RFC 1952, section 8.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// A gzip file with these bytes in blocks that are stored as they are.
pub(super) fn packed(bytes: &[u8]) -> Vec<u8> {
    // Deflate, no flags, no time, of Unix.
    let mut file = Vec::from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        file.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    file.extend(crc32(bytes).to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_names_a_call_of_linux() {
        for (option, call) in CALLS {
            let known = abi::all_names().iter().any(|(_, name)| *name == call);
            assert!(known, "{option}: {call}");
        }
        let text = text();
        assert!(text.contains("\nCONFIG_FUTEX=y\n"));
        assert!(text.contains("\n# CONFIG_IO_URING is not set\n"));
    }

    #[test]
    fn a_packed_text_is_one_stored_block() {
        // The check value of the CRC, and what `gzip` makes of it but for the block.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let file = packed(b"123456789");
        assert_eq!(file[10..15], [1, 9, 0, 0xf6, 0xff]);
        assert_eq!(file[15..24], *b"123456789");
        assert_eq!(file[24..], [0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0]);
        // More than a block takes is in two, the second of which is the last.
        let file = packed(&[7; 65_536]);
        assert_eq!((file[10], file[10 + 5 + 65_535]), (0, 1));
    }
}
