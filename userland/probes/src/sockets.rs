//! Sockets and IPC of System V between processes that move.
//!
//! Law: bytes, messages and descriptors arrive once and in order, wherever both sides are, and whoever
//! waits while it is moved.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rt::ipc::{Queue, Semaphores, receive_descriptor, send_descriptor};
use rt::process::{Ended, kill, start, wait_for};
use rt::raw::{DESK, Desk, Disposition, dispose, libc};

use crate::memory::{check, fill};
use crate::moves::{Moves, go, send, tell};
use crate::{Doing, Verdict, ensure, must};

fn success(child: i32) -> Verdict {
    let ended = wait_for(child).doing("wait")?;
    ensure!(ended == Ended::Exited(0), "the child ended with {ended:?}");
    Ok(())
}

/// Moved while it waits for bytes, for room, and for a time limit.
pub(crate) fn socket_blocked(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 700_000;
    const LIMIT: Duration = Duration::from_millis(120);
    let mut bytes = vec![0; SIZE];
    while moves.more() {
        let seed = moves.round();
        let (mut one, mut other) = UnixStream::pair().doing("socketpair")?;
        let mut word = [0; 8];
        moves
            .while_blocked(
                || one.read_exact(&mut word),
                || other.write_all(&seed.to_le_bytes()).doing("write"),
            )?
            .doing("read")?;
        ensure!(u64::from_le_bytes(word) == seed, "{word:?} came");
        fill(&mut bytes, seed, 0);
        moves
            .while_blocked(
                || one.write_all(&bytes),
                || {
                    let mut found = vec![0; SIZE];
                    other.read_exact(&mut found).doing("read")?;
                    check(&found, seed, 0)
                },
            )?
            .doing("write more than a socket holds")?;
        one.set_read_timeout(Some(LIMIT)).doing("SO_RCVTIMEO")?;
        let begin = Instant::now();
        let late = moves.while_blocked(|| one.read(&mut word), || Ok(()))?;
        let waited = begin.elapsed();
        ensure!(late.is_err(), "{late:?} came of nothing");
        ensure!(waited >= LIMIT, "the limit was over after {waited:?}");
        drop(other);
    }
    Ok(())
}

/// How many bytes can be received.
fn unread(desk: &mut Desk, socket: &UnixStream) -> i64 {
    const FIONREAD: u64 = 0x541b;
    let fd = u64::from(socket.as_raw_fd().cast_unsigned());
    match desk.call(libc::SYS_ioctl, [fd, FIONREAD, DESK, 0, 0, 0]) {
        0 => desk.word(0).cast_signed() & 0xffff_ffff,
        error => error,
    }
}

/// A write that has filled the socket is ended by a signal, or by its limit, while its process is moved: it tells
/// what was written, and no more than that arrives.
pub(crate) fn socket_interrupted(moves: &mut Moves) -> Verdict {
    const SIZE: usize = 700_000;
    const LIMIT: Duration = Duration::from_millis(120);
    const PATIENCE_MS: i32 = 20_000;
    let mut desk = Desk::map().ok_or("no desk")?;
    let mut bytes = vec![0; SIZE];
    let mut found = vec![0; SIZE];
    while moves.more() {
        let seed = moves.round();
        fill(&mut bytes, seed, 0);
        let (one, mut other) = UnixStream::pair().doing("socketpair")?;
        other.set_nonblocking(true).doing("O_NONBLOCK")?;
        let (mut told, tells) = pipe().doing("pipe")?;
        let (stays, mut goes) = pipe().doing("pipe")?;
        let child = start(|| {
            let work = || {
                let noted = dispose(rt::SIGUSR1, Disposition::Note, 0, 0);
                ensure!(noted == 0, "sigaction gave {noted}");
                let written = (&one).write(&bytes).doing("write")? as u64;
                (&tells).write_all(&written.to_le_bytes()).doing("tell")?;
                (&stays).read_exact(&mut [0]).doing("stay")
            };
            tell(work())
        })
        .doing("fork")?;
        // Full, and no more comes.
        let mut full = (0, 1);
        while full.0 != full.1 || full.0 == 0 {
            std::thread::sleep(Duration::from_millis(20));
            full = (unread(&mut desk, &other), full.0);
        }
        let node = moves.take();
        let mover = start(|| match &node {
            Some(node) => tell(send(child.unsigned_abs(), node)),
            None => 0,
        })
        .doing("fork")?;
        std::thread::sleep(Duration::from_millis(seed % 16));
        kill(child, rt::SIGUSR1).doing("kill")?;
        let ended = rt::files::poll_input(told.as_fd(), PATIENCE_MS).doing("poll")?;
        if ended.is_none() {
            kill(child, rt::SIGKILL).doing("kill")?;
            return Err("the signal did not end the write".to_owned());
        }
        let mut written = [0; 8];
        told.read_exact(&mut written).doing("read")?;
        let written = u64::from_le_bytes(written).cast_signed();
        ensure!(written == full.0, "{written} of {} were written", full.0);
        success(mover)?;
        goes.write_all(b"g").doing("let go")?;
        success(child)?;
        let length = other.read(&mut found).doing("read")?;
        check(&found[..length], seed, 0)?;
        ensure!(
            unread(&mut desk, &other) + length as i64 == full.0,
            "more came than was written"
        );
        // The same with a limit.
        let (one, mut other) = UnixStream::pair().doing("socketpair")?;
        one.set_write_timeout(Some(LIMIT)).doing("SO_SNDTIMEO")?;
        let begin = Instant::now();
        let written = moves.while_blocked(|| (&one).write(&bytes), || Ok(()))?;
        let written = written.doing("write")?;
        ensure!(
            begin.elapsed() >= LIMIT,
            "the limit was over after {:?}",
            begin.elapsed()
        );
        other.read_exact(&mut found[..written]).doing("read")?;
        check(&found[..written], seed, 0)?;
        ensure!(
            written < SIZE && unread(&mut desk, &other) == 0,
            "more came than was written"
        );
    }
    Ok(())
}

/// Descriptors are passed between processes on different nodes.
pub(crate) fn socket_descriptors(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let (near, far) = UnixStream::pair().doing("socketpair")?;
        let (mut reader, writer) = pipe().doing("pipe")?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                go(node.as_deref())?;
                let passed = receive_descriptor(far.as_fd()).doing("receive a descriptor")?;
                let mut passed = File::from(passed);
                passed.write_all(b"passed on").doing("write")?;
                let back = receive_descriptor(far.as_fd()).doing("receive a descriptor")?;
                UnixStream::from(back).write_all(b"back").doing("write")
            };
            tell(work())
        })
        .doing("fork")?;
        drop(far);
        send_descriptor(near.as_fd(), writer.as_fd()).doing("send a descriptor")?;
        drop(writer);
        moves.point()?;
        let mut text = [0; 9];
        reader.read_exact(&mut text).doing("read")?;
        ensure!(&text == b"passed on", "the pipe says {text:?}");
        let (mut mine, theirs) = UnixStream::pair().doing("socketpair")?;
        send_descriptor(near.as_fd(), theirs.as_fd()).doing("send a descriptor")?;
        drop(theirs);
        let mut text = String::new();
        mine.read_to_string(&mut text).doing("read to the end")?;
        ensure!(text == "back", "the socket says {text}");
        success(child)?;
        let end = reader.read(&mut [0]).doing("read")?;
        ensure!(end == 0, "somebody still has the pipe");
    }
    Ok(())
}

/// A server and a client of one loopback on different nodes, by streams and by messages.
pub(crate) fn socket_loopback(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let listener = TcpListener::bind("127.0.0.1:0").doing("bind")?;
        let address = listener.local_addr().doing("getsockname")?;
        let packets = UdpSocket::bind("127.0.0.1:0").doing("bind")?;
        let packets_at = packets.local_addr().doing("getsockname")?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                go(node.as_deref())?;
                let mut stream = TcpStream::connect(address).doing("connect")?;
                stream.set_nodelay(true).doing("TCP_NODELAY")?;
                stream.write_all(b"question").doing("write")?;
                let mut answer = [0; 6];
                stream.read_exact(&mut answer).doing("read")?;
                ensure!(&answer == b"answer", "the answer is {answer:?}");
                let own = UdpSocket::bind("127.0.0.1:0").doing("bind")?;
                own.send_to(b"packet", packets_at).doing("sendto")?;
                Ok(())
            };
            tell(work())
        })
        .doing("fork")?;
        let (mut stream, _) = listener.accept().doing("accept")?;
        moves.point()?;
        let mut question = [0; 8];
        stream.read_exact(&mut question).doing("read")?;
        ensure!(&question == b"question", "the question is {question:?}");
        stream.write_all(b"answer").doing("write")?;
        let mut packet = [0; 20];
        let (length, _) = packets.recv_from(&mut packet).doing("recvfrom")?;
        ensure!(&packet[..length] == b"packet", "{length} bytes came");
        let end = stream.read(&mut packet).doing("read")?;
        ensure!(end == 0, "the stream has more");
        success(child)?;
    }
    Ok(())
}

/// Sockets with names, and messages that stay whole.
pub(crate) fn socket_names(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let path = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).doing("bind")?;
        moves.point()?;
        let mut client = UnixStream::connect(&path).doing("connect")?;
        client.write_all(b"x").doing("write")?;
        let (mut server, _) = listener.accept().doing("accept")?;
        moves.point()?;
        server.read_exact(&mut [0]).doing("read")?;
        std::fs::remove_file(&path).doing("remove")?;
        ensure!(
            UnixStream::connect(&path).is_err(),
            "a name that is gone leads to a socket"
        );
        let (one, other) = UnixDatagram::pair().doing("socketpair")?;
        for text in ["one", "", "three"] {
            one.send(text.as_bytes()).doing("send")?;
        }
        moves.point()?;
        let mut buffer = [0; 10];
        for text in ["one", "", "three"] {
            let length = other.recv(&mut buffer).doing("recv")?;
            ensure!(
                &buffer[..length] == text.as_bytes(),
                "{length} bytes came instead of {text}"
            );
        }
    }
    Ok(())
}

/// Semaphores between processes on different nodes, undone at the end of one.
pub(crate) fn semaphores(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let set = Semaphores::new(2).doing("semget")?;
        let node = moves.take();
        let child = start(|| {
            let work = || {
                go(node.as_deref())?;
                for _ in 0..3 {
                    set.change(0, -1, false).doing("take")?;
                    set.change(1, 1, false).doing("give")?;
                }
                set.change(0, 5, true).doing("give for now")
            };
            tell(work())
        })
        .doing("fork")?;
        for round in 0..3 {
            set.change(0, 1, false).doing("give")?;
            if round == 1 {
                moves.point()?;
            }
            set.change(1, -1, false).doing("take")?;
        }
        success(child)?;
        let value = set.value(0).doing("semctl")?;
        ensure!(value == 0, "what was to be undone has left {value}");
        let taken = moves.while_blocked(
            || set.change(1, -1, false),
            || set.change(1, 1, false).doing("give"),
        )?;
        taken.doing("take while moved")?;
        set.remove();
    }
    Ok(())
}

/// Messages by kinds, waited for while moved.
pub(crate) fn messages(moves: &mut Moves) -> Verdict {
    while moves.more() {
        let queue = Queue::new().doing("msgget")?;
        let seed = moves.round();
        let found = moves.while_blocked(
            || queue.receive(7),
            || {
                queue.send(3, 1).doing("msgsnd")?;
                queue.send(7, seed).doing("msgsnd")
            },
        )?;
        let found = found.doing("msgrcv")?;
        ensure!(found == seed, "the message says {found}");
        moves.point()?;
        let found = queue.receive(0).doing("msgrcv")?;
        ensure!(found == 1, "the other message says {found}");
        queue.remove();
    }
    Ok(())
}

/// What a datagram of IPv6 says of its header is told where it is received (RFC 3542).
pub(crate) fn datagram_headers(moves: &mut Moves) -> Verdict {
    const NAME: u64 = 0;
    const NUMBER: u64 = 64;
    const HEADER: u64 = 128;
    const PIECE: u64 = 256;
    const CONTROL: u64 = 512;
    const TEXT: u64 = 1024;
    const LEVEL: u64 = libc::IPPROTO_IPV6 as u64;
    let words = |desk: &mut Desk, at: u64, words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        desk.put(at, &bytes);
    };
    let mut desk = Desk::map().ok_or("no desk")?;
    let kind = libc::SOCK_DGRAM as u64;
    let asked = [libc::AF_INET6 as u64, kind, 0, 0, 0, 0];
    let fd = must(&mut desk, "socket", libc::SYS_socket, asked)?;
    // `::1`.
    let mut name = [0; 28];
    (name[0], name[23]) = (libc::AF_INET6 as u8, 1);
    desk.put(NAME, &name);
    let bind = [fd, DESK + NAME, 28, 0, 0, 0];
    must(&mut desk, "bind", libc::SYS_bind, bind)?;
    words(&mut desk, NUMBER, &[28]);
    let named = [fd, DESK + NAME, DESK + NUMBER, 0, 0, 0];
    must(&mut desk, "getsockname", libc::SYS_getsockname, named)?;
    words(&mut desk, NUMBER, &[1]);
    let option = libc::IPV6_RECVHOPLIMIT as u64;
    let asks = [fd, LEVEL, option, DESK + NUMBER, 4, 0];
    must(&mut desk, "setsockopt", libc::SYS_setsockopt, asks)?;
    words(&mut desk, PIECE, &[DESK + TEXT, 4]);
    while moves.more() {
        let hops = 1 + moves.round() % 200;
        let kind = LEVEL | (libc::IPV6_HOPLIMIT as u64) << 32;
        words(&mut desk, CONTROL, &[20, kind, hops]);
        let (piece, control) = (DESK + PIECE, DESK + CONTROL);
        let message = [DESK + NAME, 28, piece, 1, control, 24, 0];
        words(&mut desk, HEADER, &message);
        let send = [fd, DESK + HEADER, 0, 0, 0, 0];
        must(&mut desk, "sendmsg", libc::SYS_sendmsg, send)?;
        moves.point()?;
        words(&mut desk, CONTROL, &[0; 8]);
        words(&mut desk, HEADER, &[0, 0, piece, 1, control, 64, 0]);
        must(&mut desk, "recvmsg", libc::SYS_recvmsg, send)?;
        let found = [0, 8, 16].map(|at| desk.word(CONTROL + at));
        ensure!(found == [20, kind, hops], "the header is {found:x?}");
        let length = desk.word(HEADER + 40);
        ensure!(length == 24, "{length} bytes of control messages came");
    }
    Ok(())
}
