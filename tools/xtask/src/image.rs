//! The standard image: what is in the root file system beside our own programs.
//!
//! Law: the shell and the commands are those of busybox, under the names and in the folders it gives
//! them; our own commands stand before them in PATH and shadow only `ps` and `poweroff`. Because the
//! shell of busybox prefers its own applets to PATH, /etc/shrc says the same to shells.

use crate::archive::Archive;
use crate::error::Error;
use crate::{program, setup};

/// Folders that programs expect, also when they are empty, with their permission bits.
const FOLDERS: [(&str, u32); 30] = [
    ("/bin", 0o755),
    ("/data", 0o755),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/home/guest", 0o755),
    ("/lib", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/probes", 0o755),
    ("/proc", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sbin", 0o755),
    ("/srv", 0o755),
    ("/tmp", 0o1777),
    ("/usr/bin", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/sbin", 0o755),
    ("/usr/share", 0o755),
    ("/var/cache", 0o755),
    ("/var/empty", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/run", 0o755),
    ("/var/spool/cron/crontabs", 0o755),
    ("/var/spool/mail", 0o755),
    ("/var/tmp", 0o1777),
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
mail:x:8:8:mail:/var/spool/mail:/usr/sbin/nologin
guest:x:1000:1000:guest:/home/guest:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

const SHADOW: &str = "\
root:*:19000:0:99999:7:::
daemon:*:19000:0:99999:7:::
bin:*:19000:0:99999:7:::
mail:*:19000:0:99999:7:::
guest:*:19000:0:99999:7:::
nobody:*:19000:0:99999:7:::
";

const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
utmp:x:43:
users:x:100:
guest:x:1000:
nogroup:x:65534:
";

/// For every interactive shell and for the scripts of `cargo xtask run`.
const SHRC: &str = "\
# The shell prefers its own applets to what is in PATH; these two are Dunlin's:
# `ps` alone shows where each process runs (with options it is busybox's), `poweroff STATUS` ends
# the cluster with a status.
ps() { /usr/local/bin/ps \"$@\"; }
poweroff() { /usr/local/bin/poweroff \"$@\"; }
";

const PROFILE: &str = "\
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/probes
export ENV=/etc/shrc
export PAGER=less EDITOR=vi
PS1='\\w \\$ '
. /etc/shrc
";

/// What programs ask for by name (RFC 1700, with the ports that are in use).
const PROTOCOLS: &str = "\
ip\t0\tIP
icmp\t1\tICMP
igmp\t2\tIGMP
tcp\t6\tTCP
udp\t17\tUDP
ipv6\t41\tIPv6
ipv6-icmp\t58\tIPv6-ICMP
sctp\t132\tSCTP
udplite\t136\tUDPLite
raw\t255\tRAW
";

const SERVICES: &str = "\
echo\t7/tcp
echo\t7/udp
discard\t9/tcp\tsink null
discard\t9/udp\tsink null
daytime\t13/tcp
chargen\t19/tcp\tttytst source
ftp-data\t20/tcp
ftp\t21/tcp
ssh\t22/tcp
telnet\t23/tcp
smtp\t25/tcp\tmail
time\t37/tcp\ttimserver
time\t37/udp\ttimserver
domain\t53/tcp
domain\t53/udp
tftp\t69/udp
gopher\t70/tcp
finger\t79/tcp
http\t80/tcp\twww
kerberos\t88/tcp\tkerberos5 krb5
kerberos\t88/udp\tkerberos5 krb5
pop3\t110/tcp\tpop-3
sunrpc\t111/tcp\tportmapper
sunrpc\t111/udp\tportmapper
nntp\t119/tcp\treadnews untp
ntp\t123/udp
imap2\t143/tcp\timap
snmp\t161/udp
ldap\t389/tcp
https\t443/tcp
https\t443/udp
submissions\t465/tcp\tssmtp smtps urd
syslog\t514/udp
submission\t587/tcp
ldaps\t636/tcp
rsync\t873/tcp
imaps\t993/tcp
pop3s\t995/tcp
socks\t1080/tcp
ms-sql-s\t1433/tcp
nfs\t2049/tcp
nfs\t2049/udp
mysql\t3306/tcp
svn\t3690/tcp\tsubversion
sip\t5060/tcp
sip\t5060/udp
postgresql\t5432/tcp\tpostgres
x11\t6000/tcp\tx11-0
redis\t6379/tcp
http-alt\t8080/tcp\twebcache
git\t9418/tcp
";

/// Other files of /etc, by name.
const FILES: [(&str, &str); 14] = [
    ("protocols", PROTOCOLS),
    ("services", SERVICES),
    ("passwd", PASSWD),
    ("group", GROUP),
    ("hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
    ("hostname", "dunlin\n"),
    ("profile", PROFILE),
    ("shrc", SHRC),
    ("issue", "Dunlin \\r \\l\n\n"),
    ("shells", "/bin/sh\n/bin/ash\n"),
    (
        "resolv.conf",
        "# No name server: there is no way out of the cluster.\n",
    ),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
    (
        "os-release",
        "NAME=\"Dunlin\"\nID=dunlin\nPRETTY_NAME=\"Dunlin\"\n",
    ),
    (
        "fstab",
        "proc /proc proc defaults 0 0\ndevpts /dev/pts devpts gid=5,mode=620 0 0\n",
    ),
];

/// Adds folders, /etc, and busybox under all its names. Names that are taken already stay.
pub(crate) fn add(archive: &mut Archive) -> Result<(), Error> {
    for (folder, mode) in FOLDERS {
        archive.folder_with(folder, mode)?;
    }
    for (name, text) in FILES {
        archive.file(&format!("/etc/{name}"), 0o644, text.as_bytes().to_vec())?;
    }
    archive.file("/etc/shadow", 0o640, SHADOW.as_bytes().to_vec())?;
    archive.link("/etc/mtab", "/proc/mounts")?;
    let busybox = setup::busybox()?;
    let mut command = program::clean(&busybox);
    let names = program::output(command.arg("--list-full"), "asking busybox for its names")?;
    archive.host_file("/bin/busybox", &busybox)?;
    for name in names.split_whitespace() {
        let path = format!("/{}", name.trim_start_matches('/'));
        if !archive.has(&path) {
            archive.link(&path, "/bin/busybox")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_belong_together() {
        let field = |line: &str, at: usize| line.split(':').nth(at).map(str::to_owned);
        let groups: Vec<_> = GROUP.lines().map(|line| field(line, 2)).collect();
        for line in PASSWD.lines() {
            assert_eq!(line.split(':').count(), 7, "{line}");
            assert!(groups.contains(&field(line, 3)), "{line}");
            let shadow = format!("{}:*:", field(line, 0).unwrap_or_default());
            assert!(SHADOW.contains(&shadow), "{line}");
        }
        assert!(GROUP.lines().all(|line| line.split(':').count() == 4));
    }
}
