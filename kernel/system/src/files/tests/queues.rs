//! Message queues of POSIX, through their calls.

use super::*;

const SIGEV_THREAD: u32 = 2;

/// A `struct sigevent`.
fn event(signal: u64, how: u32) -> Vec<u8> {
    let mut bytes = 0_u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(signal as u32).to_le_bytes());
    bytes.extend_from_slice(&how.to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

fn notify(node: &mut Node, queue: u64, event: &[u8], cookie: &[u8]) -> Reply {
    node.call(calls::mq_notify, &[N(queue), In(event), In(cookie)])
}

fn queue(node: &mut Node) -> u64 {
    let args = [In(b"q"), N(0o102), N(0o600)];
    node.call(calls::mq_open, &args).ok()
}

fn send(node: &mut Node, queue: u64) {
    let args = [N(queue), In(b"text"), N(4), N(0), N(1)];
    node.call(calls::mq_timedsend, &args).ok();
}

#[test]
fn a_thread_is_told_of_a_message_through_a_socket() {
    let mut node = Node::new(&[]);
    let queue = queue(&mut node);
    let socket = node.call(calls::socket, &[N(16), N(3), N(0)]).ok();
    let cookie = [7; 32];
    let wish = event(socket, SIGEV_THREAD);
    notify(&mut node, queue, &wish, &cookie).ok();
    let second = notify(&mut node, queue, &wish, &cookie);
    assert_eq!(second.errno(), Errno::EBUSY);
    send(&mut node, queue);
    let told = node.read(socket, 99).bytes(1);
    assert_eq!((&told[..31], told[31]), (&cookie[..31], 1));
    // Once; and who takes it back is told that, too.
    send(&mut node, queue);
    assert_eq!(node.read(socket, 99).result, Err(Stop::Wait));
    notify(&mut node, queue, &wish, &cookie).ok();
    node.call(calls::mq_notify, &[N(queue)]).ok();
    assert_eq!(node.read(socket, 99).bytes(1)[31], 2);
    // So is who closes any descriptor of the queue.
    notify(&mut node, queue, &wish, &cookie).ok();
    let other = node.call(calls::mq_open, &[In(b"q"), N(0)]).ok();
    node.close(other);
    assert_eq!(node.read(socket, 99).bytes(1)[31], 2);
    notify(&mut node, queue, &wish, &cookie).ok();
}

#[test]
fn a_queue_can_be_read_like_a_file() {
    let mut node = Node::new(&[]);
    let queue = queue(&mut node);
    let empty = b"QSIZE:0          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n";
    assert_eq!(node.read(queue, 99).bytes(1), empty);
    assert_eq!(node.read(queue, 99).bytes(1), b"");
    send(&mut node, queue);
    node.call(calls::lseek, &[N(queue), N(0), N(0)]).ok();
    let event = event(12, 0);
    notify(&mut node, queue, &event, &[]).ok();
    let args = [N(queue), Out(99), N(99), N(6)];
    let text = node.call(calls::pread64, &args).bytes(1);
    let told = b"4          NOTIFY:0     SIGNO:12    NOTIFY_PID:7     \n";
    assert_eq!(text, told);
    assert_eq!(node.read(queue, 6).bytes(1), b"QSIZE:");
    let end = node.call(calls::lseek, &[N(queue), N(0), N(2)]);
    assert_eq!(end.ok(), 80);
    assert_eq!(node.write(queue, b"x").errno(), Errno::EINVAL);
    let status = node.call(calls::fstat, &[N(queue), Out(144)]).bytes(1);
    assert_eq!(Stat::parse(&status).mode, 0o100_600);
}

#[test]
fn a_thread_is_told_through_nothing_else() {
    let mut node = Node::new(&[]);
    let queue = queue(&mut node);
    let local = node.call(calls::socket, &[N(1), N(1), N(0)]).ok();
    for (fd, errno) in [
        (99, Errno::EBADF),
        (queue, Errno::ENOTSOCK),
        (local, Errno::EINVAL),
    ] {
        let told = notify(&mut node, queue, &event(fd, SIGEV_THREAD), &[0; 32]);
        assert_eq!(told.errno(), errno);
    }
    let unknown = notify(&mut node, queue, &event(1, 3), &[]);
    assert_eq!(unknown.errno(), Errno::EINVAL);
}
