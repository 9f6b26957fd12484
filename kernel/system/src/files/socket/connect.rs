//! Names, connections and those who wait for them.
//!
//! Law: a connection is there for both sides at once: the new socket of the listener waits in its queue
//! and takes what is sent to it before anybody has accepted it.

use super::names::{ANY, Endpoint, Family, Given, Name, mapped};
use super::network::Protocol;
use super::transfer::Credentials;
use super::{Kind, Link, RECEIVES_NOT, SENDS_NOT, Socket, Waiting};
use crate::wait::Stop;
use abi::Errno;
use abi::layout::{POLLIN, POLLRDNORM};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// The longest queue of a listener (`net.core.somaxconn`).
const BACKLOG_MAX: usize = 4096;

/// Who connects, and to whom it must be able to.
pub(in super::super) enum Target {
    /// A socket that was found by its name.
    Local(Arc<Socket>),
    /// Whoever listens there.
    Endpoint(Endpoint),
}

impl Socket {
    /// Two sockets that are connected with each other.
    pub(in super::super) fn join(one: &Arc<Socket>, other: &Arc<Socket>) {
        for (mine, peer) in [(one, other), (other, one)] {
            let owner = peer.lock().owner;
            let mut inner = mine.lock();
            inner.link = Link::Peer(Arc::downgrade(peer));
            inner.peer_owner = Some(owner);
            if mine.is_local() {
                inner.remote = Some(Name::Unnamed);
            }
        }
    }

    /// Whether this is the socket at the other side.
    pub(super) fn is_linked_to(&self, other: &Socket) -> bool {
        match &self.lock().link {
            Link::Peer(peer) => core::ptr::eq(peer.as_ptr(), other),
            _ => false,
        }
    }

    /// The name that getsockname(2) tells.
    pub(in super::super) fn local_name(&self) -> Name {
        self.lock().local.clone().unwrap_or(Name::Unnamed)
    }

    /// The name that getpeername(2) tells.
    pub(in super::super) fn remote_name(&self) -> Result<Name, Errno> {
        let inner = self.lock();
        let connected = match &inner.link {
            Link::Peer(_) => true,
            _ => inner.remote.is_some(),
        };
        let over = !self.is_local() && inner.error.is_some();
        if !connected || over {
            return Err(Errno::ENOTCONN);
        }
        Ok(inner.remote.clone().unwrap_or(Name::Unnamed))
    }

    // ---- names -------------------------------------------------------------------------------

    /// Whether bind(2) may give it a name.
    pub(in super::super) fn check_bind(&self) -> Result<(), Errno> {
        let inner = self.lock();
        if inner.local.is_some() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// It has this path now, whose inode the caller has made.
    pub(in super::super) fn named_by_path(&self, path: &[u8]) {
        self.lock().local = Some(Name::Path(path.to_vec()));
    }

    /// Gives it a name in the abstract space, any if none is given.
    pub(in super::super) fn bind_abstract(&self, name: Option<&[u8]>) -> Result<(), Errno> {
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let taken = match name {
            Some(name) => {
                self.network.take_name(name, &me)?;
                Name::Abstract(name.to_vec())
            }
            None => self.network.any_name(&me)?,
        };
        let mut inner = self.lock();
        if let Name::Abstract(name) = &taken {
            inner.name = Some(name.clone());
        }
        inner.local = Some(taken);
        Ok(())
    }

    /// Gives it an address and a port.
    pub(in super::super) fn bind_endpoint(&self, endpoint: Endpoint) -> Result<(), Errno> {
        let group = self.kind == Kind::Datagram && endpoint.is_group() && !self.asks_for_echo();
        if !endpoint.is_local() && !group && !self.binds_freely() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let shares = Socket::shares(&self.lock());
        if self.family == Family::Inet6 && endpoint.is_v4() && shares.only_v6 {
            return Err(Errno::EINVAL);
        }
        let protocol = self.protocol();
        let endpoint = self.network.bind(protocol, endpoint, shares, &me)?;
        let mut inner = self.lock();
        inner.port = Some((protocol, endpoint.port));
        inner.local = Some(Name::Endpoint(endpoint));
        inner.bound = Some((endpoint, true));
        Ok(())
    }

    /// Gives it any port, if it has none.
    pub(super) fn bind_any(&self) -> Result<(), Errno> {
        if self.lock().local.is_some() {
            return Ok(());
        }
        let address = match self.family {
            Family::Inet6 => ANY,
            _ => mapped([0; 4]),
        };
        self.bind_endpoint(Endpoint { address, port: 0 })?;
        if let Some((_, by_user)) = &mut self.lock().bound {
            *by_user = false;
        }
        Ok(())
    }

    // ---- listening ---------------------------------------------------------------------------

    /// listen(2).
    pub(in super::super) fn listen(&self, backlog: u64, owner: Credentials) -> Result<(), Errno> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.is_connected() {
            return Err(Errno::EINVAL);
        }
        if self.is_local() && self.lock().local.is_none() {
            return Err(Errno::EINVAL);
        }
        if !self.is_local() {
            self.bind_any()?;
            let (local, shares) = {
                let inner = self.lock();
                (inner.local.clone(), Socket::shares(&inner))
            };
            if let Some(Name::Endpoint(endpoint)) = local
                && self.network.is_taken(&endpoint, self, shares)
            {
                return Err(Errno::EADDRINUSE);
            }
        }
        // A negative number is a very large one, as in Linux.
        let most = usize::try_from(backlog as u32).unwrap_or(BACKLOG_MAX);
        let most = most.min(BACKLOG_MAX);
        let mut inner = self.lock();
        inner.owner = owner;
        if !self.is_local() {
            inner.shut = 0;
        }
        match &mut inner.link {
            Link::Listens { backlog, .. } => *backlog = most,
            link => {
                *link = Link::Listens {
                    backlog: most,
                    waiting: VecDeque::new(),
                };
            }
        }
        Ok(())
    }

    /// Whether accept(2) would have a connection.
    ///
    /// # Errors
    /// As that.
    pub(in super::super) fn has_connection(&self, waiting: Waiting) -> Result<(), Stop> {
        if !self.kind.connects() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let inner = self.lock();
        let shut = inner.shut & RECEIVES_NOT != 0;
        let Link::Listens { waiting: queue, .. } = &inner.link else {
            return Err(Errno::EINVAL.into());
        };
        match (queue.is_empty(), shut) {
            (false, _) => Ok(()),
            (true, true) => Err(Errno::EINVAL.into()),
            (true, false) => {
                drop(inner);
                Err(waiting.stop(&self.readable))
            }
        }
    }

    /// accept(2): the next connection, and the name of its other side.
    pub(in super::super) fn accept(&self, waiting: Waiting) -> Result<(Arc<Socket>, Name), Stop> {
        self.has_connection(waiting)?;
        let mut inner = self.lock();
        let next = match &mut inner.link {
            Link::Listens { waiting: queue, .. } => queue.pop_front(),
            _ => None,
        };
        let next = next.ok_or(Errno::EINVAL)?;
        drop(inner);
        self.writable.wake();
        let name = next.lock().remote.clone().unwrap_or(Name::Unnamed);
        Ok((next, name))
    }

    // ---- connecting --------------------------------------------------------------------------

    /// Undoes a connection. An address that bind(2) has not given is gone with it.
    pub(in super::super) fn disconnect(&self) -> Result<(), Errno> {
        if self.kind.connects() {
            if self.is_local() {
                return Err(Errno::EINVAL);
            }
            self.abandon();
            return Ok(());
        }
        self.part();
        let mut inner = self.lock();
        inner.remote = None;
        if let Some((endpoint, by_user)) = inner.bound {
            inner.local = by_user.then_some(Name::Endpoint(endpoint));
            let port = inner.port.take_if(|_| !by_user);
            drop(inner);
            if let Some((protocol, port)) = port {
                self.network.leave(protocol, port, self);
            }
        }
        Ok(())
    }

    /// Leaves the other side of a connection of datagrams, if it has one. What it has received by then is
    /// lost, of which the other side hears if it was connected back (`unix_dgram_disconnected`).
    pub(super) fn part(&self) {
        let other = self.peer();
        let mut inner = self.lock();
        if !matches!(inner.link, Link::Peer(_)) {
            return;
        }
        inner.link = Link::None;
        inner.remote = None;
        inner.peer_owner = None;
        inner.bytes = 0;
        let lost = core::mem::take(&mut inner.inbox);
        drop(inner);
        if lost.is_empty() {
            return;
        }
        self.network.bury(Link::None, lost);
        self.writable.wake();
        if let Some(other) = other
            && other.is_linked_to(self)
        {
            other.lock().error = Some(Errno::ECONNRESET);
            other.wake_all();
        }
    }

    /// Ends a connection of a stream of the internet, or listening, at once. Its port stays, to be used again.
    pub(super) fn abandon(&self) {
        const CLOSE: u8 = 7;
        let other = self.peer();
        let was_open = self.is_connected() && self.tcp_state() != CLOSE;
        let mut inner = self.lock();
        let link = core::mem::replace(&mut inner.link, Link::None);
        let inbox = core::mem::take(&mut inner.inbox);
        inner.bytes = 0;
        inner.urgent = None;
        inner.remote = None;
        inner.peer_owner = None;
        inner.shut = 0;
        inner.connecting = false;
        inner.deserted = false;
        if was_open {
            inner.error = Some(Errno::ECONNRESET);
        }
        if let Some((endpoint, _)) = inner.bound {
            inner.local = Some(Name::Endpoint(endpoint));
        }
        drop(inner);
        if let Some(other) = other
            && other.is_linked_to(self)
        {
            other.deserted(true);
        }
        self.wake_all();
        link.abandon_waiting();
        self.network.bury(link, inbox);
    }

    /// What connect(2) says to a socket of a stream that is connected, or on its way.
    fn check_connect(&self) -> Result<Option<()>, Errno> {
        let mut inner = self.lock();
        if core::mem::take(&mut inner.connecting) {
            return match inner.error.take() {
                Some(error) => Err(error),
                // Somebody has asked for the error, and knows (`SO_ERROR`).
                None if matches!(inner.link, Link::None) => Err(Errno::ECONNABORTED),
                None => Ok(Some(())),
            };
        }
        match &inner.link {
            Link::None => Ok(None),
            Link::Listens { .. } if self.is_local() => Err(Errno::EINVAL),
            Link::Listens { .. } | Link::Peer(_) => Err(Errno::EISCONN),
        }
    }

    /// connect(2).
    pub(in super::super) fn connect(
        &self,
        target: &Target,
        owner: Credentials,
        waiting: Waiting,
    ) -> Result<(), Stop> {
        if self.kind == Kind::Datagram {
            return Ok(self.connect_messages(target)?);
        }
        if self.check_connect()?.is_some() {
            return Ok(());
        }
        if !self.is_local() {
            // Who was refused may try again.
            self.lock().shut = 0;
        }
        let listener = match target {
            Target::Local(listener) => {
                if listener.kind != self.kind {
                    return Err(Errno::EPROTOTYPE.into());
                }
                Some(listener.clone())
            }
            Target::Endpoint(to) => self.listener(to)?,
        };
        let refused = || self.refuse(waiting);
        let Some(listener) = listener else {
            return refused();
        };
        let mut inner = listener.lock();
        let shut = inner.shut & RECEIVES_NOT != 0;
        let their_owner = inner.owner;
        let their_options = inner.options.inherited();
        let their_name = inner.local.clone();
        let Link::Listens {
            backlog,
            waiting: queue,
        } = &mut inner.link
        else {
            drop(inner);
            return refused();
        };
        if shut {
            drop(inner);
            return refused();
        }
        if queue.len() > *backlog {
            drop(inner);
            let stop = waiting.stop(&listener.writable);
            // Of the internet a connection goes on by itself; this one begins again when asked again.
            let in_progress = stop == Stop::Errno(Errno::EAGAIN) && !self.is_local();
            return Err(if in_progress {
                Errno::EINPROGRESS.into()
            } else {
                stop
            });
        }
        drop(inner);
        let server = Socket::new(
            listener.family,
            self.kind,
            their_owner,
            &self.network,
            &self.wakes,
        );
        self.introduce(&server, target, their_name)?;
        {
            let mut inner = server.lock();
            inner.options = their_options;
        }
        self.lock().owner = owner;
        let names = (self.lock().remote.clone(), server.lock().remote.clone());
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        Socket::join(&me, &server);
        self.lock().remote = names.0;
        server.lock().remote = names.1;
        if let Link::Listens { waiting: queue, .. } = &mut listener.lock().link {
            queue.push_back(server);
        }
        listener.readable.wake_for(POLLIN | POLLRDNORM);
        self.wake_all();
        self.say_in_progress(waiting)
    }

    /// A connection of the internet that does not wait is said to be on its way, although it is made.
    fn say_in_progress(&self, waiting: Waiting) -> Result<(), Stop> {
        if self.is_local() || waiting.waits() {
            return Ok(());
        }
        self.lock().connecting = true;
        Err(Errno::EINPROGRESS.into())
    }

    /// Nobody listens there.
    fn refuse(&self, waiting: Waiting) -> Result<(), Stop> {
        if self.is_local() {
            return Err(Errno::ECONNREFUSED.into());
        }
        let mut inner = self.lock();
        inner.shut = RECEIVES_NOT | SENDS_NOT;
        if waiting.waits() {
            return Err(Errno::ECONNREFUSED.into());
        }
        inner.connecting = true;
        inner.error = Some(Errno::ECONNREFUSED);
        drop(inner);
        self.wake_all();
        Err(Errno::EINPROGRESS.into())
    }

    /// Who listens at an endpoint.
    fn listener(&self, to: &Endpoint) -> Result<Option<Arc<Socket>>, Errno> {
        if !to.is_local() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(self
            .network
            .find(Protocol::Tcp, &to.definite(), Socket::listens))
    }

    /// Tells both sides of a connection the names of each other.
    fn introduce(
        &self,
        server: &Socket,
        target: &Target,
        their_name: Option<Name>,
    ) -> Result<(), Errno> {
        match target {
            Target::Local(_) => {
                let mine = self.local_name();
                self.lock().remote = their_name.clone();
                let mut inner = server.lock();
                inner.local = their_name;
                inner.remote = Some(mine);
            }
            Target::Endpoint(to) => {
                let to = to.definite();
                let own = self.own_endpoint(&to)?;
                self.lock().local = Some(Name::Endpoint(own));
                self.lock().remote = Some(Name::Endpoint(to));
                let mut inner = server.lock();
                inner.local = Some(Name::Endpoint(to));
                inner.remote = Some(Name::Endpoint(own));
            }
        }
        Ok(())
    }

    /// The address of its own with which it reaches another.
    fn own_endpoint(&self, to: &Endpoint) -> Result<Endpoint, Errno> {
        self.bind_any()?;
        let Some(Name::Endpoint(own)) = self.lock().local.clone() else {
            return Err(Errno::EINVAL);
        };
        if !own.is_any() {
            return Ok(own);
        }
        let any = Endpoint {
            address: if to.is_v4() { mapped([0; 4]) } else { ANY },
            port: own.port,
        };
        Ok(any.definite())
    }

    fn connect_messages(&self, target: &Target) -> Result<(), Errno> {
        match target {
            Target::Local(other) => {
                if other.kind != self.kind {
                    return Err(Errno::EPROTOTYPE);
                }
                // The other side may be connected to a third one.
                if let Some(theirs) = other.peer()
                    && !core::ptr::eq(&*theirs, self)
                {
                    return Err(Errno::EPERM);
                }
                let name = other.local_name();
                if !self.peer().is_some_and(|old| Arc::ptr_eq(&old, other)) {
                    self.part();
                }
                let mut inner = self.lock();
                inner.link = Link::Peer(Arc::downgrade(other));
                inner.remote = Some(name);
            }
            Target::Endpoint(to) => {
                if !to.is_local() && !to.is_group() {
                    return Err(Errno::ENETUNREACH);
                }
                let to = to.definite();
                let own = self.own_endpoint(&to)?;
                let mut inner = self.lock();
                inner.local = Some(Name::Endpoint(own));
                inner.remote = Some(Name::Endpoint(to));
            }
        }
        Ok(())
    }

    /// Where messages go that say nothing of it, if they are of the internet.
    pub(in super::super) fn default_target(&self) -> Option<Given> {
        let inner = self.lock();
        match (&inner.remote, self.kind, self.is_local()) {
            (Some(remote), Kind::Datagram, false) => Some(Given::Name(remote.clone())),
            _ => None,
        }
    }
}
