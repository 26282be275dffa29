-- Tables of strings, closures and records, most of which are thrown away.
local function words(n)
  local t = {}
  for i = 1, n do t[#t + 1] = "word" .. (i * 7919 % 10007) end
  return t
end
local counts, lines = {}, {}
for round = 1, 40 do
  for _, w in ipairs(words(20000)) do counts[w] = (counts[w] or 0) + 1 end
  local records = {}
  for i = 1, 20000 do records[i] = { id = i, name = "n" .. i, next = records[i - 1] } end
  table.sort(records, function(a, b) return a.name < b.name end)
  lines[round] = table.concat(words(2000), " ")
  local s = 0
  for piece in lines[round]:gmatch("%a+%d+") do s = s + #piece:rep(3) end
end
local total = 0
for _, n in pairs(counts) do total = total + n end
assert(total == 40 * 20000)
