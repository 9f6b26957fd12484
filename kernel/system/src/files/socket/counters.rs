//! The counters of protocols: `snmp`, `snmp6` and `netstat` in /proc/PID/net.
//!
//! Law: formats are those of Linux (`net/ipv4/proc.c`, `net/ipv6/proc.c`). The loopback loses nothing and has no
//! packets, so what counts these is 0, as in `dev`; told are the constants of a protocol, and the connections there are.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// Groups of `snmp`: those before and those behind TCP.
const BEFORE: [(&str, &str); 2] = [
    (
        "Ip",
        "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers \
         OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
    ),
    (
        "Icmp",
        "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps \
         InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutDestUnreachs OutTimeExcds \
         OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks \
         OutAddrMaskReps",
    ),
];
const TCP: &str = "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs \
                   OutSegs RetransSegs InErrs OutRsts InCsumErrors";
const DATAGRAMS: &str = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti \
                         MemErrors";
/// Groups of `netstat`.
const EXTENDED: [(&str, &str); 2] = [
    (
        "TcpExt",
        "SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps \
         LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab DelayedACKs DelayedACKLocked \
         DelayedACKLost ListenOverflows ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPLostRetransmit TCPFastRetrans \
         TCPTimeouts TCPAbortOnData TCPAbortOnClose TCPAbortOnTimeout TCPMemoryPressures TCPBacklogDrop TCPRcvCoalesce \
         TCPOFOQueue TCPSynRetrans TCPOrigDataSent TCPKeepAlive TCPDelivered",
    ),
    (
        "IpExt",
        "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets \
         OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts \
         ReasmOverlaps",
    ),
];
/// Of `snmp6`, before those of UDP.
const SIX: &str = "Ip6InReceives Ip6InHdrErrors Ip6InTooBigErrors Ip6InNoRoutes Ip6InAddrErrors Ip6InUnknownProtos \
                   Ip6InTruncatedPkts Ip6InDiscards Ip6InDelivers Ip6OutForwDatagrams Ip6OutRequests Ip6OutDiscards \
                   Ip6OutNoRoutes Ip6ReasmTimeout Ip6ReasmReqds Ip6ReasmOKs Ip6ReasmFails Ip6FragOKs Ip6FragFails \
                   Ip6FragCreates Ip6InMcastPkts Ip6OutMcastPkts Ip6InOctets Ip6OutOctets Icmp6InMsgs Icmp6InErrors \
                   Icmp6OutMsgs Icmp6OutErrors Icmp6InCsumErrors";

/// Two lines of a group: names and values.
fn group(text: &mut String, name: &str, columns: &str, value: impl Fn(&str) -> i64) {
    let _ = writeln!(text, "{name}: {columns}");
    let _ = write!(text, "{name}:");
    for column in columns.split(' ') {
        let _ = write!(text, " {}", value(column));
    }
    text.push('\n');
}

/// `snmp`, with so many connections.
pub(super) fn snmp(connections: usize) -> String {
    let value = |column: &str| match column {
        // It does not forward, and what leaves may pass 64 routers.
        "Forwarding" => 2,
        "DefaultTTL" => 64,
        // An algorithm without a name in RFC 4022, between 200 ms and two minutes, for as many as there are.
        "RtoAlgorithm" => 1,
        "RtoMin" => 200,
        "RtoMax" => 120_000,
        "MaxConn" => -1,
        "CurrEstab" => connections as i64,
        _ => 0,
    };
    let mut text = String::new();
    for (name, columns) in BEFORE {
        group(&mut text, name, columns, value);
    }
    group(&mut text, "Tcp", TCP, value);
    for name in ["Udp", "UdpLite"] {
        group(&mut text, name, DATAGRAMS, value);
    }
    text
}

/// `netstat`.
pub(super) fn netstat() -> String {
    let mut text = String::new();
    for (name, columns) in EXTENDED {
        group(&mut text, name, columns, |_| 0);
    }
    text
}

/// `snmp6`, a line for each counter.
pub(super) fn snmp6() -> String {
    let mut text = String::new();
    let mut line = |name: &str| {
        let _ = writeln!(text, "{name:<32}\t0");
    };
    SIX.split(' ').for_each(&mut line);
    for protocol in ["Udp6", "UdpLite6"] {
        for column in DATAGRAMS.split(' ') {
            line(&format!("{protocol}{column}"));
        }
    }
    text
}
