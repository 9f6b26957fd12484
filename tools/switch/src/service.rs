//! The switch in a thread of its own, between sockets where one datagram is one frame.
//!
//! Law: the thread never blocks on a port. What a port does not take is queued, bounded per port, and
//! beyond that dropped and counted: one stuck node does not stop the others.

use crate::bombard::Bombardment;
use crate::core::{Counters, Switch};
use crate::faults::Faults;
use crate::pcap::Capture;
use crate::{FRAME_MAX, PORTS_MAX};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Socket buffer asked for, in bytes, in each direction: about 900 frames of 9000 bytes.
const SOCKET_BUFFER: usize = 16 << 20;
/// Bytes queued in the switch for a port that takes nothing.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Frames taken from one port before the others get their turn.
const BATCH: usize = 64;

/// Why a switch could not be set up.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The capture file cannot be written.
    #[error("cannot write the capture file {path}: {source}")]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a socket, an event descriptor or a thread.
    #[error("cannot set up the switch: {0}")]
    System(#[from] io::Error),
}

/// The two ends of a virtual cable: one for the switch, one for a node.
#[derive(Debug)]
pub struct Attachment {
    /// Given to [`Service::attach`]; does not block.
    pub switch_end: OwnedFd,
    /// Given to the node; blocks. Closed on exec: the launcher clears that when it starts the node.
    pub node_end: OwnedFd,
}

/// Makes a cable: a pair of sequenced-packet sockets with large buffers.
///
/// # Errors
/// When the system gives no sockets.
pub fn link_pair() -> io::Result<Attachment> {
    let (switch_end, node_end) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&switch_end, true)?;
    for end in [&switch_end, &node_end] {
        // The forced form needs CAP_NET_ADMIN; the plain one is cut to the system's limit.
        if sockopt::set_socket_send_buffer_size_force(end, SOCKET_BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(end, SOCKET_BUFFER)?;
        }
    }
    Ok(Attachment {
        switch_end,
        node_end,
    })
}

enum Order {
    Attach(usize, OwnedFd),
    Change(Box<dyn FnOnce(&mut Switch) + Send>),
    Count(Sender<Counters>),
    Bombard(usize, Duration, u64),
    Stop,
}

/// A running switch. Dropping it stops the thread and completes the capture file.
#[derive(Debug)]
pub struct Service {
    orders: Sender<Order>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts a switch of `ports` ports, none attached. Faults draw from `seed`; every frame that
    /// comes in is written to `capture` when given.
    ///
    /// # Errors
    /// When the capture file or the thread cannot be made.
    pub fn start(ports: usize, seed: u64, capture: Option<&Path>) -> Result<Service, ServiceError> {
        let capture = match capture {
            None => None,
            Some(path) => Some(open_capture(path).map_err(|source| {
                let path = path.to_owned();
                ServiceError::Capture { path, source }
            })?),
        };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags).map_err(io::Error::from)?);
        let (orders, receiver) = channel();
        let worker = Worker {
            switch: Switch::new(ports, seed),
            ports: (0..PORTS_MAX).map(|_| None).collect(),
            orders: receiver,
            bell: Arc::clone(&bell),
            capture,
            bombardment: None,
            start: Instant::now(),
            start_unix_ns: unix_ns(),
        };
        let thread = std::thread::Builder::new()
            .name("switch".into())
            .spawn(move || worker.run())?;
        Ok(Service {
            orders,
            bell,
            thread: Some(thread),
        })
    }

    /// Connects `switch_end` of a cable to `port`, replacing what was there.
    pub fn attach(&self, port: usize, switch_end: OwnedFd) {
        self.order(Order::Attach(port, switch_end));
    }

    /// Changes the switch between two frames, for example its faults or cuts.
    pub fn change(&self, change: impl FnOnce(&mut Switch) + Send + 'static) {
        self.order(Order::Change(Box::new(change)));
    }

    /// Sets what every link does.
    pub fn set_all_faults(&self, faults: Faults) {
        self.change(move |switch| switch.set_all_faults(faults));
    }

    /// Sends random and changed frames to a port for a while, as fast as it takes them behind those that are for it.
    pub fn bombard(&self, port: usize, length: Duration, seed: u64) {
        self.order(Order::Bombard(port, length, seed));
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let (sender, receiver) = channel();
        self.order(Order::Count(sender));
        receiver.recv().unwrap_or_default()
    }

    fn order(&self, order: Order) {
        // A thread that has ended has nothing left to obey with.
        if self.orders.send(order).is_ok() {
            let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open_capture(path: &Path) -> io::Result<Capture<BufWriter<File>>> {
    Capture::new(BufWriter::with_capacity(1 << 20, File::create(path)?))
}

fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos() as u64
}

/// One attached socket and the frames it did not take yet.
struct Port {
    socket: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
    gone: bool,
}

impl Port {
    /// Hands one frame over; false when it had to be dropped.
    fn transmit(&mut self, frame: &[u8]) -> bool {
        if self.gone {
            return false;
        }
        if self.queue.is_empty() {
            match rustix::net::send(&self.socket, frame, SendFlags::NOSIGNAL) {
                Ok(_) => return true,
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => {
                    self.gone = true;
                    return false;
                }
            }
        }
        if self.queue_bytes + frame.len() > QUEUE_BYTES_MAX {
            return false;
        }
        self.queue_bytes += frame.len();
        self.queue.push_back(frame.to_vec());
        true
    }

    /// Sends what is queued as far as the socket takes it.
    fn drain(&mut self) {
        while let Some(frame) = self.queue.front() {
            match rustix::net::send(&self.socket, frame, SendFlags::NOSIGNAL) {
                Ok(_) => {
                    self.queue_bytes -= frame.len();
                    self.queue.pop_front();
                }
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

struct Worker {
    switch: Switch,
    ports: Vec<Option<Port>>,
    orders: Receiver<Order>,
    bell: Arc<OwnedFd>,
    capture: Option<Capture<BufWriter<File>>>,
    bombardment: Option<Bombardment>,
    start: Instant,
    start_unix_ns: u64,
}

impl Worker {
    fn run(mut self) {
        let mut buffer = vec![0; FRAME_MAX + 1];
        loop {
            let ready = self.wait();
            if ready.rung && !self.obey() {
                break;
            }
            for port in ready.writable {
                if let Some(port) = &mut self.ports[port] {
                    port.drain();
                }
            }
            for port in ready.readable {
                self.receive(port, &mut buffer);
            }
            self.release();
            self.bombard();
            self.drop_gone();
        }
        if let Some(capture) = &mut self.capture {
            let _ = capture.flush();
        }
    }

    /// Waits until a port, an order or a late frame needs attention.
    fn wait(&mut self) -> Ready {
        let timeout = self.switch.next_deadline_ns().map(|at_ns| {
            let left_ns = at_ns.saturating_sub(self.now_ns());
            Timespec {
                tv_sec: (left_ns / 1_000_000_000) as i64,
                tv_nsec: (left_ns % 1_000_000_000) as i64,
            }
        });
        let mut numbers = Vec::with_capacity(PORTS_MAX);
        let mut polled = Vec::with_capacity(PORTS_MAX + 1);
        polled.push(PollFd::new(&*self.bell, PollFlags::IN));
        for (number, port) in self.ports.iter().enumerate() {
            let Some(port) = port else { continue };
            let mut flags = PollFlags::IN;
            let bombarded = self
                .bombardment
                .as_ref()
                .is_some_and(|it| it.port == number);
            if bombarded || !port.queue.is_empty() {
                flags |= PollFlags::OUT;
            }
            numbers.push(number);
            polled.push(PollFd::from_borrowed_fd(port.socket.as_fd(), flags));
        }
        let mut ready = Ready::default();
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return ready;
        }
        ready.rung = !polled[0].revents().is_empty();
        for (number, polled) in numbers.into_iter().zip(&polled[1..]) {
            let events = polled.revents();
            if events.contains(PollFlags::OUT) {
                ready.writable.push(number);
            }
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                ready.readable.push(number);
            }
        }
        ready
    }

    /// Carries out all orders; false means stop.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Attach(port, socket) => {
                    if port < self.switch.ports() {
                        let queue = VecDeque::new();
                        let port = &mut self.ports[port];
                        *port = Some(Port {
                            socket,
                            queue,
                            queue_bytes: 0,
                            gone: false,
                        });
                    }
                }
                Order::Change(change) => change(&mut self.switch),
                Order::Count(reply) => {
                    let _ = reply.send(self.switch.counters());
                }
                Order::Bombard(port, length, seed) => {
                    let until_ns = self.now_ns() + length.as_nanos() as u64;
                    let bombardment = Bombardment::new(port, until_ns, seed);
                    self.bombardment = (port < self.switch.ports()).then_some(bombardment);
                }
                Order::Stop => return false,
            }
        }
        true
    }

    /// Forwards what one port has sent, at most a batch.
    fn receive(&mut self, from: usize, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            let Some(port) = &mut self.ports[from] else {
                return;
            };
            let length = match rustix::net::recv(&port.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    port.gone = true;
                    return;
                }
                Ok((length, _)) => length,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => {
                    port.gone = true;
                    return;
                }
            };
            let frame = &buffer[..length];
            let now_ns = self.now_ns();
            if let Some(bombardment) = &mut self.bombardment {
                bombardment.record(now_ns, frame);
            }
            if let Some(capture) = &mut self.capture {
                // A full disk ends the capture and not the cluster.
                if capture.record(self.start_unix_ns + now_ns, frame).is_err() {
                    self.capture = None;
                }
            }
            let mut refused = Vec::new();
            let ports = &mut self.ports;
            self.switch.forward(now_ns, from, frame, &mut |to, frame| {
                if !transmit(ports, to, frame) {
                    refused.push(frame.len());
                }
            });
            refused
                .into_iter()
                .for_each(|bytes| self.switch.refused(bytes));
        }
    }

    fn release(&mut self) {
        let now_ns = self.now_ns();
        let mut refused = Vec::new();
        let ports = &mut self.ports;
        self.switch.release(now_ns, &mut |to, frame| {
            if !transmit(ports, to, frame) {
                refused.push(frame.len());
            }
        });
        refused
            .into_iter()
            .for_each(|bytes| self.switch.refused(bytes));
    }

    /// A batch of frames that nobody sent, unless the port is still busy with others.
    fn bombard(&mut self) {
        let now_ns = self.now_ns();
        self.bombardment.take_if(|it| it.until_ns <= now_ns);
        let Some(bombardment) = &mut self.bombardment else {
            return;
        };
        let Some(Some(port)) = self.ports.get_mut(bombardment.port) else {
            return;
        };
        for _ in 0..BATCH {
            if !port.queue.is_empty() {
                return;
            }
            let frame = bombardment.next(now_ns);
            if port.transmit(&frame) {
                self.switch.count_bombarded();
            }
        }
    }

    fn drop_gone(&mut self) {
        for (number, port) in self.ports.iter_mut().enumerate() {
            if port.as_ref().is_some_and(|port| port.gone) {
                *port = None;
                self.switch.port_gone(number);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

#[derive(Default)]
struct Ready {
    rung: bool,
    readable: Vec<usize>,
    writable: Vec<usize>,
}

/// False when the port dropped the frame. A port without a node takes everything, as an unplugged
/// socket of a real switch does.
fn transmit(ports: &mut [Option<Port>], to: usize, frame: &[u8]) -> bool {
    match &mut ports[to] {
        Some(port) => port.transmit(frame),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Chance;

    /// A switch with `count` nodes, whose ends are returned.
    fn cluster(count: usize) -> (Service, Vec<OwnedFd>) {
        let service = Service::start(count, 1, None).expect("a switch starts");
        let nodes = (0..count)
            .map(|port| {
                let pair = link_pair().expect("a socket pair");
                service.attach(port, pair.switch_end);
                pair.node_end
            })
            .collect();
        (service, nodes)
    }

    fn frame(to: u8, from: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0x5a; length];
        frame[..6].copy_from_slice(&[0x52, 0x54, 0, 0, 0, to]);
        frame[6..12].copy_from_slice(&[0x52, 0x54, 0, 0, 0, from]);
        frame
    }

    fn send(node: &OwnedFd, frame: &[u8]) {
        rustix::net::send(node, frame, SendFlags::NOSIGNAL).expect("the switch takes it");
    }

    /// Waits up to a second for a frame.
    fn receive(node: &OwnedFd) -> Option<Vec<u8>> {
        let mut polled = [PollFd::new(node, PollFlags::IN)];
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        if poll(&mut polled, Some(&second)).expect("poll works") == 0 {
            return None;
        }
        let mut buffer = vec![0; FRAME_MAX];
        let (length, _) =
            rustix::net::recv(node, &mut buffer[..], RecvFlags::empty()).expect("readable");
        buffer.truncate(length);
        Some(buffer)
    }

    #[test]
    fn frames_cross_whole_and_in_order() {
        let (service, nodes) = cluster(3);
        let jumbo = frame(2, 1, 9014);
        send(&nodes[0], &jumbo);
        assert_eq!(receive(&nodes[1]).as_deref(), Some(&jumbo[..]));
        assert_eq!(receive(&nodes[2]).as_deref(), Some(&jumbo[..]));
        for length in 60..160 {
            send(&nodes[1], &frame(1, 2, length));
        }
        for length in 60..160 {
            assert_eq!(receive(&nodes[0]).map(|frame| frame.len()), Some(length));
        }
        assert_eq!(service.counters().received, 101);
    }

    #[test]
    fn a_stuck_node_does_not_stop_the_others() {
        let (service, nodes) = cluster(3);
        send(&nodes[2], &frame(1, 3, 60)); // learned, and flooded to 0 and 1
        receive(&nodes[0]).expect("flooded");
        receive(&nodes[1]).expect("flooded");
        // Node 3 reads nothing; fill every buffer towards it several times over.
        for _ in 0..8000 {
            send(&nodes[0], &frame(3, 1, 9014));
        }
        send(&nodes[0], &frame(0xee, 1, 61));
        assert_eq!(receive(&nodes[1]).map(|frame| frame.len()), Some(61));
        assert!(service.counters().overflowed > 0);
    }

    #[test]
    fn faults_and_cuts_change_while_running() {
        let (service, nodes) = cluster(2);
        let lossy = Faults {
            loss: Chance::percent(100),
            ..Faults::default()
        };
        service.set_all_faults(lossy);
        assert_eq!(service.counters().received, 0); // the change is in before this answer
        send(&nodes[0], &frame(2, 1, 60));
        while service.counters().lost == 0 {}
        service.set_all_faults(Faults {
            delay_us: 1000,
            ..Faults::default()
        });
        service.counters();
        send(&nodes[0], &frame(2, 1, 62));
        assert_eq!(receive(&nodes[1]).map(|frame| frame.len()), Some(62));
    }

    #[test]
    fn who_is_bombarded_gets_its_own_frames_too() {
        let (service, nodes) = cluster(2);
        service.bombard(1, Duration::from_secs(60), 5);
        while service.counters().bombarded < 100 {}
        send(&nodes[0], &frame(2, 1, 61));
        let mine = |frame: &Vec<u8>| frame.len() == 61 && frame[20] == 0x5a;
        assert!(
            (0..200_000)
                .map_while(|_| receive(&nodes[1]))
                .any(|frame| mine(&frame))
        );
        assert_eq!(service.counters().delivered, 1);
    }

    #[test]
    fn a_node_can_leave_and_come_back() {
        let (service, mut nodes) = cluster(2);
        drop(nodes.remove(1));
        send(&nodes[0], &frame(2, 1, 60));
        while service.counters().received == 0 {}
        let pair = link_pair().expect("a socket pair");
        service.attach(1, pair.switch_end);
        service.counters();
        send(&nodes[0], &frame(2, 1, 61));
        let lengths: Vec<_> = receive(&pair.node_end).iter().map(Vec::len).collect();
        assert_eq!(lengths, [61]);
    }
}
