-- GCRA over all policies of one request, by the store's clock: every one of them pays, or none does.
--
-- KEYS   the request's bucket in each policy: the theoretical arrival time, in microseconds since 2026
-- ARGV   the cost, then for each policy its interval in microseconds and its burst
--
-- Answers {0, remaining, full after, remaining, full after, …} in the order of KEYS when the request may pass, or
-- {i, wait, remaining, full after} for the policy with the longest wait; times are in microseconds.

local time = redis.call('TIME')
-- Counted from 2026, so that fractions of a microsecond survive in a double.
local now = (time[1] - 1767225600) * 1000000 + time[2]
local cost = tonumber(ARGV[1])
-- Less is rounding.
local epsilon = 0.5

local stored = redis.call('MGET', unpack(KEYS))
local arrivals, answer = {}, { 0 }
local denied = nil
for i = 1, #KEYS do
  local interval, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full = interval * burst
  -- Never further ahead than an empty bucket: the store's clock may have been set back, or the limit changed.
  local arrival = math.min(math.max(tonumber(stored[i] or now) or now, now), now + full)
  local wait = arrival + interval * cost - full - now
  if wait > epsilon then
    if denied == nil or wait > denied.wait then
      denied = { index = i, wait = wait, left = arrival - now, full = full, interval = interval }
    end
  end
  arrivals[i] = arrival + interval * cost
  local left = arrivals[i] - now
  answer[2 * i] = math.max(math.floor((full - left + epsilon) / interval), 0)
  answer[2 * i + 1] = math.ceil(left)
end

if denied then
  local remaining = math.floor((denied.full - denied.left + epsilon) / denied.interval)
  return { denied.index, math.ceil(denied.wait), math.max(remaining, 0), math.ceil(denied.left) }
end
for i = 1, #KEYS do
  -- A bucket that is full again needs no key.
  local expiry = math.max(math.ceil((arrivals[i] - now) / 1000), 1)
  redis.call('SET', KEYS[i], string.format('%.3f', arrivals[i]), 'PX', expiry)
end
return answer
