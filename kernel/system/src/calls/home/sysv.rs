//! IPC of System V, as home sees it.

use crate::dispatch::HomeCall;
use crate::sysv::{Caller, Operation, Receive};
use crate::wait::Stop;
use alloc::vec::Vec;

impl HomeCall<'_> {
    /// The caller as the objects see it.
    fn ipc_caller(&mut self) -> Caller {
        let now_s = self.system.fs.time(self.system.now).seconds.max(0) as u64;
        let (pid, tid) = (self.pid, self.tid);
        let credentials = &self.thread().credentials;
        Caller {
            pid,
            waiter: tid,
            ids: credentials.ids,
            groups: credentials.groups.clone(),
            now_s,
        }
    }
}

/// semget(2).
pub fn semget(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [key, count, flags, ..] = call.args;
    let caller = call.ipc_caller();
    let system = &mut *call.system;
    let wakes = system.wakes.clone();
    let ipc = &mut system.ipc;
    Ok(ipc.semget(&caller, key as i32, count as i32, flags as u32, &wakes)?)
}

/// semtimedop(2) as the body has prepared it: `(id, whether it may wait, how many)`, and the operations
/// in buffer 1.
pub fn sem_operate(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, waits, ..] = call.args;
    let caller = call.ipc_caller();
    let (operations, _) = call.input(1).as_chunks::<6>();
    let operations: Vec<Operation> = operations.iter().map(Operation::parse).collect();
    let ipc = &mut call.system.ipc;
    ipc.semop(&caller, id as i32, &operations, waits != 0)
}

/// semctl(2) as the body has prepared it: `(id, number, command, value)`, and in buffer 4 what the last
/// argument points to. What is to be written there is in buffer 5 of the answer.
pub fn sem_control(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, number, command, value, ..] = call.args;
    let caller = call.ipc_caller();
    let given = call.input(4).to_vec();
    let ipc = &mut call.system.ipc;
    let command = command as u32;
    let (value, answer) = ipc.semctl(&caller, id as i32, number as i32, command, &given, value)?;
    call.outputs.set(5, answer);
    Ok(value)
}

/// msgget(2).
pub fn msgget(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [key, flags, ..] = call.args;
    let caller = call.ipc_caller();
    let system = &mut *call.system;
    let wakes = system.wakes.clone();
    let ipc = &mut system.ipc;
    Ok(ipc.msgget(&caller, key as i32, flags as u32, &wakes)?)
}

/// msgsnd(2): `(id, type, flags)`, and the text in buffer 1.
pub fn message_send(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, kind, flags, ..] = call.args;
    let caller = call.ipc_caller();
    let text = call.input(1).to_vec();
    let ipc = &mut call.system.ipc;
    ipc.msgsnd(&caller, id as i32, kind as i64, &text, flags as u32)
}

/// msgrcv(2): `(id, most bytes, type, flags)`. The type goes to buffer 0, the text to buffer 1.
pub fn message_receive(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, most, kind, flags, ..] = call.args;
    let caller = call.ipc_caller();
    let wanted = Receive {
        most: usize::try_from(most).unwrap_or(usize::MAX),
        kind: kind as i64,
        flags: flags as u32,
    };
    let taken = call.system.ipc.msgrcv(&caller, id as i32, &wanted)?;
    let length = taken.text.len() as u64;
    call.outputs.set(0, taken.kind.to_le_bytes().to_vec());
    call.outputs.set(1, taken.text);
    Ok(length)
}

/// msgctl(2): `(id, command)`, and in buffer 2 what the last argument points to; see [`sem_control`].
pub fn message_control(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, command, ..] = call.args;
    let caller = call.ipc_caller();
    let given = call.input(2).to_vec();
    let ipc = &mut call.system.ipc;
    let (value, answer) = ipc.msgctl(&caller, id as i32, command as u32, &given)?;
    call.outputs.set(5, answer);
    Ok(value)
}

/// shmget(2).
pub fn shmget(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [key, size, flags, ..] = call.args;
    let caller = call.ipc_caller();
    let system = &mut *call.system;
    let (wakes, fs, now) = (system.wakes.clone(), system.fs.clone(), system.now);
    let wanted = (key as i32, size, flags as u32);
    let make = |size| fs.make_segment(size, now);
    Ok(system.ipc.shmget(&caller, wanted, &wakes, make)?)
}

/// A segment is to be attached: `(id, flags)`; the value is its size. Who attaches has to be here: if it is
/// elsewhere it is sent for, and calls again when it has come.
pub fn segment_attach(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, flags, ..] = call.args;
    call.system.bring_home(call.pid, call.tid)?;
    let caller = call.ipc_caller();
    Ok(call.system.ipc.shmat(&caller, id as i32, flags as u32)?)
}

/// shmctl(2): as [`message_control`].
pub fn segment_control(call: &mut HomeCall<'_>) -> Result<u64, Stop> {
    let [id, command, ..] = call.args;
    let caller = call.ipc_caller();
    let given = call.input(2).to_vec();
    let ipc = &mut call.system.ipc;
    let (value, answer) = ipc.shmctl(&caller, id as i32, command as u32, &given)?;
    call.outputs.set(5, answer);
    Ok(value)
}
