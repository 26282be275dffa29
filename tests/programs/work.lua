-- Tables, strings, closures, coroutines, finalisers; both kinds of collector.
local state = 12345
local function random()
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 256
end

local function tree(depth)
  if depth == 0 then return nil end
  return { left = tree(depth - 1), name = "at " .. depth .. "/" .. random(), right = tree(depth - 1) }
end
local function nodes(t) return t and 1 + nodes(t.left) + nodes(t.right) or 0 end

local finalised = 0
local function work()
  local counts = {}
  for _ = 1, 200000 do
    local key = string.format("%x", random() % 4096)
    counts[key] = (counts[key] or 0) + 1
  end
  local keys = {}
  for key in pairs(counts) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  print(#keys, keys[1], keys[2], keys[#keys])

  for _ = 1, 5 do print(nodes(tree(13))) end

  local parts = {}
  for i = 1, 50000 do parts[i] = ("x"):rep(i % 50) .. i end
  local text = table.concat(parts, ",")
  print(#text, select(2, text:gsub("%d%d", "%0-")), #text:reverse():upper())

  local threads = {}
  for i = 1, 2000 do
    threads[i] = coroutine.wrap(function()
      local sum = 0
      while true do sum = sum + coroutine.yield(sum .. "") + i end
    end)
    threads[i]()
  end
  local last
  for round = 1, 20 do
    for i = 1, #threads do last = threads[i](round) end
  end
  print(last)

  for _ = 1, 10000 do
    setmetatable({}, { __gc = function() finalised = finalised + 1 end })
  end
end

collectgarbage("incremental")
work()
collectgarbage("generational")
work()
collectgarbage()
collectgarbage()
print("finalised", finalised)
print(pcall(string.rep, "x", 1 << 62))
print("done")
