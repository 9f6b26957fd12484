//! Pseudo-terminals through the calls of processes.

use super::*;

const TCGETS: u64 = 0x5401;
const TCSETS: u64 = 0x5402;
const TCFLSH: u64 = 0x540b;
const TIOCSCTTY: u64 = 0x540e;
const TIOCGPGRP: u64 = 0x540f;
const TIOCGWINSZ: u64 = 0x5413;
const TIOCSWINSZ: u64 = 0x5414;
const FIONREAD: u64 = 0x541b;
const TIOCPKT: u64 = 0x5420;
const TIOCNOTTY: u64 = 0x5422;
const TIOCGSID: u64 = 0x5429;
const TIOCGPTN: u64 = 0x8004_5430;
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTLCK: u64 = 0x8004_5439;
const TIOCGPTPEER: u64 = 0x5441;

const O_RDWR: u32 = 2;
const O_NOCTTY: u32 = 0o400;
const O_NONBLOCK: u32 = 0o4000;

/// A process that leads session 7.
fn leader() -> Node {
    let mut node = Node::new(&[]);
    node.job = Job {
        group: PID,
        session: PID,
        ..Job::default()
    };
    node
}

/// A master and its line, the terminal not controlling anybody.
fn pair(node: &mut Node) -> (u64, u64) {
    let master = node.open("/dev/ptmx", O_RDWR | O_NOCTTY);
    node.call(calls::ioctl, &[N(master), N(TIOCSPTLCK), In(&[0; 4])])
        .ok();
    let line = node.open("/dev/pts/0", O_RDWR | O_NOCTTY);
    (master, line)
}

fn word(node: &mut Node, fd: u64, request: u64) -> Result<u32, Stop> {
    let reply = node.call(calls::ioctl, &[N(fd), N(request), Out(4)]);
    reply.result?;
    let bytes = reply.outputs[2].as_slice().try_into().expect("4 bytes");
    Ok(u32::from_le_bytes(bytes))
}

fn poll(node: &mut Node, fd: u64) -> i16 {
    let mut entry = (fd as u32).to_le_bytes().to_vec();
    entry.extend_from_slice(&[0xff, 0x7f, 0, 0]);
    node.deadline_ns = Some(0);
    let answer = node.call(calls::poll, &[InOut(&entry), N(1), N(0)]);
    node.deadline_ns = None;
    match answer.result {
        Ok(0) => 0,
        _ => i16::from_le_bytes([answer.outputs[0][6], answer.outputs[0][7]]),
    }
}

#[test]
fn names_come_and_go_with_the_master() {
    let mut node = leader();
    assert_eq!(node.list("/dev/pts", 1000), [".", "..", "ptmx"]);
    let first = node.open("/dev/ptmx", O_RDWR);
    let second = node.open("/dev/pts/ptmx", O_RDWR);
    assert_eq!(word(&mut node, first, TIOCGPTN), Ok(0));
    assert_eq!(word(&mut node, second, TIOCGPTN), Ok(1));
    assert_eq!(node.list("/dev/pts", 1000), [".", "..", "ptmx", "0", "1"]);
    let stat = node.lstat("/dev/pts/1");
    assert_eq!(
        (stat.mode, stat.gid, stat.special),
        (0o020_620, 5, 136 << 8 | 1)
    );
    let made = node.try_open("/dev/pts/x", 0o101);
    assert_eq!(made.errno(), Errno::EPERM);
    node.close(first);
    assert_eq!(node.list("/dev/pts", 1000), [".", "..", "ptmx", "1"]);
    assert_eq!(node.try_open("/dev/pts/0", O_RDWR).errno(), Errno::ENOENT);
    // The number is free again.
    let third = node.open("/dev/ptmx", O_RDWR);
    assert_eq!(word(&mut node, third, TIOCGPTN), Ok(0));
}

#[test]
fn there_is_an_end_to_them() {
    let mut node = leader();
    let mut masters = Vec::new();
    let refused = loop {
        let reply = node.try_open("/dev/ptmx", O_RDWR);
        match reply.result {
            Ok(fd) => masters.push(fd),
            Err(stop) => break stop,
        }
    };
    assert_eq!((refused, masters.len()), (Stop::Errno(Errno::ENOSPC), 256));
    node.close(masters[100]);
    let again = node.open("/dev/ptmx", O_RDWR);
    assert_eq!(word(&mut node, again, TIOCGPTN), Ok(100));
}

#[test]
fn a_locked_line_is_not_opened_by_name() {
    let mut node = leader();
    let master = node.open("/dev/ptmx", O_RDWR);
    assert_eq!(word(&mut node, master, TIOCGPTLCK), Ok(1));
    assert_eq!(node.try_open("/dev/pts/0", O_RDWR).errno(), Errno::EIO);
    let peer = node
        .call(calls::ioctl, &[N(master), N(TIOCGPTPEER), N(0o402)])
        .ok();
    assert_eq!(
        node.state.describe(peer as u32).as_deref(),
        Ok(&b"/dev/pts/0"[..])
    );
    assert_eq!(word(&mut node, master, TIOCGPTLCK), Ok(1));
    assert_eq!(node.write(peer, b"x").ok(), 1);
    assert_eq!(node.read(master, 9).bytes(1), b"x");
    // A line is no master.
    assert_eq!(
        word(&mut node, peer, TIOCGPTN),
        Err(Stop::Errno(Errno::ENOTTY))
    );
}

#[test]
fn what_goes_in_comes_out() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    assert_eq!(node.read(line, 100).result, Err(Stop::Wait));
    node.write(master, b"hello\n").ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.read(line, 100).bytes(1), b"hello\n");
    assert_eq!(node.read(master, 100).bytes(1), b"hello\r\n");
    node.write(line, b"a\n").ok();
    assert_eq!(word(&mut node, master, FIONREAD), Ok(3));
    assert_eq!(node.read(master, 2).bytes(1), b"a\r");
    assert_eq!(node.read(master, 2).bytes(1), b"\n");
    assert_eq!(node.read(master, 2).result, Err(Stop::Wait));
    // The modes and the window are the line's, whichever side asks.
    let modes = node
        .call(calls::ioctl, &[N(master), N(TCGETS), Out(36)])
        .bytes(2);
    assert_eq!(
        modes[..16],
        [0, 5, 0, 0, 5, 0, 0, 0, 0xbf, 0, 0, 0, 0x3b, 0x8a, 0, 0]
    );
    let mut raw = modes.clone();
    raw[..16].fill(0);
    node.call(calls::ioctl, &[N(line), N(TCSETS), In(&raw)])
        .ok();
    let back = node
        .call(calls::ioctl, &[N(master), N(TCGETS), Out(36)])
        .bytes(2);
    // Eight bits and a receiver it has whatever it was told.
    assert_eq!(back[8], 0xb0);
    let window = [1, 0, 2, 0, 3, 0, 4, 0];
    node.call(calls::ioctl, &[N(master), N(TIOCSWINSZ), In(&window)])
        .ok();
    let seen = node
        .call(calls::ioctl, &[N(line), N(TIOCGWINSZ), Out(8)])
        .bytes(2);
    assert_eq!(seen, window);
}

#[test]
fn who_finds_no_room_waits() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    let mut written = 0;
    while let Ok(some) = node.write(line, &[b'o'; 1000]).result {
        written += some;
    }
    assert!((8_000..20_000).contains(&written), "{written}");
    assert_eq!(poll(&mut node, line) & 4, 0);
    let mut read = 0;
    while let Ok(some) = node.read(master, 700).result {
        read += some;
    }
    assert_eq!(read, written);
    assert_eq!(poll(&mut node, line) & 4, 4);
    // A line without an end always takes more; raw input does not, and nothing of it is lost.
    assert_eq!(node.write(master, &[b'x'; 30_000]).ok(), 30_000);
    node.write(master, b"\n").ok();
    assert_eq!(node.read(line, 9_000).ok(), 4096);
    while node.read(master, 5000).result.is_ok() {}
    let mut raw = node
        .call(calls::ioctl, &[N(line), N(TCGETS), Out(36)])
        .bytes(2);
    raw[..16].fill(0);
    node.call(calls::ioctl, &[N(line), N(TCSETS), In(&raw)])
        .ok();
    let mut typed = Vec::new();
    let mut next = 0_u8;
    loop {
        let piece: Vec<u8> = (0..251).map(|at| next.wrapping_add(at)).collect();
        match node.write(master, &piece).result {
            Ok(taken) => {
                typed.extend_from_slice(&piece[..taken as usize]);
                next = next.wrapping_add(taken as u8);
            }
            Err(stop) => break assert_eq!(stop, Stop::Wait),
        }
    }
    let mut got = Vec::new();
    while let Ok(bytes) = {
        let reply = node.read(line, 777);
        reply.result.map(|_| reply.outputs[1].clone())
    } {
        got.extend(bytes);
    }
    assert!(got == typed, "{} of {}", got.len(), typed.len());
}

#[test]
fn the_last_line_end_to_go_tells_the_master() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    let second = node.call(calls::dup, &[N(line)]).ok();
    node.write(line, b"last").ok();
    node.close(line);
    assert_eq!(poll(&mut node, master) & 0x11, 1);
    node.close(second);
    assert_eq!(poll(&mut node, master) & 0x11, 0x11);
    assert_eq!(node.read(master, 9).bytes(1), b"last");
    assert_eq!(node.read(master, 9).errno(), Errno::EIO);
    assert_eq!(poll(&mut node, master) & 0x11, 0x10);
    // What is typed meanwhile waits for the next who opens it.
    node.write(master, b"early\n").ok();
    let line = node.open("/dev/pts/0", O_RDWR | O_NOCTTY);
    assert_eq!(node.read(line, 9).bytes(1), b"early\n");
    assert_eq!(node.read(master, 9).bytes(1), b"early\r\n");
    assert_eq!(node.read(master, 9).result, Err(Stop::Wait));
}

#[test]
fn the_masters_going_hangs_the_line_up() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    node.call(calls::ioctl, &[N(line), N(TIOCSCTTY), N(0)]).ok();
    node.write(master, b"never read\n").ok();
    node.close(master);
    let hung_up = Notice::HungUp {
        session: PID,
        group: PID,
    };
    assert_eq!(node.fs.terminals().take_notices(), [hung_up]);
    assert_eq!(node.read(line, 9).bytes(1), b"");
    assert_eq!(node.write(line, b"x").errno(), Errno::EIO);
    assert_eq!(poll(&mut node, line), 0x15d & 0x7fff);
    let modes = node.call(calls::ioctl, &[N(line), N(TCGETS), Out(36)]);
    assert_eq!(modes.errno(), Errno::EIO);
    assert_eq!(node.try_open("/dev/tty", O_RDWR).errno(), Errno::ENXIO);
}

#[test]
fn a_session_gets_a_terminal() {
    let mut node = leader();
    assert_eq!(node.try_open("/dev/tty", O_RDWR).errno(), Errno::ENXIO);
    let (master, line) = pair(&mut node);
    assert_eq!(
        word(&mut node, line, TIOCGPGRP),
        Err(Stop::Errno(Errno::ENOTTY))
    );
    // Opening without O_NOCTTY is enough.
    let mine = node.open("/dev/pts/0", O_RDWR);
    assert_eq!(word(&mut node, line, TIOCGPGRP), Ok(PID));
    assert_eq!(word(&mut node, master, TIOCGSID), Ok(PID));
    let by_name = node.open("/dev/tty", O_RDWR);
    node.write(by_name, b"tty").ok();
    assert_eq!(node.read(master, 9).bytes(1), b"tty");
    // One is all it gets.
    let other = node.open("/dev/ptmx", O_RDWR);
    let peer = node
        .call(calls::ioctl, &[N(other), N(TIOCGPTPEER), N(2)])
        .ok();
    let taken = node.call(calls::ioctl, &[N(peer), N(TIOCSCTTY), N(0)]);
    assert_eq!(taken.errno(), Errno::EPERM);
    // Another session does not get this one, unless root insists.
    node.job.session = 9;
    node.job.group = 9;
    let taken = node.call(calls::ioctl, &[N(mine), N(TIOCSCTTY), N(0)]);
    assert_eq!(taken.errno(), Errno::EPERM);
    node.job.session = PID;
    node.job.group = PID;
    node.call(calls::ioctl, &[N(mine), N(TIOCNOTTY), N(0)]).ok();
    let sent = |signal| Notice::Signal { group: PID, signal };
    assert_eq!(node.fs.terminals().take_notices(), [sent(1), sent(18)]);
    assert_eq!(node.try_open("/dev/tty", O_RDWR).errno(), Errno::ENXIO);
}

#[test]
fn background_use_stops_the_group() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    node.call(calls::ioctl, &[N(line), N(TIOCSCTTY), N(0)]).ok();
    node.job.group = 50;
    node.write(master, b"x\n").ok();
    assert_eq!(node.read(line, 9).result, Err(Stop::Wait));
    assert_eq!(node.stopped_by.take(), Some(21));
    // Writing is allowed, until TOSTOP.
    assert_eq!(node.write(line, b"x").ok(), 1);
    let modes = |node: &mut Node| {
        node.call(calls::ioctl, &[N(master), N(TCGETS), Out(36)])
            .bytes(2)
    };
    let mut strict = modes(&mut node);
    strict[13] |= 1;
    let change = node.call(calls::ioctl, &[N(line), N(TCSETS), In(&strict)]);
    assert_eq!(change.result, Err(Stop::Wait));
    assert_eq!(node.stopped_by.take(), Some(22));
    node.job.shielded_from_ttou = true;
    node.call(calls::ioctl, &[N(line), N(TCSETS), In(&strict)])
        .ok();
    assert_eq!(node.write(line, b"x").ok(), 1);
    node.job.shielded_from_ttou = false;
    assert_eq!(node.write(line, b"x").result, Err(Stop::Wait));
    assert_eq!(node.stopped_by.take(), Some(22));
    // Nobody would continue it.
    node.view.orphaned = true;
    assert_eq!(node.write(line, b"x").errno(), Errno::EIO);
    assert_eq!(node.read(line, 9).errno(), Errno::EIO);
    node.view.orphaned = false;
    node.job.shielded_from_ttin = true;
    assert_eq!(node.read(line, 9).errno(), Errno::EIO);
    assert_eq!(node.stopped_by, None);
}

#[test]
fn packet_mode() {
    let mut node = leader();
    let (master, line) = pair(&mut node);
    node.call(calls::ioctl, &[N(master), N(TIOCPKT), In(&[1, 0, 0, 0])])
        .ok();
    node.write(line, b"data").ok();
    assert_eq!(node.read(master, 3).bytes(1), b"\0da");
    assert_eq!(node.read(master, 9).bytes(1), b"\0ta");
    node.write(master, b"\x13").ok();
    assert_eq!(poll(&mut node, master) & 3, 3);
    assert_eq!(node.read(master, 9).bytes(1), [4]);
    node.write(master, b"\x11").ok();
    assert_eq!(node.read(master, 9).bytes(1), [8]);
    node.call(calls::ioctl, &[N(line), N(TCFLSH), N(2)]).ok();
    assert_eq!(node.read(master, 9).bytes(1), [3]);
    let mut modes = node
        .call(calls::ioctl, &[N(line), N(TCGETS), Out(36)])
        .bytes(2);
    modes[1] &= !4;
    node.call(calls::ioctl, &[N(line), N(TCSETS), In(&modes)])
        .ok();
    assert_eq!(node.read(master, 9).bytes(1), [16]);
    assert_eq!(node.read(master, 9).result, Err(Stop::Wait));
}

#[test]
fn no_waiting_where_none_is_wanted() {
    let mut node = leader();
    let master = node.open("/dev/ptmx", O_RDWR | O_NONBLOCK);
    node.call(calls::ioctl, &[N(master), N(TIOCSPTLCK), In(&[0; 4])])
        .ok();
    assert_eq!(node.read(master, 9).errno(), Errno::EAGAIN);
    let line = node.open("/dev/pts/0", O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_eq!(node.read(line, 9).errno(), Errno::EAGAIN);
    while node.write(line, &[b'x'; 999]).result.is_ok() {}
    assert_eq!(node.write(line, b"x").errno(), Errno::EAGAIN);
}

#[test]
fn the_other_forms_of_modes() {
    let mut node = leader();
    let (_, line) = pair(&mut node);
    let with_speeds = node
        .call(calls::ioctl, &[N(line), N(0x802c_542a), Out(44)])
        .bytes(2);
    assert_eq!(with_speeds[36..], [0, 0x96, 0, 0, 0, 0x96, 0, 0]);
    // 12345 bits per second, by BOTHER.
    let mut odd = with_speeds.clone();
    odd[8..12].copy_from_slice(&0x10b0_u32.to_le_bytes());
    odd[36..40].copy_from_slice(&12_345_u32.to_le_bytes());
    odd[40..44].copy_from_slice(&12_345_u32.to_le_bytes());
    node.call(calls::ioctl, &[N(line), N(0x402c_542b), In(&odd)])
        .ok();
    let back = node
        .call(calls::ioctl, &[N(line), N(0x802c_542a), Out(44)])
        .bytes(2);
    assert_eq!(back, odd);
    let old = node
        .call(calls::ioctl, &[N(line), N(0x5405), Out(18)])
        .bytes(2);
    assert_eq!(old[..9], [0, 5, 5, 0, 0xb0, 0x10, 0x3b, 0x8a, 0]);
    assert_eq!(old[9..17], *b"\x03\x1c\x7f\x15\x04\0\x01\0");
    let mut new = old.clone();
    new[9] = b'!';
    node.call(calls::ioctl, &[N(line), N(0x5406), In(&new)])
        .ok();
    let old = node
        .call(calls::ioctl, &[N(line), N(0x5405), Out(18)])
        .bytes(2);
    assert_eq!(old, new);
}
