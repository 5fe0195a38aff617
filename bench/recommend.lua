-- Traffic for wrk: `wrk -t1 -c16 -d20s -s recommend.lua URL -- FILE`. The file has a request a line: "G" and a path, or
-- "P", a path and a JSON body, separated by spaces; they are sent in that order, from the beginning again at its end.
-- Prints one JSON object as the last line: pages are answers to G, and what is wrong with answers is counted.

local requests, place = {}, 0
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  pages, writes, degraded, short, refused = 0, 0, 0, 0, 0
  local json = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    local kind, path, body = line:match("^(%u) (%S+) ?(.*)$")
    if kind == "P" then
      requests[#requests + 1] = wrk.format("POST", path, json, body)
    else
      requests[#requests + 1] = wrk.format("GET", path)
    end
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function response(status, headers, body)
  if status ~= 200 then
    refused = refused + 1
  elseif body:find('"results"', 1, true) then
    pages = pages + 1
    if not body:find('"degraded": []', 1, true) and not body:find('"degraded":[]', 1, true) then
      degraded = degraded + 1
    end
    local found, from = 0, 1
    while true do
      local _, last = body:find('"reasons"', from, true)
      if not last then break end
      found, from = found + 1, last + 1
    end
    if found ~= 10 then short = short + 1 end
  else
    writes = writes + 1
  end
end

function done(summary)
  local sums = { pages = 0, writes = 0, degraded = 0, short = 0, refused = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  print(string.format(
    '{"seconds": %.3f, "pages": %d, "writes": %d, "degraded": %d, "short": %d, "refused": %d, "broken": %d}',
    summary.duration / 1e6, sums.pages, sums.writes, sums.degraded, sums.short, sums.refused, broken))
end
