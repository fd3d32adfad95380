-- How things stand: an entry, and the generations that who asks for it depends on. Those that are missing are made.
--
-- KEYS   the entry, then the generations
-- ARGV   a random value that has never been a generation
--
-- Answers {seconds, microseconds, the entry or nil, {generation, …}}.

local time = redis.call('TIME')
local found = redis.call('MGET', unpack(KEYS))
local generations = {}
for i = 2, #KEYS do
  if not found[i] then
    redis.call('SET', KEYS[i], ARGV[1])
  end
  generations[i - 1] = found[i] or ARGV[1]
end
return { time[1], time[2], found[1], generations }
