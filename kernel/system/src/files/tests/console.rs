//! The line discipline, byte by byte.

use super::*;

/// A node whose descriptors 0 to 2 are the console.
fn node() -> Node {
    let mut node = Node::new(&[]);
    node.state = FileState::standard(&node.fs);
    node
}

fn type_in(node: &Node, bytes: &[u8]) {
    node.fs.console().input(bytes, node.now_ns);
}

#[track_caller]
fn screen(node: &Node, expected: &[u8]) {
    let shown = node.fs.console().take_output();
    assert_eq!(
        shown.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

/// Sets modes: input, output, local, VMIN, VTIME.
fn set(node: &mut Node, input: u32, output: u32, local: u32, least: u8, tenths: u8) {
    let mut bytes = node
        .call(calls::ioctl, &[N(0), N(0x5401), Out(36)])
        .bytes(2);
    bytes[0..4].copy_from_slice(&input.to_le_bytes());
    bytes[4..8].copy_from_slice(&output.to_le_bytes());
    bytes[12..16].copy_from_slice(&local.to_le_bytes());
    bytes[17 + 5] = tenths;
    bytes[17 + 6] = least;
    node.call(calls::ioctl, &[N(0), N(0x5402), In(&bytes)]).ok();
}

#[test]
fn what_a_new_terminal_says() {
    let mut node = node();
    let bytes = node
        .call(calls::ioctl, &[N(0), N(0x5401), Out(36)])
        .bytes(2);
    let expected = b"\x00\x05\0\0\x05\0\0\0\xbf\x04\0\0\x3b\x8a\0\0\0\
        \x03\x1c\x7f\x15\x04\0\x01\0\x11\x13\x1a\0\x12\x0f\x17\x16\0\0\0";
    assert_eq!(bytes, expected);
    let window = node.call(calls::ioctl, &[N(1), N(0x5413), Out(8)]).bytes(2);
    assert_eq!(window, [24, 0, 80, 0, 0, 0, 0, 0]);
    assert_eq!(node.state.describe(0).as_deref(), Ok(&b"/dev/console"[..]));
    let unknown = node.call(calls::ioctl, &[N(0), N(0x1234), N(0)]);
    assert_eq!(unknown.errno(), Errno::ENOTTY);
}

#[test]
fn lines_are_given_whole() {
    let mut node = node();
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    type_in(&node, b"ab");
    assert!(node.wakes.is_empty());
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    type_in(&node, b"c\rnext\n");
    assert_eq!(node.wakes.take(), [PID]);
    screen(&node, b"abc\r\nnext\r\n");
    assert_eq!(node.read(0, 2).bytes(1), b"ab");
    assert_eq!(node.read(0, 100).bytes(1), b"c\n");
    assert_eq!(node.read(0, 100).bytes(1), b"next\n");
    assert_eq!(node.write(1, b"a\nb").ok(), 3);
    screen(&node, b"a\r\nb");
}

#[test]
fn editing() {
    let mut node = node();
    type_in(&node, b"ax\x7fb\x01\x7f\x7f\x7f\x7f\x7f");
    screen(&node, b"ax\x08 \x08b^A\x08 \x08\x08 \x08\x08 \x08\x08 \x08");
    type_in(&node, b"one two  \x17three\x15\n");
    screen(
        &node,
        b"one two  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08three\
          \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\r\n",
    );
    assert_eq!(node.read(0, 100).bytes(1), b"\n");
    // A tab takes as many columns as it moved.
    type_in(&node, b"ab\t\x7f");
    screen(&node, b"ab\t\x08\x08\x08\x08\x08\x08");
    // A literal control character, and the line shown again.
    type_in(&node, b"\x16\x03\x12\n");
    screen(&node, b"^\x08^C^R\r\nab^C\r\n");
    assert_eq!(node.read(0, 100).bytes(1), b"ab\x03\n");
    assert!(node.fs.terminals().take_notices().is_empty());
}

#[test]
fn characters_of_many_bytes_go_at_once() {
    let mut node = node();
    set(&mut node, 0o40_400, 5, 0o105_073, 1, 0);
    type_in(&node, "aä\x7f\x7f\n".as_bytes());
    screen(&node, "aä\x08 \x08\x08 \x08\r\n".as_bytes());
    assert_eq!(node.read(0, 9).bytes(1), b"\n");
}

#[test]
fn end_of_file() {
    let mut node = node();
    type_in(&node, b"part\x04");
    assert_eq!(node.read(0, 100).bytes(1), b"part");
    type_in(&node, b"\x04");
    assert_eq!(node.read(0, 100).bytes(1), b"");
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    screen(&node, b"part");
}

#[test]
fn signals_are_notices_and_flush() {
    let mut node = node();
    let group = 77_u32.to_le_bytes();
    node.call(calls::ioctl, &[N(0), N(0x5410), In(&group)]).ok();
    assert_eq!(node.fs.console().foreground(), 77);
    node.write(1, b"not seen yet").ok();
    type_in(&node, b"line\nhalf\x03");
    // What had not left is thrown away too, and the key is shown.
    screen(&node, b"^C");
    type_in(&node, b"\x1c\x1a");
    let sent = |signal| Notice::Signal { group: 77, signal };
    assert_eq!(
        node.fs.terminals().take_notices(),
        [sent(2), sent(3), sent(20)]
    );
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    let back = node.call(calls::ioctl, &[N(0), N(0x540f), Out(4)]).bytes(2);
    assert_eq!(back, group);
    let negative = node.call(calls::ioctl, &[N(0), N(0x5410), In(&[0xff; 4])]);
    assert_eq!(negative.errno(), Errno::EINVAL);
    let window = [50, 0, 99, 0, 0, 0, 0, 0];
    for _ in 0..2 {
        node.call(calls::ioctl, &[N(0), N(0x5414), In(&window)])
            .ok();
    }
    // The second time changed nothing.
    assert_eq!(node.fs.terminals().take_notices(), [sent(28)]);
}

#[test]
fn raw_mode_gives_every_byte() {
    let mut node = node();
    set(&mut node, 0, 0, 0, 1, 0);
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    type_in(&node, b"\x03\r\x7f");
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.read(0, 2).bytes(1), b"\x03\r");
    assert_eq!(node.read(0, 2).bytes(1), b"\x7f");
    screen(&node, b"");
    node.write(1, b"a\n").ok();
    screen(&node, b"a\n");
    // At least three, but no more than asked for.
    set(&mut node, 0, 0, 0, 3, 0);
    type_in(&node, b"ab");
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    assert_eq!(node.read(0, 2).bytes(1), b"ab");
    // Nothing to wait for.
    set(&mut node, 0, 0, 0, 0, 0);
    assert_eq!(node.read(0, 2).bytes(1), b"");
    // Without patience, what there is.
    set(&mut node, 0, 0, 0, 3, 0);
    type_in(&node, b"c");
    node.call(calls::fcntl, &[N(0), N(4), N(0o4000)]).ok();
    assert_eq!(node.read(0, 9).bytes(1), b"c");
    assert_eq!(node.read(0, 9).errno(), Errno::EAGAIN);
    node.call(calls::fcntl, &[N(0), N(4), N(2)]).ok();
    // At most 0.2 s.
    set(&mut node, 0, 0, 0, 0, 2);
    node.now_ns = 1000;
    assert_eq!(node.read(0, 2).result, Err(Stop::Wait));
    assert_eq!(node.deadline_ns, Some(200_001_000));
    node.now_ns = 200_000_999;
    assert_eq!(node.read(0, 2).result, Err(Stop::Wait));
    assert_eq!(node.fs.terminals().next_alarm(), Some(200_001_000));
    node.wakes.take();
    node.fs.terminals().ring(200_001_000);
    assert_eq!(node.wakes.take(), [PID]);
    node.now_ns = 200_001_000;
    assert_eq!(node.read(0, 2).bytes(1), b"");
}

#[test]
fn the_time_between_bytes() {
    let mut node = node();
    // Three bytes, or 0.1 s without one after the first.
    set(&mut node, 0, 0, 0, 3, 1);
    assert_eq!(node.read(0, 9).result, Err(Stop::Wait));
    assert_eq!(node.deadline_ns, None);
    node.now_ns = 1_000_000_000;
    type_in(&node, b"a");
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.read(0, 9).result, Err(Stop::Wait));
    assert_eq!(node.deadline_ns, Some(1_100_000_000));
    node.now_ns = 1_090_000_000;
    type_in(&node, b"b");
    assert_eq!(node.read(0, 9).result, Err(Stop::Wait));
    assert_eq!(node.deadline_ns, Some(1_190_000_000));
    node.now_ns = 1_150_000_000;
    assert_eq!(node.read(0, 9).result, Err(Stop::Wait));
    node.now_ns = 1_190_000_000;
    assert_eq!(node.read(0, 9).bytes(1), b"ab");
}

#[test]
fn what_was_typed_survives_a_change_of_mode() {
    let mut node = node();
    type_in(&node, b"line\nhalf");
    set(&mut node, 0, 0, 0, 1, 0);
    assert_eq!(node.read(0, 100).bytes(1), b"line\nhalf");
    // An end of file is a byte 0 to raw mode.
    type_in(&node, b"more\n");
    set(&mut node, 0o400, 5, 0o105_073, 1, 0);
    assert_eq!(node.read(0, 100).bytes(1), b"more\n");
    type_in(&node, b"one\x04");
    set(&mut node, 0, 0, 0, 1, 0);
    assert_eq!(node.read(0, 100).bytes(1), b"one\0");
    set(&mut node, 0o400, 5, 0o105_073, 1, 0);
    type_in(&node, b"gone\n");
    let modes = node
        .call(calls::ioctl, &[N(0), N(0x5401), Out(36)])
        .bytes(2);
    node.call(calls::ioctl, &[N(0), N(0x5404), In(&modes)]).ok();
    assert_eq!(node.read(0, 100).result, Err(Stop::Wait));
    let bad = node.call(calls::ioctl, &[N(0), N(0x5404), In(&modes[..30])]);
    assert_eq!(bad.errno(), Errno::EFAULT);
}

#[test]
fn flow_control() {
    let mut node = node();
    type_in(&node, b"\x13");
    assert_eq!(node.write(1, b"x").result, Err(Stop::Wait));
    type_in(&node, b"\x11");
    assert_eq!(node.wakes.take(), [PID]);
    node.write(1, b"x").ok();
    screen(&node, b"x");
    node.call(calls::fcntl, &[N(0), N(4), N(0o4000)]).ok();
    assert_eq!(node.read(0, 1).errno(), Errno::EAGAIN);
}

#[test]
fn echoes_wait_while_the_output_is_stopped() {
    let node = node();
    type_in(&node, b"\x13ab");
    screen(&node, b"");
    type_in(&node, b"\x11");
    screen(&node, b"ab");
}

#[test]
fn input_is_bounded() {
    let mut node = node();
    // The last byte of an overlong line is replaced until its end comes.
    type_in(&node, &[b'x'; 10_000]);
    type_in(&node, b"y\n");
    let line = node.read(0, 20_000).bytes(1);
    assert_eq!(line.len(), 4096);
    assert_eq!(&line[4093..], b"xx\n");
    // What comes faster than it is read waits, up to a limit.
    type_in(&node, &[b'\n'; 200_000]);
    assert!(node.fs.console().available() <= 4096);
    let mut lines = 0;
    while let Ok(1) = node.read(0, 100).result {
        lines += 1;
    }
    assert!((60_000..80_000).contains(&lines), "{lines}");
}
