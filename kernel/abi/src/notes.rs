//! What a call's row cannot say: which flags, commands and limits it knows.
//!
//! Law: one line for each call of the table that takes less than Linux does, or that answers a
//! constant. A call without a note takes what its manual page says. `SYSCALLS.md` is made of the table
//! and of this by `cargo xtask syscalls`.

/// By name, in alphabetical order.
pub const NOTES: &[(&str, &str)] = &[
    ("accept", "the loopback of the home node and AF_UNIX"),
    (
        "adjtimex",
        "tells an unadjusted clock; refused with EPERM to change it",
    ),
    (
        "arch_prctl",
        "ARCH_SET_FS, ARCH_GET_FS, ARCH_SET_GS, ARCH_GET_GS",
    ),
    (
        "cachestat",
        "pages in memory; none is ever dirty or thrown out",
    ),
    ("clock_adjtime", "CLOCK_REALTIME, as adjtimex"),
    (
        "clock_nanosleep",
        "CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI",
    ),
    ("clock_settime", "refused with EPERM"),
    (
        "clone",
        "fork and vfork forms, CLONE_FILES, CLONE_FS, CLONE_SIGHAND; CLONE_PIDFD, CLONE_PARENT, CLONE_*_SETTID, CLONE_CHILD_CLEARTID, CLONE_SETTLS; no namespaces",
    ),
    (
        "connect",
        "AF_UNIX, and addresses of the loopback; others answer ENETUNREACH; AF_UNSPEC undoes it",
    ),
    ("fadvise64", "checked, without effect"),
    (
        "fallocate",
        "FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE; nothing is allocated beforehand",
    ),
    ("fcntl", "O_ASYNC of pipes, sockets, terminals and inotify"),
    (
        "fsetxattr",
        "user., trusted. and security. names, in memory",
    ),
    (
        "futex",
        "FUTEX_WAIT, _WAKE, _REQUEUE, _CMP_REQUEUE, _WAKE_OP, _WAIT_BITSET, _WAKE_BITSET, _LOCK_PI, _LOCK_PI2, _TRYLOCK_PI, _UNLOCK_PI, _WAIT_REQUEUE_PI, _CMP_REQUEUE_PI; nobody has a priority to inherit",
    ),
    ("futex_waitv", "FUTEX2_SIZE_U32, FUTEX2_PRIVATE"),
    ("getcpu", "memory is one node"),
    ("getrandom", "up to 64 KiB a call"),
    (
        "inotify_add_watch",
        "files in memory; of /proc nothing is told",
    ),
    ("io_cancel", "EINVAL: no request is under way"),
    (
        "io_submit",
        "IOCB_CMD_PREAD, PWRITE, PREADV, PWRITEV, FSYNC, FDSYNC, which are over when it returns; IOCB_FLAG_RESFD; not IOCB_CMD_POLL",
    ),
    (
        "ioctl",
        "FIOCLEX, FIONCLEX, FIONBIO, FIONREAD; on a terminal TCGETS, TCSETS*, TCSBRK, TCXONC, TCFLSH, TIOC[GS]PGRP, TIOCGSID, TIOCSCTTY, TIOCNOTTY, TIOC[GS]WINSZ; on a socket SIOCGIF* of the loopback",
    ),
    (
        "lsetxattr",
        "user., trusted. and security. names, in memory",
    ),
    (
        "madvise",
        "MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DOFORK, MADV_DONTFORK, MADV_WIPEONFORK, MADV_KEEPONFORK; other advice is checked, without effect",
    ),
    ("mbind", "a machine has one memory node, number 0"),
    ("mlock", "checked; nothing is ever swapped out"),
    ("mlock2", "checked; nothing is ever swapped out"),
    ("mlockall", "checked; nothing is ever swapped out"),
    (
        "mmap",
        "MAP_SHARED, MAP_SHARED_VALIDATE, MAP_PRIVATE, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_ANONYMOUS; others are hints; no huge pages",
    ),
    (
        "mount",
        "tmpfs, proc, sysfs, MS_BIND, MS_REC, MS_MOVE, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; a mapping keeps its rights when MS_NOEXEC or MS_RDONLY comes",
    ),
    (
        "mprotect",
        "PROT_READ, PROT_WRITE, PROT_EXEC, PROT_NONE; writable is readable",
    ),
    ("mq_open", "messages of at most 64 KiB"),
    ("mremap", "MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP"),
    ("msync", "checked; pages of files are the file's own"),
    ("munlock", "checked; nothing is ever swapped out"),
    ("open", "O_DIRECT and O_ASYNC without effect"),
    ("openat", "O_DIRECT and O_ASYNC without effect"),
    (
        "personality",
        "kept and told; the calls are those of Linux whatever it is",
    ),
    (
        "pkey_alloc",
        "ENOSPC, as without protection keys in the processor",
    ),
    ("pkey_free", "EINVAL"),
    ("pkey_mprotect", "without a key (-1)"),
    (
        "prctl",
        "name, DUMPABLE, PDEATHSIG, KEEPCAPS, TIMING, TSC, CAPBSET, CAP_AMBIENT, SECUREBITS of 0, SPECULATION_CTRL of none, TIMERSLACK, CHILD_SUBREAPER, NO_NEW_PRIVS, THP_DISABLE, TID_ADDRESS",
    ),
    (
        "preadv2",
        "RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_APPEND; RWF_NOWAIT of what is no file",
    ),
    (
        "ptrace",
        "PTRACE_TRACEME, _ATTACH, _SEIZE, _DETACH, _INTERRUPT, _CONT, _SYSCALL, _SINGLESTEP, _LISTEN, _KILL, _PEEK*, _POKE*, registers (also NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE), signals, masks and GET_SYSCALL_INFO; PTRACE_O_TRACESYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACEVFORKDONE, _TRACECLONE, _TRACEEXEC, _TRACEEXIT, _EXITKILL; no debug registers and no seccomp stops; tracer and tracee of one home come home for it and stay, others answer EPERM",
    ),
    (
        "pwritev2",
        "RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_APPEND; RWF_NOWAIT of what is no file",
    ),
    ("readahead", "checked, without effect"),
    (
        "reboot",
        "LINUX_REBOOT_CMD_CAD_ON, _CAD_OFF without effect; _HALT, _POWER_OFF end the home node",
    ),
    (
        "recvmsg",
        "MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT, MSG_WAITALL, MSG_CMSG_CLOEXEC, MSG_OOB of TCP; SCM_RIGHTS, SCM_CREDENTIALS; of headers IP_PKTINFO, IP_TTL, IP_TOS, IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS",
    ),
    ("rseq", "always ENOSYS: libraries cope"),
    (
        "sched_setaffinity",
        "on a node without any of the processors of the set, all of them",
    ),
    (
        "sched_setattr",
        "SCHED_FLAG_RESET_ON_FORK, _KEEP_POLICY, _KEEP_PARAMS; kept and told, also SCHED_DEADLINE",
    ),
    (
        "sched_setscheduler",
        "kept and told; turns are of the same length whatever the policy",
    ),
    (
        "sendmsg",
        "MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE, MSG_OOB of TCP; SCM_RIGHTS, SCM_CREDENTIALS, what IP_PKTINFO, IP_TTL, IP_TOS and those of IPv6 say",
    ),
    (
        "setsockopt",
        "SOL_SOCKET, with filters for messages; groups of multicast on the loopback; options of TCP, UDP, IP and IPv6 that tune a network are kept and shown again",
    ),
    ("settimeofday", "refused with EPERM"),
    ("setxattr", "user., trusted. and security. names, in memory"),
    (
        "shmat",
        "brings a process home; a removed segment that it alone has moves along",
    ),
    ("shmget", "no huge pages"),
    (
        "socket",
        "AF_UNIX, AF_INET and AF_INET6 with SOCK_STREAM, SOCK_DGRAM, and SOCK_SEQPACKET of AF_UNIX; SOCK_DGRAM and SOCK_RAW of ICMP and ICMPv6 (ping); AF_NETLINK of NETLINK_ROUTE, which tells of the loopback, NETLINK_GENERIC, which has only its own family, and NETLINK_KOBJECT_UEVENT, which tells of nothing",
    ),
    (
        "timer_create",
        "CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CPU time of the caller's process and threads",
    ),
    (
        "timerfd_settime",
        "TFD_TIMER_ABSTIME; TFD_TIMER_CANCEL_ON_SET without effect",
    ),
    (
        "umount2",
        "MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW; EBUSY by working directories, roots, programs and open files, not by mappings",
    ),
    (
        "unshare",
        "CLONE_FILES, CLONE_FS, CLONE_SYSVSEM, of a process with one thread; no namespaces",
    ),
];

/// The note of a call, by its name.
pub fn note(name: &str) -> Option<&'static str> {
    let index = NOTES.binary_search_by(|row| row.0.cmp(name)).ok()?;
    Some(NOTES[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::CALLS;

    #[test]
    fn notes_are_in_order_and_of_calls_that_exist() {
        assert!(NOTES.is_sorted_by(|left, right| left.0 < right.0));
        for (name, text) in NOTES {
            assert!(CALLS.iter().any(|call| call.name == *name), "{name}");
            assert!(!text.contains(['|', '\n']), "{name}");
        }
    }
}
