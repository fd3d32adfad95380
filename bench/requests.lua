-- wrk: sends the requests of a file in turn, and prints what came of them as one line of JSON.
-- The file has for each request a line with its length, and then its bytes. A second argument says of how many addresses they come,
-- as a trusted proxy tells it; these are written as they are sent, so that a million of them takes no memory here.
local requests, next_one = {}, 0
local addresses, next_address = 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
  end
  file:close()
  addresses = tonumber(args[2] or 0)
  if addresses == 0 then return end
  request = function()
    next_one = next_one % #requests + 1
    next_address = (next_address + 1) % addresses
    local rest = next_address
    local d = rest % 256
    rest = (rest - d) / 256
    local c = rest % 256
    -- Not one of the trusted ones.
    local line = string.format("\r\nX-Forwarded-For: 40.%d.%d.%d\r\n", (rest - c) / 256, c, d)
    return (requests[next_one]:gsub("\r\n", line, 1))
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
