//! The one table of system calls: number, name, place and arguments.
//!
//! Law: a call is in this table or it does not exist. Its *place* decides which module its code is
//! in, so that moving a row without moving the code does not compile; its *arguments* are all that
//! the generic forwarder knows of it. Numbers and arguments are those of Linux'
//! `arch/x86/entry/syscalls/syscall_64.tbl` and the man pages, section 2.

/// Calls `$then!` with every row: `number name Place [arguments];`, with `again` behind the arguments if home may be asked the same
/// again when it has booted again ([`Call::again`]).
#[macro_export]
macro_rules! for_each_call {
    ($then:ident) => {
        $then! {
            0 read Stream [Value, Out(Given(2)), Value] again;
            1 write Stream [Value, In(Given(2)), Value];
            2 open File [Path, Value, Value] again;
            3 close File [Value] again;
            4 stat File [Path, Out(Fixed(144))] again;
            5 fstat File [Value, Out(Fixed(144))] again;
            6 lstat File [Path, Out(Fixed(144))] again;
            7 poll Split [InOut(Items(1, 8)), Value, Value] again;
            8 lseek File [Value, Value, Value] again;
            9 mmap Split [Value, Value, Value, Value, Value, Value];
            10 mprotect Local [Value, Value, Value];
            11 munmap Local [Value, Value];
            12 brk Local [Value];
            13 rt_sigaction Split [Value, Value, Value, Value];
            14 rt_sigprocmask Local [Value, Value, Value, Value];
            15 rt_sigreturn Local [];
            16 ioctl Split [Value, Value, Value];
            17 pread64 Stream [Value, Out(Given(2)), Value, Value] again;
            18 pwrite64 Stream [Value, In(Given(2)), Value, Value];
            19 readv Split [Value, Value, Value] again;
            20 writev Split [Value, Value, Value];
            21 access File [Path, Value] again;
            22 pipe File [Out(Fixed(8))];
            23 select Split [Value, Value, Value, Value, Value] again;
            24 sched_yield Local [];
            25 mremap Local [Value, Value, Value, Value, Value];
            26 msync Local [Value, Value, Value];
            27 mincore Local [Value, Value, Value];
            28 madvise Local [Value, Value, Value];
            29 shmget Home [Value, Value, Value];
            30 shmat Split [Value, Value, Value];
            31 shmctl Split [Value, Value, Value];
            32 dup File [Value] again;
            33 dup2 File [Value, Value] again;
            34 pause Local [];
            35 nanosleep Local [Value, Value];
            36 getitimer Split [Value, Out(Fixed(32))];
            37 alarm Home [Value];
            38 setitimer Split [Value, MaybeIn(Fixed(32)), MaybeOut(Fixed(32))];
            39 getpid Local [] again;
            40 sendfile Split [Value, Value, MaybeInOut(Fixed(8)), Value];
            41 socket File [Value, Value, Value];
            42 connect Split [Value, In(Given(2)), Value];
            43 accept Split [Value, Value, Value];
            44 sendto Split [Value, Value, Value, Value, Value, Value];
            45 recvfrom Split [Value, Value, Value, Value, Value, Value] again;
            46 sendmsg Split [Value, Value, Value];
            47 recvmsg Split [Value, Value, Value] again;
            48 shutdown File [Value, Value];
            49 bind Split [Value, In(Given(2)), Value];
            50 listen File [Value, Value];
            51 getsockname Split [Value, Value, Value];
            52 getpeername Split [Value, Value, Value];
            53 socketpair File [Value, Value, Value, Out(Fixed(8))];
            54 setsockopt Split [Value, Value, Value, In(Given(4)), Value];
            55 getsockopt Split [Value, Value, Value, Value, Value];
            56 clone Split [Value, Value, Value, Value, Value];
            57 fork Split [];
            58 vfork Split [];
            59 execve Split [Value, Value, Value];
            60 exit Split [Value];
            61 wait4 Home [Value, MaybeOut(Fixed(4)), Value, MaybeOut(Fixed(144))] again;
            62 kill Home [Value, Value];
            63 uname Home [Out(Fixed(390))];
            64 semget Home [Value, Value, Value];
            65 semop Split [Value, Value, Value];
            66 semctl Split [Value, Value, Value, Value];
            67 shmdt Split [Value];
            68 msgget Home [Value, Value];
            69 msgsnd Split [Value, Value, Value, Value];
            70 msgrcv Split [Value, Value, Value, Value, Value];
            71 msgctl Split [Value, Value, Value];
            72 fcntl Split [Value, Value, Value] again;
            73 flock File [Value, Value];
            74 fsync File [Value];
            75 fdatasync File [Value];
            76 truncate File [Path, Value];
            77 ftruncate File [Value, Value];
            78 getdents File [Value, Out(Given(2)), Value] again;
            79 getcwd File [Out(Given(1)), Value] again;
            80 chdir File [Path] again;
            81 fchdir File [Value] again;
            82 rename File [Path, Path];
            83 mkdir File [Path, Value];
            84 rmdir File [Path];
            85 creat File [Path, Value];
            86 link File [Path, Path];
            87 unlink File [Path];
            88 symlink File [Path, Path];
            89 readlink File [Path, Out(Given(2)), Value] again;
            90 chmod File [Path, Value];
            91 fchmod File [Value, Value];
            92 chown File [Path, Value, Value];
            93 fchown File [Value, Value, Value];
            94 lchown File [Path, Value, Value];
            95 umask File [Value] again;
            96 gettimeofday Local [Value, Value];
            97 getrlimit Local [Value, Value];
            98 getrusage Split [Value, Out(Fixed(144))];
            99 sysinfo Home [Out(Fixed(112))];
            100 times Split [MaybeOut(Fixed(32))];
            101 ptrace Split [Value, Value, Value, Value];
            102 getuid Local [];
            103 syslog Home [Value, MaybeOut(Given(2)), Value];
            104 getgid Local [];
            105 setuid Split [Value];
            106 setgid Split [Value];
            107 geteuid Local [];
            108 getegid Local [];
            109 setpgid Home [Value, Value] again;
            110 getppid Home [] again;
            111 getpgrp Home [] again;
            112 setsid Home [] again;
            113 setreuid Split [Value, Value];
            114 setregid Split [Value, Value];
            115 getgroups Home [Value, Out(Items(0, 4))];
            116 setgroups Home [Value, In(Items(0, 4))];
            117 setresuid Split [Value, Value, Value];
            118 getresuid Local [Value, Value, Value];
            119 setresgid Split [Value, Value, Value];
            120 getresgid Local [Value, Value, Value];
            121 getpgid Home [Value] again;
            122 setfsuid Split [Value];
            123 setfsgid Split [Value];
            124 getsid Home [Value] again;
            125 capget Split [Value, Value];
            126 capset Split [Value, Value];
            127 rt_sigpending Split [Value, Value];
            128 rt_sigtimedwait Split [Value, Value, Value, Value];
            129 rt_sigqueueinfo Home [Value, Value, In(Fixed(128))];
            130 rt_sigsuspend Local [Value, Value];
            131 sigaltstack Local [Value, Value];
            132 utime File [Path, MaybeIn(Fixed(16))];
            133 mknod File [Path, Value, Value];
            135 personality Home [Value];
            137 statfs File [Path, Out(Fixed(120))] again;
            138 fstatfs File [Value, Out(Fixed(120))] again;
            140 getpriority Home [Value, Value];
            141 setpriority Home [Value, Value, Value];
            142 sched_setparam Home [Value, MaybeIn(Fixed(4))];
            143 sched_getparam Home [Value, MaybeOut(Fixed(4))];
            144 sched_setscheduler Home [Value, Value, MaybeIn(Fixed(4))];
            145 sched_getscheduler Home [Value];
            146 sched_get_priority_max Local [Value];
            147 sched_get_priority_min Local [Value];
            148 sched_rr_get_interval Home [Value, Out(Fixed(16))];
            149 mlock Local [Value, Value];
            150 munlock Local [Value, Value];
            151 mlockall Local [Value];
            152 munlockall Local [];
            153 vhangup File [];
            157 prctl Split [Value, Value, Value, Value, Value];
            158 arch_prctl Local [Value, Value];
            159 adjtimex Local [Value];
            160 setrlimit Split [Value, Value];
            161 chroot File [Path];
            162 sync File [];
            164 settimeofday Local [Value, Value];
            165 mount File [MaybePath, Path, MaybePath, Value, MaybePath];
            166 umount2 File [Path, Value];
            169 reboot Home [Value, Value, Value, Value];
            170 sethostname Home [In(Given(1)), Value];
            171 setdomainname Home [In(Given(1)), Value];
            186 gettid Local [];
            187 readahead File [Value, Value, Value];
            188 setxattr File [Path, Path, MaybeIn(Given(3)), Value, Value];
            189 lsetxattr File [Path, Path, MaybeIn(Given(3)), Value, Value];
            190 fsetxattr File [Value, Path, MaybeIn(Given(3)), Value, Value];
            191 getxattr File [Path, Path, MaybeOut(Given(3)), Value];
            192 lgetxattr File [Path, Path, MaybeOut(Given(3)), Value];
            193 fgetxattr File [Value, Path, MaybeOut(Given(3)), Value];
            194 listxattr File [Path, MaybeOut(Given(2)), Value];
            195 llistxattr File [Path, MaybeOut(Given(2)), Value];
            196 flistxattr File [Value, MaybeOut(Given(2)), Value];
            197 removexattr File [Path, Path];
            198 lremovexattr File [Path, Path];
            199 fremovexattr File [Value, Path];
            200 tkill Home [Value, Value];
            201 time Local [Value];
            202 futex Local [Value, Value, Value, Value, Value, Value];
            203 sched_setaffinity Split [Value, Value, Value];
            204 sched_getaffinity Split [Value, Value, Value];
            206 io_setup Split [Value, Value];
            207 io_destroy Split [Value];
            208 io_getevents Split [Value, Value, Value, Value, Value];
            209 io_submit Split [Value, Value, Value];
            210 io_cancel Split [Value, Value, Value];
            213 epoll_create File [Value];
            216 remap_file_pages Local [Value, Value, Value, Value, Value];
            217 getdents64 File [Value, Out(Given(2)), Value] again;
            218 set_tid_address Local [Value];
            219 restart_syscall Local [];
            220 semtimedop Split [Value, Value, Value, Value];
            221 fadvise64 File [Value, Value, Value, Value];
            222 timer_create Split [Value, MaybeIn(Fixed(64)), Out(Fixed(4))];
            223 timer_settime Split [Value, Value, Value, Value];
            224 timer_gettime Split [Value, Out(Fixed(32))];
            225 timer_getoverrun Home [Value];
            226 timer_delete Split [Value];
            227 clock_settime Local [Value, Value];
            228 clock_gettime Local [Value, Value];
            229 clock_getres Local [Value, Value];
            230 clock_nanosleep Local [Value, Value, Value, Value];
            231 exit_group Split [Value];
            232 epoll_wait Split [Value, Value, Value, Value] again;
            233 epoll_ctl Split [Value, Value, Value, MaybeIn(Fixed(12))];
            234 tgkill Home [Value, Value, Value];
            235 utimes File [Path, MaybeIn(Fixed(32))];
            237 mbind Local [Value, Value, Value, Value, Value, Value];
            238 set_mempolicy Local [Value, Value, Value];
            239 get_mempolicy Local [Value, Value, Value, Value, Value];
            240 mq_open File [Path, Value, Value, MaybeIn(Fixed(64))];
            241 mq_unlink File [Path];
            242 mq_timedsend Split [Value, Value, Value, Value, Value];
            243 mq_timedreceive Split [Value, Value, Value, Value, Value];
            244 mq_notify Split [Value, Value];
            245 mq_getsetattr File [Value, MaybeIn(Fixed(64)), MaybeOut(Fixed(64))];
            247 waitid Home [Value, Value, MaybeOut(Fixed(128)), Value, MaybeOut(Fixed(144))] again;
            251 ioprio_set Home [Value, Value, Value];
            252 ioprio_get Home [Value, Value];
            253 inotify_init File [];
            254 inotify_add_watch File [Value, Path, Value];
            255 inotify_rm_watch File [Value, Value];
            256 migrate_pages Split [Value, Value, Value, Value];
            257 openat File [Value, Path, Value, Value] again;
            258 mkdirat File [Value, Path, Value];
            259 mknodat File [Value, Path, Value, Value];
            260 fchownat File [Value, Path, Value, Value, Value];
            261 futimesat File [Value, MaybePath, MaybeIn(Fixed(32))];
            262 newfstatat File [Value, Path, Out(Fixed(144)), Value] again;
            263 unlinkat File [Value, Path, Value];
            264 renameat File [Value, Path, Value, Path];
            265 linkat File [Value, Path, Value, Path, Value];
            266 symlinkat File [Path, Value, Path];
            267 readlinkat File [Value, Path, Out(Given(3)), Value] again;
            268 fchmodat File [Value, Path, Value];
            269 faccessat File [Value, Path, Value] again;
            270 pselect6 Split [Value, Value, Value, Value, Value, Value] again;
            271 ppoll Split [Value, Value, Value, Value, Value] again;
            272 unshare Home [Value];
            273 set_robust_list Local [Value, Value];
            274 get_robust_list Split [Value, Value, Value];
            275 splice File [Value, MaybeInOut(Fixed(8)), Value, MaybeInOut(Fixed(8)), Value, Value];
            276 tee File [Value, Value, Value, Value];
            277 sync_file_range File [Value, Value, Value, Value];
            278 vmsplice Split [Value, Value, Value, Value];
            279 move_pages Split [Value, Value, Value, Value, Value, Value];
            280 utimensat File [Value, MaybePath, MaybeIn(Fixed(32)), Value];
            281 epoll_pwait Split [Value, Value, Value, Value, Value, Value] again;
            282 signalfd File [Value, In(Fixed(8)), Value];
            283 timerfd_create File [Value, Value];
            284 eventfd File [Value];
            285 fallocate File [Value, Value, Value, Value];
            286 timerfd_settime Split [Value, Value, Value, Value];
            287 timerfd_gettime File [Value, Out(Fixed(32))];
            288 accept4 Split [Value, Value, Value, Value];
            289 signalfd4 File [Value, In(Fixed(8)), Value, Value];
            290 eventfd2 File [Value, Value];
            291 epoll_create1 File [Value];
            292 dup3 File [Value, Value, Value] again;
            293 pipe2 File [Out(Fixed(8)), Value];
            294 inotify_init1 File [Value];
            295 preadv Split [Value, Value, Value, Value, Value] again;
            296 pwritev Split [Value, Value, Value, Value, Value];
            297 rt_tgsigqueueinfo Home [Value, Value, Value, In(Fixed(128))];
            299 recvmmsg Split [Value, Value, Value, Value, Value];
            302 prlimit64 Split [Value, Value, Value, Value];
            305 clock_adjtime Local [Value, Value];
            306 syncfs File [Value];
            307 sendmmsg Split [Value, Value, Value, Value];
            308 setns File [Value, Value];
            309 getcpu Local [Value, Value, Value];
            310 process_vm_readv Split [Value, Value, Value, Value, Value, Value];
            311 process_vm_writev Split [Value, Value, Value, Value, Value, Value];
            312 kcmp Home [Value, Value, Value, Value, Value];
            314 sched_setattr Home [Value, MaybeIn(Fixed(48)), Value];
            315 sched_getattr Home [Value, MaybeOut(Given(2)), Value, Value];
            316 renameat2 File [Value, Path, Value, Path, Value];
            317 seccomp Split [Value, Value, Value];
            318 getrandom Local [Value, Value, Value];
            319 memfd_create File [Path, Value];
            322 execveat Split [Value, Value, Value, Value, Value];
            324 membarrier Local [Value, Value, Value];
            325 mlock2 Local [Value, Value, Value];
            326 copy_file_range Split [Value, MaybeInOut(Fixed(8)), Value, MaybeInOut(Fixed(8)), Value, Value];
            327 preadv2 Split [Value, Value, Value, Value, Value, Value] again;
            328 pwritev2 Split [Value, Value, Value, Value, Value, Value];
            329 pkey_mprotect Local [Value, Value, Value, Value];
            330 pkey_alloc Local [Value, Value];
            331 pkey_free Local [Value];
            332 statx File [Value, Path, Value, Value, Out(Fixed(256))] again;
            333 io_pgetevents Split [Value, Value, Value, Value, Value, Value];
            334 rseq Local [Value, Value, Value, Value];
            424 pidfd_send_signal Home [Value, Value, MaybeIn(Fixed(128)), Value];
            434 pidfd_open File [Value, Value];
            435 clone3 Split [Value, Value];
            436 close_range File [Value, Value, Value] again;
            437 openat2 File [Value, Path, In(Given(3)), Value] again;
            438 pidfd_getfd File [Value, Value, Value];
            439 faccessat2 File [Value, Path, Value, Value] again;
            441 epoll_pwait2 Split [Value, Value, Value, Value, Value, Value];
            449 futex_waitv Local [Value, Value, Value, Value, Value];
            450 set_mempolicy_home_node Local [Value, Value, Value, Value];
            451 cachestat File [Value, In(Fixed(16)), Out(Fixed(40)), Value] again;
            452 fchmodat2 File [Value, Path, Value, Value];
        }
    };
}

/// Where a call runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Where the process runs: it concerns its memory, its registers or its own clock only.
    Local,
    /// On the home node, which keeps processes, parents, children and signals.
    Home,
    /// On the home node, served by the file part: arguments and buffers go over as they are.
    File,
    /// As `File`, and long transfers are cut into pieces that are counted in the restart record.
    Stream,
    /// Begins where the process runs and asks its home for a part.
    Split,
}

/// How long a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// So many bytes.
    Fixed(u16),
    /// As many bytes as this argument says.
    Given(u8),
    /// As many items as this argument says, of this many bytes each.
    Items(u8, u16),
}

/// What an argument is to the forwarder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// Passed as it is.
    Value,
    /// The address of a NUL-terminated path.
    Path,
    /// As `Path`, absent if the address is zero.
    MaybePath,
    /// A buffer that the call reads.
    In(Length),
    /// As `In`, absent if the address is zero.
    MaybeIn(Length),
    /// A buffer that the call fills.
    Out(Length),
    /// As `Out`, absent if the address is zero.
    MaybeOut(Length),
    /// A buffer that the call reads and then fills.
    InOut(Length),
    /// As `InOut`, absent if the address is zero.
    MaybeInOut(Length),
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The number in `rax`.
    pub number: u32,
    /// The name in the manual.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// Whether home, asked the same again after its reboot, gives an answer that is right: because nothing is changed, or because
    /// what is changed is in its journal, with the answer. Any other call that was under way fails with EIO, as nobody knows
    /// whether it was done.
    pub again: bool,
}

macro_rules! rows {
    ($($number:literal $name:ident $place:ident $args:tt $($again:ident)?;)*) => {
        /// All rows, by ascending number.
        pub const CALLS: &[Call] = {
            use Arg::*;

            use Length::*;
            &[$(Call {
                number: $number,
                name: stringify!($name),
                place: Place::$place,
                args: &$args,
                again: {
                    let marks: &[&str] = &[$(stringify!($again))?];
                    !marks.is_empty()
                },
            }),*]
        };
    };
}

for_each_call!(rows);

/// Above all numbers.
const NUMBERS: usize = CALLS[CALLS.len() - 1].number as usize + 1;
/// Where in the table the row of a number is; nowhere if there is none.
static ROWS: [u16; NUMBERS] = {
    let mut rows = [u16::MAX; NUMBERS];
    let mut index = 0;
    while index < CALLS.len() {
        rows[CALLS[index].number as usize] = index as u16;
        index += 1;
    }
    rows
};

/// The row of a number, if the call exists.
pub fn call(number: u64) -> Option<&'static Call> {
    let row = ROWS.get(usize::try_from(number).ok()?)?;
    CALLS.get(usize::from(*row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_find_their_rows() {
        assert!(CALLS.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(call(231).map(|row| row.name), Some("exit_group"));
        assert_eq!(call(171).map(|row| row.name), Some("setdomainname"));
        assert_eq!(call(400), None);
    }

    #[test]
    fn what_others_see_is_not_asked_again() {
        let again = |name| CALLS.iter().any(|row| row.name == name && row.again);
        for name in ["read", "close", "dup", "openat", "wait4", "getdents64"] {
            assert!(again(name), "{name}");
        }
        for name in [
            "write", "writev", "kill", "fork", "sendto", "rename", "pipe",
        ] {
            assert!(!again(name), "{name}");
        }
    }

    #[test]
    fn lengths_name_existing_value_arguments() {
        for row in CALLS {
            for arg in row.args {
                let (Arg::In(length) | Arg::Out(length) | Arg::InOut(length)) = arg else {
                    continue;
                };
                let (Length::Given(index) | Length::Items(index, _)) = length else {
                    continue;
                };
                assert_eq!(row.args[usize::from(*index)], Arg::Value, "{}", row.name);
            }
        }
    }
}
