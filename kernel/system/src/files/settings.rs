//! Settings below /proc/sys whose values are always the same, or what they are set to.
//!
//! Law: a value is one this kernel keeps to, or the one Linux has by default where nothing here depends on it. Only
//! the latter can be written, and are told again: numbers, at most as many as there are.

use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Path below /proc/sys and contents, without the end of line.
pub(crate) const FIXED: [(&str, &str); 169] = [
    ("fs/aio-max-nr", "65536"),
    ("fs/aio-nr", "0"),
    ("fs/dentry-state", "0\t0\t45\t0\t0\t0"),
    ("fs/dir-notify-enable", "1"),
    ("fs/epoll/max_user_watches", "1048576"),
    ("fs/inode-nr", "0\t0"),
    ("fs/inode-state", "0\t0\t0\t0\t0\t0\t0"),
    ("fs/lease-break-time", "45"),
    ("fs/leases-enable", "1"),
    ("fs/mount-max", "100000"),
    ("fs/overflowgid", "65534"),
    ("fs/overflowuid", "65534"),
    ("fs/pipe-user-pages-hard", "0"),
    ("fs/protected_fifos", "0"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_regular", "0"),
    ("fs/protected_symlinks", "0"),
    ("fs/suid_dumpable", "0"),
    ("kernel/acct", "4\t2\t30"),
    ("kernel/auto_msgmni", "0"),
    ("kernel/bootloader_type", "0"),
    ("kernel/core_pipe_limit", "0"),
    ("kernel/ctrl-alt-del", "0"),
    ("kernel/dmesg_restrict", "0"),
    ("kernel/hung_task_timeout_secs", "0"),
    ("kernel/io_uring_disabled", "2"),
    ("kernel/kptr_restrict", "0"),
    ("kernel/max_lock_depth", "1024"),
    ("kernel/modules_disabled", "1"),
    ("kernel/numa_balancing", "0"),
    ("kernel/overflowgid", "65534"),
    ("kernel/overflowuid", "65534"),
    ("kernel/panic", "0"),
    ("kernel/panic_on_oops", "0"),
    ("kernel/panic_on_warn", "0"),
    ("kernel/perf_event_max_sample_rate", "100000"),
    ("kernel/perf_event_mlock_kb", "516"),
    ("kernel/perf_event_paranoid", "3"),
    ("kernel/print-fatal-signals", "0"),
    ("kernel/printk_delay", "0"),
    ("kernel/pty/max", "4096"),
    ("kernel/pty/reserve", "1024"),
    ("kernel/random/urandom_min_reseed_secs", "60"),
    ("kernel/random/write_wakeup_threshold", "256"),
    ("kernel/sched_autogroup_enabled", "0"),
    ("kernel/sched_deadline_period_max_us", "4194304"),
    ("kernel/sched_deadline_period_min_us", "100"),
    ("kernel/sched_rr_timeslice_ms", "100"),
    ("kernel/sched_rt_period_us", "1000000"),
    ("kernel/sched_rt_runtime_us", "950000"),
    ("kernel/sched_schedstats", "0"),
    (
        "kernel/seccomp/actions_avail",
        "kill_process kill_thread trap errno user_notif trace log allow",
    ),
    ("kernel/shm_rmid_forced", "0"),
    ("kernel/softlockup_panic", "0"),
    ("kernel/sysctl_writes_strict", "1"),
    ("kernel/sysrq", "0"),
    ("kernel/timer_migration", "1"),
    ("kernel/unprivileged_bpf_disabled", "2"),
    ("kernel/usermodehelper/bset", "4294967295\t511"),
    ("kernel/usermodehelper/inheritable", "4294967295\t511"),
    ("kernel/watchdog", "0"),
    ("net/core/bpf_jit_enable", "0"),
    ("net/core/busy_poll", "0"),
    ("net/core/busy_read", "0"),
    ("net/core/default_qdisc", "pfifo_fast"),
    ("net/core/netdev_budget", "300"),
    ("net/core/netdev_max_backlog", "1000"),
    ("net/core/optmem_max", "20480"),
    ("net/core/rmem_default", "212992"),
    ("net/core/rmem_max", "212992"),
    ("net/core/wmem_default", "212992"),
    ("net/core/wmem_max", "212992"),
    ("net/ipv4/conf/all/accept_redirects", "1"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/all/forwarding", "0"),
    ("net/ipv4/conf/all/log_martians", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/all/secure_redirects", "1"),
    ("net/ipv4/conf/all/send_redirects", "1"),
    ("net/ipv4/conf/default/accept_redirects", "1"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    ("net/ipv4/conf/default/forwarding", "0"),
    ("net/ipv4/conf/default/log_martians", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/default/secure_redirects", "1"),
    ("net/ipv4/conf/default/send_redirects", "1"),
    ("net/ipv4/conf/lo/accept_redirects", "1"),
    ("net/ipv4/conf/lo/accept_source_route", "0"),
    ("net/ipv4/conf/lo/forwarding", "0"),
    ("net/ipv4/conf/lo/log_martians", "0"),
    ("net/ipv4/conf/lo/rp_filter", "0"),
    ("net/ipv4/conf/lo/secure_redirects", "1"),
    ("net/ipv4/conf/lo/send_redirects", "1"),
    ("net/ipv4/icmp_echo_ignore_all", "0"),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
    ("net/ipv4/ip_default_ttl", "64"),
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/ip_local_port_range", "32768\t60999"),
    ("net/ipv4/ip_local_reserved_ports", ""),
    ("net/ipv4/ip_nonlocal_bind", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "1024"),
    ("net/ipv4/tcp_abort_on_overflow", "0"),
    ("net/ipv4/tcp_available_congestion_control", "reno cubic"),
    ("net/ipv4/tcp_congestion_control", "cubic"),
    ("net/ipv4/tcp_ecn", "2"),
    ("net/ipv4/tcp_fastopen", "1"),
    ("net/ipv4/tcp_fin_timeout", "60"),
    ("net/ipv4/tcp_keepalive_intvl", "75"),
    ("net/ipv4/tcp_keepalive_probes", "9"),
    ("net/ipv4/tcp_keepalive_time", "7200"),
    ("net/ipv4/tcp_max_orphans", "4096"),
    ("net/ipv4/tcp_max_syn_backlog", "512"),
    ("net/ipv4/tcp_max_tw_buckets", "4096"),
    ("net/ipv4/tcp_mem", "22371\t29829\t44742"),
    ("net/ipv4/tcp_moderate_rcvbuf", "1"),
    ("net/ipv4/tcp_no_metrics_save", "0"),
    ("net/ipv4/tcp_orphan_retries", "0"),
    ("net/ipv4/tcp_retries1", "3"),
    ("net/ipv4/tcp_retries2", "15"),
    ("net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
    ("net/ipv4/tcp_sack", "1"),
    ("net/ipv4/tcp_slow_start_after_idle", "1"),
    ("net/ipv4/tcp_syn_retries", "6"),
    ("net/ipv4/tcp_synack_retries", "5"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/tcp_timestamps", "1"),
    ("net/ipv4/tcp_tw_reuse", "2"),
    ("net/ipv4/tcp_window_scaling", "1"),
    ("net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
    ("net/ipv4/udp_mem", "44742\t59659\t89484"),
    ("net/ipv4/udp_rmem_min", "4096"),
    ("net/ipv4/udp_wmem_min", "4096"),
    ("net/ipv6/bindv6only", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv6/conf/all/use_tempaddr", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/default/forwarding", "0"),
    ("net/ipv6/conf/default/use_tempaddr", "0"),
    ("net/ipv6/conf/lo/disable_ipv6", "0"),
    ("net/ipv6/conf/lo/forwarding", "0"),
    ("net/ipv6/conf/lo/use_tempaddr", "0"),
    ("net/unix/max_dgram_qlen", "512"),
    ("user/max_user_namespaces", "0"),
    ("vm/admin_reserve_kbytes", "8192"),
    ("vm/compact_unevictable_allowed", "1"),
    ("vm/dirty_background_bytes", "0"),
    ("vm/dirty_background_ratio", "10"),
    ("vm/dirty_bytes", "0"),
    ("vm/dirty_expire_centisecs", "3000"),
    ("vm/dirty_writeback_centisecs", "500"),
    ("vm/extfrag_threshold", "500"),
    ("vm/hugetlb_shm_group", "0"),
    ("vm/laptop_mode", "0"),
    ("vm/legacy_va_layout", "0"),
    ("vm/memory_failure_early_kill", "0"),
    ("vm/min_free_kbytes", "4096"),
    ("vm/nr_overcommit_hugepages", "0"),
    ("vm/oom_dump_tasks", "1"),
    ("vm/oom_kill_allocating_task", "0"),
    ("vm/overcommit_kbytes", "0"),
    ("vm/page-cluster", "3"),
    ("vm/panic_on_oom", "0"),
    ("vm/stat_interval", "1"),
    ("vm/unprivileged_userfaultfd", "0"),
    ("vm/user_reserve_kbytes", "131072"),
    ("vm/vfs_cache_pressure", "100"),
    ("vm/watermark_scale_factor", "10"),
    ("vm/zone_reclaim_mode", "0"),
];

/// The contents of one of them.
pub(crate) fn fixed(path: &str) -> Option<&'static str> {
    let row = FIXED.iter().find(|row| row.0 == path)?;
    Some(row.1)
}

/// Of those above and of the ones that are asked for: advice to what is not here (swapping, writing to disks, a network
/// that loses packets or has more than a loopback, what a kernel does when it crashes), so that nothing is different by it.
pub(crate) const FREE: [&str; 92] = [
    "kernel/core_uses_pid",
    "kernel/hung_task_timeout_secs",
    "kernel/numa_balancing",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/panic_on_warn",
    "kernel/print-fatal-signals",
    "kernel/printk",
    "kernel/printk_delay",
    "kernel/sched_autogroup_enabled",
    "kernel/sched_child_runs_first",
    "kernel/sched_schedstats",
    "kernel/softlockup_panic",
    "kernel/sysrq",
    "kernel/timer_migration",
    "kernel/watchdog",
    "net/core/busy_poll",
    "net/core/busy_read",
    "net/core/netdev_budget",
    "net/core/netdev_max_backlog",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/accept_source_route",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/log_martians",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/secure_redirects",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/conf/default/accept_redirects",
    "net/ipv4/conf/default/accept_source_route",
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/conf/default/log_martians",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/conf/default/secure_redirects",
    "net/ipv4/conf/default/send_redirects",
    "net/ipv4/conf/lo/accept_redirects",
    "net/ipv4/conf/lo/accept_source_route",
    "net/ipv4/conf/lo/forwarding",
    "net/ipv4/conf/lo/log_martians",
    "net/ipv4/conf/lo/rp_filter",
    "net/ipv4/conf/lo/secure_redirects",
    "net/ipv4/conf/lo/send_redirects",
    "net/ipv4/icmp_echo_ignore_broadcasts",
    "net/ipv4/ip_forward",
    "net/ipv4/tcp_abort_on_overflow",
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_max_orphans",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_mem",
    "net/ipv4/tcp_moderate_rcvbuf",
    "net/ipv4/tcp_no_metrics_save",
    "net/ipv4/tcp_orphan_retries",
    "net/ipv4/tcp_retries1",
    "net/ipv4/tcp_retries2",
    "net/ipv4/tcp_sack",
    "net/ipv4/tcp_slow_start_after_idle",
    "net/ipv4/tcp_syn_retries",
    "net/ipv4/tcp_synack_retries",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_window_scaling",
    "net/ipv4/udp_mem",
    "net/ipv4/udp_rmem_min",
    "net/ipv4/udp_wmem_min",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/use_tempaddr",
    "net/ipv6/conf/default/forwarding",
    "net/ipv6/conf/default/use_tempaddr",
    "net/ipv6/conf/lo/forwarding",
    "net/ipv6/conf/lo/use_tempaddr",
    "vm/admin_reserve_kbytes",
    "vm/compact_unevictable_allowed",
    "vm/dirty_background_bytes",
    "vm/dirty_background_ratio",
    "vm/dirty_bytes",
    "vm/dirty_expire_centisecs",
    "vm/dirty_ratio",
    "vm/dirty_writeback_centisecs",
    "vm/extfrag_threshold",
    "vm/laptop_mode",
    "vm/min_free_kbytes",
    "vm/oom_dump_tasks",
    "vm/overcommit_ratio",
    "vm/page-cluster",
    "vm/stat_interval",
    "vm/swappiness",
    "vm/user_reserve_kbytes",
    "vm/vfs_cache_pressure",
    "vm/watermark_scale_factor",
    "vm/zone_reclaim_mode",
];

/// Whether a setting is one of them.
pub(crate) fn is_free(path: &str) -> bool {
    FREE.binary_search(&path).is_ok()
}

/// What the settings that are free were set to, by their paths.
#[derive(Default, Debug)]
pub(crate) struct Kept(BTreeMap<&'static str, String>);

impl Kept {
    /// What was last written to it.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// A write to one of them, which says `now`: who writes fewer numbers leaves the others.
    ///
    /// # Errors
    /// EINVAL: it is none of them, or `text` is not one to as many numbers as are there.
    pub(crate) fn set(&mut self, path: &str, now: &str, text: &str) -> Result<(), Errno> {
        let place = FREE.binary_search(&path).map_err(|_| Errno::EINVAL)?;
        let mut numbers: Vec<String> = now.split_ascii_whitespace().map(str::to_string).collect();
        let mut count = 0;
        for word in text.split_ascii_whitespace() {
            let number: i32 = word.parse().map_err(|_| Errno::EINVAL)?;
            if number < 0 {
                return Err(Errno::EINVAL);
            }
            *numbers.get_mut(count).ok_or(Errno::EINVAL)? = number.to_string();
            count += 1;
        }
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        self.0.insert(FREE[place], numbers.join("\t") + "\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_settings_are_in_order() {
        assert!(FREE.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn numbers_are_kept() {
        let mut kept = Kept::default();
        assert_eq!(kept.set("vm/swappiness", "0\n", " 10\n"), Ok(()));
        assert_eq!(kept.get("vm/swappiness"), Some("10\n"));
        assert_eq!(kept.set("net/ipv4/udp_mem", "1\t2\t3\n", "4 5"), Ok(()));
        assert_eq!(kept.get("net/ipv4/udp_mem"), Some("4\t5\t3\n"));
        for bad in ["", "x", "-1", "1 2", "99999999999"] {
            assert_eq!(
                kept.set("vm/swappiness", "10\n", bad),
                Err(Errno::EINVAL),
                "{bad}"
            );
        }
        assert_eq!(kept.get("vm/swappiness"), Some("10\n"));
        // What this kernel keeps to.
        assert_eq!(
            kept.set("vm/max_map_count", "65530\n", "1"),
            Err(Errno::EINVAL)
        );
    }
}
