-- Keeps an answer, unless the one that is there was asked for later.
--
-- KEYS   the entry, then, when answers of its name differ by request fields, what says by which
-- ARGV   the entry, its life in milliseconds, when it was asked for (as in the entry), the fields
--
-- Answers 1 when it is kept.

local known = redis.call('GETRANGE', KEYS[1], 0, 18)
if string.sub(known, 1, 3) == 'r1A' and string.sub(known, 4) > ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[2])
end
return 1
