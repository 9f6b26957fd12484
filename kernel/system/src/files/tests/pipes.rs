//! Pipes: bounds, atomicity, ends, waking, and a random run against a model.

use super::*;

#[test]
fn a_pipe_waits_and_wakes() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    assert_eq!(node.read(read, 10).result, Err(Stop::Wait));
    assert!(node.wakes.is_empty());
    node.write(write, b"hello").ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.read(read, 3).bytes(1), b"hel");
    assert_eq!(node.read(read, 0).bytes(1), b"");
    let available = node
        .call(calls::ioctl, &[N(read), N(0x541b), Out(4)])
        .bytes(2);
    assert_eq!(available, [2, 0, 0, 0]);
    assert_eq!(node.read(read, 3).bytes(1), b"lo");
    assert_eq!(node.read(read, 3).result, Err(Stop::Wait));
    node.close(write);
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.read(read, 3).bytes(1), b"");
    assert_eq!(
        node.call(calls::lseek, &[N(read), N(0), N(0)]).errno(),
        Errno::ESPIPE
    );
}

#[test]
fn the_last_reader_breaks_the_pipe() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    assert_eq!(node.write(write, &[0; 65_536]).ok(), 65_536);
    assert_eq!(node.write(write, b"x").result, Err(Stop::Wait));
    // A child has the same ends; only the last one counts.
    let mut child = node.state.clone();
    node.close(read);
    assert!(node.wakes.is_empty());
    child.clear();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(node.write(write, b"x").errno(), Errno::EPIPE);
    assert_eq!(node.read(write, 1).errno(), Errno::EBADF);
}

#[test]
fn packets_are_read_one_by_one() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0o44_000);
    for packet in [&b"one"[..], b"second", &[3; 5000], b"more"] {
        assert_eq!(node.write(write, packet).ok(), packet.len() as u64);
    }
    // What of a packet is not wanted is lost; one that is too long for a page is several.
    assert_eq!(node.read(read, 99).bytes(1), b"one");
    assert_eq!(node.read(read, 3).bytes(1), b"sec");
    assert_eq!(node.read(read, 9000).bytes(1), [3; 4096]);
    assert_eq!(node.read(read, 9000).bytes(1), [3; 904]);
    // Bytes of a writer who has changed his mind go behind no packet's end.
    node.call(calls::fcntl, &[N(write), N(4), N(0o4000)]).ok();
    node.write(write, b"bytes").ok();
    node.write(write, b" and bytes").ok();
    assert_eq!(node.read(read, 99).bytes(1), b"more");
    assert_eq!(node.read(read, 99).bytes(1), b"bytes and bytes");
    // Each packet has a page of its own.
    node.call(calls::fcntl, &[N(write), N(4), N(0o44_000)]).ok();
    for _ in 0..16 {
        node.write(write, b"x").ok();
    }
    assert_eq!(node.write(write, b"x").errno(), Errno::EAGAIN);
}

#[test]
fn small_writes_are_whole() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0o4000);
    assert_eq!(node.read(read, 1).errno(), Errno::EAGAIN);
    assert_eq!(node.write(write, &[1; 65_000]).ok(), 65_000);
    assert_eq!(node.write(write, &[2; 537]).errno(), Errno::EAGAIN);
    assert_eq!(node.write(write, &[2; 5000]).errno(), Errno::EAGAIN);
    assert_eq!(node.write(write, &[2; 536]).ok(), 536);
    node.read(read, 5000).ok();
    assert_eq!(node.write(write, &[3; 9000]).ok(), 4096);
    let wrong = node.call(calls::pipe2, &[Out(8), N(0o2)]);
    assert_eq!(wrong.errno(), Errno::EINVAL);
    assert_eq!(
        node.call(calls::fcntl, &[N(read), N(1032), N(0)]).ok(),
        65_536
    );
}

#[test]
fn poll_tells_and_waits() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    let poll = |node: &mut Node, fds: &[(i32, i16)]| {
        let mut bytes = Vec::new();
        for (fd, events) in fds {
            bytes.extend_from_slice(&fd.to_le_bytes());
            bytes.extend_from_slice(&events.to_le_bytes());
            bytes.extend_from_slice(&[0xee, 0xee]);
        }
        let reply = node.call(calls::poll, &[InOut(&bytes), N(fds.len() as u64), N(0)]);
        let revents: Vec<u16> = reply.outputs[0]
            .chunks_exact(8)
            .map(|entry| u16::from_le_bytes([entry[6], entry[7]]))
            .collect();
        (reply.result, revents)
    };
    let (r, w) = (read as i32, write as i32);
    assert_eq!(poll(&mut node, &[(r, 1), (w, 4)]), (Ok(1), vec![0, 4]));
    assert_eq!(
        poll(&mut node, &[(r, 1), (-1, 1)]),
        (Err(Stop::Wait), vec![])
    );
    node.write(write, b"x").ok();
    assert_eq!(node.wakes.take(), [PID]);
    assert_eq!(poll(&mut node, &[(r, 1), (99, 1)]), (Ok(2), vec![1, 0x20]));
    node.read(read, 1).ok();
    node.deadline_ns = Some(0);
    assert_eq!(poll(&mut node, &[(r, 1)]), (Ok(0), vec![0]));
    node.deadline_ns = Some(100);
    assert_eq!(poll(&mut node, &[(r, 1)]), (Err(Stop::Wait), vec![]));
    node.now_ns = 100;
    assert_eq!(poll(&mut node, &[(r, 1)]), (Ok(0), vec![0]));
    node.deadline_ns = None;
    node.write(write, &[0; 65_000]).ok();
    assert_eq!(poll(&mut node, &[(w, 4)]).0, Err(Stop::Wait));
    node.close(read);
    assert_eq!(poll(&mut node, &[(w, 4)]), (Ok(1), vec![8]));
    let (read, write) = pipe(&mut node, 0);
    node.close(write);
    assert_eq!(poll(&mut node, &[(read as i32, 1)]), (Ok(1), vec![0x10]));
    let args = [InOut(&[0; 8]), N(5000), N(0)];
    assert_eq!(node.call(calls::poll, &args).errno(), Errno::EINVAL);
}

#[test]
fn a_pipe_is_opened_again_through_proc() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    let again = node.open(&format!("/dev/fd/{write}"), 1);
    node.close(write);
    node.write(again, b"via").ok();
    assert_eq!(node.read(read, 9).bytes(1), b"via");
    node.close(again);
    assert_eq!(node.read(read, 9).bytes(1), b"");
    let link = format!("/proc/self/fd/{read}");
    let args = [In(link.as_bytes()), Out(40), N(40)];
    let text = node.call(calls::readlink, &args).bytes(1);
    assert!(text.starts_with(b"pipe:["), "{text:?}");
}

#[test]
fn random_pipes_against_a_model() {
    let mut dice = Dice(7);
    for _ in 0..20 {
        let mut node = Node::new(&[]);
        let (read, write) = pipe(&mut node, 0);
        let mut model = std::collections::VecDeque::new();
        let mut next = 0u8;
        for _ in 0..400 {
            let length = match dice.below(3) {
                0 => dice.below(10),
                1 => dice.below(5000),
                _ => dice.below(65_537),
            } as usize;
            if dice.below(2) == 0 {
                let bytes: Vec<u8> = (0..length).map(|at| next.wrapping_add(at as u8)).collect();
                let room = 65_536 - model.len();
                match node.write(write, &bytes).result {
                    Ok(count) => {
                        assert!(count as usize <= length.min(room));
                        assert!(length > 4096 || count as usize == length);
                        model.extend(&bytes[..count as usize]);
                        next = next.wrapping_add(count as u8);
                    }
                    Err(Stop::Wait) => assert!(!model.is_empty()),
                    Err(other) => panic!("{other:?}"),
                }
            } else {
                let reply = node.read(read, length);
                if length > 0 && model.is_empty() {
                    assert_eq!(reply.result, Err(Stop::Wait));
                    continue;
                }
                let expected: Vec<u8> = model.drain(..length.min(model.len())).collect();
                assert_eq!(reply.bytes(1), expected);
            }
        }
    }
}

#[test]
fn memory_goes_into_a_pipe_and_comes_out() {
    let mut node = Node::new(&[]);
    let (read, write) = pipe(&mut node, 0);
    let splice = |node: &mut Node, fd: u64, bytes: &[u8], flags: u64| {
        let args = [N(fd), InOut(bytes), N(bytes.len() as u64), N(flags)];
        node.call(calls::vmsplice, &args)
    };
    assert_eq!(splice(&mut node, write, b"hello", 0).ok(), 5);
    assert_eq!(splice(&mut node, read, b"...", 0).bytes(1), b"hel");
    assert_eq!(node.read(read, 9).bytes(1), b"lo");
    assert_eq!(splice(&mut node, read, b"...", 0).result, Err(Stop::Wait));
    assert_eq!(splice(&mut node, read, b"...", 2).errno(), Errno::EAGAIN);
    node.write(write, &[0; 15 * PIPE_BUF]).ok();
    assert_eq!(splice(&mut node, write, &[1; 5000], 0).ok(), 4096);
    assert_eq!(splice(&mut node, write, b"x", 0).result, Err(Stop::Wait));
    let event = node.call(calls::eventfd2, &[N(5), N(0)]).ok();
    assert_eq!(splice(&mut node, event, b"x", 0).errno(), Errno::EBADF);
    node.close(read);
    assert_eq!(splice(&mut node, write, b"x", 0).errno(), Errno::EPIPE);
}
