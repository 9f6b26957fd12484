//! Semaphores and queues, by their calls.

use super::*;
use crate::wait::Stop;

const PID: u32 = 7;
const SEM_UNDO: i16 = 0x1000;
const NOWAIT: i16 = 0o4000;

fn caller(pid: u32) -> Caller {
    Caller {
        pid,
        waiter: pid,
        ids: Ids::default(),
        groups: Vec::new(),
        now_s: 5,
    }
}

fn operation(number: u16, by: i16, flags: i16) -> Operation {
    let mut bytes = [0; 6];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    bytes[2..4].copy_from_slice(&by.to_le_bytes());
    bytes[4..].copy_from_slice(&flags.to_le_bytes());
    Operation::parse(&bytes)
}

struct Node {
    ipc: Ipc,
    wakes: Wakes,
}

impl Node {
    fn new() -> Node {
        Node {
            ipc: Ipc::default(),
            wakes: Wakes::new(),
        }
    }

    fn set(&mut self, count: i32) -> i32 {
        let id = self
            .ipc
            .semget(&caller(PID), IPC_PRIVATE, count, 0o600, &self.wakes);
        id.expect("a set") as i32
    }

    fn operate(&mut self, pid: u32, id: i32, operations: &[Operation]) -> Result<u64, Stop> {
        self.ipc.semop(&caller(pid), id, operations, true)
    }

    fn control(&mut self, id: i32, number: i32, command: u32, value: u64) -> Result<u64, Errno> {
        let done = self
            .ipc
            .semctl(&caller(PID), id, number, command, &[], value);
        done.map(|done| done.0)
    }
}

#[test]
fn operations_happen_together_or_wait() {
    let mut node = Node::new();
    let id = node.set(2);
    let both = [operation(0, -1, 0), operation(1, 1, 0)];
    assert_eq!(node.operate(8, id, &both), Err(Stop::Wait));
    assert_eq!(node.control(id, 0, 14, 0), Ok(1));
    assert_eq!(node.control(id, 1, 12, 0), Ok(0));
    assert_eq!(node.operate(9, id, &[operation(0, 1, 0)]), Ok(0));
    assert_eq!(node.wakes.take(), [8]);
    assert_eq!(node.operate(8, id, &both), Ok(0));
    assert_eq!(node.control(id, 0, 14, 0), Ok(0));
    assert_eq!(node.control(id, 1, 12, 0), Ok(1));
    assert_eq!(node.control(id, 1, 11, 0), Ok(8));
    let again = [operation(0, -1, NOWAIT)];
    assert_eq!(node.operate(8, id, &again), Err(Errno::EAGAIN.into()));
    let zero = [operation(1, 0, 0)];
    assert_eq!(node.operate(8, id, &zero), Err(Stop::Wait));
    assert_eq!(node.control(id, 1, 15, 0), Ok(1));
    assert_eq!(node.control(id, 1, 16, 0), Ok(0));
    assert_eq!(node.operate(8, id, &zero), Ok(0));
}

#[test]
fn what_linux_refuses_is_refused() {
    let mut node = Node::new();
    let id = node.set(2);
    let wakes = node.wakes.clone();
    let mut get = |key, count, flags| node.ipc.semget(&caller(PID), key, count, flags, &wakes);
    assert_eq!(get(5, 1, 0), Err(Errno::ENOENT));
    assert_eq!(get(5, 0, IPC_CREAT), Err(Errno::EINVAL));
    assert_eq!(get(5, -1, IPC_CREAT), Err(Errno::EINVAL));
    let made = get(5, 3, IPC_CREAT | 0o600);
    assert_eq!(get(5, 2, 0), made);
    assert_eq!(get(5, 4, 0), Err(Errno::EINVAL));
    assert_eq!(get(5, 3, IPC_CREAT | IPC_EXCL), Err(Errno::EEXIST));
    let far = [operation(2, 1, 0)];
    assert_eq!(node.operate(8, id, &far), Err(Errno::EFBIG.into()));
    let much = [operation(0, 32_767, 0), operation(0, 1, 0)];
    assert_eq!(node.operate(8, id, &much), Err(Errno::ERANGE.into()));
    assert_eq!(node.control(id, 0, 12, 0), Ok(0));
    assert_eq!(node.control(id, 2, 12, 0), Err(Errno::EINVAL));
    assert_eq!(node.control(id, 0, 16, 32_768), Err(Errno::ERANGE));
    assert_eq!(node.control(id, 0, 99, 0), Err(Errno::EINVAL));
    assert_eq!(node.control(-1, 0, 12, 0), Err(Errno::EINVAL));
    let mut stranger = caller(9);
    stranger.ids.set_groups([1000; 3]);
    stranger.ids.set_users([1000; 3], 0);
    let mine = [operation(0, 1, 0)];
    let tried = node.ipc.semop(&stranger, id, &mine, true);
    assert_eq!(tried, Err(Errno::EACCES.into()));
    let removed = node.ipc.semctl(&stranger, id, 0, IPC_RMID, &[], 0);
    assert_eq!(removed.err(), Some(Errno::EPERM));
}

#[test]
fn who_waits_for_what_is_removed_is_told_once() {
    let mut node = Node::new();
    let id = node.set(1);
    let take = [operation(0, -1, 0)];
    assert_eq!(node.operate(8, id, &take), Err(Stop::Wait));
    assert_eq!(node.control(id, 0, IPC_RMID, 0), Ok(0));
    assert_eq!(node.wakes.take(), [8]);
    assert_eq!(node.operate(8, id, &take), Err(Errno::EIDRM.into()));
    assert_eq!(node.operate(8, id, &take), Err(Errno::EINVAL.into()));
    let next = node.set(1);
    assert_ne!(next, id);
}

#[test]
fn the_end_of_a_process_takes_back_what_it_wanted_undone() {
    let mut node = Node::new();
    let id = node.set(1);
    assert_eq!(node.control(id, 0, 16, 1), Ok(0));
    assert_eq!(node.operate(8, id, &[operation(0, -1, SEM_UNDO)]), Ok(0));
    let take = [operation(0, -1, 0)];
    assert_eq!(node.operate(9, id, &take), Err(Stop::Wait));
    node.ipc.ended(8);
    assert_eq!(node.wakes.take(), [9]);
    assert_eq!(node.operate(9, id, &take), Ok(0));
    assert_eq!(node.control(id, 0, 12, 0), Ok(0));
}

#[test]
fn messages_come_by_type_and_in_order() {
    let mut node = Node::new();
    let (ipc, wakes, me) = (&mut node.ipc, &node.wakes, caller(PID));
    let id = ipc.msgget(&me, IPC_PRIVATE, 0o600, wakes).expect("a queue") as i32;
    let receive =
        |ipc: &mut Ipc, most, kind, flags| ipc.msgrcv(&me, id, &Receive { most, kind, flags });
    assert_eq!(receive(ipc, 10, 0, 0), Err(Stop::Wait));
    assert_eq!(receive(ipc, 10, 0, IPC_NOWAIT), Err(Errno::ENOMSG.into()));
    for (kind, text) in [(3, "three"), (1, "one"), (2, "two"), (1, "uno")] {
        assert_eq!(ipc.msgsnd(&me, id, kind, text.as_bytes(), 0), Ok(0));
    }
    let text = |taken: Result<Taken, Stop>| {
        let taken = taken.expect("a message");
        (taken.kind, String::from_utf8(taken.text).expect("text"))
    };
    assert_eq!(text(receive(ipc, 10, -2, 0)), (1, "one".into()));
    assert_eq!(text(receive(ipc, 10, 2, 0)), (2, "two".into()));
    assert_eq!(text(receive(ipc, 10, 3, 0o20000)), (1, "uno".into()));
    assert_eq!(receive(ipc, 2, 0, 0), Err(Errno::E2BIG.into()));
    assert_eq!(text(receive(ipc, 2, 0, 0o10000)), (3, "th".into()));
    assert_eq!(ipc.msgsnd(&me, id, 0, b"", 0), Err(Errno::EINVAL.into()));
    for _ in 0..2 {
        assert_eq!(ipc.msgsnd(&me, id, 1, &[0; 8192], 0), Ok(0));
    }
    let more = ipc.msgsnd(&me, id, 1, &[0; 1], IPC_NOWAIT);
    assert_eq!(more, Err(Errno::EAGAIN.into()));
    assert_eq!(ipc.msgsnd(&me, id, 1, &[0; 1], 0), Err(Stop::Wait));
    ipc.msgctl(&me, id, IPC_RMID, &[]).expect("removed");
    assert_eq!(ipc.msgsnd(&me, id, 1, &[0; 1], 0), Err(Errno::EIDRM.into()));
}

#[test]
fn limits_are_set_by_writing_to_their_files() {
    let mut node = Node::new();
    let ipc = &mut node.ipc;
    assert_eq!(
        ipc.setting("kernel/sem").as_deref(),
        Some("32000\t1024000000\t500\t32000\n")
    );
    assert_eq!(ipc.set("kernel/sem", "3 4 2 2"), Ok(()));
    let get = |ipc: &mut Ipc, count| {
        let made = ipc.semget(&caller(PID), IPC_PRIVATE, count, 0o600, &node.wakes);
        made.map(|id| id as i32)
    };
    assert_eq!(get(ipc, 4), Err(Errno::EINVAL));
    let first = get(ipc, 3).expect("a set");
    assert_eq!(get(ipc, 2), Err(Errno::ENOSPC));
    assert!(get(ipc, 1).is_ok());
    assert_eq!(get(ipc, 1), Err(Errno::ENOSPC));
    let three = [operation(0, 1, 0); 3];
    let done = ipc.semop(&caller(PID), first, &three, true);
    assert_eq!(done, Err(Errno::E2BIG.into()));
    // Fewer numbers change the first ones.
    assert_eq!(ipc.set("kernel/sem", "7"), Ok(()));
    assert_eq!(ipc.setting("kernel/sem").as_deref(), Some("7\t4\t2\t2\n"));
    for (text, why) in [
        ("1 1 1 32769", Errno::ERANGE),
        ("1 1 501 1", Errno::EINVAL),
        ("x", Errno::EINVAL),
        ("1 1 1 1 1", Errno::EINVAL),
    ] {
        assert_eq!(ipc.set("kernel/sem", text), Err(why), "{text}");
    }
    let send = |ipc: &mut Ipc, id, length| {
        let text = alloc::vec![0; length];
        ipc.msgsnd(&caller(PID), id, 1, &text, IPC_NOWAIT)
    };
    assert_eq!(ipc.set("kernel/msgmnb", "9000"), Ok(()));
    let queue = ipc.msgget(&caller(PID), IPC_PRIVATE, 0o600, &node.wakes);
    let queue = queue.expect("a queue") as i32;
    assert_eq!(send(ipc, queue, 8193), Err(Errno::EINVAL.into()));
    assert_eq!(ipc.set("kernel/msgmax", "10000"), Ok(()));
    assert_eq!(send(ipc, queue, 9000), Ok(0));
    assert_eq!(send(ipc, queue, 1), Err(Errno::EAGAIN.into()));
    assert_eq!(ipc.set("kernel/msgmax", "65537"), Err(Errno::EINVAL));
}

#[test]
fn the_identifier_of_the_next_object_can_be_asked_for() {
    let mut node = Node::new();
    let get = |node: &mut Node| {
        let made = node
            .ipc
            .msgget(&caller(PID), IPC_PRIVATE, 0o600, &node.wakes);
        made.expect("a queue")
    };
    assert_eq!(node.ipc.set("kernel/msg_next_id", "70000"), Ok(()));
    assert_eq!(get(&mut node), 70_000);
    let setting = node.ipc.setting("kernel/msg_next_id");
    assert_eq!(setting.as_deref(), Some("-1\n"));
    // It is asked for once, and the row behind it is taken if it is not free.
    assert_eq!(node.ipc.set("kernel/msg_next_id", "70000"), Ok(()));
    assert_eq!(get(&mut node), 70_001);
    let usual = get(&mut node);
    assert!(usual < 1 << INDEX_BITS, "{usual}");
    // The last row is followed by the first that is free.
    for row in [32_767, 1] {
        assert_eq!(node.ipc.set("kernel/msg_next_id", "32767"), Ok(()));
        assert_eq!(get(&mut node), row);
    }
    assert_eq!(node.ipc.set("kernel/msg_next_id", "-1"), Err(Errno::EINVAL));
}
