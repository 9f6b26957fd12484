//! Settings under /proc/sys, many of them to be read only.
//!
//! Law: a value is the one this kernel keeps to, or the one Linux has where nothing here depends on it.

use crate::calls::home::RELEASE;
use crate::files::{MAX_DESCRIPTORS, PIPE_CAPACITY_MAX, settings};
use crate::system::System;
use abi::Errno;
use alloc::format;
use alloc::string::String;

/// The longest name of a host (`__NEW_UTS_LEN` of Linux).
const NAME_MAX: usize = 64;

/// A UUID of random bits (RFC 9562, version 4).
fn uuid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\n",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

fn named(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned() + "\n"
}

impl System {
    /// A write to a file below /proc/sys: `text` is what is to be there.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), Errno> {
        let into = match name {
            "kernel/hostname" => &mut self.names.host,
            "kernel/domainname" => &mut self.names.domain,
            // Nothing is cached that could be dropped.
            "vm/drop_caches" if matches!(text, "1" | "2" | "3" | "4") => return Ok(()),
            _ if settings::is_free(name) => {
                let now = self.setting(name);
                return self.kept_settings.set(name, &now, text);
            }
            "net/ipv4/ping_group_range" => return self.fs.set_askers(text),
            _ if name.starts_with("fs/mqueue/") => return self.fs.set_queues(name, text),
            _ => return self.ipc.set(name, text),
        };
        let line = text.lines().next().unwrap_or("");
        // A name that is too long is cut (proc_dostring in Linux).
        *into = line.as_bytes()[..line.len().min(NAME_MAX)].to_vec();
        Ok(())
    }

    /// The contents of a file below /proc/sys.
    pub(super) fn setting(&self, name: &str) -> String {
        if let Some(kept) = self.kept_settings.get(name) {
            return kept.into();
        }
        match name {
            "kernel/hostname" => named(&self.names.host),
            "kernel/domainname" => named(&self.names.domain),
            "kernel/ostype" => "Linux\n".into(),
            "kernel/osrelease" => format!("{RELEASE}\n"),
            "kernel/version" => "#1 Dunlin\n".into(),
            "kernel/pid_max" => format!("{}\n", i32::MAX),
            "kernel/threads-max" => format!("{}\n", self.processes_max()),
            "kernel/ngroups_max" => "65536\n".into(),
            "kernel/cap_last_cap" => "40\n".into(),
            "kernel/randomize_va_space" => "2\n".into(),
            "kernel/core_pattern" => "core\n".into(),
            "kernel/printk" => "7\t4\t1\t7\n".into(),
            "kernel/random/boot_id" => uuid(self.boot.0, self.settings.seed),
            "kernel/random/uuid" => uuid(machine::random_u64(), machine::random_u64()),
            "kernel/random/entropy_avail" | "kernel/random/poolsize" => "256\n".into(),
            "vm/overcommit_memory" => "1\n".into(),
            "vm/overcommit_ratio" => "50\n".into(),
            "vm/max_map_count" => format!("{}\n", crate::memory::limits::AREAS_MAX),
            "vm/mmap_min_addr" => "65536\n".into(),
            "vm/swappiness" => "0\n".into(),
            "fs/file-max" => format!("{}\n", i64::MAX),
            "fs/nr_open" => format!("{MAX_DESCRIPTORS}\n"),
            "fs/pipe-max-size" => format!("{PIPE_CAPACITY_MAX}\n"),
            "fs/file-nr" => {
                let open: usize = self
                    .homes
                    .values()
                    .filter_map(|home| home.files.as_ref())
                    .map(|files| files.open_descriptors().len())
                    .sum();
                format!("{open}\t0\t{}\n", i64::MAX)
            }
            "kernel/tainted"
            | "kernel/core_uses_pid"
            | "kernel/sched_child_runs_first"
            | "vm/nr_hugepages" => "0\n".into(),
            "vm/dirty_ratio" => "20\n".into(),
            "fs/pipe-user-pages-soft" | "fs/inotify/max_queued_events" => "16384\n".into(),
            "fs/inotify/max_user_instances" => "128\n".into(),
            "fs/inotify/max_user_watches" => "65536\n".into(),
            "net/ipv4/ping_group_range" => self.fs.askers(),
            "net/core/somaxconn" => "4096\n".into(),
            _ => {
                let asked = || {
                    self.ipc
                        .setting(name)
                        .or_else(|| self.fs.queue_setting(name))
                };
                let fixed = settings::fixed(name);
                let fixed = fixed.map(|value| format!("{value}\n"));
                fixed.or_else(asked).unwrap_or_default()
            }
        }
    }
}
