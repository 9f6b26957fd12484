-- A dissector of Dunlin's frames for Wireshark and tshark (3.6 and later).
--
--   wireshark -X lua_script:tools/wireshark/dunlin.lua capture.pcap
--
-- `cargo xtask dissector` writes this file; the tables at its end are made from the Rust definitions in net/wire. Do not
-- change it by hand: its text is tools/xtask/src/dissector.lua.
--
-- Filters: dunlin.kind, dunlin.message (the name), dunlin.page, dunlin.pid, dunlin.epoch, and every number in a
-- message as dunlin.message.NAME.

-- From here to the next line of this kind: made from net/wire.
local HEADER, ETHERNET, ETHERTYPE = 136, 14, 0x88b5
local PAYLOAD, PIECE, LENGTH_BITS = 4096, 1376, 13
-- Name, offset, bytes of one, how many.
local header = {
    { "target_mac", 0, 6, 1 },
    { "source_mac", 6, 6, 1 },
    { "ethertype", 12, 2, 1 },
    { "version", 14, 1, 1 },
    { "kind", 15, 1, 1 },
    { "cluster", 16, 4, 1 },
    { "source", 20, 2, 1 },
    { "target", 22, 2, 1 },
    { "source_boot", 24, 8, 1 },
    { "target_boot", 32, 8, 1 },
    { "lane", 40, 1, 1 },
    { "payload_kind", 41, 1, 1 },
    { "length", 42, 2, 1 },
    { "seq", 44, 4, 1 },
    { "ack", 48, 4, 2 },
    { "sack", 56, 8, 2 },
    { "sent_ns", 72, 8, 1 },
    { "echo_ns", 80, 8, 1 },
    { "held_ns", 88, 4, 1 },
    { "pid", 92, 4, 1 },
    { "epoch", 96, 8, 1 },
    { "page", 104, 8, 1 },
    { "share", 112, 1, 1 },
    { "behind", 113, 1, 1 },
    { "sack_from", 114, 2, 1 },
    { "counter", 116, 4, 1 },
    { "tag", 120, 16, 1 },
}
local kinds = { [1] = "Hello", [2] = "HelloReply", [3] = "Data", [4] = "Ack", [5] = "Echo", [6] = "EchoReply", [7] = "Blast", [8] = "BlastReport", [9] = "Beacon", [10] = "Gossip", [11] = "Probe", [12] = "Probed", [13] = "Knock", [14] = "Welcome" }
local payload_kinds = { [0] = "None", [1] = "Whole", [2] = "First", [3] = "Middle", [4] = "Last", [5] = "Page", [6] = "Info", [7] = "Filler", [8] = "Gossip", [9] = "Handshake" }
local lanes = { [0] = "Urgent", [1] = "Bulk" }
-- By name: the variants in their order, each with what it carries.
local enums = {}
enums.Message = {
    { "Call", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "thread", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "seq", { is = "unsigned" } }, { "number", { is = "unsigned" } }, { "args", { is = "fields", fields = { { "0", { is = "unsigned" } }, { "1", { is = "unsigned" } }, { "2", { is = "unsigned" } }, { "3", { is = "unsigned" } }, { "4", { is = "unsigned" } }, { "5", { is = "unsigned" } } } } }, { "rooms", { is = "fields", fields = { { "0", { is = "unsigned" } }, { "1", { is = "unsigned" } }, { "2", { is = "unsigned" } }, { "3", { is = "unsigned" } }, { "4", { is = "unsigned" } }, { "5", { is = "unsigned" } } } } }, { "data", { is = "bytes" } } } } },
    { "Reply", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "thread", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "seq", { is = "unsigned" } }, { "outcome", { is = "enum", name = "Outcome" } }, { "poke", { is = "bool" } }, { "data", { is = "bytes" } } } } },
    { "Cancel", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "thread", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "seq", { is = "unsigned" } } } } },
    { "Poke", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "thread", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "MoveRequest", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "request", { is = "unsigned" } }, { "target", { is = "unsigned" } }, { "asker", { is = "unsigned" } }, { "how", { is = "fields", fields = { { "mode", { is = "enum", name = "MoveMode" } }, { "max_freeze_ns", { is = "unsigned" } }, { "timeout_ns", { is = "unsigned" } }, { "bandwidth", { is = "unsigned" } } } } } } } },
    { "MoveCancel", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "request", { is = "unsigned" } } } } },
    { "MoveResult", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "request", { is = "unsigned" } }, { "result", { is = "enum", name = "Result" } } } } },
    { "Offer", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } }, { "home", { is = "unsigned" } }, { "pages", { is = "unsigned" } }, { "features", { is = "fields", fields = { { "xcr0", { is = "unsigned" } }, { "leaf1_ecx", { is = "unsigned" } }, { "leaf1_edx", { is = "unsigned" } }, { "leaf7_ebx", { is = "unsigned" } }, { "leaf7_ecx", { is = "unsigned" } } } } }, { "terms", { is = "enum", name = "Terms" } }, { "copies", { is = "bool" } }, { "keeps", { is = "bool" } }, { "draft", { is = "bytes" } } } } },
    { "Admit", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } }, { "boot", { is = "unsigned" } } } } },
    { "Refuse", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } }, { "reason", { is = "enum", name = "MoveError" } } } } },
    { "Image", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } }, { "source_boot", { is = "unsigned" } }, { "ticket", { is = "fields", fields = { { "0", { is = "byte" } }, { "1", { is = "byte" } }, { "2", { is = "byte" } }, { "3", { is = "byte" } }, { "4", { is = "byte" } }, { "5", { is = "byte" } }, { "6", { is = "byte" } }, { "7", { is = "byte" } }, { "8", { is = "byte" } }, { "9", { is = "byte" } }, { "10", { is = "byte" } }, { "11", { is = "byte" } }, { "12", { is = "byte" } }, { "13", { is = "byte" } }, { "14", { is = "byte" } }, { "15", { is = "byte" } } } } }, { "frozen_at_ns", { is = "unsigned" } }, { "descriptor", { is = "bytes" } }, { "copied", { is = "bytes" } } } } },
    { "CommitRequest", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "old_epoch", { is = "unsigned" } }, { "source", { is = "unsigned" } }, { "source_boot", { is = "unsigned" } }, { "ticket", { is = "fields", fields = { { "0", { is = "byte" } }, { "1", { is = "byte" } }, { "2", { is = "byte" } }, { "3", { is = "byte" } }, { "4", { is = "byte" } }, { "5", { is = "byte" } }, { "6", { is = "byte" } }, { "7", { is = "byte" } }, { "8", { is = "byte" } }, { "9", { is = "byte" } }, { "10", { is = "byte" } }, { "11", { is = "byte" } }, { "12", { is = "byte" } }, { "13", { is = "byte" } }, { "14", { is = "byte" } }, { "15", { is = "byte" } } } } } } } },
    { "Decision", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "owner", { is = "unsigned" } }, { "owner_boot", { is = "unsigned" } }, { "poke", { is = "bool" } } } } },
    { "AbortRequest", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "old_epoch", { is = "unsigned" } } } } },
    { "Release", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "Running", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "image_ns", { is = "unsigned" } }, { "first_run_ns", { is = "unsigned" } }, { "present", { is = "unsigned" } } } } },
    { "PageRequest", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "page", { is = "unsigned" } } } } },
    { "PagesZero", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "runs", { is = "list", inner = { is = "fields", fields = { { "0", { is = "unsigned" } }, { "1", { is = "unsigned" } } } } } } } } },
    { "Kept", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } }, { "since", { is = "unsigned" } } } } },
    { "PagesKept", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "runs", { is = "list", inner = { is = "fields", fields = { { "0", { is = "unsigned" } }, { "1", { is = "unsigned" } } } } } }, { "last", { is = "bool" } } } } },
    { "LetGo", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "PushEnd", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "Discarded", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "attempt", { is = "unsigned" } } } } },
    { "Lost", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "Query", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
    { "Told", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "facts", { is = "fields", fields = { { "state", { is = "byte" } }, { "user_ns", { is = "unsigned" } }, { "system_ns", { is = "unsigned" } }, { "virtual_bytes", { is = "unsigned" } }, { "resident_pages", { is = "unsigned" } }, { "obstacle", { is = "text" } }, { "placement", { is = "text" } }, { "maps", { is = "text" } }, { "threads", { is = "unsigned" } }, { "peak_pages", { is = "unsigned" } }, { "faults", { is = "unsigned" } }, { "ignored", { is = "unsigned" } }, { "caught", { is = "unsigned" } } } } } } } },
    { "Observed", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "ns", { is = "unsigned" } } } } },
    { "Cut", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "file", { is = "unsigned" } }, { "size", { is = "unsigned" } } } } },
    { "Stale", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "window", { is = "unsigned" } } } } },
    { "Recall", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "object", { is = "unsigned" } }, { "page", { is = "unsigned" } } } } },
    { "NotLent", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "object", { is = "unsigned" } }, { "page", { is = "unsigned" } } } } },
    { "Settled", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "target", { is = "unsigned" } }, { "stalls", { is = "fields", fields = { { "absent", { is = "unsigned" } }, { "faults", { is = "unsigned" } }, { "count", { is = "unsigned" } }, { "sum_ns", { is = "unsigned" } }, { "worst_ns", { is = "unsigned" } } } } } } } },
    { "TraceWanted", { is = "fields", fields = {  } } },
    { "Trace", { is = "fields", fields = { { "text", { is = "bytes" } } } } },
    { "Advice", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } }, { "target", { is = "unsigned" } } } } },
    { "Order", { is = "fields", fields = { { "order", { is = "enum", name = "Order" } } } } },
    { "Orphans", { is = "fields", fields = { { "orphans", { is = "list", inner = { is = "fields", fields = { { "0", { is = "unsigned" } }, { "1", { is = "unsigned" } }, { "2", { is = "enum", name = "Whereabouts" } } } } } } } } },
    { "Adopted", { is = "fields", fields = { { "pid", { is = "unsigned" } }, { "epoch", { is = "unsigned" } } } } },
}
enums.MoveError = {
    { "UnknownNode", { is = "fields", fields = {  } } },
    { "NodeDead", { is = "fields", fields = {  } } },
    { "NodeFull", { is = "fields", fields = {  } } },
    { "Crowded", { is = "fields", fields = {  } } },
    { "Features", { is = "fields", fields = {  } } },
    { "CantMove", { is = "text" } },
    { "Busy", { is = "fields", fields = {  } } },
    { "Gone", { is = "fields", fields = {  } } },
    { "TimedOut", { is = "fields", fields = {  } } },
    { "Aborted", { is = "fields", fields = {  } } },
    { "Bound", { is = "text" } },
}
enums.MoveMode = {
    { "PostCopy", { is = "fields", fields = {  } } },
    { "PreCopy", { is = "fields", fields = {  } } },
    { "StopAndCopy", { is = "fields", fields = {  } } },
    { "Hybrid", { is = "fields", fields = {  } } },
}
enums.Order = {
    { "Policy", { is = "enum", name = "Policy" } },
    { "Drain", { is = "bool" } },
    { "Owner", { is = "option", inner = { is = "bool" } } },
}
enums.Outcome = {
    { "Value", { is = "signed" } },
    { "Interrupted", { is = "fields", fields = {  } } },
    { "Refused", { is = "fields", fields = { { "epoch", { is = "unsigned" } }, { "owner", { is = "unsigned" } }, { "owner_boot", { is = "unsigned" } } } } },
}
enums.Policy = {
    { "Manual", { is = "fields", fields = {  } } },
    { "Balance", { is = "fields", fields = {  } } },
    { "Exec", { is = "fields", fields = {  } } },
    { "Scavenge", { is = "fields", fields = {  } } },
}
enums.Result = {
    { "Ok", { is = "fields", fields = { { "from", { is = "unsigned" } }, { "to", { is = "unsigned" } }, { "pages_sent", { is = "unsigned" } }, { "pages_zero", { is = "unsigned" } }, { "pages_present", { is = "unsigned" } }, { "pages_kept", { is = "unsigned" } }, { "bytes", { is = "unsigned" } }, { "freeze_ns", { is = "unsigned" } }, { "observer_ns", { is = "unsigned" } }, { "total_ns", { is = "unsigned" } }, { "rtt_ns", { is = "unsigned" } }, { "mode", { is = "enum", name = "MoveMode" } }, { "rounds", { is = "unsigned" } }, { "phases", { is = "fields", fields = { { "wait_ns", { is = "unsigned" } }, { "admit_ns", { is = "unsigned" } }, { "copy_ns", { is = "unsigned" } }, { "drain_ns", { is = "unsigned" } }, { "capture_ns", { is = "unsigned" } }, { "flight_ns", { is = "unsigned" } }, { "start_ns", { is = "unsigned" } }, { "release_ns", { is = "unsigned" } }, { "push_ns", { is = "unsigned" } } } } }, { "epoch", { is = "unsigned" } }, { "began_ns", { is = "unsigned" } }, { "clock_error_ns", { is = "unsigned" } }, { "frames_again", { is = "unsigned" } }, { "packed", { is = "unsigned" } }, { "sent_for", { is = "fields", fields = { { "first", { is = "unsigned" } }, { "used", { is = "unsigned" } }, { "faulted", { is = "unsigned" } }, { "pushed", { is = "unsigned" } }, { "copied", { is = "unsigned" } }, { "copied_again", { is = "unsigned" } } } } }, { "stalls", { is = "option", inner = { is = "fields", fields = { { "absent", { is = "unsigned" } }, { "faults", { is = "unsigned" } }, { "count", { is = "unsigned" } }, { "sum_ns", { is = "unsigned" } }, { "worst_ns", { is = "unsigned" } } } } } } } } },
    { "Err", { is = "enum", name = "MoveError" } },
}
enums.Terms = {
    { "Anyhow", { is = "fields", fields = {  } } },
    { "Idle", { is = "fields", fields = { { "demand_milli", { is = "unsigned" } } } } },
    { "Faster", { is = "fields", fields = { { "demand_milli", { is = "unsigned" } }, { "stretch", { is = "unsigned" } } } } },
}
enums.Whereabouts = {
    { "Here", { is = "fields", fields = {  } } },
    { "Moving", { is = "fields", fields = {  } } },
    { "Ended", { is = "fields", fields = {  } } },
}
enums.NodeState = {
    { "Alive", { is = "fields", fields = {  } } },
    { "Suspect", { is = "fields", fields = {  } } },
    { "Dead", { is = "fields", fields = {  } } },
    { "Left", { is = "fields", fields = {  } } },
}
enums.Purpose = {
    { "News", { is = "fields", fields = {  } } },
    { "Ping", { is = "fields", fields = {  } } },
    { "Ack", { is = "fields", fields = {  } } },
    { "PingRequest", { is = "fields", fields = {  } } },
    { "PingFor", { is = "fields", fields = {  } } },
    { "AckFor", { is = "fields", fields = {  } } },
    { "AckRelayed", { is = "fields", fields = {  } } },
}
local gossip = { is = "fields", fields = { { "purpose", { is = "enum", name = "Purpose" } }, { "seq", { is = "unsigned" } }, { "subject", { is = "unsigned" } }, { "records", { is = "list", inner = { is = "fields", fields = { { "node", { is = "unsigned" } }, { "boot", { is = "unsigned" } }, { "incarnation", { is = "unsigned" } }, { "state", { is = "enum", name = "NodeState" } }, { "told", { is = "option", inner = { is = "fields", fields = { { "version", { is = "unsigned" } }, { "age_ms", { is = "unsigned" } }, { "load", { is = "fields", fields = { { "runnable_milli", { is = "unsigned" } }, { "processors", { is = "unsigned" } }, { "speed", { is = "unsigned" } }, { "frames_total", { is = "unsigned" } }, { "frames_free", { is = "unsigned" } }, { "frames_reserved", { is = "unsigned" } }, { "guests", { is = "unsigned" } }, { "owner_present", { is = "bool" } }, { "draining", { is = "bool" } }, { "accepts_guests", { is = "bool" } } } } } } } } } } } } } } }
local node_info = { is = "fields", fields = { { "memory_frames", { is = "unsigned" } }, { "free_frames", { is = "unsigned" } }, { "features", { is = "fields", fields = { { "xcr0", { is = "unsigned" } }, { "leaf1_ecx", { is = "unsigned" } }, { "leaf1_edx", { is = "unsigned" } }, { "leaf7_ebx", { is = "unsigned" } }, { "leaf7_ecx", { is = "unsigned" } } } } }, { "processes", { is = "unsigned" } }, { "archive", { is = "unsigned" } }, { "journal", { is = "bool" } } } }
-- Up to here.

local dunlin = Proto("dunlin", "Dunlin")
local fields = {}

local function add_field(name, field)
    fields[name] = field
    return field
end

local registered = {}
for _, row in ipairs(header) do
    local name, _, size = row[1], row[2], row[3]
    local filter = "dunlin." .. name
    local make = ({ [1] = ProtoField.uint8, [2] = ProtoField.uint16, [4] = ProtoField.uint32, [8] = ProtoField.uint64 })[size]
    local names = ({ kind = kinds, payload_kind = payload_kinds, lane = lanes })[name]
    if not make then
        registered[#registered + 1] = add_field(name, ProtoField.bytes(filter, name))
    elseif names then
        registered[#registered + 1] = add_field(name, make(filter, name, base.DEC, names))
    else
        local hexadecimal = { source_boot = true, target_boot = true, sack = true, page = true }
        registered[#registered + 1] = add_field(name, make(filter, name, hexadecimal[name] and base.HEX or base.DEC))
    end
end
local message_name = ProtoField.string("dunlin.message", "message")
local payload_bytes = ProtoField.bytes("dunlin.payload", "payload")
registered[#registered + 1] = message_name
registered[#registered + 1] = payload_bytes

-- A field for each name under which messages have a number or a text.
local scalars = {}
local function scan(shape)
    if shape.fields then
        for _, field in ipairs(shape.fields) do
            local name, inner = field[1], field[2]
            local kind = inner.is
            if (kind == "unsigned" or kind == "byte" or kind == "bool") and not name:match("^%d") and not scalars[name] then
                scalars[name] = ProtoField.uint64("dunlin.message." .. name, name)
                registered[#registered + 1] = scalars[name]
            end
            scan(inner)
        end
    elseif shape.inner then
        scan(shape.inner)
    end
end
for _, variants in pairs(enums) do
    for _, variant in ipairs(variants) do
        scan(variant[2])
    end
end
scan(node_info)
scan(gossip)
dunlin.fields = registered

local too_short = ProtoExpert.new("dunlin.short", "Shorter than it says", expert.group.MALFORMED, expert.severity.ERROR)
dunlin.experts = { too_short }

-- Reading: each function takes the bytes and a place, and gives a value and the place behind it, or nothing.

local function number(bytes, at)
    local value, shift = UInt64.new(0), 0
    while at < bytes:len() and shift < 70 do
        local byte = bytes(at, 1):uint()
        value = value:bor(UInt64.new(byte % 128):lshift(shift))
        at, shift = at + 1, shift + 7
        if byte < 128 then
            return value, at
        end
    end
end

local show

local function show_fields(shape, bytes, at, tree)
    for _, field in ipairs(shape.fields) do
        at = show(field[2], field[1], bytes, at, tree)
        if not at then return end
    end
    return at
end

function show(shape, name, bytes, at, tree)
    local start, kind = at, shape.is
    if at > bytes:len() then return end
    if kind == "fields" then
        local inner = tree:add(bytes(start), name)
        at = show_fields(shape, bytes, at, inner)
        if at then inner:set_len(at - start) end
        return at
    elseif kind == "byte" or kind == "bool" then
        if at >= bytes:len() then return end
        local value = bytes(at, 1):uint()
        if scalars[name] then
            tree:add(scalars[name], bytes(at, 1), UInt64.new(value))
        else
            tree:add(bytes(at, 1), name .. ": " .. value)
        end
        return at + 1
    elseif kind == "option" then
        if at >= bytes:len() then return end
        if bytes(at, 1):uint() == 0 then
            tree:add(bytes(at, 1), name .. ": none")
            return at + 1
        end
        return show(shape.inner, name, bytes, at + 1, tree)
    end
    local value
    value, at = number(bytes, at)
    if not at then return end
    if kind == "unsigned" then
        if scalars[name] then
            tree:add(scalars[name], bytes(start, at - start), value)
        else
            tree:add(bytes(start, at - start), name .. ": " .. tostring(value))
        end
        return at
    elseif kind == "signed" then
        local half = tostring(value:rshift(1))
        local negative = value:band(UInt64.new(1)) == UInt64.new(1)
        local text = negative and "-" .. tostring(value:rshift(1) + UInt64.new(1)) or half
        tree:add(bytes(start, at - start), name .. ": " .. text)
        return at
    end
    local count = value:tonumber()
    if kind == "enum" then
        local variant = enums[shape.name][count + 1]
        if not variant then return end
        local inner = tree:add(bytes(start), name .. ": " .. variant[1])
        local after
        if variant[2].is == "fields" then
            after = show_fields(variant[2], bytes, at, inner)
        else
            after = show(variant[2], "value", bytes, at, inner)
        end
        if after then inner:set_len(after - start) end
        return after
    elseif kind == "list" then
        -- An item has a byte at least.
        if count > bytes:len() - at then return end
        local inner = tree:add(bytes(start), name .. ": " .. count .. " items")
        for item = 1, count do
            at = show(shape.inner, tostring(item), bytes, at, inner)
            if not at then return end
        end
        inner:set_len(at - start)
        return at
    end
    -- Text and bytes.
    if count > bytes:len() - at then return end
    local shown = count .. " bytes"
    if kind == "text" then
        shown = count > 0 and bytes(at, count):string() or ""
    end
    tree:add(bytes(start, at - start + count), name .. ": " .. shown)
    return at + count
end

-- The name of a message, from its beginning.
local function name_of(bytes)
    local index = number(bytes, 0)
    local variant = index and enums.Message[index:tonumber() + 1]
    return variant and variant[1] or "unknown"
end

local function at(buffer, name)
    for _, row in ipairs(header) do
        if row[1] == name then return buffer(row[2] - ETHERNET, row[3]) end
    end
end

local function summary(buffer)
    local kind = kinds[at(buffer, "kind"):uint()] or "unknown"
    local function le(name) return at(buffer, name):le_uint() end
    local text = le("source") .. " > " .. (le("target") == 0 and "all" or le("target")) .. " " .. kind
    if kind == "Data" then
        text = text .. " " .. (lanes[le("lane")] or "?") .. " seq " .. le("seq")
    end
    return text, kind
end

local function dissect_payload(buffer, info, tree)
    local kind = payload_kinds[at(buffer, "payload_kind"):uint()] or "unknown"
    -- The length, and above it the number of the piece.
    local length = at(buffer, "length"):le_uint()
    local piece = math.floor(length / 2 ^ LENGTH_BITS)
    length = length % 2 ^ LENGTH_BITS
    if piece > 0 then
        local start = (piece - 1) * PIECE
        length = math.min(PIECE, length - start)
        kind = "Piece"
        info.cols.info:append(" piece at " .. start)
    end
    if length <= 0 then return end
    if buffer:len() < HEADER - ETHERNET + length then
        tree:add_proto_expert_info(too_short)
        return
    end
    local payload = buffer(HEADER - ETHERNET, length):tvb()
    if kind == "Whole" or kind == "First" then
        local name = name_of(payload)
        tree:add(message_name, payload(0, 1), name)
        info.cols.info:append(" " .. name)
        if kind == "First" then
            info.cols.info:append(" (first part)")
            tree:add(payload_bytes, payload())
        elseif show({ is = "enum", name = "Message" }, "message", payload, 0, tree) ~= length then
            tree:add_proto_expert_info(too_short)
        end
    elseif kind == "Info" then
        if show(node_info, "node", payload, 0, tree) ~= length then
            tree:add_proto_expert_info(too_short)
        end
    elseif kind == "Gossip" then
        if show(gossip, "gossip", payload, 0, tree) ~= length then
            tree:add_proto_expert_info(too_short)
        end
    elseif kind == "Filler" then
        tree:add(payload_bytes, payload())
        info.cols.info:append(" " .. length .. " bytes")
    else
        tree:add(payload_bytes, payload())
        if kind == "Page" and length < PAYLOAD then info.cols.info:append(" packed") end
        if kind == "Page" or kind == "Piece" and at(buffer, "page"):le_uint64() ~= UInt64(0) then
            info.cols.info:append(" page 0x" .. at(buffer, "page"):le_uint64():tohex() .. " of " .. at(buffer, "pid"):le_uint())
        elseif kind ~= "Piece" then
            info.cols.info:append(" (" .. kind:lower() .. " part)")
        end
    end
end

function dunlin.dissector(buffer, info, tree)
    info.cols.protocol = "Dunlin"
    local root = tree:add(dunlin, buffer())
    if buffer:len() < HEADER - ETHERNET then
        root:add_proto_expert_info(too_short)
        return
    end
    local text = summary(buffer)
    info.cols.info = text
    local head = root:add(buffer(0, HEADER - ETHERNET), "header")
    for _, row in ipairs(header) do
        local name, offset, size, count = row[1], row[2], row[3], row[4]
        if offset >= ETHERNET then
            for item = 0, count - 1 do
                local range = buffer(offset - ETHERNET + item * size, size)
                if size > 8 then
                    head:add(fields[name], range)
                else
                    head:add_le(fields[name], range)
                end
            end
        end
    end
    dissect_payload(buffer, info, root)
end

DissectorTable.get("ethertype"):add(ETHERTYPE, dunlin)
