-- The same requests again and again: `wrk -t1 -c64 -d3s -s beside.lua URL -- FILE`. The file has, for each request, a line
-- with the number of its bytes and then these. Prints one JSON object as the last line; `refused` are answers that are not
-- 2xx, `broken` connections and answers that did not come. What is in the answers was checked before.

local requests, place = {}, 0

function init(args)
  local file = io.open(args[1], "rb")
  local length = file:read("*l")
  while length do
    requests[#requests + 1] = file:read(tonumber(length))
    length = file:read("*l")
  end
  file:close()
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
