-- A dissector of Dunlin's frames for Wireshark and tshark (3.6 and later).
--
--   wireshark -X lua_script:tools/wireshark/dunlin.lua capture.pcap
--
-- `cargo xtask dissector` writes this file; the tables at its end are made from the Rust definitions in net/wire. Do not
-- change it by hand: its text is tools/xtask/src/dissector.lua.
--
-- Filters: dunlin.kind, dunlin.message (the name), dunlin.page, dunlin.pid, dunlin.epoch, and every number in a
-- message as dunlin.message.NAME.

--@TABLES@

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
